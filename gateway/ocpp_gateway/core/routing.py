"""Where one command goes next: deliver, forward, park or end. A table over the directory entry, nothing else.

station live on this pod                                             -> Deliver
entry names another, living incarnation and a partition not mine     -> Forward, same lane, hop + 1
the same, but the command has made its last hop                      -> Forward (hop stays 3) only once the entry
                                                                        changed since the forward that brought it here
anything else: no entry, dead owner, my own partition                -> Park; with waitForStation false: End
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import TypeAlias

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import Incarnation, Partition
from ocpp_contract.names import MAX_HOP


@dataclass(frozen=True, slots=True)
class Deliver:
    """The station's socket is here."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Produce to that partition; the entry's epoch goes along, so that the last hop can tell whether it changed."""

    partition: Partition
    hop: int
    entry_epoch: int


@dataclass(frozen=True, slots=True)
class Park:
    """Wait for the station, an entry or the deadline."""


@dataclass(frozen=True, slots=True)
class EndNotConnected:
    """The backend does not want to wait."""


Route: TypeAlias = Deliver | Forward | Park | EndNotConnected


@dataclass(frozen=True, slots=True)
class Travelled:
    """How the record came here."""

    hop: int
    entry_epoch: int | None
    """`cg-entry-epoch`: the entry's epoch when it was forwarded here; None when it never was, or nobody said."""
    first_seen: ConnectionRecord | None = None
    """The entry that this pod found first, where it is not the end of the road."""

    def saw(self, entry: ConnectionRecord) -> Travelled:
        return replace(self, first_seen=entry)


def route(
    travelled: Travelled,
    wait_for_station: bool,
    live_here: bool,
    entry: ConnectionRecord | None,
    owner_lives: bool,
    me: Incarnation,
    owned: Container[Partition],
) -> Route:
    """`owner_lives`: the entry's incarnation stands in its live `pod:` record."""
    if live_here:
        return Deliver()
    if (
        entry is not None
        and owner_lives
        and entry.incarnation != me
        and entry.partition not in owned
        and may_hop(travelled, entry)
    ):
        return Forward(entry.partition, min(travelled.hop + 1, MAX_HOP), entry.epoch)
    return Park() if wait_for_station else EndNotConnected()


def may_hop(travelled: Travelled, entry: ConnectionRecord) -> bool:
    """Before the last hop always. At it, only if the entry is no longer the one that led here: another connection than
    the header says, or than was found at first, or re-published under another partition since. Otherwise two pods that
    both hold the station for elsewhere would pass the command to and fro."""
    if travelled.hop < MAX_HOP:
        return True
    first = travelled.first_seen or entry
    known_epoch = first.epoch if travelled.entry_epoch is None else travelled.entry_epoch
    return entry.epoch != known_epoch or entry.partition != first.partition
