"""The plan survives an operator's restart, and what no planner wrote is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_operator.core.plan import Pace, Plan, Pod, Seat, Unrest, plan
from ocpp_operator.core.stored_plan import MAX_REASON, StoredPlan, from_data, to_data

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
UID = "6c1f9a3e-0b1d-4e53-8f0e-2b7d3f5a9c10"


def seat(generation: int, *partitions: int, uid: str = UID) -> Seat:
    return Seat(uid, generation, frozenset(map(Partition, partitions)))


def stored(plan: Plan, partitions: int = 8, reason: str = "why", changed: datetime = AT) -> StoredPlan:
    return StoredPlan(plan, partitions, reason, changed)


TWO = Plan(7, {PodName("gw-a"): seat(7, 0, 1, 2, 3, 6), PodName("gw-b"): seat(4, 4, 5, 7)})
DATA = to_data(stored(TWO))


def test_people_can_read_it() -> None:
    assert to_data(stored(TWO)) == {
        "format": "1",
        "generation": "7",
        "partitions": "8",
        "pods": f"gw-a uid={UID} generation=7 partitions=0-3,6\ngw-b uid={UID} generation=4 partitions=4-5,7\n",
        "reason": "why",
        "changed": "2026-11-22T10:00:00.000Z",
    }
    assert from_data(DATA) == stored(TWO)


def test_partitions_in_no_line_have_no_owner() -> None:
    found = from_data(to_data(stored(Plan(3, {PodName("gw-a"): seat(3, 0, 1), PodName("gw-b"): seat(2)}), 4)))
    assert found.plan.unowned == {2, 3}
    assert found.plan.seats[PodName("gw-b")].partitions == frozenset()
    assert from_data(to_data(stored(Plan(), 2))).plan == Plan(unowned=frozenset(map(Partition, (0, 1))))


def test_the_debounce_does_not_outlive_its_clock() -> None:
    restless = Plan(7, TWO.seats, unrest=Unrest(12.5, 13.0, frozenset({(PodName("gw-a"), UID)})))
    assert to_data(stored(restless)) == DATA


def test_a_reason_is_one_line_of_bounded_length() -> None:
    long = to_data(stored(TWO, reason="12 of gw-a\n(gone) " * 1_000))
    assert len(long["reason"]) == MAX_REASON
    assert "\n" not in long["reason"]
    assert to_data(from_data(long)) == long


# --- round trip -------------------------------------------------------------------------------------------------------


@st.composite
def planned(draw: st.DrawFn) -> StoredPlan:
    """What the planner makes of a fleet that changes."""
    partitions = draw(st.integers(1, 40))
    current = Plan()
    for now in range(draw(st.integers(1, 4))):
        pods = [
            Pod(
                PodName(name),
                uid := draw(st.sampled_from(["u1", UID])),
                Incarnation(PodName(name), uid, "0badcafe") if draw(st.booleans()) else None,
                generation=draw(st.integers(0, 9)),
                leaving=draw(st.booleans()),
                absent_since=0.0,
            )
            for name in draw(st.lists(st.sampled_from(["gw-a", "gw-b", "gw.c", "gw-d"]), unique=True))
        ]
        outcome = plan(current, pods, partitions, float(now), Pace(silence=2.0))
        current = outcome.plan
    changed = AT + timedelta(milliseconds=draw(st.integers(0, 10**12)))
    return StoredPlan(current, partitions, outcome.reason, changed)


@settings(deadline=None)
@given(planned())
def test_what_is_stored_is_what_comes_back(before: StoredPlan) -> None:
    after = from_data(to_data(before))
    assert to_data(after) == to_data(before)
    assert after.plan == Plan(before.plan.generation, before.plan.seats, before.plan.unowned)
    assert (after.partitions, after.reason, after.changed) == (before.partitions, before.reason, before.changed)


@pytest.mark.parametrize("scatter", [1, 128])
def test_the_largest_fleet_stays_far_below_a_config_maps_size(scatter: int) -> None:
    """A mebibyte is the limit. The worst is a plan without two neighbours on one pod, on pods with the longest names."""
    pods, partitions = 128, 4096
    width = partitions // pods
    seats = {}
    for number in range(pods):
        held = range(number, partitions, scatter) if scatter > 1 else range(number * width, (number + 1) * width)
        seats[PodName(f"{number:03}-{'x' * 249}")] = seat(10**17, *held)
    data = to_data(stored(Plan(10**17, seats), partitions))
    assert from_data(data).plan.seats == seats
    assert sum(len(key) + len(value) for key, value in data.items()) < 128 * 1024


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DATA))
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(ContractError, match=f"^{name}: is missing$"):
        from_data({key: value for key, value in DATA.items() if key != name})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "2"}, "format: is '2', this release reads '1' only"),
        ({"generation": "-7"}, "generation: '-7' is no number"),
        ({"generation": "seven"}, "generation: 'seven' is no number"),
        ({"generation": "9" * 19}, "generation: .* is no number"),
        ({"generation": "\u0667"}, "generation: .* is no number"),
        ({"partitions": "0"}, "partitions: must be between 1 and 65536"),
        ({"partitions": "65537"}, "partitions: must be between 1 and 65536"),
        ({"partitions": "6"}, "pods, line 1, partitions: 6 is beyond the 6 partitions planned"),
        ({"generation": "6"}, "pods, line 1, generation: 7 is above the plan's 6"),
        ({"changed": "yesterday"}, "changed: must be an RFC 3339 time"),
        ({"pods": "gw-a 0-3"}, "pods, line 1: must be <pod> uid="),
        ({"pods": f"gw-a uid={UID} generation=1 partitions=0-3\n\n"}, "pods, line 2: must be <pod> uid="),
        ({"pods": f"gw-a uid={UID} generation=1 partitions=3-0"}, "pods, line 1, partitions: the range 3-0 runs back"),
        ({"pods": f"gw-a uid={UID} generation=1 partitions=0-99999"}, "pods, line 1, partitions: 99999 is beyond"),
        (
            {"pods": f"gw-a uid={UID} generation=1 partitions=0\n" * 2},
            "pods, line 2: gw-a has a line already",
        ),
        (
            {"pods": "".join(f"gw-{x} uid={UID} generation=1 partitions=2-4\n" for x in "ab")},
            "pods, line 2, partitions: 2 is gw-a's already",
        ),
    ],
)
def test_what_no_planner_wrote_is_refused_by_name(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ContractError, match=f"^{words}"):
        from_data({**DATA, **changes})


def test_fields_of_others_are_ignored() -> None:
    assert from_data({**DATA, "note": "by hand"}) == stored(TWO)


@given(st.dictionaries(st.sampled_from([*sorted(DATA), "x"]), st.text(max_size=60)), st.booleans())
def test_whatever_stands_there_is_read_or_refused(junk: dict[str, str], over: bool) -> None:
    refused = None
    try:
        found = from_data({**DATA, **junk} if over else junk)
    except ContractError as error:
        refused = error
    if refused is None:
        assert from_data(to_data(found)).plan == found.plan
    else:
        assert refused.field
