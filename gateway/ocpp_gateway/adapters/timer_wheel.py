"""One timer for all sockets: keepalive, write time-outs and closing deadlines without a timer object each.

15,000 sockets with a `call_later` each would cost memory per idle socket and a heap operation per message. Here each socket
stands in the slot of its next due time; a slot is a list. Accuracy is one tick, which is all that these deadlines need.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)

NEVER = float("inf")
_STALL = 1.0


class Timed(Protocol):
    timer_due: float
    """Kept by the wheel: when `on_timer` will be called; NEVER when it will not."""

    def on_timer(self, now: float) -> float:
        """Do what is due; returns when to be called again, NEVER for not at all."""
        ...


class TimerWheel:
    """Calls `on_timer` of each item once its time has come. `clock` gives seconds."""

    __slots__ = ("_clock", "_done", "_handle", "_loop", "_slots", "_tick")

    def __init__(self, clock: Callable[[], float], tick: float = 0.25) -> None:
        self._clock = clock
        self._tick = tick
        self._slots: dict[int, list[Timed]] = {}
        self._done = int(clock() / tick)
        self._handle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(self._tick, self._turn, self._clock())

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def at(self, item: Timed, due: float) -> None:
        """Call `item.on_timer` at `due`, unless it stands there for an earlier time already."""
        if due >= item.timer_due:
            return
        item.timer_due = due
        # Rounded up: never early. An entry for a later time that is still in its slot is told by timer_due to be stale.
        self._slots.setdefault(max(int(due / self._tick) + 1, self._done + 1), []).append(item)

    def forget(self, item: Timed) -> None:
        """Never call this item again; its entry drops out when its slot comes."""
        item.timer_due = NEVER

    def _turn(self, before: float) -> None:
        now = self._clock()
        assert self._loop is not None
        self._handle = self._loop.call_later(self._tick, self._turn, now)
        if now - before > _STALL:
            # The process stood still. What the peers sent meanwhile waits unread in the sockets: let the loop read one
            # round first, or a frozen gateway would cut off its healthy stations for a silence that was its own.
            return
        current = int(now / self._tick)
        for slot in range(self._done + 1, current + 1):
            self._done = slot
            for item in self._slots.pop(slot, ()):
                if item.timer_due <= now:
                    item.timer_due = NEVER
                    try:
                        self.at(item, item.on_timer(now))
                    except Exception:  # the others of this slot would never be called again
                        log.exception("timer failed")
