"""Redis time between renewals: late by a latency, never ahead; the floor never goes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocpp_gateway.core.store_clock import US, StoreClock


def test_nothing_is_known_before_the_first_reply() -> None:
    clock = StoreClock()
    assert not clock.known
    clock.learn(1_000 * US, 5.0)
    assert clock.known
    assert clock.time_us(7.5) == 1_002_500_000


def test_of_one_server_the_fastest_reply_counts() -> None:
    clock = StoreClock()
    clock.learn(1_000 * US, 5.0)
    clock.learn(1_001 * US, 7.0)  # answered a second late
    assert clock.time_us(7.0) == 1_002 * US
    clock.learn(1_003 * US, 7.0)
    assert clock.time_us(7.0) == 1_003 * US


def test_a_server_with_a_slower_clock_judges_deadlines_but_does_not_lower_the_floor() -> None:
    clock = StoreClock()
    clock.learn(1_000 * US, 0.0)
    clock.server_changed()
    clock.learn(900 * US, 1.0)
    assert clock.time_us(2.0) == 901 * US
    assert clock.floor_us(2.0) == 1_002 * US


def test_when_is_the_inverse_of_time() -> None:
    clock = StoreClock()
    clock.learn(1_000 * US, 50.0)
    assert clock.when(1_010 * US) == 60.0


def test_the_fastest_reply_does_not_stay_the_best_for_ever() -> None:
    """A local clock that runs fast would otherwise carry the estimate ahead of Redis, a little more each day."""
    clock = StoreClock()
    clock.learn(1_000 * US, 0.0)
    for minute in range(1, 1_000):
        now = minute * 5.0
        clock.learn(1_000 * US + int(now * 0.999 * US), now)  # this pod's clock is 0.1 % too fast
    true_time = 1_000 * US + int(now * 0.999 * US)
    assert abs(clock.time_us(now) - true_time) <= 0.1 * US
    assert clock.floor_us(now) == true_time


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=20))
def test_never_ahead_of_the_server_and_behind_it_by_no_more_than_a_latency(
    replies: list[tuple[float, float, bool]],
) -> None:
    clock, now = StoreClock(), 0.0
    for pause, latency, changed in replies:
        now += pause + latency
        if changed:
            clock.server_changed()
        clock.learn(int((now - latency) * US) + 5_000 * US, now)
        true_time = now * US + 5_000 * US
        for reading in (clock.time_us(now), clock.floor_us(now)):
            assert true_time - 1 * US - 2 <= reading <= true_time + 2
