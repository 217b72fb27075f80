"""The rivals: ours with everything behind it, and two servers that others wrote, each one process.

gateway     `python -m ocpp_gateway` with real Kafka and real Redis: validated, unified, answered after Kafka has it
ocpp-rpc    npm `ocpp-rpc`, strict: validated, answered at once
PyPI ocpp   `ocpp` on websockets.asyncio and uvloop: validated, answered at once
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme
from aiokafka import AIOKafkaProducer

from ocpp_contract.credentials import hash_key
from ocpp_contract.ids import ChargePointId
from ocpp_contract.names import Topics
from ocpp_contract.registry import CredentialRecord, credential_key
from ocpp_local import broker, store
from ocpp_local.system import System, Wanted
from tests.testbed import components
from tests.testbed.kafka import KafkaServer
from tests.testbed.processes import ServerProcess, free_port
from tests.testbed.redis import RedisServer

GATEWAY, OCPP_RPC, PYPI_OCPP = "ChargeGateway", "ocpp-rpc (strict)", "PyPI ocpp"
NAMES = (GATEWAY, OCPP_RPC, PYPI_OCPP)
_PEERS = Path(__file__).parent / "peers"

# What a benchmark must lift: limits that protect a pod against single stations, and the pace of admission.
_LIMITS = {
    "LIMITS__CONNECTIONS": "20000",
    "LIMITS__ACCEPT_RATE": "2000",
    "LIMITS__ACCEPT_WAITING": "20000",
    "LIMITS__MESSAGES_PER_SECOND": "10000",
    "LIMITS__MESSAGE_BURST": "100000",
    "LIMITS__CONNECTS_PER_MINUTE": "100000",
    "KAFKA__FETCH_MAX_WAIT": "500ms",  # the gateway's own default; `ocpp_local` sets one for the embedded broker
}
_PARTITIONS = 16
TLS_STATIONS = 10_000
PASSWORD = "0123456789abcdef0123"


@dataclass(frozen=True, slots=True)
class Certificates:
    """What TLS listeners serve; RSA 2048 as most stations meet it."""

    chain: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, seen from outside."""

    name: str
    pid: int
    url: str
    tls_url: str
    log: Path


@dataclass(frozen=True, slots=True)
class Backends:
    """Kafka and Redis, one of each for the whole run."""

    kafka: str
    redis: str
    certificates: Certificates


@contextlib.asynccontextmanager
async def backends() -> AsyncIterator[Backends]:
    """Start Apache Kafka and Redis, and make certificates."""
    with tempfile.TemporaryDirectory(prefix="chargegateway-bench-") as folder:
        certificates = _make_certificates(Path(folder))
        async with KafkaServer(heap="1g") as kafka, RedisServer() as redis:
            await store.vouch_for_empty(redis.url)
            await broker.create_topics(kafka.bootstrap, _PARTITIONS)
            await _register_tls_stations(kafka.bootstrap)
            yield Backends(kafka.bootstrap, redis.url, certificates)


def tls_station(number: int) -> str:
    """Name of a station that may connect over TLS (security profile 2 asks for a password)."""
    return f"TLS{number:05d}"


async def _register_tls_stations(kafka: str) -> None:
    credentials = CredentialRecord((hash_key(PASSWORD.encode(), bytes(16)),)).to_json()
    producer = AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=5)
    async with producer:
        sent = [
            await producer.send(Topics().stations, credentials, key=credential_key(ChargePointId(tls_station(number))))
            for number in range(TLS_STATIONS)
        ]
        await asyncio.gather(*sent)


def _make_certificates(folder: Path) -> Certificates:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    made = Certificates(folder / "chain.pem", folder / "key.pem", folder / "ca.pem")
    made.chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    made.key.write_bytes(leaf.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(made.ca))
    return made


@contextlib.asynccontextmanager
async def running(name: str, around: Backends, settings: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """A fresh process of that server; `settings` only matter for ours."""
    if name == GATEWAY:
        async with _gateway(around, settings or {}) as server:
            yield server
    else:
        async with Peer(name, around.certificates) as peer:
            yield Server(name, peer.pid, f"ws://127.0.0.1:{peer.port}/", f"wss://127.0.0.1:{peer.tls_port}/", peer.log)


@contextlib.asynccontextmanager
async def _gateway(around: Backends, settings: Mapping[str, str]) -> AsyncIterator[Server]:
    plain, secure = free_port(), free_port()
    certificates = around.certificates
    listeners = [
        {"name": "plain", "host": "127.0.0.1", "port": plain},
        {
            "name": "tls",
            "host": "127.0.0.1",
            "port": secure,
            "security_profiles": [2],
            "tls": {"certificates": [[str(certificates.chain), str(certificates.key)]]},
        },
    ]
    wanted = Wanted(
        pods=1,
        partitions=_PARTITIONS,
        kafka=around.kafka,
        redis=around.redis,
        settings={**_LIMITS, "LISTENERS": json.dumps(listeners), **settings},
    )
    async with System.started(wanted) as system:
        (pod,) = system.present()
        yield Server(GATEWAY, pod.child.pid, f"ws://127.0.0.1:{plain}/", f"wss://127.0.0.1:{secure}/", pod.child.log)


class Peer(ServerProcess):
    """A server that others wrote."""

    start_timeout = 30.0

    def __init__(self, kind: str, certificates: Certificates) -> None:
        self.name = "pypi-ocpp" if kind == PYPI_OCPP else "ocpp-rpc"
        super().__init__()
        self.port, self.tls_port = free_port(), free_port()
        self._arguments = [str(self.port), str(self.tls_port), str(certificates.chain), str(certificates.key)]

    def command(self) -> Sequence[str]:
        if self.name == "pypi-ocpp":
            return [sys.executable, str(_PEERS / "pypi_ocpp.py"), *self._arguments]
        return ["node", str(_PEERS / "ocpp_rpc.js"), *self._arguments]

    def environment(self) -> Mapping[str, str]:
        if self.name == "pypi-ocpp":
            return {}
        return {"NODE_PATH": str(components.OCPP_RPC.find() / "node_modules"), "NODE_ENV": "production"}

    def answers(self) -> bool:
        for port in (self.port, self.tls_port):
            with socket.create_connection(("127.0.0.1", port), timeout=1.0):
                pass
        return True
