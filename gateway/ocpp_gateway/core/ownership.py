"""Which partitions this pod holds, and how long it may deliver from each.

The annotation is the wish; the store's compare-and-set decides. The right to deliver is that of one tenure (partition,
epoch): it ends lease - margin after the moment *before* the last successful renewal was sent, by this pod's own boottime,
and is asked synchronously right before every write. A tenure whose right lapsed is never resumed: the partition is taken
anew, with a new epoch.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from ocpp_contract.ids import ChargePointId, Incarnation, Partition
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import Lane, Signal
from ocpp_gateway.core.watermark import Watermark


class Progress:
    """One lane of one tenure: what is finished and what was committed of it."""

    __slots__ = ("committed", "committed_at", "under_way", "watermark")

    def __init__(self, watermark: Watermark) -> None:
        self.watermark = watermark
        self.committed: tuple[int, str] | None = None
        self.committed_at = 0.0
        self.under_way = 0
        """Records read and not finished."""


class Tenure:
    """One stay of this pod as the owner of one partition. Compared by identity: a later tenure is another one."""

    __slots__ = ("epoch", "flights", "gone", "leaving", "partition", "progress", "right_until", "serving")

    def __init__(self, partition: Partition, epoch: int, right_until: float) -> None:
        self.partition = partition
        self.epoch = epoch
        self.right_until = right_until
        self.serving = False
        """Its position is committed and its records are fetched."""
        self.leaving = False
        """It is being given up: no new command and no new station goes to it."""
        self.gone = False
        """It has ended, whatever its clock said."""
        self.progress: dict[Lane, Progress] = {}
        self.flights: dict[tuple[Lane, int], Any] = {}
        """Records under way, by lane and offset."""


class Ownership:
    """Tenures of this pod. Pure state; `tenures.py` has the procedures that change it."""

    def __init__(self, settings: DownlinkSettings, incarnation: Incarnation) -> None:
        self.settings = settings
        self.incarnation = incarnation
        self.wish: frozenset[Partition] = frozenset()
        self.generation = 0
        self.owned: dict[Partition, Tenure] = {}
        self.wish_changed = Signal()
        self.news = Signal()
        """The pod record is worth writing before the next renewal: another generation is applied, or what it names is held."""
        self.alone_since: float | None = None
        """Since when no partition is held; None while one is."""

    # ------------------------------------------------------------------------------------------------ the right
    def has_right(self, tenure: Tenure, now: float) -> bool:
        """Whether a command read in this tenure may be written at `now`."""
        return not tenure.gone and now < tenure.right_until

    def granted(self, sent: float) -> float:
        """The end of the right that a request sent at `sent` and granted earns: counted from before it was sent, because
        the store's lease may have begun then."""
        return sent + self.settings.right

    def renewed(self, tenure: Tenure, sent: float, now: float) -> bool:
        """The store says held. False: the right had lapsed meanwhile, and a lapsed tenure is not resumed."""
        if not self.has_right(tenure, now):
            return False
        tenure.right_until = max(tenure.right_until, self.granted(sent))
        return True

    def lapsed(self, now: float) -> list[Tenure]:
        """Tenures whose right has run out."""
        return [tenure for tenure in self.owned.values() if not self.has_right(tenure, now)]

    # ------------------------------------------------------------------------------------------------ the table
    def assign(self, generation: int, partitions: Iterable[Partition]) -> bool:
        """The operator's wish. An older generation is ignored; the same one counts if its content differs."""
        wish = frozenset(partitions)
        if generation < self.generation or (generation == self.generation and wish == self.wish):
            return False
        self.generation, self.wish = generation, wish
        self.wish_changed.fire()
        self.news.fire()
        return True

    def took(self, tenure: Tenure) -> None:
        self.owned[tenure.partition] = tenure
        self.alone_since = None
        self._changed()

    def end(self, tenure: Tenure, now: float) -> None:
        """The right ends here and now, whatever the store says later."""
        tenure.gone = True
        tenure.serving = False
        if self.owned.get(tenure.partition) is tenure:
            del self.owned[tenure.partition]
            self._changed()
        if not self.owned and self.alone_since is None:
            self.alone_since = now

    def _changed(self) -> None:
        """Only the last of many takes and releases is news: whoever waits, waits for all of them."""
        if self.owned.keys() == self.wish:
            self.news.fire()

    def is_current(self, tenure: Tenure) -> bool:
        return self.owned.get(tenure.partition) is tenure

    def to_take(self) -> list[Partition]:
        return sorted(self.wish - self.owned.keys())

    def to_give_up(self) -> list[Tenure]:
        return [tenure for partition, tenure in self.owned.items() if partition not in self.wish and not tenure.leaving]

    def serving(self, now: float) -> list[Partition]:
        """Partitions that may be published as the mailbox of a station."""
        return [
            tenure.partition
            for tenure in self.owned.values()
            if tenure.serving and not tenure.leaving and self.has_right(tenure, now)
        ]

    def keeps(self, partition: Partition) -> bool:
        """Whether a station that was given this partition may stay with it."""
        tenure = self.owned.get(partition)
        return tenure is not None and not tenure.leaving

    def ready(self, now: float) -> bool:
        """Readiness, and whether a handshake may be answered 101."""
        return bool(self.serving(now))


def choose_partition(charge_point_id: ChargePointId, partitions: Iterable[Partition]) -> Partition:
    """Rendezvous hash: each station has its own order of preference, so little moves when the set changes.

    Raises ValueError when there is none to choose from.
    """
    station = int.from_bytes(blake2b(charge_point_id.encode(), digest_size=8).digest(), "big")
    return max(partitions, key=lambda partition: (_mix(station, partition), partition))


_MASK = (1 << 64) - 1


def _mix(station: int, partition: int) -> int:
    """splitmix64's finaliser over both: every bit of either changes half of the result."""
    z = (station + (partition + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
