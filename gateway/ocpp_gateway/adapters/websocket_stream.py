"""The WebSocket of one charge point as a stream of messages: bytes in, texts out, and back (RFC 6455).

Complete, unfragmented text and ping/pong frames, which is what a session consists of, are read here; everything else
(fragments, compression, close frames, every violation) goes frame by frame through websockets' sans-I/O `ServerProtocol`,
which is made when it is needed and dropped afterwards: an idle socket keeps neither parser nor buffer (ADR 0036 has the
figures). What is done with messages, and all that has to do with time, is `charge_points`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from enum import IntEnum
from typing import cast

from websockets.extensions import Extension
from websockets.frames import BINARY, CLOSE, CONT, PONG, TEXT, CloseCode, Frame
from websockets.protocol import OPEN as WS_OPEN
from websockets.server import ServerProtocol

from ocpp_gateway.adapters import websocket_frames as frames
from ocpp_gateway.adapters.timer_wheel import NEVER
from ocpp_gateway.adapters.transport import Shared

log = logging.getLogger(__name__)


class State(IntEnum):
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class WebSocketStream(asyncio.Protocol):
    """An open WebSocket after its 101. `ChargePointSocket` gives `_message`, `_pong`, `_charge` and the timers a meaning."""

    __slots__ = (
        "_buffer",
        "_close_by",
        "_extensions",
        "_fragments",
        "_paused",
        "_reason",
        "_shared",
        "_state",
        "_transport",
        "_ws",
        "last_frame_at",
        "peer",
        "timer_due",
    )

    def __init__(self, shared: Shared, peer: str, extensions: Sequence[Extension]) -> None:
        self._shared = shared
        self.peer = peer
        """host:port of the other end."""
        self.last_frame_at = shared.clock()
        """Boottime seconds of the last bytes that came in."""
        self.timer_due = NEVER
        self._extensions = list(extensions) or None
        self._state = State.OPEN
        self._paused = 0
        """Not 0: frames wait in the buffer. The bits are the reasons."""
        self._buffer: bytearray | None = None
        self._ws: ServerProtocol | None = None
        self._fragments: list[bytes] | None = None
        self._close_by = NEVER
        self._reason: tuple[int, str] | None = None
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)

    # ------------------------------------------------------------------------------------------- for the session runtime

    @property
    def is_open(self) -> bool:
        return self._state is State.OPEN

    def send_text(self, data: bytes | str) -> bool:
        """Hand one text message (UTF-8) to the transport; False: the socket is not open any more, nothing was written."""
        if self._state is not State.OPEN:
            return False
        if isinstance(data, str):
            data = data.encode()
        if self._extensions is not None:
            self._transport.write(Frame(TEXT, data).serialize(mask=False, extensions=self._extensions))
            return True
        self._transport.write(frames.text(data))
        return True

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Start the closing handshake; after `close_timeout` without an answer the socket is cut."""
        if self._state is not State.OPEN:
            return
        ws = self._ws or self._websockets()
        ws.send_close(code, frames.cut_reason(reason))
        self._ws = ws
        self._reason = (code, reason)
        self._flush(ws)
        # The peer's close frame stands behind whatever was not read yet.
        self._resume_all()

    def abort(self, reason: str = "aborted") -> None:
        """Cut the socket now; what is unsent is lost. `on_closed` follows soon."""
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._reason = self._reason or (CloseCode.ABNORMAL_CLOSURE, reason)
        self._shared.count("socket_aborted", reason)
        self._transport.abort()

    # --------------------------------------------------------------------------------------------- for ChargePointSocket

    def on_timer(self, now: float) -> float:
        """See `timer_wheel.Timed`."""
        raise NotImplementedError

    def _message(self, text: str) -> None:
        """One whole text message."""
        raise NotImplementedError

    def _pong(self, payload: bytes) -> None:
        raise NotImplementedError

    def _charge(self) -> None:
        """One frame of whatever kind came in."""
        raise NotImplementedError

    def _resume_all(self) -> None:
        """Read on, whatever reading waited for."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------------------------ frames

    def _consume(self, data: bytes | bytearray) -> None:
        """Read frame after frame (RFC 6455 section 5.2); what is incomplete or must wait stays in the buffer."""
        position, end = 0, len(data)
        while end - position >= 2 and not self._paused and self._state is not State.CLOSED:
            head, second = data[position], data[position + 1]
            size = second & 0x7F
            start = position + 6
            if size == 126:
                start += 2
                if start > end:
                    break
                size = data[position + 2] << 8 | data[position + 3]
            elif size == 127:
                start += 8
                if start > end:
                    break
                size = int.from_bytes(data[position + 2 : position + 10], "big")
            if second < 0x80 or size > self._shared.options.max_message:
                # Not masked, or too long: the header is enough for websockets to fail the connection as it should.
                self._through_websockets(data[position:start])
                position = end
                break
            stop = start + size
            if stop > end:
                break
            self._charge()
            if self._ws is not None:
                self._through_websockets(data[position:stop])
            elif head == frames.TEXT:
                self._text(frames.unmask(data[start:stop], data[start - 4 : start]))
            elif head == frames.PONG and size < 126:
                self._pong(frames.unmask(data[start:stop], data[start - 4 : start]))
            elif head == frames.PING and size < 126:
                self._transport.write(
                    frames.control(frames.PONG, frames.unmask(data[start:stop], data[start - 4 : start]))
                )
            else:
                self._through_websockets(data[position:stop])
            position = stop
        if position < end and self._state is not State.CLOSED:
            # A long message in many pieces grows in place.
            self._buffer = data if position == 0 and isinstance(data, bytearray) else bytearray(data[position:])

    def _text(self, message: bytes) -> None:
        try:
            text = message.decode()
        except UnicodeDecodeError as error:
            self._fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
        else:
            self._message(text)

    def _websockets(self) -> ServerProtocol:
        ws = ServerProtocol(state=WS_OPEN, max_size=self._shared.options.max_message)
        if self._extensions is not None:
            ws.extensions = self._extensions
        return ws

    def _through_websockets(self, frame: bytes | bytearray) -> None:
        ws = self._ws or self._websockets()
        self._ws = ws
        ws.receive_data(frame)
        for event in ws.events_received():
            self._on_frame(ws, cast(Frame, event))
        if ws.parser_exc is not None and self._reason is None:
            sent = ws.close_sent
            self._reason = (sent.code, sent.reason) if sent else (CloseCode.ABNORMAL_CLOSURE, "")
            self._shared.count("frame_refused", str(int(self._reason[0])))
            log.info(
                "connection failed", extra={"peer": self.peer, "code": int(self._reason[0]), "reason": self._reason[1]}
            )
        self._flush(ws)
        if self._state is State.OPEN and ws.current_size is None:
            self._ws = None  # between messages: nothing to remember

    def _on_frame(self, ws: ServerProtocol, frame: Frame) -> None:
        if self._state is not State.OPEN:
            return
        if frame.opcode is TEXT or frame.opcode is CONT:
            if frame.fin and self._fragments is None:
                self._text(bytes(frame.data))
                return
            self._fragments = [*(self._fragments or ()), bytes(frame.data)]
            if frame.fin:
                fragments, self._fragments = self._fragments, None
                self._text(b"".join(fragments))
        elif frame.opcode is PONG:
            self._pong(bytes(frame.data))
        elif frame.opcode is BINARY:
            self._fail(CloseCode.UNSUPPORTED_DATA, "OCPP messages are text")
        elif frame.opcode is CLOSE:
            self._state = State.CLOSING

    def _fail(self, code: CloseCode, reason: str) -> None:
        """Fail the connection (RFC 6455 section 7.1.7): close frame, then end of stream, without waiting for the peer's."""
        if self._state is not State.OPEN:
            return
        ws = self._ws or self._websockets()
        self._ws = ws
        self._reason = (code, reason)
        self._shared.count("frame_refused", str(int(code)))
        ws.fail(code, frames.cut_reason(reason))
        self._flush(ws)

    def _flush(self, ws: ServerProtocol) -> None:
        for data in ws.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
        if ws.state is not WS_OPEN:
            self._closing()

    def _closing(self) -> None:
        """Nothing is sent any more; the other side has `close_timeout` to finish."""
        if self._state is not State.CLOSED and self._close_by == NEVER:
            self._state = State.CLOSING
            self._close_by = self._shared.clock() + self._shared.options.close_timeout
            self._shared.wheel.at(self, self._close_by)
