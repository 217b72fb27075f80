"""The states of one command and the rules for meeting a claim.

`{conn:<id>}:cmd:<command id>` goes none -> claimed -> done, changed by one script. The store decides races; this module
says what a pod makes of the answer, and remembers the states that the pod itself made, so that it can assert them again
when Redis lost them, and so that it asks its own memory before the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from ocpp_contract.ids import ChargePointId, CommandId, Incarnation
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import Claim, CommandRecord, Done
from ocpp_gateway.core.store_clock import US


class CommandKey(NamedTuple):
    """One command record. Ids of different stations are different commands."""

    charge_point_id: ChargePointId
    command_id: CommandId


class Owner(Enum):
    """What an observer knows about the incarnation in a claim."""

    LIVES = auto()
    """It stands in its live `pod:` record."""
    DEAD = auto()
    """Another life of the same pod stands there, or the observer saw the record absent for a full lease."""
    UNSURE = auto()
    """Neither: absent, but not for long enough."""


class Meeting(Enum):
    """What to do about a claim that stands in the way."""

    REPLACE = auto()
    """Claim anew, by compare-and-set with what was met."""
    UNCERTAIN = auto()
    """It may have been written: end it as Uncertain."""
    LOOK_AGAIN = auto()
    """Leave the record unfinished: somebody else is at work on it."""


class Observation(NamedTuple):
    """What decides about a claim that was met."""

    mine: bool
    """The claim names this very process."""
    written: bool
    """This process wrote the command to a socket at some time."""
    owner: Owner
    age: float
    """Seconds of Redis time since the claim."""
    repeatable: bool
    """The type is safe to repeat."""
    my_epoch: int | None
    """Epoch of the station's connection here, None when it is not connected here."""
    past_deadline: bool


def meet(claim: Claim, seen: Observation, settings: DownlinkSettings) -> Meeting:
    """The table of "meeting `claimed`"."""
    if seen.mine:
        # Nobody else in this process works on it (single flight), so it is what an earlier attempt left behind: nothing
        # was written under it, or the socket it was written to is gone.
        free = not seen.written or (seen.repeatable and seen.my_epoch != claim.epoch)
        return Meeting.REPLACE if free and not seen.past_deadline else Meeting.UNCERTAIN
    dead = seen.owner is Owner.DEAD or is_stale(seen.age, settings) or superseded(claim, seen.repeatable, seen.my_epoch)
    if not dead:
        return Meeting.LOOK_AGAIN
    return Meeting.REPLACE if seen.repeatable and not seen.past_deadline else Meeting.UNCERTAIN


def is_stale(age: float, settings: DownlinkSettings) -> bool:
    """Older than any CALL can be open: whoever made the claim will not end it (its reply was lost, then it forgot)."""
    return age > settings.stale_claim


def superseded(claim: Claim, repeatable: bool, my_epoch: int | None) -> bool:
    """A safe type need not wait for the end of a claim whose socket was replaced by mine."""
    return repeatable and my_epoch is not None and my_epoch > claim.epoch


def age_of(claim: Claim, time_us: int) -> float:
    return (time_us - claim.since_us) / US


def is_former_self(incarnation: Incarnation, me: Incarnation) -> bool:
    """Another life of my own pod: dead at once, because I am here."""
    return incarnation != me and incarnation.same_container(me)


class _Remembered(NamedTuple):
    record: CommandRecord
    until: float


class CommandMemory:
    """States that this process made, for their life in the store, at most `limit` of them (oldest go first)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: OrderedDict[CommandKey, _Remembered] = OrderedDict()
        self._written: OrderedDict[CommandKey, float] = OrderedDict()

    def remember(self, key: CommandKey, record: CommandRecord, until: float) -> None:
        """A done is never replaced: the first one known is the one that was, or will be, published."""
        known = self._records.get(key)
        if known is not None and isinstance(known.record, Done):
            return
        self._records[key] = _Remembered(record, until)
        self._records.move_to_end(key)
        while len(self._records) > self._limit:
            self._records.popitem(last=False)

    def forget_claim(self, key: CommandKey) -> None:
        """The claim was put back; a done stays."""
        known = self._records.get(key)
        if known is not None and isinstance(known.record, Claim):
            del self._records[key]

    def recall(self, key: CommandKey) -> CommandRecord | None:
        known = self._records.get(key)
        return None if known is None else known.record

    def wrote(self, key: CommandKey, until: float) -> None:
        """Called before the bytes leave: from here on the command may have reached the station."""
        self._written[key] = until
        while len(self._written) > self._limit:
            self._written.popitem(last=False)

    def was_written(self, key: CommandKey) -> bool:
        return key in self._written

    def expire(self, now: float) -> None:
        """Drop what the store has dropped too. Oldest first, so the cost is that of what goes."""
        while self._records:
            key, remembered = next(iter(self._records.items()))
            if remembered.until > now:
                break
            del self._records[key]
        while self._written:
            key, until = next(iter(self._written.items()))
            if until > now:
                break
            del self._written[key]

    def all(self) -> Iterator[tuple[CommandKey, CommandRecord, float]]:
        """(key, record, until) of everything remembered, as it was when asked; the newest first: they matter most."""
        for key, remembered in reversed(self._records.items()):
            yield key, remembered.record, remembered.until
