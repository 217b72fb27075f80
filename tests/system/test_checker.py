"""The judge is judged first: a clean history passes, and each kind of damage is seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.system.checker import Frame, History, Sent, judge

ID = "6c1f0a52-9e5b-4f0e-a5c0-0a3f1f2f7d11"


def clean() -> History:
    frames = [
        (True, [2, "m1", "BootNotification", {"chargePointModel": "x"}]),
        (False, [3, "m1", {"status": "Accepted"}]),
        (False, [2, "c1", "RemoteStartTransaction", {"idTag": "MARK1"}]),
        (True, [2, "m2", "MeterValues", {"connectorId": 1}]),
        (True, [3, "c1", {"status": "Accepted"}]),
        (False, [3, "m2", {}]),
    ]
    return History(
        commands=[Sent(ID, "CP1", "RequestStartTransaction", "MARK1", safe=False)],
        results=[
            {
                "commandId": ID,
                "chargePointId": "CP1",
                "type": "RequestStartTransaction",
                "outcome": "Accepted",
                "final": True,
            }
        ],
        events=[
            {"chargePointId": "CP1", "messageId": "m1", "epoch": 1, "ce_id": "a", "ce_type": "DeviceBooted"},
            {"chargePointId": "CP1", "messageId": "m2", "epoch": 1, "ce_id": "b", "ce_type": "MeterValues"},
        ],
        frames=[Frame(order, "CP1", 1, sent, json.dumps(message)) for order, (sent, message) in enumerate(frames)],
    )


def test_a_clean_history_passes() -> None:
    assert judge(clean()) == []


def _twice(history: History) -> None:
    history.frames.insert(
        5, Frame(9, "CP1", 1, False, json.dumps([2, "c2", "RemoteStartTransaction", {"idTag": "MARK1"}]))
    )


def _different(history: History) -> None:
    history.results.append({**history.results[0], "outcome": "Uncertain"})


def _expired(history: History) -> None:
    history.results[0]["outcome"] = "Expired"


def _unanswered(history: History) -> None:
    del history.frames[4]


def _two_open(history: History) -> None:
    history.frames.insert(3, Frame(2, "CP1", 1, False, json.dumps([2, "c9", "Reset", {"type": "Soft"}])))


def _unpublished(history: History) -> None:
    del history.events[1]


def _reordered(history: History) -> None:
    history.events.reverse()


def _two_identities(history: History) -> None:
    history.events.append({**history.events[1], "ce_id": "c"})


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (lambda history: history.results.clear(), "1:"),
        (_different, "1:"),
        (lambda history: history.commands.clear(), "1:"),
        (_twice, "2:"),
        (_expired, "T:"),
        (_unanswered, "T:"),
        (_two_open, "3:"),
        (_unpublished, "5:"),
        (_two_identities, "5:"),
        (_reordered, "9:"),
    ],
)
def test_damage_is_seen(damage: Callable[[History], None], invariant: str) -> None:
    history = deepcopy(clean())
    damage(history)
    assert any(line.startswith(invariant) for line in judge(history))


def test_a_repeated_record_with_the_same_content_is_no_violation() -> None:
    history = clean()
    history.results.append(dict(history.results[0]))
    assert judge(history) == []
