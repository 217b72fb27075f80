"""Who may talk to whom on the test node: one authority, three certificates, a token per user.

Only where Kubernetes takes nothing else there are certificates (the API server's own, the kubelet's own, and the one that
the API server shows to the kubelet); everybody else logs in by a token out of a file. All of it lives in the node's folder and
is made anew for every run.
"""

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", "system:node-proxier"),
}


class Pki:
    """Files in `folder`: `ca.crt`, `NAME.crt` and `NAME.key`, `service-accounts.key`, `tokens.csv`, `USER.kubeconfig`."""

    def __init__(self, folder: Path, server: str, node: str, names: Sequence[str]) -> None:
        """`server` is the API server's URL, `names` its addresses and DNS names, `node` the node's name."""
        folder.mkdir(parents=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._authority = self._certificate("ca", self._key, _name("test node"), authority=True)
        self._issue("apiserver", _name("kube-apiserver"), names)
        self._issue("apiserver-kubelet", _name("kube-apiserver-kubelet-client", "system:masters"))
        self._issue("kubelet", _name(f"system:node:{node}", "system:nodes"), [node, *names])
        signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._write_key("service-accounts", signer)
        users = {**_USERS, "kubelet": (f"system:node:{node}", "system:nodes")}
        self.tokens = {name: secrets.token_hex(16) for name in users}
        lines = [
            f'{self.tokens[name]},{user},{name},"{group}"' if group else f"{self.tokens[name]},{user},{name}"
            for name, (user, group) in users.items()
        ]
        self._write("tokens.csv", "\n".join(lines).encode() + b"\n")
        for name in users:
            self._write_kubeconfig(name, server)

    def file(self, name: str) -> str:
        """The path of a file, as an argument."""
        return str(self.folder / name)

    def _issue(self, file: str, subject: x509.Name, names: Sequence[str] = ()) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._write_key(file, key)
        self._certificate(file, key, subject, names)

    def _certificate(
        self,
        file: str,
        key: ec.EllipticCurvePrivateKey,
        subject: x509.Name,
        names: Sequence[str] = (),
        *,
        authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if authority else self._authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_general, names))), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        self._write(f"{file}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        return certificate

    def _write_key(self, file: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
        pem = serialization.Encoding.PEM
        traditional = serialization.PrivateFormat.TraditionalOpenSSL
        self._write(f"{file}.key", key.private_bytes(pem, traditional, serialization.NoEncryption()))

    def _write_kubeconfig(self, name: str, server: str) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "node", "cluster": {"server": server, "certificate-authority": self.file("ca.crt")}}],
            "users": [{"name": name, "user": {"token": self.tokens[name]}}],
            "contexts": [{"name": "node", "context": {"cluster": "node", "user": name}}],
            "current-context": "node",
        }
        self._write(f"{name}.kubeconfig", json.dumps(document).encode())

    def _write(self, name: str, content: bytes) -> None:
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_bytes(content)


def _name(common: str, organisation: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
