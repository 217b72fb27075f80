"""The planner, by table: which input moves what, and why."""

from __future__ import annotations

from datetime import UTC, datetime

from ocpp_contract.assignment import MAX_GENERATION, Assignment
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_operator.core.plan import Cause, Pace, Plan, Planned, Pod, Seat, plan, releasable
from ocpp_operator.core.stored_plan import StoredPlan, from_data, to_data

PACE = Pace(silence=15.0, quiet=3.0, ceiling=30.0)


def pod(name: str, uid: str | None = None, **changes: object) -> Pod:
    uid = uid or f"uid-{name}"
    values: dict[str, object] = {"incarnation": Incarnation(PodName(name), uid, "0badcafe")} | changes
    return Pod(PodName(name), uid, **values)  # type: ignore[arg-type]


def silent(name: str, since: float | None) -> Pod:
    return pod(name, incarnation=None, absent_since=since)


def held(planned: Planned | Plan) -> dict[str, list[int]]:
    seats = (planned.plan if isinstance(planned, Planned) else planned).seats
    return {name: sorted(seat.partitions) for name, seat in seats.items()}


def seated(generation: int = 1, **partitions: list[int]) -> Plan:
    return Plan(
        generation,
        {
            PodName(name): Seat(f"uid-{name}", generation, frozenset(map(Partition, numbers)))
            for name, numbers in partitions.items()
        },
    )


def test_the_first_plan_deals_runs_of_neighbours() -> None:
    first = plan(Plan(), [pod("b"), pod("a"), pod("c")], 10, 0.0, PACE)
    assert held(first) == {"a": [0, 1, 2, 3], "b": [4, 5, 6], "c": [7, 8, 9]}
    assert first.plan.generation == 1
    assert first.reason == "10 unowned to a, b, c"
    assert first.look_again_at is None


def test_without_any_pod_everything_is_unowned_and_said_so() -> None:
    nobody = plan(Plan(), [], 4, 0.0, PACE)
    assert nobody.plan.unowned == {0, 1, 2, 3}
    assert nobody.reason == "4 without an owner: no pod is able to serve"


def test_a_pod_that_is_gone_loses_everything_at_once_and_nothing_else_moves() -> None:
    before = seated(a=[0, 1], b=[2, 3], c=[4, 5])
    after = plan(before, [pod("a"), pod("c")], 6, 100.0, PACE)
    assert held(after) == {"a": [0, 1, 2], "c": [3, 4, 5]}
    assert {(move.partition, move.source, move.cause) for move in after.moves} == {
        (2, "b", Cause.GONE),
        (3, "b", Cause.GONE),
    }
    assert after.reason == "2 of b (gone) to a, c"


def test_a_replacement_of_the_same_name_is_another_pod() -> None:
    before = seated(a=[0, 1], b=[2, 3])
    after = plan(before, [pod("a"), pod("b", uid="other")], 4, 0.0, PACE)
    assert held(after) == {"a": [0, 1], "b": [2, 3]}
    assert after.plan.seats[PodName("b")].uid == "other"
    assert {move.cause for move in after.moves} == {Cause.GONE}


def test_a_restarted_container_keeps_its_seat() -> None:
    before = seated(a=[0, 1], b=[2, 3])
    restarted = pod("b", incarnation=Incarnation(PodName("b"), "uid-b", "11111111"))
    assert plan(before, [pod("a"), restarted], 4, 0.0, PACE).plan == before


def test_a_missing_record_is_no_death_until_it_was_silent_for_long_enough() -> None:
    before = seated(a=[0, 1], b=[2, 3])
    unsure = plan(before, [pod("a"), silent("b", 100.0)], 4, 114.9, PACE)
    assert unsure.plan == before
    assert unsure.look_again_at == 115.0
    sure = plan(before, [pod("a"), silent("b", 100.0)], 4, 115.0, PACE)
    assert held(sure) == {"a": [0, 1, 2, 3]}
    assert {move.cause for move in sure.moves} == {Cause.SILENT}


def test_absence_that_the_observer_cannot_vouch_for_counts_for_nothing() -> None:
    before = seated(a=[0, 1], b=[2, 3])
    unknown = plan(before, [pod("a"), silent("b", None)], 4, 1e9, PACE)
    assert unknown.plan == before
    assert unknown.look_again_at is None


def test_a_leaving_pod_loses_its_seat_to_successors_at_once() -> None:
    before = seated(a=[0, 1], b=[2, 3])
    after = plan(before, [pod("a"), pod("b", leaving=True)], 4, 0.0, PACE)
    assert held(after) == {"a": [0, 1, 2, 3]}, "b has no seat: its annotation is not touched"
    assert after.reason == "2 of b (leaving) to a"


def test_a_newcomer_waits_until_the_pods_are_quiet_and_then_takes_the_fewest() -> None:
    before = seated(a=[0, 1, 2], b=[3, 4, 5])
    pods = [pod("a"), pod("b"), pod("c")]
    early = plan(before, pods, 6, 10.0, PACE)
    assert held(early) == {"a": [0, 1, 2], "b": [3, 4, 5], "c": []}
    assert early.look_again_at == 13.0
    late = plan(early.plan, pods, 6, 13.0, PACE)
    assert held(late) == {"a": [0, 1], "b": [3, 4], "c": [2, 5]}
    assert late.reason == "2 of a, b for balance to c"
    assert late.look_again_at is None


def test_a_scale_up_in_dribs_moves_things_once() -> None:
    current = seated(a=list(range(30)), b=list(range(30, 60)), c=list(range(60, 90)))
    names = ["a", "b", "c"]
    moves = 0
    now = 0.0
    for n in range(27):
        names.append(f"n{n:02}")
        planned = plan(current, [pod(name) for name in names], 90, now, PACE)
        moves += len(planned.moves)
        current, now = planned.plan, now + 1.0
    assert moves == 0
    final = plan(current, [pod(name) for name in names], 90, now + 3.0, PACE)
    assert len(final.moves) == 81
    assert {len(numbers) for numbers in held(final).values()} == {3}


def test_pods_that_never_stop_coming_do_not_hold_up_balance_for_ever() -> None:
    current = seated(a=list(range(90)))
    names = ["a"]
    for second in range(40):
        names.append(f"n{second:02}")
        planned = plan(current, [pod(name) for name in names], 90, float(second), PACE)
        current = planned.plan
        if planned.moves:
            break
    assert second == 30


def test_a_silent_pod_holds_up_balance_but_not_the_placing_of_the_homeless() -> None:
    before = seated(a=[0, 1, 2], b=[3, 4, 5], c=[6])
    pods = [pod("a"), silent("b", 0.0), pod("d")]
    after = plan(before, pods, 7, 10.0, PACE)
    assert held(after) == {"a": [0, 1, 2], "b": [3, 4, 5], "d": [6]}
    assert after.look_again_at == 15.0, "the silence, not the end of the quiet time: nothing can happen before"


def test_a_pod_that_applied_more_than_is_stored_gets_its_seat_under_a_higher_generation() -> None:
    before = seated(generation=3, a=[0, 1], b=[2, 3])
    after = plan(before, [pod("a", generation=3), pod("b", generation=9)], 4, 0.0, PACE)
    assert after.plan.generation == 10
    assert after.plan.seats[PodName("a")].generation == 3, "a's annotation stays as it is"
    assert after.plan.seats[PodName("b")].generation == 10
    assert after.reason == "issued anew"


def test_above_the_highest_generation_that_can_be_written_there_is_no_other() -> None:
    before = seated(generation=3, a=[0, 1], b=[2, 3])
    after = plan(before, [pod("a", generation=3), pod("b", generation=MAX_GENERATION)], 4, 0.0, PACE)
    data = to_data(StoredPlan(after.plan, 4, after.reason, datetime(2026, 11, 22, tzinfo=UTC)))
    assert from_data(data).plan == after.plan
    both = [pod("a", generation=3), pod("b", generation=MAX_GENERATION)]
    assert plan(after.plan, both, 4, 1.0, PACE).plan == after.plan
    gone = plan(after.plan, both[1:], 4, 1.0, PACE)
    assert gone.plan.seats == {PodName("b"): Seat("uid-b", MAX_GENERATION, frozenset(map(Partition, range(4))))}
    seat = gone.plan.seats[PodName("b")]
    told = Assignment(seat.generation, seat.partitions)
    assert Assignment.from_annotations(told.to_annotations()) == told


def test_only_the_pods_concerned_get_a_new_generation() -> None:
    before = seated(generation=4, a=[0, 1], b=[2, 3], c=[4, 5, 6])
    after = plan(before, [pod("a"), pod("c")], 7, 0.0, PACE)
    assert {name: seat.generation for name, seat in after.plan.seats.items()} == {"a": 5, "c": 5}
    again = plan(seated(generation=4, a=[0, 1, 2], b=[3]), [pod("a"), pod("b"), pod("c")], 4, 0.0, PACE)
    assert {name: seat.generation for name, seat in again.plan.seats.items()} == {"a": 4, "b": 4, "c": 5}


def test_more_pods_than_partitions_leave_some_with_an_empty_seat() -> None:
    after = plan(Plan(), [pod("a"), pod("b"), pod("c")], 2, 0.0, PACE)
    assert held(after) == {"a": [0], "b": [1], "c": []}


def test_a_pod_without_successor_leaves_partitions_unowned() -> None:
    after = plan(seated(a=[0, 1]), [pod("a", leaving=True)], 2, 0.0, PACE)
    assert after.plan.unowned == {0, 1}
    back = plan(after.plan, [pod("a", leaving=True), pod("b")], 2, 1.0, PACE)
    assert held(back) == {"b": [0, 1]}
    assert back.plan.unowned == frozenset()


def test_releasable_is_exactly_what_pods_that_are_gone_hold() -> None:
    gone = Incarnation(PodName("b"), "uid-b", "22222222")
    predecessor = Incarnation(PodName("a"), "uid-a", "33333333")
    holders = {
        Partition(0): Incarnation(PodName("a"), "uid-a", "0badcafe"),
        Partition(1): predecessor,
        Partition(2): gone,
    }
    assert releasable(holders, [pod("a")]) == {2: gone}
    assert releasable(holders, [pod("a"), silent("b", 0.0)]) == {}, "silent is not gone: it may be frozen"


def test_the_silence_ends_at_the_very_time_that_was_announced() -> None:
    since = 17.74947972355925  # since + 15 - since is less than 15 in floating point
    before = seated(0, a=[0])
    waiting = plan(before, [silent("a", since)], 1, since, PACE)
    assert waiting.look_again_at is not None
    after = plan(waiting.plan, [silent("a", since)], 1, waiting.look_again_at, PACE)
    assert held(after) == {}
    assert after.plan.unowned == {0}
