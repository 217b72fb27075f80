"""The ports for charge points: accept, TLS, handshake, admission, and the hand-over to a `ChargePointSocket`.

We accept ourselves rather than through `loop.create_server`: so handshakes are counted and capped from their first packet
(a TLS handshake costs a millisecond of CPU, before any request is seen), every failure has the peer's address, and there is
a place between accept and TLS, where the PROXY protocol will be read.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from ocpp_gateway.adapters.answers import Accept, Admit, Answer, Refuse
from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.handshakes import Malformed, Opening, PeerGone, offered_subprotocols
from ocpp_gateway.adapters.station_ports import ListenerOptions, StationPort
from ocpp_gateway.adapters.transport import ConnectionHandler, Shared
from ocpp_gateway.core.admission import Handshake

log = logging.getLogger(__name__)

# Without context takeover a compressed socket keeps about 17 KiB less between messages; 4 KiB windows are plenty for OCPP.
DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=12,
    client_max_window_bits=12,
    compress_settings={"memLevel": 5},
)


# A reconnect storm must not starve the stations that are served already. A plain handshake takes about 125 us of CPU, one
# over TLS ten times that (RSA 2048), so this many accepts per breath leave at least half of the time to everybody else;
# who comes faster waits in the kernel's backlog.
_PLAIN_BATCH = 32
_TLS_BATCH = 4
_BREATH = 0.01


@dataclass(frozen=True, slots=True)
class HandshakeOptions:
    timeout: float = 10.0
    max_pending: int = 4_000
    deflate: bool = True
    backlog: int = 4_096
    certificate_check: float = 10.0
    """How often certificate files are looked at, seconds."""


class Listeners:
    """All station ports of a pod. `start`, then `stop_accepting` when draining, `close` at the end."""

    def __init__(
        self, listeners: Sequence[ListenerOptions], options: HandshakeOptions, shared: Shared, admit: Admit
    ) -> None:
        self._listeners = tuple(listeners)
        self._options = options
        self._shared = shared
        self._admit = admit
        self._ports: list[StationPort] = []
        self._pending: dict[asyncio.Task[None], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._extensions = [DEFLATE] if options.deflate else []
        self._watch: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------------------------------------------------- outside

    @property
    def sockets(self) -> set[ChargePointSocket]:
        """Every open socket."""
        return self._shared.sockets

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Listener name -> bound host and port."""
        return {port.options.name: port.address for port in self._ports}

    @property
    def handshakes(self) -> int:
        """Sockets that have not finished their handshake, admission included."""
        return len(self._tasks)

    async def start(self) -> None:
        """Bind all ports or none; raises OSError naming the address."""
        try:
            for options in self._listeners:
                self._ports.append(StationPort(options, self._options.backlog))
        except OSError:
            for port in self._ports:
                port.socket.close()
            self._ports.clear()
            raise
        self._shared.wheel.start()
        for port in self._ports:
            self._listen(port)
        if any(options.tls for options in self._listeners):
            self._watch = asyncio.create_task(self._watch_certificates(), name="certificates")

    def stop_accepting(self) -> None:
        """Close the ports; sockets that are open stay."""
        loop = asyncio.get_running_loop()
        for port in self._ports:
            loop.remove_reader(port.socket)
            port.socket.close()
        self._ports.clear()

    async def close(self) -> None:
        """Stop accepting, drop handshakes, cut what is still open. Closing politely and at a rate is the drain's work."""
        self.stop_accepting()
        if self._watch is not None:
            self._watch.cancel()
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._shared.sockets):
            connection.abort("shutdown")
        await asyncio.gather(*self._tasks, *([self._watch] if self._watch else []), return_exceptions=True)
        await self._shared.empty.wait()
        self._shared.wheel.stop()

    # ----------------------------------------------------------------------------------------------------------- accept

    def _listen(self, port: StationPort) -> None:
        asyncio.get_running_loop().add_reader(port.socket, self._accept, port)

    def _accept(self, port: StationPort) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_TLS_BATCH if port.options.tls else _PLAIN_BATCH):
            if len(self._pending) >= self._options.max_pending:
                if not port.somebody_waits():
                    return
                if not self._cut_oldest(loop.time()):
                    # Full of young handshakes: the rest waits in the kernel's backlog.
                    self._rest(port, 0.1)
                    return
            try:
                accepted, address = port.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._shared.count("accept_failed", errno.errorcode[error.errno])
                self._rest(port, 1.0)
                return
            accepted.setblocking(False)
            peer = str(address[0])
            task = loop.create_task(self._serve(port, accepted, peer, f"{peer}:{address[1]}"))
            self._tasks.add(task)
            self._pending[task] = loop.time()
            task.add_done_callback(self._ended)
        # There may be more; the sockets that are open have their turn first.
        self._rest(port, _BREATH)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._pending.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("handshake failed", exc_info=task.exception())

    def _rest(self, port: StationPort, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(port.socket)

        def again() -> None:
            if port in self._ports:
                self._listen(port)

        loop.call_later(seconds, again)

    def _cut_oldest(self, now: float) -> bool:
        """Make room by ending the slowest handshake: honest peers need less than half the time, slow ones hold places."""
        task, since = next(iter(self._pending.items()))
        if now - since < self._options.timeout / 2:
            return False
        self._pending.pop(task)
        self._shared.count("handshake_failed", "cut")
        task.cancel()
        return True

    # -------------------------------------------------------------------------------------------------------- handshake

    async def _serve(self, port: StationPort, accepted: socket.socket, peer: str, address: str) -> None:
        """One socket from accept to open, in reading order."""
        opening: Opening | None = None
        try:
            async with asyncio.timeout(self._options.timeout):
                # Here, before TLS, the PROXY protocol header will be read from `accepted`.
                opening = await self._connect(port, accepted)
                request = await opening.request()
                subprotocols = offered_subprotocols(request)
            self._pending.pop(cast("asyncio.Task[None]", asyncio.current_task()), None)
            handshake = Handshake(
                connection=secrets.token_hex(8),
                target=request.path,
                subprotocols=subprotocols,
                authorization=next(iter(request.headers.get_all("Authorization")), None),
                listener=port.facts,
                peer=peer,
                user_agent=next(iter(request.headers.get_all("User-Agent")), None),
            )
            answer = await self._admit(handshake, opening.lost.is_set)
            await self._answer(opening, answer, address)
        except Malformed as malformed:
            self._shared.count("handshake_failed", "malformed")
            log.warning(
                "handshake refused by websockets",
                extra={"peer": address, "reason": str(malformed), "status": malformed.status},
            )
            if opening is not None:
                await opening.farewell()
        except PeerGone:
            self._shared.count("handshake_failed", "gone")
        except TimeoutError:
            self._shared.count("handshake_failed", "timeout")
            log.info("handshake too slow", extra={"peer": address})
        except (ssl.SSLError, ConnectionError) as error:
            self._shared.count("handshake_failed", "tls" if port.options.tls else "gone")
            log.info("connection failed before the request", extra={"peer": address, "reason": str(error)})
        except Exception:  # one handshake's trouble, whatever it is, must not end the port
            self._shared.count("handshake_failed", "error")
            log.exception("admission failed", extra={"peer": address})
            if opening is not None and not opening.answered and not opening.lost.is_set():
                opening.refuse(500, "internal error")
                await opening.farewell()
        finally:
            if opening is None:
                accepted.close()
            elif opening.transport is not None and opening.transport.get_protocol() is opening:
                opening.transport.abort()

    async def _connect(self, port: StationPort, accepted: socket.socket) -> Opening:
        loop = asyncio.get_running_loop()
        tls = port.options.tls
        opening = Opening(self._extensions)
        await loop.connect_accepted_socket(
            lambda: opening,
            accepted,
            ssl=tls.context if tls else None,
            ssl_handshake_timeout=self._options.timeout if tls else None,
            ssl_shutdown_timeout=self._shared.options.close_timeout if tls else None,
        )
        return opening

    async def _answer(self, opening: Opening, answer: Answer, address: str) -> None:
        # A transport that is closing has told its end to this protocol, or is about to: another one would never hear of it.
        if opening.lost.is_set() or opening.transport.is_closing():
            if isinstance(answer, Accept):
                answer.abandoned()
            self._shared.count("handshake_failed", "gone")
        elif isinstance(answer, Refuse):
            opening.refuse(answer.status, answer.text, answer.headers)
            await opening.farewell()
        else:
            extensions = cast("list[Extension]", opening.extensions)
            keepalive = isinstance(answer, Accept) and answer.keepalive
            connection = ChargePointSocket(self._shared, address, extensions, keepalive=keepalive)
            if isinstance(answer, Accept):
                try:
                    opening.accept(answer.subprotocol)
                    connection.open(opening.transport, answer.open, opening.surplus())
                except Exception:  # raised again: only the registration is undone here
                    answer.abandoned()
                    raise
            else:
                opening.accept(None)
                connection.open(opening.transport, _nobody, b"")
                connection.close(answer.code, answer.reason)

    async def _watch_certificates(self) -> None:
        while True:
            await asyncio.sleep(self._options.certificate_check)
            for options in self._listeners:
                if options.tls is not None and options.tls.reload_if_changed():
                    self._shared.count("certificates_reloaded", options.name)


class _Nobody:
    """The handler of a socket that is closed at once."""

    def on_text(self, text: str) -> None: ...
    def on_closed(self, code: int, reason: str) -> None: ...
    def on_write_paused(self) -> None: ...
    def on_write_resumed(self) -> None: ...


def _nobody(_socket: ChargePointSocket) -> ConnectionHandler:
    return _Nobody()
