"""One timer for all sockets: never early, at most two ticks late, and patient after a standstill."""

from __future__ import annotations

import asyncio

import pytest

from ocpp_gateway.adapters.timer_wheel import NEVER, TimerWheel


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Item:
    def __init__(self, clock: Clock, again: list[float] | None = None) -> None:
        self.clock = clock
        self.timer_due = NEVER
        self.again = again or []
        self.called: list[float] = []

    def on_timer(self, now: float) -> float:
        self.called.append(now)
        return self.again.pop(0) if self.again else NEVER


@pytest.fixture
def clock() -> Clock:
    return Clock()


def turn(wheel: TimerWheel, clock: Clock, seconds: float, tick: float = 0.25) -> None:
    """Time passes in ticks, as the loop would have it."""
    for _ in range(round(seconds / tick)):
        before, clock.now = clock.now, clock.now + tick
        wheel._turn(before)


async def running(clock: Clock) -> TimerWheel:
    wheel = TimerWheel(clock)
    wheel.start()
    return wheel


async def test_an_item_is_called_once_its_time_has_come(clock: Clock) -> None:
    wheel = await running(clock)
    items = [Item(clock) for _ in range(50)]
    for number, item in enumerate(items):
        wheel.at(item, 1_000.0 + number * 0.13)
    turn(wheel, clock, 10)
    for number, item in enumerate(items):
        (at,) = item.called
        assert 0 <= at - (1_000.0 + number * 0.13) <= 0.5
    wheel.stop()


async def test_the_earlier_of_two_times_counts_and_the_other_does_not_call_twice(clock: Clock) -> None:
    wheel = await running(clock)
    item = Item(clock)
    wheel.at(item, 1_005.0)
    wheel.at(item, 1_001.0)
    wheel.at(item, 1_003.0)
    turn(wheel, clock, 10)
    assert len(item.called) == 1
    assert item.called[0] < 1_002
    wheel.stop()


async def test_what_on_timer_returns_is_the_next_time(clock: Clock) -> None:
    wheel = await running(clock)
    item = Item(clock, again=[1_002.0, 1_001.0, 1_004.0])  # the second lies in the past: at once
    wheel.at(item, 1_001.0)
    turn(wheel, clock, 10)
    assert [round(at) for at in item.called] == [1_001, 1_002, 1_002, 1_004]
    wheel.stop()


async def test_a_forgotten_item_is_left_alone(clock: Clock) -> None:
    wheel = await running(clock)
    item = Item(clock)
    wheel.at(item, 1_001.0)
    wheel.forget(item)
    turn(wheel, clock, 5)
    assert item.called == []
    wheel.stop()


async def test_after_a_standstill_the_loop_reads_before_anybody_is_judged(clock: Clock) -> None:
    wheel = await running(clock)
    item = Item(clock)
    wheel.at(item, 1_001.0)
    before, clock.now = clock.now, clock.now + 60
    wheel._turn(before)
    assert item.called == []
    turn(wheel, clock, 0.5)
    assert len(item.called) == 1
    wheel.stop()


async def test_it_turns_by_itself() -> None:
    loop = asyncio.get_running_loop()
    wheel = TimerWheel(loop.time, tick=0.01)
    called = asyncio.Event()

    class Waking(Item):
        def on_timer(self, now: float) -> float:
            called.set()
            return NEVER

    wheel.start()
    wheel.at(Waking(Clock()), loop.time() + 0.02)
    await asyncio.wait_for(called.wait(), 5)
    wheel.stop()


async def test_a_mistake_of_one_item_leaves_the_others_their_turn(clock: Clock) -> None:
    class Mistaken(Item):
        def on_timer(self, now: float) -> float:
            raise RuntimeError("a mistake")

    wheel = await running(clock)
    mistaken, sound = Mistaken(clock), Item(clock)
    wheel.at(mistaken, clock.now + 1)
    wheel.at(sound, clock.now + 1)
    turn(wheel, clock, 2)
    assert sound.called
    wheel.stop()
