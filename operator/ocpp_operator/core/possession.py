"""Who really holds which partition, beside what the plan wishes: what people are told and alerted on.

A partition is held while a living process of a pod, listed or known to live without our labels, has a running lease on it
(`partition:<n>`, judged by the store's own clock). The plan is fulfilled when every partition is held by the pod that has the seat, and
every pod acknowledges the generation of its own annotation: not the plan's, since a plan that changed others' seats touches only theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ocpp_contract.assignment import format_cpuset
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import PartitionRecord, PodRecord
from ocpp_operator.core.fleet import GatewayPod, own_record
from ocpp_operator.core.plan import Plan


@dataclass(frozen=True, slots=True)
class Possession:
    """As of one look into the store."""

    partitions: int
    unowned: frozenset[Partition]
    """Held by nobody alive: their commands wait."""
    elsewhere: int
    """Held, but not by the pod that has the seat: being moved, or served by a leaving pod until it releases."""
    lagging: tuple[PodName, ...]
    """Pods that have not acknowledged their own annotation."""
    connections: Mapping[PodName, int]

    @property
    def assigned(self) -> int:
        return self.partitions - len(self.unowned)

    @property
    def converged(self) -> bool:
        return not self.unowned and not self.elsewhere and not self.lagging

    @property
    def stations(self) -> int:
        """Connected now, as the pods last said."""
        return sum(self.connections.values())

    def __str__(self) -> str:
        parts = []
        if self.unowned:
            parts.append(
                f"{len(self.unowned)} of {self.partitions} partitions have no owner: {format_cpuset(self.unowned)}"
            )
        if self.elsewhere:
            parts.append(f"{self.elsewhere} partitions are on their way to another pod")
        if self.lagging:
            parts.append(f"not yet applied by {_some(self.lagging)}")
        return "; ".join(parts) or f"all {self.partitions} partitions are owned as planned"


def judge(
    plan: Plan,
    pods: Sequence[GatewayPod],
    records: Mapping[PodName, PodRecord],
    holders: Mapping[Partition, PartitionRecord],
    partitions: int,
    now_us: int,
    unlisted: Collection[Incarnation] = (),
) -> Possession:
    """`now_us` is the store's TIME when it was asked; `unlisted` are processes whose pods live without our labels."""
    living = {record.incarnation: pod for pod in pods if (record := own_record(pod, records)) is not None}
    seat_of = {partition: name for name, seat in plan.seats.items() for partition in seat.partitions}
    unowned, elsewhere = set(), 0
    for number in range(partitions):
        partition = Partition(number)
        held = holders.get(partition)
        if held is None or held.incarnation is None or held.lease_until_us <= now_us:
            unowned.add(partition)
        elif (pod := living.get(held.incarnation)) is not None:
            elsewhere += seat_of.get(partition) != pod.name
        elif held.incarnation in unlisted:
            elsewhere += 1
        else:
            unowned.add(partition)
    lagging = []
    for pod in pods:
        record, seat = own_record(pod, records), plan.seats.get(pod.name)
        if record is not None and seat is not None and seat.uid == pod.uid and record.generation != seat.generation:
            lagging.append(pod.name)
    connections = {pod.name: record.connections for pod in pods if (record := own_record(pod, records)) is not None}
    return Possession(partitions, frozenset(unowned), elsewhere, tuple(lagging), connections)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
