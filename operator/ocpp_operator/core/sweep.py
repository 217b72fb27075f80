"""Stale entries: which `conn:` entries name a process that is gone, and which its own pod does not know.

An entry expires by itself after 15 minutes. Until then backends produce to a mailbox whose owner no longer has the
station, which costs each command a hop; so entries of the dead go at once, and everything is looked through continuously.
Three rules keep a living entry from being taken for a stale one:

- **the list is younger than the entry.** A pod that registered a station existed before its entry was read; if a *complete*
  list asked for *after* that does not have it (name and uid), it is gone for good, since a uid never comes back. The other
  way round a pod that was started in between would lose its stations;
- **the record is younger than the entry.** The same with `pod:`: when it shows another process of the same pod, the one in
  the entry has ended;
- **a pod's own list is younger than the entry, and the entry is no newborn.** A registration stands in the store a moment
  before its socket stands in the pod's list, so only entries of at least a minute count.

And whatever was judged is deleted by compare-and-delete on the epoch: a station that registers meanwhile keeps its entry.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ocpp_contract import decoding
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, Incarnation, PodName
from ocpp_contract.internal_api import ConnectionItem
from ocpp_contract.names import Keys
from ocpp_contract.scripts.records import PodRecord
from ocpp_contract.times import parse_time, to_us

NEWBORN_US: Final = 60_000_000

Pods = Collection[tuple[PodName, str]]
"""Names and uids of a complete list of the resource's pods."""


class Entry(NamedTuple):
    """What the sweep needs of one `conn:` entry; a lean tuple, because there may be a million."""

    station: ChargePointId
    holder: str
    """The incarnation as it is written."""
    epoch: int
    since: str


def read_entry(keys: Keys, key: str, text: bytes) -> Entry | None:
    """None: nothing that we wrote. Such a thing is never judged, thus never deleted."""
    try:
        fields = decoding.decode_object(text)
        return Entry(
            ChargePointId(key[len(keys.prefix) + len("conn:") :]),
            decoding.text(fields, "incarnation"),
            decoding.integer(fields, "epoch"),
            decoding.text(fields, "since"),
        )
    except ContractError:
        return None


# ------------------------------------------------------------------------------------------------------- whose pod is gone


def is_gone(holder: Incarnation, pods: Pods, records: Mapping[PodName, PodRecord]) -> bool:
    """Whether that process has ended for good. List and records must be younger than the entry that names it."""
    if (holder.pod, holder.uid) not in pods:
        return True
    record = records.get(holder.pod)
    return record is not None and record.incarnation != holder and record.incarnation.same_container(holder)


class Judgement:
    """What is known about the processes met in one pass. `gone` is for good; `alive` counts for this pass only."""

    def __init__(self, gone: Iterable[Incarnation] = (), *, only_these: bool = False) -> None:
        """``only_these``: judge nobody else."""
        self._gone = {str(incarnation) for incarnation in gone}
        self._alive: set[str] = set()
        self._only_these = only_these

    def unknown(self, entries: Iterable[Entry]) -> frozenset[Incarnation]:
        """Processes to be judged before `stale` is asked. One that is written as none of ours is left alone."""
        if self._only_these:
            return frozenset()
        found = set()
        for holder in {entry.holder for entry in entries} - self._gone - self._alive:
            try:
                found.add(Incarnation.parse(holder))
            except ContractError:
                self._alive.add(holder)
        return frozenset(found)

    def settle(self, unknown: Iterable[Incarnation], pods: Pods, records: Mapping[PodName, PodRecord]) -> None:
        for holder in unknown:
            (self._gone if is_gone(holder, pods, records) else self._alive).add(str(holder))

    def stale(self, entries: Iterable[Entry]) -> list[Entry]:
        return [entry for entry in entries if entry.holder in self._gone]


# -------------------------------------------------------------------------------------------- what a pod does not know of


@dataclass(frozen=True, slots=True)
class Comparison:
    """One pod's own list against the store."""

    stale: tuple[Entry, ...]
    """The store has them, the pod has not: to be deleted."""
    missing: tuple[ChargePointId, ...]
    """The pod has them, the store has not: only told. The pod writes them again at its next refresh, if they are its own
    still; the operator could not know."""


def compare(
    entries: Collection[Entry],
    read_by: float,
    items: Iterable[ConnectionItem],
    asked_at: float,
    now_us: int,
) -> Comparison:
    """Both ways, for the entries of one process.

    ``read_by``: when the last of ``entries`` had been read; ``asked_at``: right before the pod was asked for ``items``; of
    one clock. ``now_us``: the store's time when the reading of the entries began.
    """
    if asked_at < read_by:
        return Comparison((), ())
    known = {item.id: item.epoch for item in items}
    stale = tuple(
        entry
        for entry in entries
        # A higher epoch in the list: the pod has registered it again since, and the entry that was read is no more.
        if known.get(entry.station, -1) < entry.epoch and not _newborn(entry, now_us)
    )
    stored = {entry.station for entry in entries}
    missing = tuple(
        sorted(station for station, epoch in known.items() if station not in stored and now_us - epoch >= NEWBORN_US)
    )
    return Comparison(stale, missing)


def _newborn(entry: Entry, now_us: int) -> bool:
    """Younger than a minute, by what its pod says *or* by its epoch, which is never below the store's time of the
    registration: a pod's clock may be wrong by years."""
    try:
        since_us = to_us(parse_time(entry.since))
    except ContractError:
        since_us = entry.epoch
    return now_us - max(since_us, entry.epoch) < NEWBORN_US


# ------------------------------------------------------------------------------------------------------------------ keys


class Progress(NamedTuple):
    """Figures of one pass."""

    scanned: int = 0
    removed: int = 0
    unreadable: int = 0
    at_us: int = 0
    """The store's time of the last batch."""


def pattern(text: str) -> str:
    """A MATCH pattern for keys that begin with exactly this text."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text) + "*"


class OwnKeys:
    """Which keys belong to a resource with this prefix. Not `claim`: it goes last, by a script of its own."""

    def __init__(self, keys: Keys) -> None:
        prefix = re.escape(keys.prefix)
        self.patterns = tuple(dict.fromkeys((pattern(keys.prefix), pattern("{" + keys.prefix + "conn:"))))
        if not keys.prefix:
            self.patterns = ("*",)  # holds the other
        self._own = re.compile(
            rf"{prefix}(?:(?P<pod>pod:[A-Za-z0-9.-]+)|(?P<partition>partition:\d+)|(?P<conn>conn:[^{{}}/]+)"
            rf"|(?P<station>station:[^{{}}/]+)|(?P<run>run:[0-9a-f]{{40}}(?:\.[0-9a-f]{{8}})?)|stations:projected)"
            rf"|\{{{prefix}conn:[^{{}}/]+\}}:(?:last|boot|cmd:.+|tx:.+)"
        )

    def kind(self, key: str) -> str | None:
        """None: not ours. Otherwise `pod`, `partition`, `conn`, `station`, `run`, or "" for a name that only we would give."""
        match = self._own.fullmatch(key)
        return None if match is None else match.lastgroup or ""
