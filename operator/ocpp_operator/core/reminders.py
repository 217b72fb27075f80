"""Whom to tell again what its annotations say already.

The kubelet writes annotations into a pod's volume within half a second of a change. Now and then it loses one (ADR 55) and comes back to
it only when it looks at the pod again by itself, after 60 to 90 s: for so long a dead pod's partitions would lie unowned. Any further
change makes it look at once, so an annotation of its own counts how often a pod was reminded; what the pod shall serve stays as it is.

A pod acknowledges with its record, which it renews every few seconds. What it holds tells sooner: who holds exactly what it was told
needs no reminder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import PartitionRecord, PodRecord
from ocpp_operator.core import names
from ocpp_operator.core.fleet import GatewayPod, own_record
from ocpp_operator.core.plan import Plan

FIRST: Final = 2.0
"""Seconds without an acknowledgement: several times what the kubelet and the gateway need together."""
LONGEST: Final = 30.0
"""Of the pauses between reminders, which double: a pod that hangs is not worth a write a second."""


@dataclass(frozen=True, slots=True)
class _Silence:
    """A pod that has not acknowledged its generation."""

    generation: int
    due: float
    pause: float


class Reminders:
    """Remembers, by uid, who has not acknowledged what and when to remind it next."""

    def __init__(self) -> None:
        self._silent: dict[str, _Silence] = {}

    def due(
        self,
        pods: Sequence[GatewayPod],
        records: Mapping[PodName, PodRecord],
        holders: Mapping[Partition, PartitionRecord],
        plan: Plan,
        now: float,
    ) -> list[tuple[GatewayPod, dict[str, str]]]:
        """Pods to remind now, with the annotations that do it. A pod that says nothing at all reads them when it starts."""
        before, self._silent = self._silent, {}
        held: defaultdict[Incarnation, set[Partition]] = defaultdict(set)
        for partition, holder in holders.items():
            if holder.incarnation is not None:
                held[holder.incarnation].add(partition)
        wanted = []
        for pod in pods:
            record, seat = own_record(pod, records), plan.seats.get(pod.name)
            if record is None or seat is None or seat.uid != pod.uid or pod.deleting:
                continue
            if pod.told_generation != seat.generation:
                continue  # not told yet
            if record.generation >= seat.generation or held[record.incarnation] == seat.partitions:
                continue
            known = before.get(pod.uid)
            if known is None or known.generation != seat.generation:
                known = _Silence(seat.generation, now + FIRST, FIRST)
            elif known.due <= now:
                wanted.append((pod, {names.REMINDERS_ANNOTATION: str(_reminders(pod) + 1)}))
                pause = min(2 * known.pause, LONGEST)
                known = _Silence(seat.generation, now + pause, pause)
            self._silent[pod.uid] = known
        return wanted


def _reminders(pod: GatewayPod) -> int:
    """How often it was reminded in its life. What somebody else wrote there counts as nothing."""
    text = pod.annotations.get(names.REMINDERS_ANNOTATION, "0")
    return int(text) if text.isascii() and text.isdecimal() else 0
