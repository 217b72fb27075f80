"""What the sockets of a pod have in common: their options, whom they talk to, and the few things that are kept once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ocpp_gateway.adapters.clocks import boottime
from ocpp_gateway.adapters.timer_wheel import TimerWheel

if TYPE_CHECKING:
    from ocpp_gateway.adapters.charge_points import ChargePointSocket


class ConnectionHandler(Protocol):
    """Who a socket talks to: the runtime of one session. Called on the loop; an exception closes the socket with 1011."""

    def on_text(self, text: str) -> None:
        """One whole text message, valid UTF-8. Not called while reading is paused, nor once the socket closes."""

    def on_closed(self, code: int, reason: str) -> None:
        """Exactly once, when the socket has gone. `code` is the peer's, else ours, else 1006."""

    def on_write_paused(self) -> None:
        """The station reads slower than we write."""

    def on_write_resumed(self) -> None:
        """It caught up."""


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """What holds for all sockets of a pod. Seconds and bytes."""

    max_message: int = 262_144
    ping_interval: float = 25.0
    """With 20 % jitter; 0 switches pings off."""
    missed_pings: int = 3
    write_timeout: float = 20.0
    close_timeout: float = 5.0
    write_high_water: int = 32_768
    messages_per_second: float = 20.0
    """Frames of one station; beyond the burst it is not read for a while."""
    message_burst: int = 100


class Shared:
    """What the sockets of a process have in common, kept once."""

    __slots__ = ("burst_time", "clock", "count", "empty", "options", "seconds_per_message", "sockets", "wheel")

    def __init__(
        self, options: SocketOptions, count: Callable[[str, str], None], clock: Callable[[], float] = boottime
    ) -> None:
        self.options = options
        self.count = count
        """count(what, which): a counter of the metrics page; never a station id."""
        self.clock = clock
        self.wheel = TimerWheel(clock)
        self.sockets: set[ChargePointSocket] = set()
        self.empty = asyncio.Event()
        """Set while no socket is open."""
        self.empty.set()
        self.seconds_per_message = 1.0 / options.messages_per_second
        self.burst_time = options.message_burst * self.seconds_per_message
