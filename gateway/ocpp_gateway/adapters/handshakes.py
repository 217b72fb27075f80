"""The opening handshake of one socket, from the accept to the 101 (or to a refusal that the peer can read).

websockets' sans-I/O `ServerProtocol` parses and checks the upgrade request (RFC 6455 section 4.2); what it refuses is
counted and logged with the peer's address, since nobody else ever sees it. Bytes behind the request are kept from it: a
frame must not be answered before the 101.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import cast

from websockets.extensions import ServerExtensionFactory
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

log = logging.getLogger(__name__)

MAX_REQUEST = 16_384
MAX_SURPLUS = 65_536
_FAREWELL = 2.0


class PeerGone(ConnectionError):
    """The peer went away before its request was answered."""


class Malformed(Exception):
    """websockets refused the request before admission saw it. `answered`: a response says so to the peer."""

    def __init__(self, reason: str, status: int | None) -> None:
        super().__init__(reason)
        self.status = status


class Opening(asyncio.Protocol):
    """Collects the request; one per socket, dropped with everything of the handshake once the socket is open."""

    def __init__(self, extensions: Sequence[ServerExtensionFactory]) -> None:
        self._ws = ServerProtocol(extensions=extensions, select_subprotocol=_none)
        self._request: asyncio.Future[Request] = asyncio.get_running_loop().create_future()
        self._tail = b""
        self._read = 0
        self._surplus = bytearray()
        self._response: Response | None = None
        self.answered = False
        """A response was sent; nothing but frames may follow a 101."""
        self.lost = asyncio.Event()
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    # ---------------------------------------------------------------------------------------------------- from the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._request.done():
            self._keep(data)
            return
        joined = self._tail + data
        blank = joined.find(b"\r\n\r\n")
        cut = len(data) if blank < 0 else blank + 4 - len(self._tail)
        self._tail = joined[-3:]
        self._read += cut
        self._ws.receive_data(data[:cut])
        if self._ws.handshake_exc is not None:
            self._request.set_exception(Malformed(_chain(self._ws.handshake_exc), None))
        elif events := self._ws.events_received():
            self._request.set_result(cast(Request, events[0]))
            self._keep(data[cut:])
        elif self._read > MAX_REQUEST:
            self._request.set_exception(Malformed("request too large", 431))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        if not self._request.done():
            self._request.set_exception(PeerGone("closed before the request was complete"))

    # ------------------------------------------------------------------------------------------------- for the listener

    async def request(self) -> Request:
        """The upgrade request, checked against RFC 6455; raises PeerGone or Malformed (already answered)."""
        try:
            request = await self._request
        except Malformed as malformed:
            if malformed.status is not None:
                self._respond(self._ws.reject(malformed.status, f"{malformed}\n"))
            else:
                self._flush()  # websockets answered, or broke off: there was no HTTP to answer
            raise
        response = self._ws.accept(request)
        if response.status_code != 101:
            self._respond(response)
            raise Malformed(_chain(self._ws.handshake_exc), response.status_code)
        self._response = response
        return request

    @property
    def extensions(self) -> list[object]:
        return list(self._ws.extensions)

    def accept(self, subprotocol: str | None) -> None:
        """Send the 101; `subprotocol` in the station's own spelling, None for none."""
        assert self._response is not None
        if subprotocol is not None:
            self._response.headers["Sec-WebSocket-Protocol"] = subprotocol
        self._respond(self._response)

    def refuse(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        response = self._ws.reject(status, f"{text}\n")
        for name, value in headers:
            response.headers[name] = value
        self._respond(response)

    def surplus(self) -> bytes:
        """What came behind the request; reading goes on if there was so much of it that it had to stop."""
        if len(self._surplus) > MAX_SURPLUS:
            self.transport.resume_reading()
        return bytes(self._surplus)

    async def farewell(self) -> None:
        """Give the peer a moment to read the refusal and to close; then cut."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.lost.wait(), _FAREWELL)
        self.transport.abort()

    def _respond(self, response: Response) -> None:
        self.answered = True
        self._ws.send_response(response)
        self._flush()

    def _flush(self) -> None:
        if self.transport.is_closing():
            return
        for data in self._ws.data_to_send():
            if data:
                self.transport.write(data)
            elif self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()

    def _keep(self, data: bytes) -> None:
        if self._ws.state.name == "CONNECTING" and not self._ws.eof_sent:
            self._surplus += data
            if len(self._surplus) > MAX_SURPLUS:
                self.transport.pause_reading()


def offered_subprotocols(request: Request) -> tuple[str, ...]:
    """All `Sec-WebSocket-Protocol` values in order; raises InvalidHandshake like websockets itself."""
    return tuple(
        name for value in request.headers.get_all("Sec-WebSocket-Protocol") for name in parse_subprotocol(value)
    )


def _none(_protocol: ServerProtocol, _offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Admission chooses, when it knows the station."""
    return None


def _chain(error: BaseException | None) -> str:
    parts = []
    while error is not None:
        parts.append(str(error) or type(error).__name__)
        error = error.__cause__
    return "; ".join(parts)
