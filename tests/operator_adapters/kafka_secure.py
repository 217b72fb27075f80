"""A broker that trusts nobody: TLS, SASL and client certificates, and an authorizer that asks for rights."""

from dataclasses import dataclass
from pathlib import Path

import trustme
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.testbed.kafka import KafkaServer

TOPIC, GROUP = 2, 3
READ, CREATE, DESCRIBE, DESCRIBE_CONFIGS = 3, 5, 8, 10
_LITERAL, _ALLOW = 3, 3

_PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_gateway="right" user_guest="right";'
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True)
class Pems:
    """PEM texts as Secrets hold them."""

    ca: str
    stranger_ca: str
    certificate: str
    key: str
    encrypted_key: str


class SecureKafka(KafkaServer):
    """Listeners PLAINTEXT (a super user), TLS, SASL, SASLTLS and MTLS. User `gateway` may do everything, `guest` nothing."""

    def __init__(self, folder: Path) -> None:
        properties = {
            # So that a question that creates what it asks for would show.
            "auto.create.topics.enable": "true",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:gateway",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(folder / "ca.pem"),
            "ssl.principal.mapping.rules": "RULE:^.*$/gateway/",
            "listener.name.mtls.ssl.client.auth": "required",
        }
        for listener in ("sasl", "sasltls"):
            properties |= {
                f"listener.name.{listener}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
                f"listener.name.{listener}.plain.sasl.jaas.config": _PLAIN,
                f"listener.name.{listener}.scram-sha-256.sasl.jaas.config": _SCRAM,
                f"listener.name.{listener}.scram-sha-512.sasl.jaas.config": _SCRAM,
            }
        listeners = {"TLS": "SSL", "SASL": "SASL_PLAINTEXT", "SASLTLS": "SASL_SSL", "MTLS": "SSL"}
        super().__init__(properties, listeners)

    def _format(self, cluster: str, *quorum: str) -> None:
        users = [
            argument
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for argument in ("--add-scram", f"{mechanism}=[name=gateway,password=right]")
        ]
        super()._format(cluster, *quorum, *users)


def make_pems(folder: Path) -> Pems:
    """An authority, its broker's files in `folder`, and what the Secrets of a resource would hold."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    broker, gateway = authority.issue_cert("127.0.0.1"), authority.issue_cert("gateway@example.org")
    chain = b"".join(each.bytes() for each in broker.cert_chain_pems)
    (folder / "broker.pem").write_bytes(_pkcs8(broker) + chain)  # Java reads no other form
    return Pems(
        ca=authority.cert_pem.bytes().decode(),
        stranger_ca=trustme.CA().cert_pem.bytes().decode(),
        certificate="".join(each.bytes().decode() for each in gateway.cert_chain_pems),
        key=gateway.private_key_pem.bytes().decode(),
        encrypted_key=_pkcs8(gateway, b"word").decode(),
    )


def _pkcs8(issued: trustme.LeafCert, word: bytes | None = None) -> bytes:
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    protection = BestAvailableEncryption(word) if word else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


# --- rights, which aiokafka cannot grant ------------------------------------------------------------------------------


class CreateAclsResponse_v1(Response):
    API_KEY = 30
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(("error_code", Int16), ("error_message", String("utf-8")))),
    )


class CreateAclsRequest_v1(RequestStruct):
    API_KEY = 30
    API_VERSION = 1
    RESPONSE_TYPE = CreateAclsResponse_v1
    SCHEMA = Schema(
        (
            "creations",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("pattern_type", Int8),
                ("principal", String("utf-8")),
                ("host", String("utf-8")),
                ("operation", Int8),
                ("permission_type", Int8),
            ),
        )
    )


class CreateAclsRequest(Request[CreateAclsRequest_v1]):
    API_KEY = 30

    def __init__(self, creations: list[tuple[object, ...]]) -> None:
        self._creations = creations

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class(self._creations)


async def allow(server: KafkaServer, user: str, resource: int, name: str, *operations: int) -> None:
    """Grant `user` rights; in force when this returns, on a cluster of one."""
    host, port = server.bootstrap.split(":")
    connection = AIOKafkaConnection(host, int(port))
    await connection.connect()
    try:
        creations = [(resource, name, _LITERAL, f"User:{user}", "*", operation, _ALLOW) for operation in operations]
        response = await connection.send(CreateAclsRequest(creations))
        assert [code for code, _ in response.results] == [0] * len(operations), response
    finally:
        connection.close()
