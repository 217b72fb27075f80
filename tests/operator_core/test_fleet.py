"""Pods as Kubernetes shows them, joined with what they say of themselves."""

from __future__ import annotations

from typing import Any

from ocpp_contract.assignment import Assignment
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import PodRecord
from ocpp_operator.core import fleet, names
from ocpp_operator.core import plan as planner
from ocpp_operator.core.plan import Plan, Seat

RUN = frozenset({"run-1"})


def raw(name: str, uid: str | None = None, annotations: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": "7"}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "status": {"phase": "Running", "podIP": "10.0.0.1", **status}}


def record(name: str, uid: str | None = None, **changes: Any) -> PodRecord:
    values: dict[str, Any] = {
        "incarnation": Incarnation(PodName(name), uid or f"uid-{name}", "0badcafe"),
        "generation": 3, "partitions": frozenset(), "connections": 5, "draining": False,
    }  # fmt: skip
    return PodRecord(**values | changes)


def told(generation: int, *partitions: int) -> dict[str, str]:
    return Assignment(generation, frozenset(map(Partition, partitions))).to_annotations()


def test_a_finished_pod_counts_as_gone_and_one_on_a_silent_node_does_not() -> None:
    pods = fleet.pods_of(
        [raw("evicted", phase="Failed"), raw("done", phase="Succeeded"), raw("lost", phase="Unknown"), raw("a")]
    )
    assert [pod.name for pod in pods] == ["a", "lost"]


def test_ready_and_leaving_are_read_from_the_pod() -> None:
    leaving = raw("a", conditions=[{"type": "Ready", "status": "True"}])
    leaving["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "labels": {"pod-template-hash": "7d4b9c5f6"}}
    [pod] = fleet.pods_of([leaving])
    assert pod.template == "7d4b9c5f6"
    assert pod.ready
    assert pod.deleting
    [bare] = fleet.pods_of([{"metadata": {"name": "b", "uid": "u", "resourceVersion": "1"}}])
    assert (bare.ready, bare.ip, bare.trouble, bare.template) == (False, None, None, None)


def test_why_a_pod_does_not_start_is_told_in_kubernetes_words() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    crashed = {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"message": "CHARGEGATEWAY_KAFKA: needed"}},
    }
    creating = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    pending = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]
    pods = fleet.pods_of(
        [
            raw("a", containerStatuses=[waiting]),
            raw("b", containerStatuses=[crashed]),
            raw("c", containerStatuses=[creating]),
            raw("d", conditions=pending),
        ]
    )
    assert [pod.trouble for pod in pods] == [
        "ImagePullBackOff: no such image",
        "CrashLoopBackOff: CHARGEGATEWAY_KAFKA: needed",
        None,
        "Unschedulable: 0/3 nodes",
    ]


def test_absence_counts_from_the_first_look_and_ends_with_the_record() -> None:
    absences, pods = fleet.Absences(), fleet.pods_of([raw("a"), raw("b")])
    records = {PodName("b"): record("b")}
    assert absences.look(pods, records, RUN, 10.0) == {"uid-a": 10.0}
    assert absences.look(pods, records, RUN, 12.0) == {"uid-a": 10.0}
    assert absences.look(pods, records | {PodName("a"): record("a")}, RUN, 13.0) == {}
    assert absences.look(pods, records, RUN, 14.0) == {"uid-a": 14.0}


def test_absence_through_the_stores_fault_never_adds_up() -> None:
    absences, pods = fleet.Absences(), fleet.pods_of([raw("a")])
    assert absences.look(pods, {}, RUN, 10.0) == {"uid-a": 10.0}
    # Another run: the record may have been lost, and its pod writes it again at its next renewal.
    assert absences.look(pods, {}, frozenset({"run-2"}), 20.0) == {"uid-a": 20.0 + fleet.RETURN}
    assert absences.look(pods, {}, frozenset({"run-2"}), 21.0) == {"uid-a": 20.0 + fleet.RETURN}
    absences.outage()
    assert absences.look(pods, {}, frozenset({"run-2"}), 50.0) == {"uid-a": 50.0 + fleet.RETURN}
    assert absences.look(pods, {PodName("a"): record("a")}, frozenset({"run-2"}), 55.0) == {}
    assert absences.look(pods, {}, frozenset({"run-2"}), 70.0) == {"uid-a": 70.0}


def test_a_store_that_comes_back_empty_moves_no_partitions_of_pods_that_write_their_records_again() -> None:
    absences, pods = fleet.Absences(), fleet.pods_of([raw("a"), raw("b")])
    both = {PodName(name): record(name, generation=0) for name in "ab"}
    first = planner.plan(Plan(), fleet.planned(pods, both, absences.look(pods, both, RUN, 0.0), 0), 8, 0.0)
    before = after = first.plan
    for now in range(1, 7):  # "a" renews at once, "b" was about to in 5 s
        there = both if now == 6 else {PodName("a"): both[PodName("a")]}
        seen = fleet.planned(pods, there, absences.look(pods, there, frozenset({"run-2"}), float(now)), 3)
        after = planner.plan(after, seen, 8, float(now)).plan
    assert after.seats == before.seats


def test_the_record_of_a_predecessor_of_the_same_name_is_none_of_the_pods() -> None:
    pods = fleet.pods_of([raw("a", uid="second")])
    records = {PodName("a"): record("a", uid="first")}
    [seen] = fleet.planned(pods, records, {"second": 5.0}, 3)
    assert (seen.incarnation, seen.absent_since) == (None, 5.0)


def test_a_pod_leaves_when_kubernetes_or_the_pod_itself_says_so() -> None:
    deleted = raw("a")
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    pods = fleet.pods_of([deleted, raw("b"), raw("c")])
    records = {PodName("a"): record("a"), PodName("b"): record("b", draining=True), PodName("c"): record("c")}
    assert [pod.leaving for pod in fleet.planned(pods, records, {}, 3)] == [True, True, False]


def test_the_generation_is_the_highest_that_the_pod_knows_or_was_told() -> None:
    pods = fleet.pods_of([raw("a", annotations=told(9, 1)), raw("b", annotations=told(2, 2)), raw("c")])
    records = {PodName(name): record(name) for name in "abc"}
    assert [pod.generation for pod in fleet.planned(pods, records, {}, 3)] == [9, 3, 3]


def test_a_generation_that_only_a_person_can_have_written_counts_for_nothing() -> None:
    broken = fleet.pods_of([raw("a", annotations=told(10**18 - 1, 1))])
    [seen] = fleet.planned(broken, {PodName("a"): record("a")}, {}, 7)
    assert seen.generation == 3
    plan = Plan(7, {PodName("a"): Seat("uid-a", 7, frozenset({Partition(1)}))})
    after = planner.plan(plan, [seen], 2, 0.0).plan
    assert after.generation == 8
    assert fleet.to_tell(broken, after)
    # Unless its pod was faster: then nothing below it reaches the pod any more.
    [heard] = fleet.planned(broken, {PodName("a"): record("a", generation=10**18 - 1)}, {}, 7)
    assert heard.generation == 10**18 - 1


def test_a_restored_backup_counts_what_the_pods_were_told() -> None:
    later = fleet.pods_of([raw("a", annotations=told(5_000, 1))])
    assert [pod.generation for pod in fleet.planned(later, {}, {}, 7)] == [5_000]


def test_only_those_whose_seat_changed_are_told() -> None:
    pods = fleet.pods_of(
        [
            raw("same", annotations=told(4, 0, 1)),
            raw("other", annotations=told(4, 2)),
            raw("new"),
            raw("replaced", uid="second"),
        ]
    )
    seats = {
        PodName("same"): Seat("uid-same", 4, frozenset({Partition(0), Partition(1)})),
        PodName("other"): Seat("uid-other", 5, frozenset({Partition(2), Partition(3)})),
        PodName("new"): Seat("uid-new", 5, frozenset({Partition(4)})),
        PodName("replaced"): Seat("first", 5, frozenset({Partition(5)})),
    }
    assert [(pod.name, assignment.generation) for pod, assignment in fleet.to_tell(pods, Plan(5, seats))] == [
        ("new", 5),
        ("other", 5),
    ]


def test_annotations_edited_by_hand_are_told_anew() -> None:
    seat = {PodName("a"): Seat("uid-a", 4, frozenset({Partition(0)}))}
    for edited in (told(4, 0, 9), {**told(4, 0), "chargegateway.io/command-partitions": "nonsense"}):
        assert fleet.to_tell(fleet.pods_of([raw("a", annotations=edited)]), Plan(4, seat))


def test_a_lost_plan_is_what_the_pods_were_told() -> None:
    pods = fleet.pods_of(
        [
            raw("a", annotations=told(7, 0, 1, 2)),
            raw("b", annotations=told(5, 2, 3)),
            raw("c"),
            raw("d", annotations={"chargegateway.io/assignment-generation": "x"}),
        ]
    )
    plan = fleet.told(pods)
    assert plan.generation == 7
    assert {name: sorted(seat.partitions) for name, seat in plan.seats.items()} == {"a": [0, 1, 2], "b": [3]}


def test_deletion_costs_are_the_stations_of_each_pod() -> None:
    priced = raw("a", annotations={names.DELETION_COST: "5"})
    pods = fleet.pods_of([priced, raw("b"), raw("c")])
    records = {PodName("a"): record("a"), PodName("b"): record("b", connections=8)}
    assert [(pod.name, cost) for pod, cost in fleet.costs(pods, records)] == [("b", "8")]
