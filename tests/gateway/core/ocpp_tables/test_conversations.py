"""The tables behind the real session: every message of every version is published, acknowledged and only then answered."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from ocpp_contract.events import EVENT_TYPES, Event
from ocpp_gateway.core.handlers import Version
from ocpp_gateway.core.policy import SessionPolicy, Validation
from ocpp_gateway.core.session_effects import Publish, Recall, Send
from tests.gateway.core.conversation import Conversation
from tests.gateway.core.ocpp_tables.golden import VERSIONS, cases, identity, response_errors
from tests.gateway.core.ocpp_tables.samples import request_name, sample

STRICT = SessionPolicy(validation=Validation.STRICT)
SEND, CALL, CALLRESULT = 6, 2, 3


def published(talk: Conversation, raw: bytes) -> dict[str, Any]:
    """Hear a frame; the event that it becomes. Nothing may be answered before it is acknowledged."""
    talk.hear(raw)
    if talk.some(Recall):
        talk.recalled()
    assert talk.some(Send) == []
    return talk.event


@pytest.mark.parametrize("validation", [Validation.STRICT, Validation.KEEP_TRANSACTIONS], ids=str)
@pytest.mark.parametrize("full", [False, True], ids=["least", "most"])
@pytest.mark.parametrize(
    ("version", "action"),
    [
        pytest.param(version, action, id=f"{name}-{action}")
        for name, version in VERSIONS.items()
        for action, row in version.uplink.items()
        if row.event is not None and not row.unanswered
    ],
)
def test_every_message_is_answered_after_its_event_is_in_kafka(
    version: Version, action: str, full: bool, validation: Validation
) -> None:
    payload = sample(version.schemas, request_name(version.schemas, action), full=full)
    talk = Conversation(version, SessionPolicy(validation=validation))
    event = published(talk, orjson.dumps([CALL, "m-1", action, payload]))
    kind = talk.one(Publish).event
    assert kind in EVENT_TYPES
    Event.from_json(kind, orjson.dumps(event)).typed_data()
    assert "schemaErrors" not in event
    talk.acknowledged()
    frame_type, message_id, answer = talk.answer
    assert (frame_type, message_id) == (CALLRESULT, "m-1")
    assert response_errors(version, action, answer) == []


@pytest.mark.parametrize(("name", "path"), cases("up"), ids=identity)
def test_every_golden_message_that_fits_its_schema_passes_the_strict_session_with_its_text(
    name: str, path: Path
) -> None:
    case = orjson.loads(path.read_bytes())
    version = VERSIONS[name]
    if case["event"] is None or case.get("breaks") or version.uplink[case["action"]].unanswered:
        return
    # The payload as it stands in the file: numbers with the text that the station sent.
    text = path.read_text()
    raw = '[2,"m-1",' + orjson.dumps(case["action"]).decode() + "," + _member(text, "payload") + "]"
    talk = Conversation(version, STRICT)
    event = published(talk, raw.encode())
    assert talk.one(Publish).event == case["event"]
    if "meterValue" in case["data"]:
        assert event["data"]["meterValue"] == case["data"]["meterValue"]


def _member(text: str, name: str) -> str:
    """The text of a member of the file's outer object, which is indented by two."""
    start = text.index(f'\n  "{name}": ') + len(f'\n  "{name}": ')
    return text[start : text.index("\n  }", start) + 4] if text[start : start + 2] != "{}" else "{}"


@pytest.mark.parametrize("name", ["ocpp201", "ocpp21"])
def test_a_signed_message_is_read_as_what_was_signed(name: str) -> None:
    payload = b'{"evseId":1,"meterValue":[{"timestamp":"2026-11-22T10:00:00Z","sampledValue":[{"value":12.50}]}]}'
    signed = {
        "payload": base64.urlsafe_b64encode(payload).decode().rstrip("="),
        "protected": "e30",
        "signature": "c2ln",
    }
    talk = Conversation(VERSIONS[name], STRICT)
    event = published(talk, orjson.dumps([CALL, "m-1", "MeterValues-Signed", signed]))
    assert event["data"]["meterValue"][0]["sampledValue"][0]["value"] == "12.50"


def test_a_stream_of_21_comes_as_send_and_is_published_without_an_answer() -> None:
    payload = sample("v21", "NotifyPeriodicEventStream", full=True)
    talk = Conversation(VERSIONS["ocpp21"], STRICT)
    event = published(talk, orjson.dumps([SEND, "m-1", "NotifyPeriodicEventStream", payload]))
    assert event["data"] == {"action": "NotifyPeriodicEventStream", "payload": payload}
    talk.acknowledged()
    assert talk.frames == []


@pytest.mark.parametrize(
    ("name", "action", "payload"),
    [
        ("ocpp16", "StartTransaction", {"connectorId": 1, "idTag": "x" * 30, "meterStart": 0, "timestamp": "2026-11-22T10:00:00Z"}),
        ("ocpp16", "StopTransaction", {"transactionId": 0, "meterStop": 12.5, "timestamp": "yesterday"}),
        ("ocpp16", "StopTransaction", {"transactionId": 7, "reason": "Bored"}),
        ("ocpp16", "MeterValues", {"connectorId": 0, "meterValue": []}),
        ("ocpp16", "MeterValues", {"connectorId": 0, "meterValue": "none"}),
        ("ocpp201", "TransactionEvent", {"transactionInfo": {"transactionId": "t"}, "seqNo": 0}),
        ("ocpp201", "TransactionEvent", {"transactionInfo": {"transactionId": "t"}, "seqNo": 0, "eventType": "Paused"}),
        ("ocpp21", "TransactionEvent", {"transactionInfo": {"transactionId": "t" * 60}, "seqNo": 0, "eventType": "Ended"}),
        ("ocpp21", "MeterValues", {"evseId": 1, "meterValue": [{"sampledValue": [{"value": "1"}]}]}),
    ],
)  # fmt: skip
def test_a_broken_transaction_message_is_published_with_its_errors_and_answered(
    name: str, action: str, payload: dict[str, Any]
) -> None:
    version = VERSIONS[name]
    talk = Conversation(version)
    event = published(talk, orjson.dumps([CALL, "m-1", action, payload]))
    assert event["schemaErrors"]
    if talk.one(Publish).event == "OcppMessageReceived":
        assert event["data"] == {"action": action, "payload": payload}
    talk.acknowledged()
    frame_type, _, answer = talk.answer
    assert frame_type == CALLRESULT
    assert response_errors(version, action, answer) == []


def test_the_answer_of_16_carries_the_transaction_id_of_its_event_and_the_stop_its_reference() -> None:
    talk = Conversation(VERSIONS["ocpp16"], STRICT)
    start = {"connectorId": 1, "idTag": "TAG", "meterStart": 0, "timestamp": "2026-11-22T10:00:00Z"}
    started = published(talk, orjson.dumps([CALL, "m-1", "StartTransaction", start]))["data"]
    talk.acknowledged()
    transaction_id = talk.answer[2]["transactionId"]
    assert started["transactionId"] == str(transaction_id)
    sampled = [{"timestamp": "2026-11-22T10:01:00Z", "sampledValue": [{"value": "1"}]}]
    values = {"connectorId": 1, "transactionId": transaction_id, "meterValue": sampled}
    metered = published(talk, orjson.dumps([CALL, "m-2", "MeterValues", values]))["data"]
    talk.acknowledged()
    stop = {"transactionId": transaction_id, "meterStop": 9, "timestamp": "2026-11-22T10:02:00Z"}
    ended = published(talk, orjson.dumps([CALL, "m-3", "StopTransaction", stop]))["data"]
    assert started["transactionRef"] == metered["transactionRef"] == ended["transactionRef"]
