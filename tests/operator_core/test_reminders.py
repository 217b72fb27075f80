"""Whom to tell again: only who was told, lives, and has not acknowledged for a while."""

from __future__ import annotations

from typing import Any

from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import PartitionRecord, PodRecord
from ocpp_operator.core import fleet, names
from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.plan import Plan, Seat
from ocpp_operator.core.reminders import FIRST, LONGEST, Reminders
from tests.operator_core.test_fleet import raw, record, told

ANNOTATION = names.REMINDERS_ANNOTATION


def pod(**annotations: str) -> GatewayPod:
    """Told generation 4, unless `annotations` say otherwise."""
    [found] = fleet.pods_of([raw("a", annotations=told(4, 0, 1) | annotations)])
    return found


def plan(generation: int = 4, uid: str = "uid-a") -> Plan:
    return Plan(9, {PodName("a"): Seat(uid, generation, frozenset({Partition(0), Partition(1)}))})


def records(generation: int = 3, **changes: Any) -> dict[PodName, PodRecord]:
    return {PodName("a"): record("a", generation=generation, **changes)}


def test_a_silent_pod_is_reminded_after_a_while_and_then_ever_more_rarely() -> None:
    reminders = Reminders()
    times = [second for second in range(120) if reminders.due([pod()], records(), {}, plan(), second)]
    pauses = [later - earlier for earlier, later in zip([0, *times], times, strict=False)]
    assert pauses == [FIRST, 4, 8, 16, LONGEST, LONGEST]


def test_each_reminder_changes_the_pod() -> None:
    reminders = Reminders()
    assert reminders.due([pod()], records(), {}, plan(), 0) == []
    [(_, first)] = reminders.due([pod()], records(), {}, plan(), FIRST)
    assert first == {ANNOTATION: "1"}
    [(_, second)] = reminders.due([pod(**first)], records(), {}, plan(), 100)
    assert second == {ANNOTATION: "2"}
    [(_, mended)] = reminders.due([pod(**{ANNOTATION: "many"})], records(), {}, plan(), 200)
    assert mended == {ANNOTATION: "1"}


def test_whoever_acknowledged_begins_anew_with_the_next_generation() -> None:
    reminders = Reminders()
    reminders.due([pod()], records(), {}, plan(), 0)
    assert reminders.due([pod()], records(4), {}, plan(), 1) == []
    assert reminders.due([pod()], records(), {}, plan(), FIRST) == []
    next_told = pod(**told(5, 0, 1))
    assert reminders.due([next_told], records(), {}, plan(5), FIRST + 1) == []
    assert reminders.due([next_told], records(), {}, plan(5), 2 * FIRST) == []
    assert reminders.due([next_told], records(), {}, plan(5), 2 * FIRST + 1)


def test_what_a_pod_holds_tells_sooner_than_its_record() -> None:
    mine, others = record("a").incarnation, record("b").incarnation

    def reminded(*holders: Incarnation | None) -> bool:
        held = {Partition(number): PartitionRecord(holder, 1, 9, "run-1") for number, holder in enumerate(holders)}
        reminders = Reminders()
        reminders.due([pod()], records(), held, plan(), 0)
        return bool(reminders.due([pod()], records(), held, plan(), FIRST))

    assert not reminded(mine, mine, others)
    assert reminded(mine, others)  # has not taken it
    assert reminded(mine, None)
    assert reminded(mine, mine, mine)  # has not given it up


def test_nobody_else_is_reminded() -> None:
    for pods, known, wish in (
        ([pod()], {}, plan()),  # says nothing: it starts, or is dead
        ([pod()], records(uid="of before"), plan()),  # so does this one
        ([pod()], records(), plan(uid="of before")),  # no seat of its own
        ([pod()], records(), plan(5)),  # not told yet
        ([pod()], records(), Plan()),
    ):
        reminders = Reminders()
        assert [reminders.due(pods, known, {}, wish, float(now)) for now in range(9)] == [[]] * 9
    leaving = raw("a", annotations=told(4, 0))
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    reminders = Reminders()
    assert [reminders.due(fleet.pods_of([leaving]), records(), {}, plan(), float(now)) for now in range(9)] == [[]] * 9
