"""Leaving in order and at a rate."""

from __future__ import annotations

from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.drain import Drain, Leaving, Phase, closing_order

SETTINGS = DownlinkSettings(load_balancer_wait=10.0, closes_per_second=2.0, force_after=100.0)


def socket(epoch: int, *, in_transaction: bool = False, call_open: bool = False) -> Leaving:
    return Leaving(f"c{epoch}", epoch, in_transaction, call_open)


def test_idle_before_in_transaction_newest_first() -> None:
    sockets = [socket(1), socket(2, in_transaction=True), socket(3), socket(4, in_transaction=True)]
    assert [s.connection for s in closing_order(sockets)] == ["c3", "c1", "c4", "c2"]


def test_nothing_is_closed_before_the_load_balancer_had_time() -> None:
    drain = Drain(SETTINGS)
    assert not drain.draining
    drain.start(5.0)
    assert drain.draining
    assert drain.step([socket(1)], 14.9) == []
    assert drain.phase is Phase.NOT_READY
    assert drain.step([socket(1)], 15.0) == ["c1"]


def test_a_second_order_does_not_begin_again() -> None:
    drain = Drain(SETTINGS)
    drain.start(0.0)
    drain.start(9.0)
    drain.step([], 10.0)
    assert drain.phase is Phase.RELEASING


def closed_over(drain: Drain, sockets: list[Leaving], begin: float, seconds: float, every: float) -> list[str]:
    closed: list[str] = []
    for step in range(int(seconds / every)):
        closed += drain.step([s for s in sockets if s.connection not in closed], begin + step * every)
    return closed


def test_sockets_are_closed_at_the_rate_however_often_it_is_stepped() -> None:
    for every in (0.05, 0.5, 1.0):
        drain = Drain(SETTINGS)
        drain.start(0.0)
        closed = closed_over(drain, [socket(epoch) for epoch in range(100)], 10.0, 10.0, every)
        assert 18 <= len(closed) <= 21
        assert closed == [f"c{epoch}" for epoch in range(99, 99 - len(closed), -1)]


def test_a_socket_that_takes_its_time_is_asked_once() -> None:
    drain = Drain(SETTINGS)
    drain.start(0.0)
    assert drain.step([socket(1)], 10.0) == ["c1"]
    assert drain.step([socket(1)], 20.0) == []
    assert drain.phase is Phase.CLOSING


def test_each_after_its_open_call_and_no_burst_afterwards() -> None:
    drain = Drain(SETTINGS)
    drain.start(0.0)
    busy = [socket(epoch, call_open=True) for epoch in range(10)]
    assert closed_over(drain, busy, 10.0, 20.0, 0.1) == []
    free = [socket(epoch) for epoch in range(10)]
    assert len(closed_over(drain, free, 30.0, 1.0, 0.1)) <= 3


def test_released_when_nobody_is_left() -> None:
    drain = Drain(SETTINGS)
    drain.start(0.0)
    drain.step([socket(1)], 10.0)
    assert drain.step([], 10.5) == []
    assert drain.phase is Phase.RELEASING
    drain.released()
    assert drain.phase is Phase.DONE


def test_at_the_latest_after_the_limit_everybody_goes_in_order() -> None:
    drain = Drain(SETTINGS)
    drain.start(0.0)
    left = [socket(1, call_open=True), socket(2, in_transaction=True), socket(3, call_open=True)]
    assert drain.step(left, 99.9) == ["c2"]
    assert drain.step(left, 100.0) == ["c3", "c1"]
    assert drain.phase is Phase.RELEASING
