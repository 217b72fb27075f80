"""A real station port on loopback whose sessions echo: what the tests of the transport connect to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ocpp_gateway.adapters.answers import Accept, Answer
from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.listeners import HandshakeOptions, Listeners
from ocpp_gateway.adapters.station_ports import ListenerOptions
from ocpp_gateway.adapters.tls import ListenerTls
from ocpp_gateway.adapters.transport import Shared, SocketOptions
from ocpp_gateway.core.admission import Handshake


@dataclass
class EchoSession:
    """Sends every text back; remembers what happened to it."""

    socket: ChargePointSocket
    handshake: Handshake
    echo: bool = True
    texts: list[str] = field(default_factory=list)
    writing_paused: list[bool] = field(default_factory=list)
    closed: asyncio.Future[tuple[int, str]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def on_text(self, text: str) -> None:
        self.texts.append(text)
        self.arrived.set()
        if self.echo:
            self.socket.send_text(text)

    def on_closed(self, code: int, reason: str) -> None:
        self.closed.set_result((code, reason))

    def on_write_paused(self) -> None:
        self.writing_paused.append(True)

    def on_write_resumed(self) -> None:
        self.writing_paused.append(False)


@dataclass
class StationPort:
    listeners: Listeners
    shared: Shared
    sessions: list[EchoSession]
    counted: Counter[tuple[str, str]]
    url: str
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def session(self) -> EchoSession:
        """The latest session, once there is one."""
        await asyncio.wait_for(self.opened.wait(), 5)
        return self.sessions[-1]

    @property
    def address(self) -> tuple[str, int]:
        return next(iter(self.listeners.addresses.values()))


@asynccontextmanager
async def station_port(
    options: SocketOptions | None = None,
    handshakes: HandshakeOptions | None = None,
    *,
    tls: ListenerTls | None = None,
    admit: Callable[[Handshake], Answer | None] = lambda _: None,
    echo: bool = True,
    keepalive: bool = True,
) -> AsyncIterator[StationPort]:
    """One listener on a free port. `admit` may answer in place of the default, which accepts the first subprotocol."""
    counted: Counter[tuple[str, str]] = Counter()

    def count(what: str, which: str) -> None:
        counted[what, which] += 1

    shared = Shared(options or SocketOptions(messages_per_second=1e6, message_burst=1_000_000), count)
    sessions: list[EchoSession] = []

    async def decide(handshake: Handshake, peer_gone: Callable[[], bool]) -> Answer:
        answer = admit(handshake)
        if answer is not None:
            return answer

        def open_session(socket: ChargePointSocket) -> EchoSession:
            session = EchoSession(socket, handshake, echo)
            sessions.append(session)
            port.opened.set()
            return session

        return Accept(next(iter(handshake.subprotocols), None), open_session, keepalive=keepalive)

    listener = ListenerOptions("test", "127.0.0.1", 0, frozenset({2} if tls else {0, 1}), tls)
    listeners = Listeners([listener], handshakes or HandshakeOptions(), shared, decide)
    await listeners.start()
    scheme = "wss" if tls else "ws"
    port = StationPort(listeners, shared, sessions, counted, f"{scheme}://127.0.0.1:{listeners.addresses['test'][1]}")
    try:
        yield port
    finally:
        await asyncio.wait_for(listeners.close(), 10)
