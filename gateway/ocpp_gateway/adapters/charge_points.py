"""One open WebSocket of a charge point, from the 101 to its end: the session on one side, time and memory on the other.

No task and no timer per socket: keepalive, write time-outs and closing deadlines are due times in one `TimerWheel`. Reading
rests while the session asks for it, while the station is beyond its rate, and while it does not take what we write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import uniform
from typing import cast

from websockets.extensions import Extension
from websockets.frames import CloseCode

from ocpp_gateway.adapters import websocket_frames as frames
from ocpp_gateway.adapters.timer_wheel import NEVER
from ocpp_gateway.adapters.transport import ConnectionHandler, Shared
from ocpp_gateway.adapters.websocket_stream import State, WebSocketStream

log = logging.getLogger(__name__)

# Why reading is paused; plain integers, for they are looked at per frame.
_BY_HANDLER = 1
_BY_RATE = 2
_BY_WRITING = 4
_MAX_WAITING_PONGS = 8


class ChargePointSocket(WebSocketStream):
    """An open socket. `open()` is called once by the handshake, after that only the loop and the handler call in."""

    __slots__ = (
        "_handler",
        "_missed",
        "_next_ping",
        "_ping_number",
        "_pinged_at",
        "_pongs",
        "_rate_until",
        "_stuck_since",
        "proven_at",
    )

    def __init__(self, shared: Shared, peer: str, extensions: Sequence[Extension], *, keepalive: bool = True) -> None:
        super().__init__(shared, peer, extensions)
        now = self.last_frame_at
        interval = shared.options.ping_interval
        self.proven_at = -NEVER
        """When the latest ping that was answered had been sent: "has answered a ping since t" is `proven_at > t`."""
        self._pongs: list[tuple[int, Callable[[], None]]] | None = None
        self._ping_number = 0
        self._pinged_at = now
        self._missed = 0
        self._next_ping = now + uniform(0.1, 1.0) * interval if keepalive and interval > 0 else NEVER
        self._rate_until = 0.0
        self._stuck_since = NEVER
        self._handler: ConnectionHandler = cast(ConnectionHandler, None)

    # ------------------------------------------------------------------------------------------- for the session runtime

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

    # --------------------------------------------------------------------------------------------- from the frame reader

    def _message(self, text: str) -> None:
        try:
            self._handler.on_text(text)
        except Exception:  # a mistake in one session closes its socket and nothing else
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

    def _resume_all(self) -> None:
        self._resume(_BY_HANDLER | _BY_RATE | _BY_WRITING)

    def _consume_waiting(self) -> None:
        if self._buffer is not None and not self._paused and self._state is not State.CLOSED:
            # What waited counts as arriving now, for the rate as for the silence.
            self.last_frame_at = self._shared.clock()
            buffer, self._buffer = self._buffer, None
            self._consume(buffer)
