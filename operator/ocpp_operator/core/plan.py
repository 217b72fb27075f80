"""Which pod gets which mailbox partitions: a pure function from what was planned and what is seen to what is wished.

The result is a wish. Taking a partition over is safe by itself (compare-and-set on `partition:<n>`), so a plan can be wrong
for a while without harm; it must only never leave partitions without a living owner (commands would wait) and never move them
without need (every move closes and opens a mailbox). In order of weight:

1. every partition has an owner that is able to serve: the partitions of dead and of leaving pods are placed at once;
2. pods differ by at most one partition: restored by as few moves as possible, once the set of pods has been quiet for a
   while, so that a scale-up from 3 to 30 moves things once;
3. the same input gives the same plan, and a plan handed back in stays as it is, generation included.

A leaving pod (draining, being deleted) loses its seat here, and its own annotation is not touched: it goes on serving until it
releases, partition by partition, and the successors' takes are refused until then. So the gap is one compare-and-set.

A pod whose `pod:` record is missing for a moment keeps its partitions: only a pod that is gone from the list, or whose record
the observer itself saw absent for `Pace.silence`, loses its seat. That is a plan and no death: the record lives as long as the
leases that are renewed with it, so whoever is silent has lost its rights already, and a take is refused otherwise (ADR 46).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ocpp_contract.assignment import MAX_GENERATION
from ocpp_contract.ids import Incarnation, Partition, PodName


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod as the observer sees it: from the list of pods and from its `pod:` record."""

    name: PodName
    uid: str
    incarnation: Incarnation | None
    """Of its live `pod:` record; None: there is none."""
    generation: int = 0
    """The generation that its record acknowledges."""
    leaving: bool = False
    """Being deleted, draining, or ordered to drain."""
    absent_since: float | None = None
    """Since when the observer itself has seen the record absent while the store answered and lost no data. The observer starts
    anew after every outage and every data loss of the store, so absence through the store's fault never adds up."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What one pod is told to serve; `generation` is that of the last change, so other pods' changes do not touch its annotation."""

    uid: str
    generation: int
    partitions: frozenset[Partition]


@dataclass(frozen=True, slots=True)
class Unrest:
    """Somebody has more than a fair share, and the set of pods may go on changing: since when, and to what."""

    began: float
    changed: float
    members: frozenset[tuple[PodName, str]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole assignment. `Plan()` is that of a resource nobody has planned yet."""

    generation: int = 0
    seats: Mapping[PodName, Seat] = field(default_factory=dict)
    unowned: frozenset[Partition] = frozenset()
    """Partitions for which no pod is able to serve: to be published and alerted on."""
    unrest: Unrest | None = None
    """Debounce as data: it is judged by the `now` of the next call."""


class Cause(StrEnum):
    """Why partitions got another owner."""

    UNOWNED = "unowned"
    """Nobody had them: the first plan, or nobody was able to serve."""
    GONE = "gone"
    """Their pod is gone from the list."""
    SILENT = "silent"
    """Their pod's record has been absent for `Pace.silence`: its leases are over."""
    LEAVING = "leaving"
    """Their pod is leaving; it serves until it releases."""
    BALANCE = "balance"
    """Their pod had more than its share."""


@dataclass(frozen=True, slots=True)
class Move:
    """A partition that got another owner."""

    partition: Partition
    source: PodName | None
    target: PodName
    cause: Cause


@dataclass(frozen=True, slots=True)
class Planned:
    """The next plan, and why it differs from the previous one."""

    plan: Plan
    moves: tuple[Move, ...]
    reason: str
    """For people: status, events, logs."""
    look_again_at: float | None
    """When time alone changes the outcome (the end of the silence, or of the quiet time); None: only news can."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient the planner is; seconds."""

    silence: float = 2.0
    """Absence of a record after which its pod's partitions are planned elsewhere. The record itself outlives the last renewal by
    a lease, so a frozen pod's partitions have owners again a lease and this long after its last renewal."""
    quiet: float = 3.0
    """The set of pods must be unchanged for so long before things move for balance alone."""
    ceiling: float = 30.0
    """After so long they move even if pods still come and go."""


def plan(previous: Plan, pods: Sequence[Pod], partitions: int, now: float, pace: Pace = Pace()) -> Planned:
    """The next plan for `partitions` mailboxes. `now` and all times are seconds of one clock of the observer.

    `pods` is a complete list: a pod that is not in it is gone.
    """
    seen = {pod.name: pod for pod in pods}
    eligible = sorted(pod.name for pod in pods if pod.incarnation is not None and not pod.leaving)
    kept, lost = _sort_out(previous, seen, now, pace)
    kept = {name: frozenset(p for p in held if p < partitions) for name, held in kept.items()}
    waiting = {
        name: held for name, held in kept.items() if name not in eligible
    }  # records missing, not yet for a lease

    load = {name: set(kept.get(name, frozenset())) for name in eligible}
    owned = frozenset().union(*kept.values())
    homeless = [Partition(n) for n in range(partitions) if n not in owned]
    moves: list[Move] = []
    unrest = None
    if eligible:
        shares = _fair_shares(load, len(homeless))
        if any(len(load[name]) > shares[name] for name in eligible):
            unrest = _unrest(previous.unrest, frozenset((name, seen[name].uid) for name in eligible), now)
        # Nothing moves for balance while a pod's fate is open: it may be back in a moment, or its partitions be placed anyway.
        if unrest is None or (not waiting and now >= _end(unrest, pace)):
            unrest = None
            freed = _free_surplus(load, shares)
        else:
            shares = _fill(load, len(homeless))
            freed = {}
        origin = {p: lost.get(p, (None, Cause.UNOWNED)) for p in homeless}
        origin |= {p: (name, Cause.BALANCE) for p, name in freed.items()}
        moves = _place(origin, load, shares)

    owners = waiting | {name: frozenset(held) for name, held in load.items()}
    seats, generation = _seats(previous, owners, seen)
    following = Plan(generation, seats, frozenset() if eligible else frozenset(homeless), unrest)
    look_again_at = _look_again(following, bool(waiting), pods, now, pace)
    return Planned(following, tuple(moves), _reason(previous, following, moves), look_again_at)


def releasable(holders: Mapping[Partition, Incarnation], pods: Iterable[Pod]) -> dict[Partition, Incarnation]:
    """Which `partition:` records may be marked released, and for exactly which incarnation: those of pods that are gone.

    A pod that is in the list but silent is left to its lease (it may be frozen and still believe it owns them); a restarted
    process of the same pod releases its predecessor itself.
    """
    present = {(pod.name, pod.uid) for pod in pods}
    return {
        partition: holder for partition, holder in sorted(holders.items()) if (holder.pod, holder.uid) not in present
    }


def _sort_out(
    previous: Plan, seen: Mapping[PodName, Pod], now: float, pace: Pace
) -> tuple[dict[PodName, frozenset[Partition]], dict[Partition, tuple[PodName, Cause]]]:
    """Whose seats stand, and which partitions lost their pod, and how."""
    kept: dict[PodName, frozenset[Partition]] = {}
    lost: dict[Partition, tuple[PodName, Cause]] = {}
    for name, seat in sorted(previous.seats.items()):
        pod = seen.get(name)
        cause = None
        if pod is None or pod.uid != seat.uid:
            cause = Cause.GONE
        elif pod.leaving:
            cause = Cause.LEAVING
        elif pod.incarnation is None and pod.absent_since is not None and now >= pod.absent_since + pace.silence:
            cause = Cause.SILENT
        if cause is None:
            kept[name] = seat.partitions
        else:
            lost.update((partition, (name, cause)) for partition in seat.partitions)
    return kept, lost


def _unrest(before: Unrest | None, members: frozenset[tuple[PodName, str]], now: float) -> Unrest:
    if before is None:
        return Unrest(now, now, members)
    return before if before.members == members else Unrest(before.began, now, members)


def _end(unrest: Unrest, pace: Pace) -> float:
    return min(unrest.changed + pace.quiet, unrest.began + pace.ceiling)


def _fair_shares(load: Mapping[PodName, set[Partition]], homeless: int) -> dict[PodName, int]:
    """How many partitions each pod should have. The larger shares go to those that already have most: fewest moves."""
    share, larger = divmod(homeless + sum(len(held) for held in load.values()), len(load))
    by_load = sorted(load, key=lambda name: (-len(load[name]), name))
    return {name: share + (rank < larger) for rank, name in enumerate(by_load)}


def _fill(load: Mapping[PodName, set[Partition]], homeless: int) -> dict[PodName, int]:
    """How many each pod has when the homeless go to the emptiest and nothing else moves."""
    shares = {name: len(held) for name, held in load.items()}
    for _ in range(homeless):
        shares[min(shares, key=lambda name: (shares[name], name))] += 1
    return shares


def _free_surplus(load: dict[PodName, set[Partition]], shares: Mapping[PodName, int]) -> dict[Partition, PodName]:
    """Take from each pod what is above its share, its highest partitions first."""
    freed = {}
    for name, held in load.items():
        for partition in sorted(held)[shares[name] :]:
            held.remove(partition)
            freed[partition] = name
    return freed


def _place(
    origin: Mapping[Partition, tuple[PodName | None, Cause]],
    load: dict[PodName, set[Partition]],
    shares: Mapping[PodName, int],
) -> list[Move]:
    """Fill every pod up to its share, in order, so that neighbours stay together (`0-41` is easier to read than a list)."""
    moves = []
    receivers = iter(sorted(load))
    target = next(receivers)
    for partition, (source, cause) in sorted(origin.items()):
        while len(load[target]) >= shares[target]:
            target = next(receivers)
        load[target].add(partition)
        moves.append(Move(partition, source, target, cause))
    return moves


def _seats(
    previous: Plan, owners: Mapping[PodName, frozenset[Partition]], seen: Mapping[PodName, Pod]
) -> tuple[dict[PodName, Seat], int]:
    """Seats with their generations, and the plan's generation.

    A pod may have applied more than is stored here (the stored plan was lost, or an older one restored): it would ignore its
    seat, so the seat is issued anew under a generation above everybody's. Where no higher one can be written (somebody edited an
    annotation, and its pod was fast) the highest is used again and again: pods apply another content of the same generation.
    """
    standing = {
        name: seat
        for name, seat in previous.seats.items()
        if owners.get(name) == seat.partitions
        and seen[name].uid == seat.uid
        and seen[name].generation <= seat.generation
    }
    if standing.keys() == owners.keys() == previous.seats.keys():
        return dict(previous.seats), previous.generation
    highest = max([previous.generation, *(pod.generation for pod in seen.values())])
    generation = min(highest + 1, MAX_GENERATION)
    seats = {
        name: standing.get(name) or Seat(seen[name].uid, generation, held) for name, held in sorted(owners.items())
    }
    return seats, generation


def _look_again(following: Plan, waiting: bool, pods: Sequence[Pod], now: float, pace: Pace) -> float | None:
    times = [
        pod.absent_since + pace.silence
        for pod in pods
        if pod.incarnation is None and pod.absent_since is not None and pod.name in following.seats
    ]
    if following.unrest is not None and not waiting:
        times.append(max(now, _end(following.unrest, pace)))
    return min(times, default=None)


def _reason(previous: Plan, following: Plan, moves: Sequence[Move]) -> str:
    """One line for people."""
    parts = []
    for cause, words in _WORDS.items():
        of_cause = [move for move in moves if move.cause is cause]
        if of_cause:
            sources = ", ".join(sorted({move.source for move in of_cause if move.source is not None}))
            targets = ", ".join(sorted({move.target for move in of_cause}))
            parts.append(f"{len(of_cause)} {words.format(sources)} to {targets}")
    if following.unowned:
        parts.append(f"{len(following.unowned)} without an owner: no pod is able to serve")
    if not parts and following.generation != previous.generation:
        parts.append("issued anew" if following.seats.keys() == previous.seats.keys() else "pods came or went")
    if not parts:
        parts.append("unchanged" if following.unrest is None else "unchanged; waiting for the pods to settle")
    return "; ".join(parts)


_WORDS = {
    Cause.UNOWNED: "unowned",
    Cause.GONE: "of {} (gone)",
    Cause.SILENT: "of {} (silent)",
    Cause.LEAVING: "of {} (leaving)",
    Cause.BALANCE: "of {} for balance",
}
