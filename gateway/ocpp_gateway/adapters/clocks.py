"""The clocks of a pod: the one that judges (boottime) and the one that is told to others (UTC)."""

from __future__ import annotations

import time


def boottime() -> float:
    """CLOCK_BOOTTIME in seconds: goes on while the machine sleeps, is never set back. The clock that core is told: a lease
    does not stop for us."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WallClock:
    """Now as the session needs it; the text is made once per millisecond."""

    __slots__ = ("_millisecond", "_second", "_second_text", "_text")

    def __init__(self) -> None:
        self._millisecond = -1
        self._second = -1
        self._second_text = ""
        self._text = ""

    def utc(self) -> str:
        now = time.time_ns() // 1_000_000
        if now != self._millisecond:
            self._millisecond = now
            second, milliseconds = divmod(now, 1000)
            if second != self._second:
                self._second = second
                self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._text = f"{self._second_text}{milliseconds:03d}Z"
        return self._text
