"""Token bucket, accept pacing and the penalty box."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_gateway.core.limits import AcceptPacer, Login, Logins, TokenBucket


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(100.0) == pytest.approx(0.5)
    assert bucket.take(100.5)
    assert not bucket.take(100.5)


def test_a_refused_token_costs_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1)
    assert bucket.take(0.0)
    for _ in range(100):
        assert not bucket.take(0.5)
    assert bucket.take(1.0)


@given(st.lists(st.floats(0, 20, allow_nan=False), max_size=200), st.floats(0.5, 50), st.integers(1, 20))
def test_no_window_sees_more_than_burst_plus_rate(gaps: list[float], rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst)
    now, taken = 1000.0, []
    for gap in gaps:
        now += gap / rate
        if bucket.take(now):
            taken.append(now)
    for first, start in enumerate(taken):
        for count, end in enumerate(taken[first:], 1):
            assert count <= burst + (end - start) * rate + 1e-6


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_never_gives_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="positive rate"):
        TokenBucket(rate, burst)


def test_the_pacer_delays_first_and_refuses_when_too_many_wait() -> None:
    pacer = AcceptPacer(rate=10.0, max_waiting=20)
    turns = [pacer.arrive(50.0) for _ in range(40)]
    admitted = [turn for turn in turns if turn is not None]
    assert admitted[0] == 50.0
    assert admitted == sorted(admitted)
    assert 20 <= len(admitted) <= 22
    assert turns[len(admitted) :] == [None] * (40 - len(admitted))
    assert max(admitted) <= 50.0 + 20 / 10 + 0.1
    assert pacer.clear_in(50.0) >= 2.0
    assert pacer.arrive(60.0) == 60.0


def test_ten_thousand_stations_at_once_are_admitted_at_the_rate() -> None:
    pacer = AcceptPacer(rate=400.0, max_waiting=10_000)
    turns = [pacer.arrive(0.0) for _ in range(10_000)]
    assert None not in turns
    assert max(turn for turn in turns if turn is not None) == pytest.approx(25.0, abs=0.2)


def test_one_station_that_flaps_is_held_off_and_let_in_again_later() -> None:
    logins = Logins(per_minute=6, burst=3, penalty=30)
    verdicts = [logins.attempt("CP1", "10.0.0.1", now) for now in (0.0, 1.0, 2.0, 3.0, 4.0)]
    assert [verdict.login for verdict in verdicts] == [Login.OK] * 3 + [Login.FLAPPING] * 2
    assert verdicts[3].entered
    assert not verdicts[4].entered
    assert verdicts[4].retry_after == pytest.approx(29.0)
    assert logins.attempt("CP1", "10.0.0.1", 40.0).login is Login.OK


def test_two_boxes_with_one_identity_are_found() -> None:
    logins = Logins(per_minute=600, burst=100)
    verdicts = [logins.attempt("CP1", place, now) for now, place in enumerate(["A", "B", "A", "B"])]
    assert [verdict.login for verdict in verdicts] == [Login.OK, Login.OK, Login.OK, Login.CONFLICT]
    assert verdicts[3].entered
    assert logins.attempt("CP1", "A", 5.0).login is Login.CONFLICT


@pytest.mark.parametrize(
    "places", [["A", "A", "A", "A"], ["A", "B", "C", "D"], ["A", "B", "B", "A"], ["A", "A", "B", "B"]]
)
def test_a_station_that_moves_is_no_conflict(places: list[str]) -> None:
    logins = Logins(per_minute=600, burst=100)
    assert {logins.attempt("CP1", place, float(now)).login for now, place in enumerate(places)} == {Login.OK}


def test_returns_that_are_old_do_not_count() -> None:
    logins = Logins(per_minute=600, burst=100, window=60)
    assert {logins.attempt("CP1", place, now * 61.0).login for now, place in enumerate("ABABAB")} == {Login.OK}


def test_one_identity_does_not_harm_another() -> None:
    logins = Logins(per_minute=6, burst=1)
    logins.attempt("CP1", "A", 0.0)
    assert logins.attempt("CP1", "A", 0.0).login is Login.FLAPPING
    assert logins.attempt("CP2", "A", 0.0).login is Login.OK


def test_memory_is_bounded_whatever_names_come() -> None:
    logins = Logins(per_minute=60, remember=100)
    for number in range(1_000):
        logins.attempt(f"CP{number}", "A", float(number))
    assert len(logins) == 100
