"""The plan as the ConfigMap keeps it: written before any pod is told, read by the operator that comes next, and by people.

    $ kubectl get configmap city-plan -o yaml
    data:
      changed: "2026-11-22T10:00:00.000Z"
      format: "1"
      generation: "7"
      partitions: "128"
      pods: |
        city-gateway-5d9c7-8xk2p uid=6c1f9a3e-0b1d-4e53-8f0e-2b7d3f5a9c10 generation=7 partitions=0-41,96
        city-gateway-5d9c7-q7m4z uid=0e53f2a1-... generation=4 partitions=42-95,97-127
      reason: 1 of city-gateway-5d9c7-w2v9t (gone) to city-gateway-5d9c7-8xk2p

Kept is what the next operator cannot see elsewhere. What it can work out again is not: partitions without an owner are those in
no line, and the debounce begins anew (its times are of a clock that ended with its process).

What cannot be read is refused with the field's name and never guessed: a half-understood plan would move mailboxes. Who reads
then plans anew from `Plan()`, and the planner's generation goes above that of every live pod.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ocpp_contract.assignment import MAX_PARTITION, format_cpuset, parse_cpuset
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Partition, PodName
from ocpp_contract.times import format_time, parse_time
from ocpp_operator.core.plan import Plan, Seat

FORMAT = "1"
MAX_REASON = 1_000
"""Characters. A reason names pods, and there may be many; the whole of it stands in the log."""

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_LINE = re.compile(r"(\S+) uid=(\S+) generation=(\d{1,18}) partitions=(\S*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan, for how many partitions it was made, and why and when it last changed."""

    plan: Plan
    partitions: int
    reason: str
    changed: datetime


def to_data(stored: StoredPlan) -> dict[str, str]:
    """`data` of the ConfigMap. The same plan gives the same data, so that nothing is written when nothing changed."""
    lines = [
        f"{name} uid={seat.uid} generation={seat.generation} partitions={format_cpuset(seat.partitions)}\n"
        for name, seat in sorted(stored.plan.seats.items())
    ]
    return {
        "format": FORMAT,
        "generation": str(stored.plan.generation),
        "partitions": str(stored.partitions),
        "pods": "".join(lines),
        "reason": _one_short_line(stored.reason),
        "changed": format_time(stored.changed),
    }


def from_data(data: Mapping[str, str]) -> StoredPlan:
    """Raises ContractError, naming the field. Fields of others are ignored."""
    if _field(data, "format") != FORMAT:
        raise ContractError("format", f"is {data['format'][:40]!r}, this release reads {FORMAT!r} only")
    generation = _number(data, "generation")
    partitions = _number(data, "partitions")
    if not 1 <= partitions <= MAX_PARTITION + 1:
        raise ContractError("partitions", f"must be between 1 and {MAX_PARTITION + 1}")
    seats = _seats(_field(data, "pods"), generation, partitions)
    owned = frozenset[Partition]().union(*(seat.partitions for seat in seats.values()))
    unowned = frozenset(map(Partition, range(partitions))) - owned
    return StoredPlan(
        Plan(generation, seats, unowned),
        partitions,
        _field(data, "reason"),
        parse_time(_field(data, "changed"), "changed"),
    )


def _seats(text: str, generation: int, partitions: int) -> dict[PodName, Seat]:
    """Lines that contradict each other, or the rest, were written by no planner."""
    seats: dict[PodName, Seat] = {}
    owners: dict[Partition, PodName] = {}
    for number, line in enumerate(text.splitlines(), 1):
        where = f"pods, line {number}"
        match = _LINE.fullmatch(line)
        if match is None:
            raise ContractError(where, "must be <pod> uid=<uid> generation=<number> partitions=<list such as 0-41,96>")
        name, uid, issued = PodName(match[1]), match[2], int(match[3])
        held = parse_cpuset(match[4], f"{where}, partitions")
        if name in seats:
            raise ContractError(where, f"{name} has a line already")
        if issued > generation:
            raise ContractError(f"{where}, generation", f"{issued} is above the plan's {generation}")
        if beyond := [partition for partition in held if partition >= partitions]:
            raise ContractError(f"{where}, partitions", f"{min(beyond)} is beyond the {partitions} partitions planned")
        if shared := held & owners.keys():
            first = min(shared)
            raise ContractError(f"{where}, partitions", f"{first} is {owners[first]}'s already")
        owners.update(dict.fromkeys(held, name))
        seats[name] = Seat(uid, issued, held)
    return seats


def _field(data: Mapping[str, str], name: str) -> str:
    if name not in data:
        raise ContractError(name, "is missing")
    return data[name]


def _number(data: Mapping[str, str], name: str) -> int:
    text = _field(data, name)
    if not _NUMBER.fullmatch(text):
        raise ContractError(name, f"{text[:40]!r} is no number")
    return int(text)


def _one_short_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 3] + "..."
