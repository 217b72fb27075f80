"""How to reach the brokers, and a client of theirs that is always there again.

`SteadyClient` wraps aiokafka's client (connections, wire format, TLS and SASL, metadata), which has two ways of never
coming back: it asks only the brokers it last heard of, so after all of them changed their addresses it asks nobody; and
its metadata task can end by an error. Here such a client is closed and a new one starts from the bootstrap addresses.

Every connection is made with the password, authorities and certificate that their files hold at that moment: aiokafka would
go on for the client's life with what it was made with, and a broker refuses a rotated password for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import KafkaConnectionError

from ocpp_gateway.adapters.secret_files import Followed

log = logging.getLogger(__name__)

_BACKOFF = 0.1
_BACKOFF_MAX = 1.0
_CLOSE_TIMEOUT = 2.0


class KafkaUnknown(Exception):
    """No acknowledgement in time: the request may have taken effect, may not, may still do so."""


class KafkaRefused(Exception):
    """The broker (or a limit of ours) refused this very request; repeating it unchanged cannot help."""


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """What every client of the brokers is made with. Times in seconds."""

    bootstrap_servers: tuple[str, ...]
    client_id: str = "chargegateway"
    request_timeout: float = 5.0
    metadata_max_age: float = 20.0
    security_protocol: str = "PLAINTEXT"
    tls: Followed[ssl.SSLContext] | None = field(default=None, compare=False)
    """Needed where the protocol is SSL or SASL_SSL."""
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: Followed[str] | None = field(default=None, repr=False, compare=False)

    def client(self) -> Any:
        """An `AIOKafkaClient`."""
        client = AIOKafkaClient(**self._arguments())
        self._keep_current(client)
        return client

    def consumer(self, **options: Any) -> Any:
        """An `AIOKafkaConsumer`."""
        consumer = AIOKafkaConsumer(**self._arguments(), **options)
        self._keep_current(consumer._client)
        return consumer

    def admin(self) -> Any:
        """An `AIOKafkaAdminClient`."""
        admin = AIOKafkaAdminClient(**self._arguments())
        self._keep_current(admin._client)
        return admin

    def _keep_current(self, client: Any) -> None:
        """aiokafka 0.14 connects in these two methods only, with what it finds in these attributes."""
        bootstrap, connect = client.bootstrap, client._get_conn

        def read_anew() -> None:
            client._ssl_context = self.tls.now() if self.tls else None
            client._sasl_plain_password = self.password.now() if self.password else None

        async def bootstrap_anew() -> None:
            read_anew()
            await bootstrap()

        async def connect_anew(node: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
            standing = client._conns.get((node, group))
            if standing is None or not standing.connected():  # every request passes here
                read_anew()
            return await connect(node, group=group, no_hint=no_hint)

        client.bootstrap, client._get_conn = bootstrap_anew, connect_anew

    def _arguments(self) -> dict[str, Any]:
        """Keyword arguments that aiokafka's client, consumer and admin client share."""
        return {
            "bootstrap_servers": list(self.bootstrap_servers),
            "client_id": self.client_id,
            "request_timeout_ms": round(self.request_timeout * 1000),
            "metadata_max_age_ms": round(self.metadata_max_age * 1000),
            "security_protocol": self.security_protocol,
            "ssl_context": self.tls.now() if self.tls else None,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password.now() if self.password else None,
        }


class SteadyClient:
    """Keeps one `AIOKafkaClient` connected; `client` is None while there is none.

    `changed` is called when a client became available and after every metadata update.
    """

    def __init__(self, connection: KafkaConnection, changed: Callable[[], None]) -> None:
        self.client: Any = None
        self._connection = connection
        self._changed = changed
        self._topics: set[str] = set()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._renew = False
        self._calls: set[asyncio.Task[Any]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect; returns at once, also while Kafka is away."""
        self._task = asyncio.create_task(self._keep_connected(), name="kafka client")

    async def stop(self) -> None:
        """Close the connections; takes a few seconds at most, also while Kafka is away."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=_CLOSE_TIMEOUT)
            self._task.cancel()
            await asyncio.wait((self._task,))

    def watch(self, topic: str) -> None:
        """Keep the metadata of `topic` from now on."""
        if topic not in self._topics:
            self._topics.add(topic)
            if self.client is not None:
                self.client.add_topic(topic)
            self.refresh()

    def refresh(self) -> None:
        """Ask for fresh metadata soon; many requests are one."""
        self._wake.set()

    def renew(self) -> None:
        """Give this client up and start again from the bootstrap addresses."""
        self._renew = True
        self._wake.set()

    def partitions(self, topic: str) -> int | None:
        """Number of partitions of `topic`, None while unknown (also when it does not exist yet)."""
        known = None if self.client is None else self.client.cluster.partitions_for_topic(topic)
        return len(known) if known else None

    async def send(self, node: int, request: Any, *, coordination: bool = False) -> Any:
        """Send `request` to broker `node` and return its reply; raises what aiokafka raises."""
        client, task = self.client, asyncio.current_task()
        if client is None or task is None:
            raise KafkaConnectionError("no client")
        self._calls.add(task)
        try:
            group = ConnectionGroup.COORDINATION if coordination else ConnectionGroup.DEFAULT
            return await client.send(node, request, group=group)
        finally:
            self._calls.discard(task)

    async def _keep_connected(self) -> None:
        backoff = _BACKOFF
        while not self._stopping.is_set():
            client = self._connection.client()
            try:
                await client.bootstrap()
                backoff = _BACKOFF
                client.set_topics(self._topics)
                client.cluster.add_listener(lambda _: self._changed())
                self.client = client
                self._changed()
                await self._serve(client)
            except KafkaConnectionError as error:
                log.warning("Kafka cannot be reached: %s", error)
            except Exception:  # whatever a client dies of, the next one gets its chance
                log.exception("Kafka client failed")
            finally:
                self.client = None
                await self._close(client)
            await self._pause(backoff)
            backoff = min(2 * backoff, _BACKOFF_MAX)

    async def _serve(self, client: Any) -> None:
        """Refresh metadata when asked, until the client is to be given up."""
        loop = asyncio.get_running_loop()
        last_success = loop.time()
        self._renew = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._renew or self._stopping.is_set():
                return
            try:
                async with asyncio.timeout(2 * self._connection.request_timeout):
                    updated = await client.force_metadata_update()
            except TimeoutError:  # its metadata task is stuck or gone
                updated = False
            if updated:
                last_success = loop.time()
            elif loop.time() - last_success > 2 * self._connection.request_timeout:
                log.warning("no known Kafka broker answers; starting again from the bootstrap addresses")
                return
            else:
                self._wake.set()
            await self._pause(_BACKOFF)

    async def _close(self, client: Any) -> None:
        """Close, let the calls under way notice it, and close what they opened meanwhile."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await client.close()
                if self._calls:
                    await asyncio.wait(tuple(self._calls), timeout=self._connection.request_timeout)
                await client.close()
        except TimeoutError:
            log.warning("Kafka connections did not close in time")

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def start_client(client: Any) -> None:
    """`start()` of a consumer or an admin client; when it is cancelled, the client can be closed with all that it opened.

    aiokafka 0.14: who cancels `bootstrap` while it waits for the first metadata loses the connection it asked on, which
    nobody can close any more. So a cancelled start goes on to its end, mostly one answer of a broker away, before the
    cancellation counts; what does not end in time is cut off all the same.
    """
    starting = asyncio.create_task(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        try:
            await asyncio.wait((starting,), timeout=_CLOSE_TIMEOUT)
        finally:
            starting.cancel()
        await asyncio.wait((starting,))
        raise


async def close_consumer(consumer: Any) -> None:
    """Stop a consumer, whatever state it is in.

    aiokafka 0.14: `stop()` itself ends as cancelled when it cancels a fetch that waits out its retry pause, and leaves other
    fetches and the connections behind. In a task of its own that cancellation is not taken for ours.
    """
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait((stopping,), timeout=_CLOSE_TIMEOUT)
    if stopping.done() and not stopping.cancelled():
        if (error := stopping.exception()) is None:
            return
        log.warning("a consumer did not close cleanly: %r", error)
    fetcher = consumer._fetcher
    left: set[asyncio.Task[Any]] = {stopping, *(fetcher._pending_tasks if fetcher is not None else ())}
    for task in left:
        task.cancel()
    await asyncio.wait(left, timeout=_CLOSE_TIMEOUT)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await consumer._client.close()
