"""How a backend reaches Kafka: one description, used by every producer and consumer of this package."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass, field, replace
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from ocpp_client.errors import KafkaUnavailable
from ocpp_client.fetched_records import lenient

log = logging.getLogger(__name__)

_STOP_TIMEOUT = 3.0
_JOIN_TIMEOUT = 40.0
"""Joining a group is answered when all other members have joined again or are given up: up to half a minute. Who gives up
before that starts the same rebalance again, and never joins."""


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Times in seconds. TLS and SASL as aiokafka names them."""

    bootstrap_servers: tuple[str, ...]
    client_id: str = "chargegateway-client"
    request_timeout: float = 5.0
    metadata_max_age: float = 20.0
    security_protocol: str = "PLAINTEXT"
    ssl_context: ssl.SSLContext | None = field(default=None, compare=False)
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, bootstrap: str) -> KafkaAccess:
        """From ``host:port`` or several of them with commas."""
        return cls(tuple(server.strip() for server in bootstrap.split(",") if server.strip()))

    def arguments(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": list(self.bootstrap_servers),
            "client_id": self.client_id,
            "request_timeout_ms": round(self.request_timeout * 1000),
            "metadata_max_age_ms": round(self.metadata_max_age * 1000),
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
        }

    def producer(self) -> AIOKafkaProducer:
        """``acks=all``. Not idempotent: that mode has no delivery time-out, and ids de-duplicate better."""
        return AIOKafkaProducer(**self.arguments(), acks="all", enable_idempotence=False, linger_ms=0)

    def consumer(self, *topics: str, group_id: str | None = None) -> AIOKafkaConsumer:
        """Never skips: without a position of its own it begins at the oldest record. Commits are the caller's.

        A record with a header whose name is no UTF-8 arrives too; `check_header_names` tells it.
        """
        access = self
        if group_id is not None:
            access = replace(self, request_timeout=max(self.request_timeout, _JOIN_TIMEOUT))
        return lenient(
            AIOKafkaConsumer(
                *topics,
                **access.arguments(),
                group_id=group_id,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                fetch_max_wait_ms=100,
            )
        )

    async def start(self, client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
        """Raises KafkaUnavailable when no broker answers, and KafkaError for what a broker answers."""
        try:
            await _start(client)
        except (KafkaConnectionError, OSError) as error:
            await stop(client)
            raise KafkaUnavailable(f"Kafka at {', '.join(self.bootstrap_servers)} does not answer: {error}") from error
        except BaseException:
            await stop(client)
            raise


async def _start(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Start, so that `stop` closes all that was opened, also after a cancellation.

    aiokafka 0.14: who cancels ``bootstrap`` while it waits for the first metadata loses the connection it asked on, which
    nobody can close any more. So a cancelled start goes on to its end, mostly one answer of a broker away, before the
    cancellation counts; what does not end in time is cut off all the same.
    """
    starting = asyncio.create_task(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        try:
            await asyncio.wait((starting,), timeout=_STOP_TIMEOUT)
        finally:
            starting.cancel()
        await asyncio.wait((starting,))
        raise


async def stop(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Close, but not for longer than a few seconds: a producer waits for brokers that may be away.

    aiokafka 0.14: a consumer's `stop` ends as cancelled when it cancels a fetch that waits out its retry pause, and leaves
    other fetches and the connections behind. In a task of its own that cancellation is not taken for the caller's.
    """
    stopping = asyncio.create_task(client.stop())
    await asyncio.wait((stopping,), timeout=_STOP_TIMEOUT)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    if stopping.done() and not stopping.cancelled():
        log.warning("a Kafka client did not stop cleanly: %r", stopping.exception())
    stopping.cancel()
    left = {stopping}
    if isinstance(client, AIOKafkaConsumer) and client._fetcher is not None:
        left |= set(client._fetcher._pending_tasks)
    for task in left:
        task.cancel()
    await asyncio.wait(left, timeout=_STOP_TIMEOUT)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_TIMEOUT):
            await (client._client if isinstance(client, AIOKafkaConsumer) else client.client).close()
