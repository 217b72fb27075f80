"""Wish, possession and the right to deliver; which partition a station gets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.ids import ChargePointId, Incarnation, Partition, PodName
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.ownership import Ownership, Tenure, choose_partition

SETTINGS = DownlinkSettings(lease=15.0, margin=3.0)
P = [Partition(number) for number in range(200)]


def owning(*partitions: int, right_until: float = 12.0) -> Ownership:
    ownership = Ownership(SETTINGS, Incarnation(PodName("a"), "u", "00000001"))
    for number in partitions:
        tenure = Tenure(P[number], 100 + number, right_until)
        tenure.serving = True
        ownership.took(tenure)
    return ownership


def test_an_older_generation_is_ignored_and_the_same_one_counts_when_it_differs() -> None:
    ownership = owning()
    assert ownership.assign(7, [P[1]])
    assert not ownership.assign(6, [P[2]])
    assert not ownership.assign(7, [P[1]])
    assert ownership.assign(7, [P[1], P[2]])
    assert ownership.assign(8, [P[1]])
    assert ownership.wish == {P[1]}
    assert ownership.wish_changed.fired


def test_only_the_last_of_many_takes_is_news() -> None:
    ownership = owning()
    ownership.assign(1, [P[1], P[2]])
    ownership.news.consume()
    ownership.took(Tenure(P[1], 1, 12.0))
    assert not ownership.news.fired
    ownership.took(Tenure(P[2], 2, 12.0))
    assert ownership.news.fired


def test_only_the_last_of_many_releases_is_news_and_a_lost_partition_is_none() -> None:
    ownership = owning(1, 2, 3)
    ownership.assign(1, [P[1]])
    ownership.news.consume()
    one, two, three = ownership.owned.values()
    ownership.end(two, 5.0)
    assert not ownership.news.fired
    ownership.end(three, 5.0)
    assert ownership.news.fired
    ownership.news.consume()
    ownership.end(one, 5.0)
    assert not ownership.news.fired


def test_the_wish_is_compared_with_what_is_held() -> None:
    ownership = owning(1, 2)
    ownership.assign(1, [P[2], P[3]])
    assert ownership.to_take() == [P[3]]
    assert [tenure.partition for tenure in ownership.to_give_up()] == [P[1]]
    ownership.owned[P[1]].leaving = True
    assert ownership.to_give_up() == []


def test_the_right_ends_by_time_and_by_decision() -> None:
    ownership = owning(1)
    tenure = ownership.owned[P[1]]
    assert ownership.has_right(tenure, 11.999)
    assert not ownership.has_right(tenure, 12.0)
    ownership.end(tenure, 5.0)
    assert not ownership.has_right(tenure, 5.0)


def test_a_renewal_extends_the_right_from_its_sending_and_never_shortens_it() -> None:
    ownership = owning(1)
    tenure = ownership.owned[P[1]]
    assert ownership.renewed(tenure, sent=5.0, now=7.0)
    assert tenure.right_until == 17.0
    assert ownership.renewed(tenure, sent=4.0, now=8.0)
    assert tenure.right_until == 17.0


def test_a_lapsed_tenure_is_not_renewed() -> None:
    ownership = owning(1)
    tenure = ownership.owned[P[1]]
    assert ownership.lapsed(12.0) == [tenure]
    assert not ownership.renewed(tenure, sent=11.9, now=12.0)
    assert tenure.right_until == 12.0


def test_ending_an_earlier_tenure_leaves_the_later_one_alone() -> None:
    ownership = owning(1)
    earlier = ownership.owned[P[1]]
    later = Tenure(P[1], 200, 30.0)
    ownership.took(later)
    ownership.end(earlier, 5.0)
    assert ownership.is_current(later)
    assert not ownership.is_current(earlier)


def test_since_when_the_pod_is_alone_is_known() -> None:
    ownership = owning(1, 2)
    first, second = ownership.owned.values()
    ownership.end(first, 5.0)
    assert ownership.alone_since is None
    ownership.end(second, 6.0)
    ownership.end(second, 9.0)
    assert ownership.alone_since == 6.0
    ownership.took(Tenure(P[3], 1, 30.0))
    assert ownership.alone_since is None


def test_a_station_is_given_only_a_partition_that_serves_and_stays() -> None:
    ownership = owning(1, 2, 3, 4)
    one, two, three, _ = ownership.owned.values()
    one.serving = False
    two.leaving = True
    three.right_until = 4.0
    assert ownership.serving(5.0) == [P[4]]
    assert ownership.ready(5.0)
    assert not ownership.ready(12.0)
    assert [ownership.keeps(p) for p in P[:5]] == [False, True, False, True, True]


stations = st.text(min_size=1, max_size=20).map(ChargePointId)
sets = st.sets(st.sampled_from(P), min_size=1, max_size=40)


@given(stations, sets)
def test_the_choice_does_not_depend_on_the_order(station: ChargePointId, partitions: set[Partition]) -> None:
    assert choose_partition(station, sorted(partitions)) == choose_partition(station, sorted(partitions, reverse=True))


@given(stations, sets, st.sampled_from(P))
def test_only_stations_of_the_partition_that_goes_or_comes_move(
    station: ChargePointId, partitions: set[Partition], other: Partition
) -> None:
    without = choose_partition(station, partitions - {other} or {P[0]})
    with_it = choose_partition(station, partitions | {other})
    assert with_it in (without, other) or not partitions - {other}


def test_stations_spread_evenly() -> None:
    load = Counter(choose_partition(ChargePointId(f"CP-{number:05}"), P[:16]) for number in range(16_000))
    assert len(load) == 16
    assert max(load.values()) < 1.15 * 1_000
    assert min(load.values()) > 0.85 * 1_000


def test_there_must_be_something_to_choose_from() -> None:
    with pytest.raises(ValueError, match="empty"):
        choose_partition(ChargePointId("CP1"), [])
