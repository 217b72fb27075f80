"""One open WebSocket of a charge point, from the 101 to its end.

Bytes in, texts out, and back. Complete, unfragmented text and ping/pong frames, which is what a session consists of, are
read here; everything else (fragments, compression, close frames, every violation of RFC 6455) goes frame by frame through
websockets' sans-I/O `ServerProtocol`, which is made when it is needed and dropped afterwards: an idle socket keeps neither
parser nor buffer (ADR 0036 has the figures).

No task and no timer per socket: keepalive, write time-outs and closing deadlines are due times in one `TimerWheel`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import IntEnum
from random import uniform
from typing import cast

from websockets.extensions import Extension
from websockets.frames import BINARY, CLOSE, CONT, PONG, TEXT, CloseCode, Frame
from websockets.protocol import OPEN as WS_OPEN
from websockets.server import ServerProtocol

from ocpp_gateway.adapters import websocket_frames as frames
from ocpp_gateway.adapters.timer_wheel import NEVER
from ocpp_gateway.adapters.transport import ConnectionHandler, Shared

log = logging.getLogger(__name__)


class State(IntEnum):
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


# Why reading is paused; plain integers, for they are looked at per frame.
_BY_HANDLER = 1
_BY_RATE = 2
_BY_WRITING = 4
_MAX_WAITING_PONGS = 8


class ChargePointSocket(asyncio.Protocol):
    """An open socket. `open()` is called once by the handshake, after that only the loop and the handler call in."""

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_close_by",
        "_extensions",
        "_fragments",
        "_handler",
        "_keepalive",
        "_missed",
        "_next_ping",
        "_paused",
        "_ping_number",
        "_pinged_at",
        "_pongs",
        "_rate_until",
        "_reason",
        "_shared",
        "_state",
        "_stuck_since",
        "_transport",
        "_ws",
        "last_frame_at",
        "peer",
        "proven_at",
        "timer_due",
    )

    def __init__(self, shared: Shared, peer: str, extensions: Sequence[Extension], *, keepalive: bool = True) -> None:
        now = shared.clock()
        self._shared = shared
        self.peer = peer
        """host:port of the other end."""
        self.last_frame_at = now
        """Boottime seconds of the last bytes that came in."""
        self.proven_at = NEVER * -1
        """When the latest ping that was answered had been sent: "has answered a ping since t" is `proven_at > t`."""
        self.timer_due = NEVER
        self._extensions = list(extensions) or None
        self._keepalive = keepalive and shared.options.ping_interval > 0
        self._state = State.OPEN
        self._paused = 0
        self._buffer: bytearray | None = None
        self._ws: ServerProtocol | None = None
        self._fragments: list[bytes] | None = None
        self._pongs: list[tuple[int, Callable[[], None]]] | None = None
        self._ping_number = 0
        self._pinged_at = now
        self._missed = 0
        self._next_ping = now + uniform(0.1, 1.0) * shared.options.ping_interval if self._keepalive else NEVER
        self._rate_until = 0.0
        self._stuck_since = NEVER
        self._close_by = NEVER
        self._reason: tuple[int, str] | None = None
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._handler: ConnectionHandler = cast(ConnectionHandler, None)

    # ------------------------------------------------------------------------------------------- for the session runtime

    @property
    def is_open(self) -> bool:
        return self._state is State.OPEN

    def open(
        self,
        transport: asyncio.Transport,
        handler: Callable[[ChargePointSocket], ConnectionHandler],
        surplus: bytes,
    ) -> None:
        """Take over from the handshake: the 101 is written; `surplus` is what the peer sent behind its request."""
        self._transport = transport
        self._handler = handler(self)
        self._shared.sockets.add(self)
        self._shared.empty.clear()
        transport.set_write_buffer_limits(high=self._shared.options.write_high_water)
        transport.set_protocol(self)
        self._shared.wheel.at(self, min(self._next_ping, self.last_frame_at + self._shared.options.write_timeout))
        if surplus:
            self.data_received(surplus)

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

    def ping(self, on_pong: Callable[[], None] | None = None) -> bool:
        """Send a ping; `on_pong` is called when this ping, or a later one, is answered. False: not open."""
        if self._state is not State.OPEN:
            return False
        self._ping_number = number = (self._ping_number + 1) & 0xFFFFFFFF
        self._pinged_at = self._shared.clock()
        self._transport.write(frames.control(frames.PING, number.to_bytes(4, "big")))
        if on_pong is not None:
            # Bounded: a station that never pongs must not collect waiters; theirs time out.
            self._pongs = [*(self._pongs or ())[-_MAX_WAITING_PONGS + 1 :], (number, on_pong)]
        return True

    def pause_reading(self) -> None:
        """Read nothing more from this station (TCP back-pressure); messages already received wait too."""
        self._pause(_BY_HANDLER)

    def resume_reading(self) -> None:
        self._resume(_BY_HANDLER)

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
        self._resume(_BY_HANDLER | _BY_RATE | _BY_WRITING)

    def abort(self, reason: str = "aborted") -> None:
        """Cut the socket now; what is unsent is lost. `on_closed` follows soon."""
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._reason = self._reason or (CloseCode.ABNORMAL_CLOSURE, reason)
        self._shared.count("socket_aborted", reason)
        self._transport.abort()

    # ----------------------------------------------------------------------------------------------------- from the loop

    def data_received(self, data: bytes) -> None:
        self.last_frame_at = self._shared.clock()
        if self._buffer is None:
            self._consume(data)
        else:
            buffer, self._buffer = self._buffer, None
            buffer += data
            self._consume(buffer)

    def eof_received(self) -> bool:
        """The peer sends nothing more: RFC 6455 knows no half-closed socket, so let the transport close.

        It does so once everything is written, which a peer that does not read may put off for ever: hence the deadline.
        """
        self._closing()
        return False

    def pause_writing(self) -> None:
        self._stuck_since = now = self._shared.clock()
        self._shared.wheel.at(self, now + self._shared.options.write_timeout)
        # Whoever does not take our answers gets no more to answer; otherwise pongs alone could fill the memory.
        self._pause(_BY_WRITING)
        if self._state is State.OPEN:
            self._handler.on_write_paused()

    def resume_writing(self) -> None:
        self._stuck_since = NEVER
        self._resume(_BY_WRITING)
        if self._state is State.OPEN:
            self._handler.on_write_resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = State.CLOSED
        self._shared.sockets.discard(self)
        if not self._shared.sockets:
            self._shared.empty.set()
        self._shared.wheel.forget(self)
        received = self._ws.close_rcvd if self._ws is not None else None
        code, reason = (
            (received.code, received.reason) if received else self._reason or (CloseCode.ABNORMAL_CLOSURE, "")
        )
        self._ws = self._buffer = self._fragments = self._pongs = None
        handler, self._handler = self._handler, cast(ConnectionHandler, None)
        handler.on_closed(int(code), reason)

    def on_timer(self, now: float) -> float:
        """Whatever is due, and when to look again."""
        options = self._shared.options
        if self._state is State.CLOSED:
            return NEVER
        if now >= self._close_by:
            self.abort("close-timeout")
            return NEVER
        # Below the high-water mark the transport does not tell: a buffer that is never empty when we look is stuck as well.
        if self._stuck_since == NEVER and self._transport.get_write_buffer_size() > 0:
            self._stuck_since = now
        elif self._stuck_since != NEVER:
            if self._transport.get_write_buffer_size() == 0:
                self._stuck_since = NEVER
            elif now - self._stuck_since >= options.write_timeout:
                self.abort("write-timeout")
                return NEVER
        if self._state is State.CLOSING:
            return self._close_by
        if self._paused & _BY_RATE and now >= self._rate_until - self._shared.burst_time / 2:
            self._resume(_BY_RATE)
        if now >= self._next_ping:
            # Silence counts only while we listen: a station that we do not read cannot show that it lives.
            silent = self._ping_number > 0 and self.last_frame_at < self._pinged_at and not self._paused
            self._missed = self._missed + 1 if silent else 0
            if self._missed >= options.missed_pings:
                self.abort("ping-timeout")
                return NEVER
            self.ping()
            self._next_ping = now + options.ping_interval * uniform(0.8, 1.2)
        return min(
            self._next_ping,
            self._stuck_since + options.write_timeout if self._stuck_since != NEVER else now + options.write_timeout,
            self._rate_until - self._shared.burst_time / 2 if self._paused & _BY_RATE else NEVER,
        )

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

    def _charge(self) -> None:
        """One frame of whatever kind against the station's rate: beyond it reading rests, nothing is dropped."""
        shared = self._shared
        until = self._rate_until
        if until < self.last_frame_at:
            until = self.last_frame_at
        self._rate_until = until = until + shared.seconds_per_message
        if until - self.last_frame_at > shared.burst_time:
            shared.count("station_throttled", "")
            self._pause(_BY_RATE)
            # Until half of the burst is back: resuming for one message at a time would slow it down far below its rate.
            shared.wheel.at(self, until - shared.burst_time / 2)

    def _text(self, message: bytes) -> None:
        try:
            text = message.decode()
        except UnicodeDecodeError as error:
            self._fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
            return
        try:
            self._handler.on_text(text)
        except Exception:
            log.exception("session failed", extra={"peer": self.peer})
            self._fail(CloseCode.INTERNAL_ERROR, "")

    def _pong(self, payload: bytes) -> None:
        number = int.from_bytes(payload, "big")
        if len(payload) != 4 or not 0 < number <= self._ping_number:
            return  # unsolicited: a sign of life, no proof
        if number == self._ping_number:
            self.proven_at = self._pinged_at
        if self._pongs is not None:
            answered = [waiter for sent, waiter in self._pongs if sent <= number]
            self._pongs = [pair for pair in self._pongs if pair[0] > number] or None
            for waiter in answered:
                waiter()

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

    # ----------------------------------------------------------------------------------------------------- back-pressure

    def _pause(self, why: int) -> None:
        if self._state is State.OPEN:
            if not self._paused:
                self._transport.pause_reading()
            self._paused |= why

    def _resume(self, why: int) -> None:
        if not self._paused:
            return
        self._paused &= ~why
        if self._paused or self._state is State.CLOSED:
            return
        self._transport.resume_reading()
        if self._buffer is not None:
            # Not from within the handler's call: it may be in the middle of something.
            asyncio.get_running_loop().call_soon(self._consume_waiting)

    def _consume_waiting(self) -> None:
        if self._buffer is not None and not self._paused and self._state is not State.CLOSED:
            # What waited counts as arriving now, for the rate as for the silence.
            self.last_frame_at = self._shared.clock()
            buffer, self._buffer = self._buffer, None
            self._consume(buffer)
