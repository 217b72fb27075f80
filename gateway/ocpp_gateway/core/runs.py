"""Noticing that Redis lost data, and keeping quiet until everybody has said again what it knows.

Restart empty and failover both show as a new *run*: another `run_id` of a shard's master, or an own record found older
than it was written. Whoever first sees a run marks it (`run:<run_id>` = TIME, NX); everyone, also a pod just started,
makes no take, no claim and no done until that time plus one lease. Meanwhile every living pod re-asserts its own
records, so that nobody claims what somebody else has written under a claim that Redis forgot.
"""

from __future__ import annotations

from collections.abc import Hashable

from ocpp_gateway.core.effects import RunMarked
from ocpp_gateway.core.store_clock import US

_FOREVER = float("inf")
_MANY = 1_000


class Runs:
    """The runs this pod knows and the quiet they impose."""

    def __init__(self, lease: float, settle: float) -> None:
        """`settle`: longest time by which a pod's idea of Redis time lags behind, one request's time-out."""
        self._lease = lease
        self._settle = settle
        self._current: dict[str, str] = {}
        self._unmarked: set[str] = set()
        self._quiet_until = 0.0
        self._settled_at = 0.0
        self.losses = 0
        """Grows with every data loss noticed: a claim sent under another count must be asserted again."""

    def knows(self, shard: str) -> bool:
        """Whether some run of this shard was seen before: then another one means data loss."""
        return shard in self._current

    def seen(self, shard: str, run_id: str) -> bool:
        """A connection to `shard` was made and its master says `run_id`. True: new to us, it must be marked."""
        known = self._current.get(shard)
        if known == run_id:
            return False
        self._current[shard] = run_id
        self._unmarked.add(run_id)
        return True

    def is_current(self, run_id: str) -> bool:
        return run_id in self._current.values()

    @property
    def unmarked(self) -> frozenset[str]:
        return frozenset(self._unmarked)

    def lost(self, now: float) -> None:
        """Data loss noticed: by another run of a shard that we knew, or by an own record older than last written."""
        self.losses += 1
        self._quiet_until = max(self._quiet_until, now + self._lease)
        self._settled_at = max(self._settled_at, now + self._settle)

    def marked(self, run_id: str, mark: RunMarked, now: float) -> None:
        """The marker says when the run was first seen by anybody: quiet lasts one lease from then."""
        self._unmarked.discard(run_id)
        left = self._lease - (mark.time_us - mark.first_seen_us) / US
        self._quiet_until = max(self._quiet_until, now + left)

    def abandon(self, run_id: str) -> None:
        """The run is over before it could be marked."""
        self._unmarked.discard(run_id)

    def quiet(self, now: float) -> bool:
        return now < self.quiet_until

    @property
    def quiet_until(self) -> float:
        """Endless as long as a run is not marked: only the marker says since when it runs."""
        return _FOREVER if self._unmarked else self._quiet_until

    def settling(self, now: float) -> bool:
        """So soon after a loss no station is registered. The floor of new epochs lags by up to one latency behind the
        server that is gone; once that has passed here, it stands above every epoch that the server gave."""
        return now < self._settled_at


class Absences:
    """Things that this observer itself saw absent for a full lease during which Redis answered and lost no data.

    A holder that lives would have written its record again at its next renewal. So looks must not lie further apart
    than a renewal: in a longer gap (Redis silent, or this pod frozen) nobody could have come back.
    """

    def __init__(self, lease: float, renew_interval: float) -> None:
        self._lease = lease
        self._gap = renew_interval
        self._seen: dict[Hashable, tuple[float, float]] = {}

    def absent(self, thing: Hashable, sent: float, received: float) -> bool:
        """A look sent and answered at these times found it absent. True when it has been for a full lease."""
        if len(self._seen) > _MANY:
            self._seen = {other: looks for other, looks in self._seen.items() if sent - looks[1] <= self._gap}
        first, last = self._seen.get(thing, (received, received))
        if sent - last > self._gap:
            first = received
        self._seen[thing] = (first, received)
        return sent - first >= self._lease

    def present(self, thing: Hashable) -> None:
        self._seen.pop(thing, None)

    def forget_all(self) -> None:
        """Redis lost data: what was absent may only have been forgotten."""
        self._seen.clear()
