"""A real Kubernetes API without a node: etcd, kube-apiserver and kube-controller-manager on loopback.

    with KubernetesServer() as kubernetes:      # or: async with
        kubernetes.kubectl("apply", "-f", "-", input=manifest)

RBAC, admission, CRDs with their CEL rules, Deployments, garbage collection, evictions and Leases are the real ones. No
scheduler and no kubelet run: pods stay Pending, and a pod that is deleted goes at once, unless a test plays the
kubelet's part.

It is ready when the default ServiceAccount exists, which the controller-manager makes.
"""

import asyncio
import contextlib
import http.client
import json
import os
import secrets
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.testbed import kubernetes_components as components
from tests.testbed.processes import NotReady, ServerProcess, free_port

Json = dict[str, Any]
ADMIN, CONTROLLERS = "testbed-admin", "system:kube-controller-manager"
# The API server wants an address that others could reach it at, and a machine with loopback alone has none. Nothing is
# sent to this one (it is reserved for documentation).
ADVERTISED = "192.0.2.1"


class ApiError(Exception):
    """The API server's refusal, as it said it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message


class KubectlFailed(Exception):
    """kubectl ended with an error; the text is its own."""


class _Etcd(ServerProcess):
    name = "etcd"
    start_timeout = 30.0

    def __init__(self, arguments: Sequence[str]) -> None:
        self._program = components.ETCD.find()
        super().__init__()
        self._arguments = arguments
        self.port, self._peers = free_port(), free_port()

    def command(self) -> Sequence[str]:
        clients, peers = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self._peers}"
        return [
            str(self._program), "--name", "testbed", "--data-dir", str(self.folder / "data"), "--unsafe-no-fsync",
            "--listen-client-urls", clients, "--advertise-client-urls", clients,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
            "--initial-cluster", f"testbed={peers}", "--log-level", "warn", *self._arguments,
        ]  # fmt: skip

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1.0)
        with contextlib.closing(connection):
            connection.request("GET", "/health")
            return connection.getresponse().status == 200


class _ApiServer(ServerProcess):
    name = "kube-apiserver"
    start_timeout = 90.0
    stop_timeout = 5.0

    def __init__(self, etcd: _Etcd, arguments: Sequence[str]) -> None:
        self._program = components.KUBE_APISERVER.find()
        super().__init__()
        self._etcd, self._arguments = etcd, arguments
        self.port = free_port()
        self.ca_file = self.folder / "ca.crt"
        self.service_account_key = self.folder / "service-accounts.key"
        self.tokens = {ADMIN: secrets.token_hex(16), CONTROLLERS: secrets.token_hex(16)}
        self._write_identities()
        self.tls = ssl.create_default_context(cafile=str(self.ca_file))

    def _write_identities(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        certificate = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(self.folder / "server.pem"))
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.service_account_key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        groups = {ADMIN: ',"system:masters"', CONTROLLERS: ""}
        lines = [f"{token},{user},{user}{groups[user]}\n" for user, token in self.tokens.items()]
        (self.folder / "tokens.csv").write_text("".join(lines))

    def command(self) -> Sequence[str]:
        server = self.folder / "server.pem"
        return [
            str(self._program), f"--etcd-servers=http://127.0.0.1:{self._etcd.port}",
            "--bind-address=127.0.0.1", f"--secure-port={self.port}", f"--advertise-address={ADVERTISED}",
            f"--tls-cert-file={server}", f"--tls-private-key-file={server}", f"--cert-dir={self.folder / 'generated'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.service_account_key}",
            f"--service-account-signing-key-file={self.service_account_key}",
            "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true", "--profiling=false", *self._arguments,
        ]  # fmt: skip

    def answers(self) -> bool:
        return self.ask("GET", "/readyz", timeout=1.0)[0] == 200

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        token: str | None = None,
        timeout: float = 30.0,
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token or self.tokens[ADMIN]}", "Content-Type": content_type}
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()


class _ControllerManager(ServerProcess):
    name = "kube-controller-manager"

    def __init__(self, api: _ApiServer, kubeconfig: Path, arguments: Sequence[str]) -> None:
        self._program = components.KUBE_CONTROLLER_MANAGER.find()
        super().__init__()
        self._api, self._kubeconfig, self._arguments = api, kubeconfig, arguments

    def command(self) -> Sequence[str]:
        return [
            str(self._program), f"--kubeconfig={self._kubeconfig}", "--leader-elect=false", "--secure-port=0",
            "--use-service-account-credentials=true", f"--root-ca-file={self._api.ca_file}",
            f"--service-account-private-key-file={self._api.service_account_key}",
            # Its first round over all resource types is throttled for seconds with the default of 20 a second.
            "--kube-api-qps=300", "--kube-api-burst=500", *self._arguments,
        ]  # fmt: skip

    def answers(self) -> bool:
        return self._api.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default", timeout=1.0)[0] == 200


class KubernetesServer:
    """The three processes as one server.

    `api_arguments`, `controller_arguments` and `etcd_arguments` are further flags of the three, as in `("--event-ttl=1m",)`.
    """

    def __init__(
        self,
        api_arguments: Sequence[str] = (),
        controller_arguments: Sequence[str] = (),
        etcd_arguments: Sequence[str] = (),
    ) -> None:
        self.kubectl_program = components.KUBECTL.find()
        self.etcd = _Etcd(etcd_arguments)
        self.api = _ApiServer(self.etcd, api_arguments)
        self.url = f"https://127.0.0.1:{self.api.port}"
        self.ca_file = self.api.ca_file
        self.admin_token = self.api.tokens[ADMIN]
        self.kubeconfig = self.kubeconfig_for("admin", self.admin_token)
        controllers = self.kubeconfig_for("controllers", self.api.tokens[CONTROLLERS])
        self.controllers = _ControllerManager(self.api, controllers, controller_arguments)
        self._servers: tuple[ServerProcess, ...] = (self.etcd, self.api, self.controllers)

    # --- life ---------------------------------------------------------------------------------------------------

    @property
    def keep_logs(self) -> bool:
        return any(server.keep_logs for server in self._servers)

    @keep_logs.setter
    def keep_logs(self, keep: bool) -> None:
        for server in self._servers:
            server.keep_logs = keep

    @property
    def folders(self) -> list[Path]:
        return [server.folder for server in self._servers]

    @property
    def pids(self) -> list[int]:
        return [server.pid for server in self._servers if server.running]

    def start(self) -> None:
        for server in self._servers:
            server.start()

    async def start_async(self) -> None:
        for server in self._servers:
            await server.start_async()

    def close(self) -> None:
        """Stop for good, the controllers first: they would only fill their log."""
        self.keep_logs = self.keep_logs  # one's trouble may stand in another's log
        self.controllers.close()
        for server in (self.api, self.etcd):
            server.kill()  # nothing of theirs is to be kept
            server.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start_async()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    # --- harm -----------------------------------------------------------------------------------------------------

    def stop_api(self) -> None:
        """The API server leaves; connections are refused. What it stored stays in etcd."""
        self.api.stop()

    def start_api(self) -> None:
        """It comes back on its address with all it knew."""
        self.api.start()

    async def start_api_async(self) -> None:
        await self.api.start_async()

    def pause_api(self) -> None:
        """Connections stay open and nobody answers."""
        self.api.pause()

    def resume_api(self) -> None:
        self.api.resume()

    # --- asking ---------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, input: str | None = None, kubeconfig: Path | None = None) -> str:
        """What kubectl prints; raises KubectlFailed with what it complains about."""
        done = subprocess.run(
            [str(self.kubectl_program), *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "KUBECONFIG": str(kubeconfig or self.kubeconfig),
                "KUBECACHEDIR": str(self.api.folder / "kubectl"),
                "KUBERC": "off",
            },
        )
        if done.returncode:
            raise KubectlFailed(done.stderr.strip())
        return done.stdout

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        token: str | None = None,
    ) -> Json:
        """One request as the administrator, or as whom `token` says; raises ApiError for what is not 2xx."""
        sent = None if body is None else json.dumps(body).encode()
        status, answer = self.api.ask(method, path, sent, content_type, token)
        document: Json = json.loads(answer)
        if not 200 <= status < 300:
            raise ApiError(status, str(document.get("reason")), str(document.get("message")))
        return document

    def make_namespace(self, name: str, timeout: float = 10.0) -> None:
        """A namespace that is ready for pods: its default ServiceAccount is there."""
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        deadline = time.monotonic() + timeout
        while self.api.ask("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default")[0] != 200:
            if time.monotonic() > deadline:
                raise NotReady(f"namespace {name} has no default ServiceAccount after {timeout:.0f} s")
            time.sleep(0.02)

    def service_account_token(self, namespace: str, name: str) -> str:
        """A token of that ServiceAccount, made as the kubelet would ask for it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        return str(self.request("POST", path, asked)["status"]["token"])

    def kubeconfig_for(self, name: str, token: str) -> Path:
        """A kubeconfig file, `<name>.kubeconfig`, for whoever `token` belongs to."""
        file = self.api.folder / f"{name}.kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "testbed", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": name}}],
            "current-context": "testbed",
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(document, indent=2))  # JSON is YAML
        return file

    def memory(self) -> dict[str, int]:
        """Resident MiB of each process."""
        return {server.name: _resident(server.pid) for server in self._servers}


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) // 1024
