"""Meeting a claim: the whole table, and what a pod remembers of its own states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, PodName
from ocpp_contract.outcome import CommandResult, Outcome
from ocpp_gateway.core.command_record import (
    CommandKey,
    CommandMemory,
    Meeting,
    Observation,
    Owner,
    age_of,
    is_former_self,
    meet,
)
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import Claim, Done

ME = Incarnation(PodName("me"), "u1", "00000001")
OTHER = Incarnation(PodName("other"), "u2", "00000002")
SETTINGS = DownlinkSettings()
CLAIM = Claim(OTHER, 50, 1_000_000)
KEY = CommandKey(ChargePointId("CP1"), CommandId("00000000-0000-4000-8000-000000000001"))

BASE = Observation(
    mine=False, written=False, owner=Owner.LIVES, age=1.0, repeatable=False, my_epoch=None, past_deadline=False
)

TABLE = {
    "a living pod's claim is waited for": (BASE, Meeting.LOOK_AGAIN),
    "also past the deadline": (BASE._replace(past_deadline=True), Meeting.LOOK_AGAIN),
    "also of a safe type whose station is elsewhere": (BASE._replace(repeatable=True), Meeting.LOOK_AGAIN),
    "nobody is dead by one look": (BASE._replace(owner=Owner.UNSURE), Meeting.LOOK_AGAIN),
    "a dead pod's claim of an unsafe type may have been written": (
        BASE._replace(owner=Owner.DEAD, my_epoch=60),
        Meeting.UNCERTAIN,
    ),
    "a dead pod's claim of a safe type is replaced": (
        BASE._replace(owner=Owner.DEAD, repeatable=True),
        Meeting.REPLACE,
    ),
    "but not after the deadline": (
        BASE._replace(owner=Owner.DEAD, repeatable=True, past_deadline=True),
        Meeting.UNCERTAIN,
    ),
    "a claim older than any CALL counts as dead": (BASE._replace(age=105.1), Meeting.UNCERTAIN),
    "a claim as old as a CALL can be does not": (BASE._replace(age=105.0), Meeting.LOOK_AGAIN),
    "a safe type does not wait for a socket that mine replaced": (
        BASE._replace(repeatable=True, my_epoch=51),
        Meeting.REPLACE,
    ),
    "an unsafe one does": (BASE._replace(my_epoch=51), Meeting.LOOK_AGAIN),
    "my own, unwritten: go on with it": (BASE._replace(mine=True, my_epoch=50), Meeting.REPLACE),
    "my own, unwritten, too late": (BASE._replace(mine=True, past_deadline=True), Meeting.UNCERTAIN),
    "my own, written and unsafe": (BASE._replace(mine=True, written=True, my_epoch=51), Meeting.UNCERTAIN),
    "my own, written and safe, on another socket": (
        BASE._replace(mine=True, written=True, repeatable=True, my_epoch=51),
        Meeting.REPLACE,
    ),
    "my own, written and safe, on the same socket": (
        BASE._replace(mine=True, written=True, repeatable=True, my_epoch=50),
        Meeting.UNCERTAIN,
    ),
}


@pytest.mark.parametrize(("seen", "expected"), TABLE.values(), ids=TABLE.keys())
def test_meeting_a_claim(seen: Observation, expected: Meeting) -> None:
    assert meet(CLAIM, seen, SETTINGS) is expected


def test_the_age_of_a_claim_is_by_redis_time() -> None:
    assert age_of(CLAIM, 3_500_000) == 2.5


def test_another_life_of_my_own_pod_is_dead_at_once() -> None:
    assert is_former_self(replace(ME, run="00000009"), ME)
    assert not is_former_self(ME, ME)
    assert not is_former_self(replace(ME, uid="u9"), ME)
    assert not is_former_self(OTHER, ME)


def done(outcome: Outcome) -> Done:
    return Done(
        CommandResult(KEY.command_id, KEY.charge_point_id, "Reset", outcome, ME.pod, "2026-11-22T10:00:00.000Z")
    )


def test_a_done_in_memory_is_never_replaced() -> None:
    memory = CommandMemory(10)
    memory.remember(KEY, CLAIM, 100.0)
    memory.remember(KEY, done(Outcome.ACCEPTED), 100.0)
    memory.remember(KEY, done(Outcome.UNCERTAIN), 100.0)
    memory.remember(KEY, CLAIM, 100.0)
    memory.forget_claim(KEY)
    assert memory.recall(KEY) == done(Outcome.ACCEPTED)


def test_a_claim_that_was_put_back_is_forgotten() -> None:
    memory = CommandMemory(10)
    memory.remember(KEY, CLAIM, 100.0)
    memory.forget_claim(KEY)
    assert memory.recall(KEY) is None


def test_memory_is_bounded_by_number_and_by_time() -> None:
    memory = CommandMemory(3)
    keys = [CommandKey(ChargePointId("CP1"), CommandId(str(number))) for number in range(5)]
    for number, key in enumerate(keys):
        memory.remember(key, CLAIM, 10.0 + number)
        memory.wrote(key, 10.0 + number)
    assert [memory.recall(key) is not None for key in keys] == [False, False, True, True, True]
    assert [memory.was_written(key) for key in keys] == [False, False, True, True, True]
    memory.expire(13.0)
    assert [key for key, _, _ in memory.all()] == [keys[4]]
    assert not memory.was_written(keys[3])
