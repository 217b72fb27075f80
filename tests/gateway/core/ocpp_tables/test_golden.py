"""Every row of every version table against its golden pairs, the official schemas and the contract's models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocpp_contract.command_types import is_positive
from ocpp_contract.events import EVENT_TYPES
from ocpp_gateway.core.handlers import Call, Invalid, Unsupported
from tests.gateway.core.ocpp_tables.golden import (
    DOWNLINK_CONTEXT,
    VERSIONS,
    as_json,
    cases,
    checked,
    identity,
    load,
    request_errors,
    response_errors,
    uplink_context,
)


@pytest.mark.parametrize(("name", "path"), cases("up"), ids=identity)
def test_a_station_message_becomes_its_event_and_its_answer(name: str, path: Path) -> None:
    version, case = VERSIONS[name], load(path)
    row, payload, context = version.uplink[case["action"]], case["payload"], uplink_context(case)
    broken = request_errors(version, row.action, payload)
    assert bool(broken) == case.get("breaks", False), broken
    event = row.event_of(payload) if row.event_of else row.event
    assert event == case["event"]
    assert row.occurred_at(payload) == case.get("occurredAt")
    if event is not None:
        data = row.data(payload, context)
        assert data == case["data"]
        EVENT_TYPES[event].model_validate(as_json(data))
    answer = row.answer(payload, context)
    assert answer == case["answer"]
    assert row.constant_answer == (row.answer(payload, context) == {} and not row.decision)
    if not row.unanswered:
        assert response_errors(version, row.action, answer) == []


@pytest.mark.parametrize(("name", "path"), cases("down"), ids=identity)
def test_a_command_becomes_a_call_and_its_response_an_outcome(name: str, path: Path) -> None:
    version, case = VERSIONS[name], load(path)
    row, payload = version.downlink[case["type"]], checked(case)
    if "refused" in case:
        assert refusal(row.call, payload) == case["refused"]
        return
    call = row.call(payload, DOWNLINK_CONTEXT)
    assert [call.action, call.payload] == case["call"]
    assert call.action in version.calls
    assert request_errors(version, call.action, call.payload) == []
    assert case["answers"], "a command without an answered case proves half of its row"
    for answer in case["answers"]:
        assert response_errors(version, call.action, answer["response"]) == []
        status, unified = row.outcome(payload, call, answer["response"])
        assert [status, unified] == [answer["status"], answer["payload"]]
        assert is_positive(case["type"], unified) == answer["positive"]


def refusal(call: Any, payload: dict[str, Any]) -> list[str | None]:
    try:
        made: Call = call(payload, DOWNLINK_CONTEXT)
    except Unsupported as error:
        return ["Unsupported", None, error.reason]
    except Invalid as error:
        return ["Invalid", error.field, error.reason]
    raise AssertionError(f"not refused: {made}")
