"""The pods of a resource: as Kubernetes shows them, joined with what they say of themselves in Redis.

A pod that Kubernetes calls finished (Failed, Succeeded) runs nothing any more and counts as gone, though it is still listed. One on
a node that went silent stays listed and does not count as gone: it may be alive and serving, only its lease can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from ocpp_contract.assignment import Assignment
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Partition, PodName
from ocpp_contract.names import ASSIGNMENT_GENERATION_ANNOTATION, COMMAND_PARTITIONS_ANNOTATION
from ocpp_contract.scripts.records import PodRecord
from ocpp_operator.core import names, plan

OVERDUE: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class GatewayPod:
    """One pod that Kubernetes lists and that may run."""

    name: PodName
    uid: str
    version: str
    """Its resourceVersion: a patch of its annotations carries it."""
    ip: str | None
    ready: bool
    deleting: bool
    gone_by: datetime | None
    """When it is deleted: the end of its grace period."""
    annotations: Mapping[str, str]
    template: str | None
    """Hash of its template, as its ReplicaSet put it on it. None: no ReplicaSet made it."""
    trouble: str | None
    """Why a container of it waits (CrashLoopBackOff, ImagePullBackOff, ...) or no node takes it, with Kubernetes' message."""
    failing: str | None
    """Why it does not become ready, where that is no matter of time. Steady through the seconds in which a container that
    ends again and again runs once more."""

    def overdue(self, now: datetime) -> bool:
        """Whether it should be gone by now, clocks that differ included: its node is lost, or a finalizer holds it."""
        return self.gone_by is not None and now > self.gone_by + OVERDUE

    @property
    def told(self) -> tuple[str | None, str | None]:
        """What its annotations say now: partitions and generation."""
        return self.annotations.get(COMMAND_PARTITIONS_ANNOTATION), self.annotations.get(
            ASSIGNMENT_GENERATION_ANNOTATION
        )

    @property
    def told_generation(self) -> int:
        """0 when it was told nothing readable."""
        try:
            assignment = Assignment.from_annotations(self.annotations)
        except ContractError:
            return 0
        return 0 if assignment is None else assignment.generation


def pods_of(raws: Iterable[Mapping[str, Any]]) -> list[GatewayPod]:
    """Those that may run, by name."""
    return sorted((_pod(raw) for raw in raws if not _finished(raw)), key=lambda pod: pod.name)


def _finished(raw: Mapping[str, Any]) -> bool:
    return (raw.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _pod(raw: Mapping[str, Any]) -> GatewayPod:
    metadata, status = raw["metadata"], raw.get("status") or {}
    readiness: Mapping[str, Any] = next(
        (each for each in status.get("conditions") or () if each["type"] == "Ready"), {}
    )
    ready, waiting = readiness.get("status") == "True", _waiting(status)
    return GatewayPod(
        name=PodName(metadata["name"]),
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        ip=status.get("podIP") or None,
        ready=ready,
        deleting="deletionTimestamp" in metadata,
        gone_by=_time(metadata.get("deletionTimestamp")),
        annotations=metadata.get("annotations") or {},
        template=(metadata.get("labels") or {}).get("pod-template-hash"),
        trouble=waiting or _unscheduled(status),
        failing=None if ready else waiting or _ended(status, readiness.get("lastTransitionTime")),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _waiting(status: Mapping[str, Any]) -> str | None:
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            last = ((container.get("lastState") or {}).get("terminated") or {}).get("message")
            return _words(reason, last or waiting.get("message"))
    return None


def _ended(status: Mapping[str, Any], unready_since: str | None) -> str | None:
    """How a container ended since the pod is not ready. An end long before says nothing: it has been ready since."""
    for container in status.get("containerStatuses") or ():
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            ended = state.get("terminated") or {}
            at, since = _time(ended.get("finishedAt")), _time(unready_since)
            if at is not None and (since is None or at >= since):
                return _words(f"it ended with exit code {ended.get('exitCode')}", ended.get("message"))
    return None


def _unscheduled(status: Mapping[str, Any]) -> str | None:
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _words(condition.get("reason"), condition.get("message"))
    return None


def _words(*parts: str | None) -> str | None:
    return ": ".join(part for part in parts if part) or None


RETURN: Final = 10.0
"""Seconds after an outage or under another run before an absence counts: two renewals of the gateways, which write their records
again with the next one. Until then absence says nothing: the record did not run out with its leases, it was lost."""


class Absences:
    """Since when this observer has seen each pod's record absent, by its own clock.

    Absence counts only while the store answers and has lost no data: after an outage or under another run it begins anew, and not
    before everybody alive had time to come back, so that the store's fault is nobody's death.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._runs: frozenset[str] = frozenset()
        self._was_away = False
        self._counts_from = float("-inf")

    def look(
        self, pods: Sequence[GatewayPod], records: Mapping[PodName, PodRecord], runs: frozenset[str], now: float
    ) -> dict[str, float]:
        """Absent since, by uid; maybe a moment to come. `runs` are the run ids of the store's servers that answered."""
        if self._was_away or (self._runs and runs != self._runs):
            self._since.clear()
            self._counts_from = now + RETURN
        self._was_away, self._runs = False, runs
        absent = {pod.uid for pod in pods if own_record(pod, records) is None}
        self._since = {uid: self._since.get(uid, max(now, self._counts_from)) for uid in absent}
        return dict(self._since)

    def outage(self) -> None:
        """The store did not answer."""
        self._was_away = True


def own_record(pod: GatewayPod, records: Mapping[PodName, PodRecord]) -> PodRecord | None:
    """The pod's own record; one that a predecessor of the same name left is none."""
    record = records.get(pod.name)
    return record if record is not None and record.incarnation.uid == pod.uid else None


FAR: Final = 1_000_000_000
"""Generations. Each plan counts one, so an annotation so far above all that is stored and acknowledged was not written by us."""


def planned(
    pods: Sequence[GatewayPod], records: Mapping[PodName, PodRecord], absent: Mapping[str, float], stored: int
) -> list[plan.Pod]:
    """The pods as the planner wants them. `stored`: generation of the stored plan."""
    seen = []
    known = max([stored, *(record.generation for pod in pods if (record := own_record(pod, records)) is not None)])
    for pod in pods:
        record = own_record(pod, records)
        seen.append(
            plan.Pod(
                name=pod.name,
                uid=pod.uid,
                incarnation=None if record is None else record.incarnation,
                # What it was told counts too: an annotation of ours may be newer than the stored plan (a restored backup).
                generation=max(
                    pod.told_generation if pod.told_generation <= known + FAR else 0,
                    0 if record is None else record.generation,
                ),
                leaving=pod.deleting or (record is not None and record.draining),
                absent_since=absent.get(pod.uid),
            )
        )
    return seen


def to_tell(pods: Sequence[GatewayPod], wish: plan.Plan) -> list[tuple[GatewayPod, Assignment]]:
    """Whose annotations differ from the plan. A leaving pod has no seat and is not touched: it serves until it releases."""
    wanted = []
    for pod in pods:
        seat = wish.seats.get(pod.name)
        if seat is None or seat.uid != pod.uid:
            continue
        assignment = Assignment(seat.generation, seat.partitions)
        annotations = assignment.to_annotations()
        if any(pod.annotations.get(key) != value for key, value in annotations.items()):
            wanted.append((pod, assignment))
    return wanted


def costs(pods: Sequence[GatewayPod], records: Mapping[PodName, PodRecord]) -> list[tuple[GatewayPod, str]]:
    """Whose deletion cost differs from its number of stations: Kubernetes takes the cheapest pods first."""
    wanted = []
    for pod in pods:
        record = own_record(pod, records)
        cost = str(0 if record is None else record.connections)
        if not pod.deleting and pod.annotations.get(names.DELETION_COST, "0") != cost:
            wanted.append((pod, cost))
    return wanted


def told(pods: Sequence[GatewayPod]) -> plan.Plan:
    """The plan that the pods' annotations amount to, for when the stored one is lost: so nothing moves for that.

    Of two that were told the same partition the later one has it. Unreadable annotations say nothing.
    """
    assignments = []
    for pod in pods:
        try:
            assignment = Assignment.from_annotations(pod.annotations)
        except ContractError:
            continue
        if assignment is not None:
            assignments.append((assignment, pod))
    assignments.sort(key=lambda pair: (-pair[0].generation, pair[1].name))
    seats: dict[PodName, plan.Seat] = {}
    owned: set[Partition] = set()
    for assignment, pod in assignments:
        seats[pod.name] = plan.Seat(pod.uid, assignment.generation, assignment.partitions - owned)
        owned |= assignment.partitions
    generation = max((seat.generation for seat in seats.values()), default=0)
    return plan.Plan(generation, seats)
