"""Who really holds which partition, beside the plan."""

from __future__ import annotations

from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import PartitionRecord, PodRecord
from ocpp_operator.core.fleet import pods_of
from ocpp_operator.core.plan import Plan, Seat
from ocpp_operator.core.possession import Possession, judge
from tests.operator_core.test_fleet import raw, record

NOW_US = 1_000_000_000
A, B = PodName("a"), PodName("b")
PODS = pods_of([raw("a"), raw("b")])
RECORDS = {A: record("a", connections=2), B: record("b", connections=3)}
PLAN = Plan(3, {A: Seat("uid-a", 3, frozenset({Partition(0)})), B: Seat("uid-b", 3, frozenset({Partition(1)}))})


def held(incarnation: Incarnation | None, lease: int = 5_000_000) -> PartitionRecord:
    return PartitionRecord(incarnation, 1, NOW_US + lease, "run")


def judged(
    zero: PartitionRecord | None, one: PartitionRecord | None, records: dict[PodName, PodRecord] = RECORDS
) -> Possession:
    holders = {Partition(n): each for n, each in enumerate((zero, one)) if each is not None}
    return judge(PLAN, PODS, records, holders, 2, NOW_US)


def test_all_is_well_when_each_seat_is_held_by_its_pod() -> None:
    found = judged(held(RECORDS[A].incarnation), held(RECORDS[B].incarnation))
    assert found.converged
    assert (found.assigned, found.stations) == (2, 5)
    assert str(found) == "all 2 partitions are owned as planned"


def test_a_partition_is_unowned_when_its_lease_is_over_its_holder_is_gone_or_there_is_none() -> None:
    gone = Incarnation(PodName("a"), "uid-a", "0ddba11")
    for nobody in (None, held(None, lease=-NOW_US), held(RECORDS[A].incarnation, lease=-1), held(gone)):
        found = judged(nobody, held(RECORDS[B].incarnation))
        assert found.unowned == {0}
        assert not found.converged
        assert str(found) == "1 of 2 partitions have no owner: 0"


def test_held_by_another_than_planned_is_served_but_not_converged() -> None:
    found = judged(held(RECORDS[B].incarnation), held(RECORDS[B].incarnation))
    assert (found.unowned, found.elsewhere, found.converged) == (set(), 1, False)
    assert str(found) == "1 partitions are on their way to another pod"


def test_what_a_pod_without_our_labels_serves_has_an_owner() -> None:
    stray = Incarnation(PodName("c"), "uid-c", "0badcafe")
    holders = {Partition(0): held(stray), Partition(1): held(RECORDS[B].incarnation)}
    found = judge(PLAN, PODS, RECORDS, holders, 2, NOW_US, {stray})
    assert (found.unowned, found.elsewhere, found.converged) == (set(), 1, False)
    holders[Partition(0)] = held(stray, lease=-1)
    assert judge(PLAN, PODS, RECORDS, holders, 2, NOW_US, {stray}).unowned == {0}


def test_a_pod_has_to_acknowledge_the_generation_of_its_own_annotation() -> None:
    records = RECORDS | {B: record("b", generation=2)}
    found = judged(held(RECORDS[A].incarnation), held(records[B].incarnation), records)
    assert found.lagging == ("b",)
    assert str(found) == "not yet applied by b"
