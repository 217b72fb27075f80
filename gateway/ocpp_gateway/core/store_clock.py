"""Redis time as this pod knows it, between the renewals that teach it.

Two readings, because they must err on different sides. `time_us` judges deadlines: the best offset learned of late from
the server that answers now. `floor_us` is a bound for new epochs: the highest time ever seen plus the monotonic time
since, so that an epoch never goes back when a failover brings a server with a slower clock. Both count from the receipt of
a TIME reply, so they are late by at most one latency and never ahead of the server, except for what two clocks drift
apart in a minute.
"""

from __future__ import annotations

US = 1_000_000
_BEST_FOR = 60.0
"""Seconds for which the fastest reply stays the best estimate: longer, and a fast local clock would run ahead of Redis."""


class StoreClock:
    """`now` is boottime seconds everywhere; results are microseconds of Redis TIME."""

    def __init__(self) -> None:
        self._time_us = 0
        self._at = 0.0
        self._highest_us = 0
        self._highest_at = 0.0
        self._known = False
        self._trust_next = True

    @property
    def known(self) -> bool:
        """Whether any TIME reply was received yet. Nothing may be registered, claimed or judged before."""
        return self._known

    def learn(self, time_us: int, now: float) -> None:
        """A TIME reply received at `now`. Of one server the fastest reply is the best estimate, so a slow one is ignored."""
        if self._trust_next or time_us >= self.time_us(now) or now - self._at > _BEST_FOR:
            self._time_us, self._at = time_us, now
        if time_us >= self._highest_us:
            self._highest_us, self._highest_at = time_us, now
        self._known, self._trust_next = True, False

    def server_changed(self) -> None:
        """Another server process answers now; its clock may be behind the old one's."""
        self._trust_next = True

    def time_us(self, now: float) -> int:
        return self._time_us + int((now - self._at) * US)

    def floor_us(self, now: float) -> int:
        return self._highest_us + int((now - self._highest_at) * US)

    def when(self, time_us: int) -> float:
        """The boottime at which Redis time reaches `time_us`, as far as known."""
        return self._at + (time_us - self._time_us) / US
