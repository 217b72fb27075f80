"""Where a command goes: the whole table."""

from __future__ import annotations

import pytest

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_gateway.core.routing import Deliver, EndNotConnected, Forward, Park, Route, Travelled, route

ME = Incarnation(PodName("me"), "u1", "00000001")
OTHER = Incarnation(PodName("other"), "u2", "00000002")
MINE, THEIRS = Partition(1), Partition(2)


def entry(owner: Incarnation = OTHER, partition: Partition = THEIRS, epoch: int = 50) -> ConnectionRecord:
    return ConnectionRecord(owner.pod, owner, partition, epoch, "c", "ocpp1.6", "2026-11-22T10:00:00Z")


def decide(
    found: ConnectionRecord | None,
    *,
    lives: bool = True,
    here: bool = False,
    wait: bool = True,
    hop: int = 0,
    led_here_by: int | None = None,
    first: ConnectionRecord | None = None,
) -> Route:
    return route(Travelled(hop, led_here_by, first), wait, here, found, lives, ME, {MINE})


def test_live_here_is_delivered_whatever_the_entry_says() -> None:
    assert decide(entry(), here=True) == Deliver()
    assert decide(None, here=True, wait=False, hop=3) == Deliver()


@pytest.mark.parametrize(("hop", "next_hop"), [(0, 1), (1, 2), (2, 3)])
def test_another_living_owner_gets_a_copy_one_hop_on(hop: int, next_hop: int) -> None:
    assert decide(entry(), hop=hop) == Forward(THEIRS, next_hop, 50)
    assert decide(entry(), hop=hop, wait=False) == Forward(THEIRS, next_hop, 50)


NOWHERE = {
    "no entry": (None, True),
    "its owner does not live": (entry(), False),
    "a partition of mine": (entry(partition=MINE), True),
    "my own entry, left behind": (entry(owner=ME), True),
}


@pytest.mark.parametrize(("found", "lives"), NOWHERE.values(), ids=NOWHERE.keys())
def test_anything_else_waits_or_ends_at_once(found: ConnectionRecord | None, lives: bool) -> None:
    assert decide(found, lives=lives) == Park()
    assert decide(found, lives=lives, wait=False) == EndNotConnected()


def test_at_the_last_hop_the_entry_that_led_here_is_not_followed_again() -> None:
    assert decide(entry(epoch=50), hop=3, led_here_by=50, first=entry(epoch=50)) == Park()


def test_at_the_last_hop_a_new_connection_is_followed_and_the_hop_stays() -> None:
    assert decide(entry(epoch=51), hop=3, led_here_by=50, first=entry(epoch=51)) == Forward(THEIRS, 3, 51)


def test_at_the_last_hop_a_re_published_partition_is_followed() -> None:
    moved = entry(partition=Partition(3))
    assert decide(moved, hop=3, led_here_by=50, first=entry()) == Forward(Partition(3), 3, 50)


def test_at_the_last_hop_without_a_header_the_first_entry_found_counts() -> None:
    assert decide(entry(), hop=3, first=entry()) == Park()
    assert decide(entry(), hop=3) == Park()
    assert decide(entry(epoch=51), hop=3, first=entry(epoch=50)) == Forward(THEIRS, 3, 51)
