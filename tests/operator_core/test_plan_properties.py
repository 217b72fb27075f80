"""The planner, by properties: cover, balance, fewest moves, stability, determinism, over whole histories of a fleet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_operator.core.plan import Cause, Pace, Plan, Planned, Pod, Seat, plan

PACE = Pace(silence=15.0, quiet=3.0, ceiling=30.0)
NAMES = [f"gw-{n}" for n in range(7)]


@st.composite
def fleets(draw: st.DrawFn) -> list[Pod]:
    pods = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        uid = draw(st.sampled_from(["u1", "u1", "u1", "u2"]))
        live = draw(st.booleans()) or draw(st.booleans())
        pods.append(
            Pod(
                PodName(name),
                uid,
                Incarnation(PodName(name), uid, "0badcafe") if live else None,
                generation=draw(st.integers(0, 20)),
                leaving=draw(st.sampled_from([False, False, True])),
                absent_since=None if live else draw(st.none() | st.floats(0, 100)),
            )
        )
    return pods


@st.composite
def plans(draw: st.DrawFn, partitions: int) -> Plan:
    """Any stored plan, also one that no planner would write."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    held: dict[str, set[Partition]] = {name: set() for name in names}
    for number in range(partitions + draw(st.integers(0, 2))):
        owner = draw(st.sampled_from([*names, None]))
        if owner is not None:
            held[owner].add(Partition(number))
    generation = draw(st.integers(0, 10))
    return Plan(
        generation,
        {
            PodName(name): Seat("u1", draw(st.integers(0, generation)), frozenset(numbers))
            for name, numbers in held.items()
        },
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[Plan, list[Pod], int, float]:
    partitions = draw(st.integers(1, 24))
    return draw(plans(partitions)), draw(fleets()), partitions, draw(st.floats(0, 120))


def settle(previous: Plan, pods: list[Pod], partitions: int, now: float) -> tuple[Planned, float]:
    """Call as often as the planner itself asks to be called."""
    planned = plan(previous, pods, partitions, now, PACE)
    for _ in range(10):
        if planned.look_again_at is None:
            return planned, now
        now = max(now, planned.look_again_at)
        planned = plan(planned.plan, pods, partitions, now, PACE)
    raise AssertionError(f"the planner never comes to rest: {planned}")


def able(pods: list[Pod]) -> set[str]:
    return {pod.name for pod in pods if pod.incarnation is not None and not pod.leaving}


def owners(found: Plan) -> dict[Partition, PodName]:
    return {partition: name for name, seat in found.seats.items() for partition in seat.partitions}


@given(situations())
def test_every_partition_has_exactly_one_owner_or_is_reported(case: tuple[Plan, list[Pod], int, float]) -> None:
    previous, pods, partitions, now = case
    found = plan(previous, pods, partitions, now, PACE).plan
    listed = sorted(partition for seat in found.seats.values() for partition in seat.partitions)
    assert sorted([*listed, *found.unowned]) == list(range(partitions))
    if able(pods):
        assert not found.unowned


@given(situations())
def test_no_leaving_or_dead_pod_keeps_a_seat(case: tuple[Plan, list[Pod], int, float]) -> None:
    previous, pods, partitions, now = case
    found = plan(previous, pods, partitions, now, PACE).plan
    seen = {pod.name: pod for pod in pods}
    for name, seat in found.seats.items():
        assert seen[name].uid == seat.uid
        assert not seen[name].leaving
        since = seen[name].absent_since
        assert since is None or now - since < PACE.silence
    assert able(pods) <= found.seats.keys(), "every pod that is able to serve has a seat, an empty one at least"


@given(situations())
def test_settled_pods_differ_by_at_most_one(case: tuple[Plan, list[Pod], int, float]) -> None:
    previous, pods, partitions, now = case
    settled, _ = settle(previous, pods, partitions, now)
    open_fates = settled.plan.seats.keys() - able(pods)
    sizes = [len(seat.partitions) for name, seat in settled.plan.seats.items() if name in able(pods)]
    if sizes and not open_fates:
        assert max(sizes) - min(sizes) <= 1


@given(situations())
def test_it_moves_as_few_as_balance_allows(case: tuple[Plan, list[Pod], int, float]) -> None:
    previous, pods, partitions, now = case
    settled, now = settle(previous, pods, partitions, now)
    if settled.plan.seats.keys() != able(pods) or not able(pods):
        return
    before, after = owners(previous), owners(settled.plan)
    uids = {pod.name: pod.uid for pod in pods}
    stayed = {
        partition
        for partition in range(partitions)
        if before.get(Partition(partition)) == after[Partition(partition)]
        and previous.seats[after[Partition(partition)]].uid == uids[after[Partition(partition)]]
    }
    # The most that can stay with pods that are able to serve: each keeps at most its share, the larger shares to the fullest.
    loads = sorted(
        (
            sum(1 for p in previous.seats[name].partitions if p < partitions)
            if name in previous.seats and previous.seats[name].uid == uids[name]
            else 0
            for name in able(pods)
        ),
        reverse=True,
    )
    share, larger = divmod(partitions, len(loads))
    assert len(stayed) == sum(min(load, share + (rank < larger)) for rank, load in enumerate(loads))


@given(situations())
def test_a_plan_handed_back_stays_as_it_is(case: tuple[Plan, list[Pod], int, float]) -> None:
    previous, pods, partitions, now = case
    first = plan(previous, pods, partitions, now, PACE)
    again = plan(first.plan, pods, partitions, now, PACE)
    assert again.plan == first.plan
    assert again.moves == ()
    settled, now = settle(previous, pods, partitions, now)
    assert plan(settled.plan, pods, partitions, now + 1e6, PACE).plan.seats.keys() <= settled.plan.seats.keys()
    if settled.plan.seats.keys() == able(pods):
        assert plan(settled.plan, pods, partitions, now + 1e6, PACE).plan == settled.plan


@given(situations(), st.randoms(use_true_random=False))
def test_the_order_of_the_pods_does_not_matter(case: tuple[Plan, list[Pod], int, float], random: object) -> None:
    previous, pods, partitions, now = case
    shuffled = list(pods)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(previous, shuffled, partitions, now, PACE) == plan(previous, pods, partitions, now, PACE)


@given(situations())
def test_generations_only_grow_and_outgrow_what_a_pod_has_applied(case: tuple[Plan, list[Pod], int, float]) -> None:
    previous, pods, partitions, now = case
    found = plan(previous, pods, partitions, now, PACE).plan
    assert found.generation >= previous.generation
    seen = {pod.name: pod for pod in pods}
    for name, seat in found.seats.items():
        before = previous.seats.get(name)
        changed = before is None or before.uid != seat.uid or before.partitions != seat.partitions
        assert seat.generation <= found.generation
        assert seat.generation >= seen[name].generation
        if changed:
            assert seat.generation == found.generation > previous.generation
            assert seat.generation > max(pod.generation for pod in pods)


@given(situations())
def test_nothing_moves_from_a_pod_that_stays_unless_for_balance(case: tuple[Plan, list[Pod], int, float]) -> None:
    previous, pods, partitions, now = case
    planned = plan(previous, pods, partitions, now, PACE)
    for move in planned.moves:
        if move.source in able(pods) and move.cause not in (Cause.GONE,):
            assert move.cause is Cause.BALANCE
            assert planned.plan.unrest is None, "balance is restored in one go"


@given(
    st.integers(1, 24), st.lists(fleets(), min_size=1, max_size=6), st.lists(st.floats(0, 20), min_size=6, max_size=6)
)
def test_over_a_history_moves_tell_the_whole_difference(
    partitions: int, history: list[list[Pod]], pauses: list[float]
) -> None:
    current, now = Plan(), 100.0
    for pods, pause in zip(history, pauses, strict=False):
        now += pause
        planned = plan(current, pods, partitions, now, PACE)
        replayed = owners(current)
        for move in planned.moves:
            assert move.source is None or replayed.get(move.partition) == move.source
            replayed[move.partition] = move.target
        after = owners(planned.plan)
        assert {p: n for p, n in replayed.items() if p not in planned.plan.unowned} == after
        current = planned.plan
