"""The session by tables: what is answered, when, and what an event says."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from ocpp_gateway.core.policy import SessionPolicy, Validation
from ocpp_gateway.core.session_effects import (
    Ask,
    BootRecorded,
    CallEnded,
    Close,
    Count,
    Publish,
    Recall,
    Remember,
    Send,
)
from ocpp_gateway.core.versions import VERSIONS
from tests.gateway.core.conversation import EPOCH, Conversation
from tests.gateway.core.tiny_version import ODD16, TINY16, TINY21

TIME = "2026-11-22T10:00:00Z"
BOOT = {"chargePointVendor": "Vendor", "chargePointModel": "Model"}
METER = {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": "12.50"}]}]}
START = {"connectorId": 0, "idTag": "TAG", "timestamp": TIME, "meterStart": 0}
STATUS = {"connectorId": 0, "status": "Available", "errorCode": "NoError"}


@pytest.fixture
def talk() -> Conversation:
    return Conversation(TINY16)


def meter(**changes: Any) -> dict[str, Any]:
    return {**METER, **changes}


# ------------------------------------------------------------------------------------------------- answers and events


def test_a_heartbeat_is_answered_at_once_and_not_published(talk: Conversation) -> None:
    talk.at(7)
    talk.hear([2, "h1", "Heartbeat", {}])
    assert talk.answer == [3, "h1", {"currentTime": "2026-11-22T10:00:07.000Z"}]
    assert not talk.some(Publish)


def test_an_event_is_answered_only_after_kafka_acknowledged_it(talk: Conversation) -> None:
    talk.hear([2, "m1", "MeterValues", METER])
    assert not talk.some(Send)
    assert talk.event == {
        "chargePointId": "CP1",
        "occurredAt": "2026-11-22T10:00:00.000Z",
        "receivedAt": "2026-11-22T10:00:00.000Z",
        "ocppVersion": "ocpp1.6",
        "messageId": "m1",
        "epoch": EPOCH,
        "data": METER,
    }
    talk.acknowledged()
    assert talk.answer == [3, "m1", {}]


def test_current_time_is_that_of_the_answer_not_of_the_message(talk: Conversation) -> None:
    talk.hear([2, "b1", "BootNotification", BOOT])
    talk.at(50)
    talk.acknowledged()
    assert talk.answer[2]["currentTime"] == "2026-11-22T10:00:50.000Z"


def test_an_acknowledgement_of_something_else_answers_nothing(talk: Conversation) -> None:
    talk.hear([2, "m1", "MeterValues", METER])
    token = talk.one(Publish).token
    assert talk.session.acknowledged(token + 1, talk.now) == []
    assert len(talk.session.acknowledged(token, talk.now)) == 1
    assert talk.session.acknowledged(token, talk.now) == [], "acknowledged twice, answered once"


def test_an_event_that_kafka_refuses_for_good_is_not_answered_and_may_be_tried_again(talk: Conversation) -> None:
    talk.hear([2, "m1", "MeterValues", METER])
    token, ce = talk.one(Publish).token, talk.one(Publish).ce_id
    talk.hear([2, "h1", "Heartbeat", {}])
    talk.effects = talk.session.refused(token)
    assert [frame[1] for frame in talk.frames] == ["h1"], "the ones behind it go on"
    assert talk.session.acknowledged(token, talk.now) == []
    talk.hear([2, "m1", "MeterValues", METER])
    assert talk.one(Publish).ce_id == ce
    talk.acknowledged()
    assert talk.answer == [3, "m1", {}]


@pytest.mark.parametrize(
    ("stated", "occurred", "assumed"),
    [
        ("2026-11-22T10:00:00.123456Z", "2026-11-22T10:00:00.123Z", False),
        ("2026-11-22T12:00:00+02:00", "2026-11-22T10:00:00.000Z", False),
        ("2026-11-22T10:00:00", "2026-11-22T10:00:00.000Z", True),
        ("2026-11-22 10:00:00", "2026-11-22T10:00:00.000Z", True),
    ],
)
def test_times_are_utc_and_a_missing_zone_is_flagged(
    talk: Conversation, stated: str, occurred: str, assumed: bool
) -> None:
    talk.hear([2, "s1", "StatusNotification", {**STATUS, "timestamp": stated}])
    assert talk.event["occurredAt"] == occurred
    assert talk.event.get("timeAssumedUtc", False) is assumed


def test_without_a_time_of_its_own_a_message_occurred_when_it_came(talk: Conversation) -> None:
    talk.at(9)
    talk.hear([2, "s1", "StatusNotification", STATUS])
    assert talk.event["occurredAt"] == talk.event["receivedAt"] == "2026-11-22T10:00:09.000Z"


# --------------------------------------------------------------------------------------------------- what is not right


@pytest.mark.parametrize(
    ("raw", "quirk"),
    [
        (b'[2,"' + b"i" * 37 + b'","Heartbeat",{}]', "long message id"),
        (b'[4,"nobody","GenericError","x"]', "short CALLERROR"),
    ],
)
def test_quirks_of_the_field_are_borne_and_counted(talk: Conversation, raw: bytes, quirk: str) -> None:
    talk.hear(raw)
    assert quirk in [count.label for count in talk.some(Count) if count.name == "quirks"]


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"\xff\xff", [4, "-1", "ProtocolError"]),
        (b"no json", [4, "-1", "ProtocolError"]),
        (b'{"a":1}', [4, "-1", "ProtocolError"]),
        (b'[2,7,"Heartbeat",{}]', [4, "-1", "ProtocolError"]),
        (b'[2,"1","Heartbeat",[]]', [4, "1", "ProtocolError"]),
        (b'[2,"1","Heartbeat",{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}]", [4, "1", "FormationViolation"]),
        (b'[2,"1","Fly",{}]', [4, "1", "NotImplemented"]),
        (b'[2,"1","Reset",{"type":"Hard"}]', [4, "1", "NotSupported"]),
        (b'[2,"1","BootNotification",{}]', [4, "1", "OccurenceConstraintViolation"]),
        (
            b'[2,"1","BootNotification",{"chargePointVendor":1,"chargePointModel":"b"}]',
            [4, "1", "TypeConstraintViolation"],
        ),
        (
            b'[2,"1","BootNotification",{"chargePointVendor":"' + b"x" * 21 + b'","chargePointModel":"b"}]',
            [4, "1", "PropertyConstraintViolation"],
        ),
        (
            b'[2,"1","StatusNotification",{"connectorId":1,"status":"Great","errorCode":"NoError"}]',
            [4, "1", "PropertyConstraintViolation"],
        ),
        (
            b'[2,"1","StatusNotification",{"connectorId":1e30,"status":"Available","errorCode":"NoError"}]',
            [4, "1", "TypeConstraintViolation"],
        ),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_bad_input_is_answered_with_its_error(talk: Conversation, raw: bytes, answer: list[Any]) -> None:
    talk.hear(raw)
    assert talk.answer[:3] == answer
    assert isinstance(talk.answer[4], dict), "CALLERROR details is always an object"
    assert not talk.some(Publish)
    assert not talk.some(Close), "a broken frame never closes the session"
    talk.hear([2, "next", "Heartbeat", {}])
    assert talk.answer[:2] == [3, "next"], "and the conversation goes on"


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"no json", [4, "-1", "RpcFrameworkError"]),
        (b'[2,7,"Heartbeat",{}]', [4, "-1", "ProtocolError"]),
        (b'[2,"1","Heartbeat",{"a":' + b"[" * 10_000, [4, "1", "FormatViolation"]),
        (b'[2,"1","BootNotification",{}]', [4, "1", "OccurrenceConstraintViolation"]),
        (b'[9,"1","BootNotification",{}]', [4, "1", "MessageTypeNotSupported"]),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_the_errors_of_2x(raw: bytes, answer: list[Any]) -> None:
    talk = Conversation(TINY21)
    talk.hear(raw)
    assert talk.answer[:3] == answer


@pytest.mark.parametrize("raw", [b"", b"  ", b"[3,1,{}]", b'[4,"1"]', b'[3,"x"', b'[9,"1","Heartbeat",{}]'])
def test_what_16_ignores(talk: Conversation, raw: bytes) -> None:
    talk.hear(raw)
    assert talk.frames == []
    assert talk.some(Count), "ignored, but counted"


@pytest.mark.parametrize("raw", [b'[6,"1","MeterValues",{}]', b'[5,"1","GenericError","",{}]'])
def test_send_and_callresulterror_do_not_exist_before_21(talk: Conversation, raw: bytes) -> None:
    talk.hear(raw)
    assert talk.frames == []
    assert not talk.some(Publish)


def test_zero_is_a_value(talk: Conversation) -> None:
    talk.hear([2, "1", "StartTransaction", START])
    talk.recalled()
    assert talk.event["data"]["meterStart"] == 0
    talk.acknowledged()
    assert talk.answer[:2] == [3, "1"]


# ---------------------------------------------------------------------------------------------------------- validation


def broken_meter() -> dict[str, Any]:
    return {"connectorId": 0, "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": 5}]}]}


@pytest.mark.parametrize(
    ("mode", "action", "payload", "published"),
    [
        (Validation.STRICT, "MeterValues", broken_meter(), False),
        (Validation.KEEP_TRANSACTIONS, "MeterValues", broken_meter(), True),
        (Validation.LENIENT, "MeterValues", broken_meter(), True),
        (Validation.KEEP_TRANSACTIONS, "MeterValues", {"meterValue": []}, False),
        (Validation.LENIENT, "MeterValues", {"meterValue": []}, True),
        (Validation.KEEP_TRANSACTIONS, "StatusNotification", {"connectorId": 1}, False),
        (Validation.LENIENT, "StatusNotification", {"connectorId": 1}, True),
    ],
)
def test_what_breaks_the_schema_is_kept_by_mode(
    mode: Validation, action: str, payload: dict[str, Any], published: bool
) -> None:
    talk = Conversation(TINY16, SessionPolicy(validation=mode))
    talk.hear([2, "1", action, payload])
    if published:
        assert talk.event["schemaErrors"]
        talk.acknowledged()
        assert talk.answer == [3, "1", {}]
    else:
        assert talk.answer[:2] == [4, "1"]
        assert talk.answer[4]["errors"]


def test_a_payload_that_cannot_be_mapped_is_published_raw() -> None:
    talk = Conversation(TINY16, SessionPolicy(validation=Validation.LENIENT))
    talk.hear([2, "1", "StopTransaction", {"reason": "Local"}])
    assert talk.one(Publish).event == "OcppMessageReceived"
    assert talk.event["data"] == {"action": "StopTransaction", "payload": {"reason": "Local"}}
    talk.acknowledged()
    assert talk.answer == [3, "1", {}]


def test_a_start_without_its_key_still_gets_an_id() -> None:
    talk = Conversation(TINY16, SessionPolicy(validation=Validation.LENIENT))
    talk.hear([2, "1", "StartTransaction", {"connectorId": 1}])
    talk.recalled()
    talk.acknowledged()
    assert talk.answer[2]["transactionId"] > 0


@pytest.mark.parametrize(
    ("payload", "quirk"),
    [
        ({**STATUS, "vendorExtra": {"a": 1}}, "extra-field"),
        ({**STATUS, "timestamp": "2026-11-22T10:00:00"}, "time-form"),
    ],
)
def test_quirks_are_counted_and_accepted_unless_strict(payload: dict[str, Any], quirk: str) -> None:
    talk = Conversation(TINY16)
    talk.hear([2, "1", "StatusNotification", payload])
    assert Count("quirks", quirk) in talk.effects
    assert "schemaErrors" not in talk.event
    strict = Conversation(TINY16, SessionPolicy(validation=Validation.STRICT))
    strict.hear([2, "1", "StatusNotification", payload])
    assert strict.answer[0] == 4


@pytest.mark.parametrize(
    ("unit", "counted"), [("Celcius", [Count("quirks", "misspelt-unit")]), ("Celsius", []), ("K", [])]
)
@pytest.mark.parametrize("action", ["MeterValues", "StopTransaction"])
def test_the_misspelling_of_celsius_is_counted_and_put_right(action: str, unit: str, counted: list[Count]) -> None:
    talk = Conversation(VERSIONS["ocpp1.6"])
    values = [{"timestamp": TIME, "sampledValue": [{"value": "21", "unit": unit, "measurand": "Temperature"}]}]
    stop = {"transactionId": 1, "meterStop": 7, "timestamp": TIME, "transactionData": values}
    talk.hear([2, "1", action, {"connectorId": 1, "meterValue": values} if action == "MeterValues" else stop])
    assert [count for count in talk.some(Count) if count.name == "quirks"] == counted
    assert (b"Celcius" in talk.one(Publish).value) is False


def test_celsius_is_misspelt_in_the_field() -> None:
    talk = Conversation(TINY16, SessionPolicy(validation=Validation.STRICT))
    value = {"value": "21", "unit": "Celcius", "measurand": "Temperature"}
    talk.hear([2, "1", "MeterValues", meter(meterValue=[{"timestamp": TIME, "sampledValue": [value]}])])
    assert talk.some(Publish)


# -------------------------------------------------------------------------------------------------- retries, identity


def ce_id(talk: Conversation, message_id: str, action: str, payload: dict[str, Any]) -> str:
    talk.hear([2, message_id, action, payload])
    if talk.some(Recall):
        talk.recalled()
    found = talk.one(Publish).ce_id
    talk.acknowledged()
    return found


def test_a_repeated_message_gets_the_stored_answer_and_no_second_event(talk: Conversation) -> None:
    frame = [2, "b1", "BootNotification", BOOT]
    talk.hear(frame)
    talk.acknowledged()
    first = talk.answer
    talk.at(30)
    talk.hear(frame)
    assert talk.answer == first
    assert not talk.some(Publish)


def test_the_last_eight_answers_are_stored(talk: Conversation) -> None:
    for number in range(9):
        talk.hear([2, f"m{number}", "MeterValues", METER])
        talk.acknowledged()
    talk.hear([2, "m1", "MeterValues", METER])
    assert talk.answer == [3, "m1", {}]
    talk.hear([2, "m0", "MeterValues", METER])
    assert talk.some(Publish), "the ninth is computed again"


def test_the_same_id_with_another_payload_is_no_repetition(talk: Conversation) -> None:
    first = ce_id(talk, "1", "MeterValues", METER)
    assert ce_id(talk, "1", "MeterValues", meter(connectorId=2)) != first


def test_a_repetition_while_the_first_is_open_is_answered_once(talk: Conversation) -> None:
    talk.hear([2, "m1", "MeterValues", METER])
    token = talk.one(Publish).token
    talk.hear([2, "m1", "MeterValues", METER])
    assert talk.effects == [Count("repeated_while_open")]
    talk.effects = talk.session.acknowledged(token, talk.now)
    assert talk.answer == [3, "m1", {}]


def test_a_retry_on_another_pod_has_the_same_ce_id() -> None:
    here, there = Conversation(TINY16, epoch=EPOCH), Conversation(TINY16, epoch=EPOCH + 5)
    assert ce_id(here, "1", "MeterValues", METER) == ce_id(there, "1", "MeterValues", METER)
    assert ce_id(here, "2", "StartTransaction", START) == ce_id(there, "9", "StartTransaction", START)


def test_without_a_time_the_connection_tells_equal_messages_apart() -> None:
    here, there = Conversation(TINY16, epoch=EPOCH), Conversation(TINY16, epoch=EPOCH + 5)
    assert ce_id(here, "1", "StatusNotification", STATUS) != ce_id(there, "1", "StatusNotification", STATUS)
    timed = {**STATUS, "timestamp": TIME}
    assert ce_id(here, "2", "StatusNotification", timed) == ce_id(there, "2", "StatusNotification", timed)


def test_two_stations_never_share_a_ce_id_or_a_transaction_id() -> None:
    one, two = Conversation(TINY16, station="CP1"), Conversation(TINY16, station="CP2")
    answers = []
    for talk in (one, two):
        first = ce_id(talk, "1", "StartTransaction", START)
        answers.append((first, talk.answer[2]["transactionId"]))
    assert answers[0][0] != answers[1][0]
    assert answers[0][1] != answers[1][1]


def test_key_order_does_not_matter_to_a_retry() -> None:
    here, there = Conversation(TINY16), Conversation(TINY16)
    backwards = dict(reversed(METER.items()))
    assert ce_id(here, "1", "MeterValues", METER) == ce_id(there, "1", "MeterValues", backwards)


# -------------------------------------------------------------------------------------------------------- transactions


def started(talk: Conversation, message_id: str = "s1") -> tuple[int, Remember]:
    talk.hear([2, message_id, "StartTransaction", START])
    talk.recalled()
    talk.acknowledged()
    return talk.answer[2]["transactionId"], talk.one(Remember)


def test_a_start_is_remembered_before_it_is_answered(talk: Conversation) -> None:
    started(talk)
    kinds = [type(effect) for effect in talk.effects]
    assert kinds.index(Remember) < kinds.index(Send)


def test_a_start_repeated_on_another_pod_gets_its_whole_answer_again() -> None:
    here, there = Conversation(TINY16), Conversation(TINY16, epoch=EPOCH + 1)
    transaction_id, remembered = started(here)
    answer = here.answer[2]
    there.hear([2, "other id", "StartTransaction", START])
    assert there.one(Recall).digest == remembered.digest
    there.recalled(remembered.value)
    there.recalled(None)  # that transaction has not ended
    assert there.answer == [3, "other id", answer]
    assert not there.some(Publish)
    assert transaction_id == answer["transactionId"]


def test_a_start_computed_again_without_the_store_gets_the_same_id() -> None:
    here, there = Conversation(TINY16), Conversation(TINY16, epoch=EPOCH + 1)
    assert started(here)[0] == started(there)[0]


def test_a_stop_is_remembered_before_it_is_answered(talk: Conversation) -> None:
    talk.hear([2, "e1", "StopTransaction", {"transactionId": 0, "timestamp": TIME, "meterStop": 1}])
    talk.acknowledged()
    kinds = [type(effect) for effect in talk.effects]
    assert kinds.index(Remember) < kinds.index(Send)


def test_after_its_end_the_same_start_is_another_transaction(talk: Conversation) -> None:
    transaction_id, remembered = started(talk)
    stop = {"transactionId": transaction_id, "timestamp": TIME, "meterStop": 1}
    talk.hear([2, "e1", "StopTransaction", stop])
    talk.acknowledged()
    ended = talk.one(Remember)
    talk.hear([2, "s2", "StartTransaction", START])
    assert talk.one(Recall).digest == remembered.digest
    talk.recalled(remembered.value)
    assert talk.one(Recall).digest == ended.digest
    talk.recalled(ended.value)
    second = talk.event["data"]
    assert second["transactionId"] != str(transaction_id)
    talk.acknowledged()
    assert talk.answer[2]["transactionId"] == int(second["transactionId"])


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"nonsense", b'{"transactionId":"x","generation":0,"answer":{}}'])
def test_a_broken_record_is_no_record(talk: Conversation, value: bytes) -> None:
    talk.hear([2, "s1", "StartTransaction", START])
    talk.recalled(value)
    assert talk.some(Publish)


def test_a_station_in_a_transaction_is_known(talk: Conversation) -> None:
    seen = [talk.session.in_transaction]
    transaction_id, _ = started(talk)
    seen.append(talk.session.in_transaction)
    talk.hear([2, "e1", "StopTransaction", {"transactionId": transaction_id, "timestamp": TIME, "meterStop": 1}])
    talk.acknowledged()
    seen.append(talk.session.in_transaction)
    # After a reconnect the first meter value says so.
    talk.hear([2, "m1", "MeterValues", meter(transactionId=0)])
    talk.acknowledged()
    seen.append(talk.session.in_transaction)
    assert seen == [False, True, False, True]


# ------------------------------------------------------------------------------------------------------------ decisions


ASKS = SessionPolicy(asks=frozenset({"BootNotification", "StartTransaction"}))


def test_the_backend_is_asked_first_then_kafka_then_the_answer() -> None:
    talk = Conversation(TINY16, ASKS)
    talk.hear([2, "s1", "StartTransaction", START])
    talk.recalled()
    ask = talk.one(Ask)
    assert (ask.kind, ask.event) == ("StartTransaction", "TransactionStarted")
    talk.decided({"idTokenInfo": {"status": "Blocked"}, "transactionId": 77})
    publish = talk.one(Publish)
    assert publish.ce_id == ask.ce_id, "the Idempotency-Key is the ce_id"
    assert talk.event["data"]["transactionId"] == "77"
    talk.acknowledged()
    assert talk.answer[2] == {"transactionId": 77, "idTagInfo": {"status": "Blocked"}}


def test_nobody_is_asked_where_the_policy_says_accept(talk: Conversation) -> None:
    talk.hear([2, "b1", "BootNotification", BOOT])
    assert not talk.some(Ask)
    talk.acknowledged()
    assert talk.answer[2]["status"] == "Accepted"


def test_a_decision_that_does_not_fit_never_withholds_the_conf_of_a_transaction() -> None:
    talk = Conversation(TINY16, ASKS)
    talk.hear([2, "s1", "StartTransaction", START])
    talk.recalled()
    talk.decided({"idTokenInfo": {"status": "NoSuchStatus"}})
    talk.acknowledged()
    assert talk.answer[:2] == [3, "s1"]
    assert talk.answer[2]["idTagInfo"] == {"status": "Accepted"}
    assert Count("answers_invalid", "StartTransaction") in talk.effects


def test_an_answer_that_is_not_sound_never_withholds_the_conf_of_a_transaction() -> None:
    talk = Conversation(ODD16)
    talk.hear([2, "m1", "MeterValues", METER])
    talk.acknowledged()
    assert talk.answer == [3, "m1", {"odd": 1}]
    assert Count("answers_invalid", "MeterValues") in talk.effects
    talk.hear([2, "s1", "StatusNotification", STATUS])
    talk.acknowledged()
    assert talk.answer[:3] == [4, "s1", "InternalError"]


def test_a_decision_that_does_not_fit_another_message_is_an_internal_error() -> None:
    talk = Conversation(TINY16, ASKS)
    talk.hear([2, "b1", "BootNotification", BOOT])
    talk.decided({"status": "Perhaps"})
    talk.acknowledged()
    assert talk.answer[:3] == [4, "b1", "InternalError"]
    assert not talk.some(BootRecorded)
    talk.hear([2, "h", "Heartbeat", {}])
    assert talk.answer[0] == 3


# ---------------------------------------------------------------------------------------------------------- boot states


def boot(talk: Conversation, status: str) -> None:
    talk.hear([2, f"boot {status}", "BootNotification", BOOT])
    talk.decided({"status": status})
    talk.acknowledged()


def test_a_boot_answer_is_recorded() -> None:
    talk = Conversation(TINY16, ASKS)
    talk.at(3)
    boot(talk, "Pending")
    assert talk.one(BootRecorded) == BootRecorded("Pending", 300, "2026-11-22T10:00:03.000Z")
    boot(talk, "Accepted")
    assert talk.one(BootRecorded).status == "Accepted"


def test_unknown_counts_as_accepted(talk: Conversation) -> None:
    talk.hear([2, "m", "MeterValues", METER])
    assert talk.some(Publish)
    assert talk.session.call("c", "RemoteStartTransaction", {"idTag": "x"}) is not None


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_while_not_accepted_calls_get_security_error(status: str) -> None:
    talk = Conversation(TINY16, boot=status)
    for action, payload in (("MeterValues", METER), ("Heartbeat", {}), ("StatusNotification", STATUS)):
        talk.hear([2, action, action, payload])
        assert talk.answer[:3] == [4, action, "SecurityError"]
    talk.hear([2, "b", "BootNotification", BOOT])
    talk.acknowledged()
    talk.hear([2, "m", "MeterValues", METER])
    assert talk.some(Publish)


def test_what_we_may_send_while_not_accepted() -> None:
    pending = Conversation(TINY16, boot="Pending").session
    assert pending.call("1", "RemoteStartTransaction", {"idTag": "x"}) is None
    assert pending.call("2", "GetConfiguration", {}) is not None
    rejected = Conversation(TINY16, boot="Rejected").session
    assert rejected.call("1", "GetConfiguration", {}) is None
    assert not rejected.may_call("TriggerMessage")


def test_what_was_triggered_is_let_through_while_pending() -> None:
    talk = Conversation(TINY16, boot="Pending")
    talk.effects = talk.session.call("t", "TriggerMessage", {"requestedMessage": "StatusNotification"}) or []
    assert talk.answer[1] == "t"
    talk.hear([2, "before", "StatusNotification", STATUS])
    assert talk.answer[2] == "SecurityError"
    talk.hear([3, "t", {"status": "Accepted"}])
    for connector in (0, 1, 2):
        talk.hear([2, f"s{connector}", "StatusNotification", {**STATUS, "connectorId": connector}])
        assert talk.some(Publish)
        talk.acknowledged()
    talk.hear([2, "m", "MeterValues", METER])
    assert talk.answer[2] == "SecurityError"


def test_a_rejected_trigger_lets_nothing_through() -> None:
    talk = Conversation(TINY16, boot="Pending")
    talk.session.call("t", "TriggerMessage", {"requestedMessage": "StatusNotification"})
    talk.hear([3, "t", {"status": "Rejected"}])
    talk.hear([2, "s", "StatusNotification", STATUS])
    assert talk.answer[2] == "SecurityError"


# ------------------------------------------------------------------------------------------------------------ our CALLs


def test_both_directions_at_once(talk: Conversation) -> None:
    assert talk.session.call("c1", "Reset", {"type": "Hard"}) == [Send(b'[2,"c1","Reset",{"type":"Hard"}]')]
    talk.hear([2, "m1", "MeterValues", METER])
    token = talk.one(Publish).token
    talk.hear([3, "c1", {"status": "Accepted"}])
    assert talk.one(CallEnded) == CallEnded("c1", {"status": "Accepted"})
    assert talk.session.acknowledged(token, talk.now)


def test_the_same_id_in_both_directions_is_two_calls(talk: Conversation) -> None:
    talk.session.call("x", "Reset", {"type": "Hard"})
    talk.hear([2, "x", "Heartbeat", {}])
    assert talk.answer[:2] == [3, "x"]
    assert not talk.some(CallEnded)
    talk.hear([3, "x", {"status": "Accepted"}])
    assert talk.some(CallEnded)


def test_one_call_of_ours_at_a_time(talk: Conversation) -> None:
    assert talk.session.call("c1", "Reset", {"type": "Hard"})
    assert talk.session.call("c2", "Reset", {"type": "Hard"}) is None
    talk.hear([3, "c1", {"status": "Accepted"}])
    assert talk.session.call("c2", "Reset", {"type": "Hard"})


def test_a_late_answer_never_answers_the_next_call(talk: Conversation) -> None:
    talk.session.call("c1", "Reset", {"type": "Hard"})
    assert talk.session.timed_out("c1")
    talk.session.call("c2", "Reset", {"type": "Soft"})
    talk.hear([3, "c1", {"status": "Rejected"}])
    assert talk.one(CallEnded) == CallEnded("c1", {"status": "Rejected"}, late=True)
    assert talk.session.call("c3", "Reset", {"type": "Soft"}) is None, "c2 still waits for its own answer"
    talk.hear([3, "c1", {"status": "Accepted"}])
    assert talk.effects == [Count("answers_nobody_asked_for", "CALLRESULT")], "answered once"
    talk.hear([3, "c2", {"status": "Accepted"}])
    assert talk.one(CallEnded) == CallEnded("c2", {"status": "Accepted"})


def test_a_call_that_was_answered_cannot_time_out(talk: Conversation) -> None:
    talk.session.call("c1", "Reset", {"type": "Hard"})
    talk.hear([3, "c1", {"status": "Accepted"}])
    assert not talk.session.timed_out("c1")


def test_the_answers_of_the_last_dozens_of_timed_out_calls_are_told_apart(talk: Conversation) -> None:
    for number in range(33):
        talk.session.call(f"c{number}", "Reset", {"type": "Hard"})
        talk.session.timed_out(f"c{number}")
    talk.hear([3, "c0", {"status": "Accepted"}])
    assert not talk.some(CallEnded), "a station that never answers takes no memory for ever"
    talk.hear([3, "c1", {"status": "Accepted"}])
    assert talk.one(CallEnded).late


@pytest.mark.parametrize(
    "raw", ['[3,"who",{}]', '[4,"who","GenericError","",{}]', '[3,"c1"]', '[4,"C1","GenericError","",{}]']
)
def test_answers_nobody_asked_for_are_counted(talk: Conversation, raw: str) -> None:
    talk.session.call("c1", "Reset", {"type": "Hard"})
    talk.hear(raw)
    assert [type(effect) for effect in talk.effects] == [Count] * len(talk.effects)
    assert talk.session.call("c2", "Reset", {"type": "Hard"}) is None


def test_a_callerror_ends_the_call_in_one_spelling(talk: Conversation) -> None:
    talk.session.call("c1", "Reset", {"type": "Hard"})
    talk.hear('[4,"c1","OccurenceConstraintViolation","no"]')
    assert talk.one(CallEnded) == CallEnded(
        "c1", None, code="OccurrenceConstraintViolation", description="no", details={}
    )


@pytest.mark.parametrize("payload", ['{"status":"Great"}', "[]", "7", "null"])
def test_an_answer_that_breaks_its_schema_still_counts(talk: Conversation, payload: str) -> None:
    talk.session.call("c1", "Reset", {"type": "Hard"})
    talk.hear(f'[3,"c1",{payload}]')
    ended = talk.one(CallEnded)
    assert ended.payload is not None
    assert ended.schema_errors
    assert not talk.frames


def test_in_strict_21_a_broken_answer_is_answered_with_callresulterror() -> None:
    talk = Conversation(TINY21, SessionPolicy(validation=Validation.STRICT))
    talk.session.call("c1", "ClearCache", {})
    talk.hear('[3,"c1",{"status":"Great"}]')
    assert talk.answer[:3] == [5, "c1", "PropertyConstraintViolation"]
    assert talk.one(CallEnded).schema_errors


def test_our_own_calls_are_checked_before_they_are_sent() -> None:
    from ocpp_gateway.core.dialect import Dialect

    dialect = Dialect(TINY16)
    assert dialect.check_call("Reset", {"type": "Hard"}) is None
    assert dialect.check_call("Reset", {"type": "Gently"}) is not None
    assert dialect.check_call("Reset", {"type": "Hard", "extra": 1}) is not None
    assert dialect.check_call("Heartbeat", {}) is not None, "that is the station's to send"
    assert dialect.check_call("../Reset", {}) is not None
    assert Dialect(TINY16, check_outbound=False).check_call("Reset", {"type": "Gently"}) is None


@pytest.mark.parametrize("limit", [16.3, 32.1, 0.3, 6, 99.9])
def test_one_decimal_is_a_multiple_of_a_tenth(limit: float) -> None:
    from ocpp_gateway.core.dialect import Dialect

    profile = {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}]},
    }
    payload = {"connectorId": 0, "csChargingProfiles": profile}
    assert Dialect(TINY16).check_call("SetChargingProfile", payload) is None


# ------------------------------------------------------------------------------------------------------------------ 2.x


def test_measured_values_of_2x_keep_their_text() -> None:
    talk = Conversation(TINY21)
    raw = '[2,"1","MeterValues",{"evseId":1,"meterValue":[{"timestamp":"2026-11-22T10:00:00Z","sampledValue":[%s]}]}]'
    talk.hear(raw % '{"value":12.50},{"value":1e3},{"value":7},{"value":0.1},{"value":12345678901234567890.5}')
    assert talk.event["data"]["values"] == ["12.50", "1e3", "7", "0.1", "12345678901234567890.5"]


def test_a_key_that_is_no_key_still_identifies() -> None:
    payload = """{"eventType":"Ended","timestamp":"x","triggerReason":"Trigger","seqNo":1.50,
        "transactionInfo":{"transactionId":[1e3]},"meterValue":[{"sampledValue":[{"value":12.50}]}]}"""
    talk, again = Conversation(TINY21), Conversation(TINY21)
    for one in (talk, again):
        one.hear(f'[2,"1","TransactionEvent",{payload}]')
    assert talk.event["schemaErrors"]
    assert talk.one(Publish).ce_id == again.one(Publish).ce_id


def test_a_send_is_published_and_never_answered() -> None:
    talk = Conversation(TINY21)
    stream = {"id": 1, "pending": 0, "basetime": TIME, "data": [{"v": "1", "t": 0}]}
    talk.hear([6, "1", "NotifyPeriodicEventStream", stream])
    assert talk.event["data"]["payload"] == stream
    talk.acknowledged()
    assert talk.effects == []
    talk.hear([6, "2", "NotifyPeriodicEventStream", {}])
    assert talk.frames == [], "not even when it is wrong"


def test_the_wrong_one_of_call_and_send_is_a_quirk() -> None:
    talk = Conversation(TINY21)
    stream = {"id": 1, "pending": 0, "basetime": TIME, "data": [{"v": "1", "t": 0}]}
    talk.hear([2, "1", "NotifyPeriodicEventStream", stream])
    assert Count("quirks", "call-instead-of-send") in talk.effects
    talk.acknowledged()
    assert talk.answer == [3, "1", {}]
    talk.hear([6, "2", "BootNotification", {"reason": "PowerUp", "chargingStation": {"model": "m", "vendorName": "v"}}])
    assert Count("quirks", "send-instead-of-call") in talk.effects
    talk.acknowledged()
    assert talk.frames == []


def test_the_event_of_a_transaction_event_depends_on_its_type() -> None:
    talk = Conversation(TINY21)
    payload = {
        "eventType": "Ended",
        "timestamp": TIME,
        "triggerReason": "Trigger",
        "seqNo": 0,
        "transactionInfo": {"transactionId": "t"},
    }
    talk.hear([2, "1", "TransactionEvent", payload])
    assert talk.one(Publish).event == "TransactionEnded"
    talk.acknowledged()
    other = Conversation(TINY21, epoch=EPOCH + 1)
    assert ce_id(other, "other", "TransactionEvent", payload) == ce_id(
        Conversation(TINY21), "1", "TransactionEvent", payload
    ), "transactionId and seqNo are its identity"


def test_signed_messages_are_unwrapped() -> None:
    talk = Conversation(TINY21)
    inner = b'{"evseId":1,"meterValue":[{"timestamp":"2026-11-22T10:00:00Z","sampledValue":[{"value":12.50}]}]}'
    signed = {
        "payload": base64.urlsafe_b64encode(inner).rstrip(b"=").decode(),
        "signatures": [{"protected": "e30", "signature": "AA"}],
    }
    talk.hear([2, "1", "MeterValues-Signed", signed])
    assert talk.event["data"]["values"] == ["12.50"]
    talk.acknowledged()
    assert talk.answer == [3, "1", {}]
    talk.hear([2, "2", "MeterValues-Signed", {"payload": "!", "signature": ""}])
    assert talk.answer[:3] == [4, "2", "FormatViolation"]


# ----------------------------------------------------------------------------------------- order and floods


def test_calls_before_their_turn_are_answered_in_order(talk: Conversation) -> None:
    talk.hear([2, "1", "MeterValues", METER])
    token = talk.one(Publish).token
    talk.hear([2, "2", "Heartbeat", {}])
    talk.hear([2, "3", "MeterValues", METER])
    assert talk.frames == []
    talk.effects = talk.session.acknowledged(token, talk.now)
    assert [frame[1] for frame in talk.frames] == ["1", "2"]
    talk.acknowledged()
    assert talk.answer == [3, "3", {}]


def test_reading_stops_while_too_many_calls_wait(talk: Conversation) -> None:
    talk.hear([2, "0", "MeterValues", METER])
    token = talk.one(Publish).token
    for number in range(1, 9):
        assert not talk.session.full
        talk.hear([2, str(number), "MeterValues", METER])
    assert talk.session.full
    talk.session.acknowledged(token, talk.now)
    assert not talk.session.full


def test_a_flood_of_calls_closes() -> None:
    talk = Conversation(TINY16, SessionPolicy(flood=20))
    for number in range(21):
        talk.hear([2, str(number), "MeterValues", METER])
        assert not talk.some(Close)
    talk.hear([2, "21", "MeterValues", METER])
    assert talk.one(Close).code == 1008


def test_after_the_socket_has_gone_nothing_is_answered(talk: Conversation) -> None:
    talk.hear([2, "1", "MeterValues", METER])
    token = talk.one(Publish).token
    talk.session.closed()
    assert talk.session.acknowledged(token, talk.now) == []
    assert talk.session.call("c", "Reset", {"type": "Hard"}) is None
    assert talk.hear([2, "2", "Heartbeat", {}]) == []


def test_an_event_is_plain_json_whatever_it_holds() -> None:
    talk = Conversation(TINY16)
    talk.hear('[2,"\\u0000\\u2028","DataTransfer",{"vendorId":"v","data":"\\ud83d\\ude00 \\" \\\\"}]')
    assert talk.event["data"]["data"] == '😀 " \\'
    talk.acknowledged()
    assert orjson.loads(talk.one(Send).frame)[1] == "\x00\u2028"


def test_an_error_code_that_a_station_makes_up_is_no_label_of_its_own(talk: Conversation) -> None:
    """Counters live as long as the pod: a code per message would fill its memory."""
    talk.hear([5, "1", "FormationViolation", "", {}])
    assert talk.effects == [Count("call_result_errors", "FormatViolation")]
    talk.hear([5, "1", "MadeUp-4711", "", {}])
    assert talk.effects == [Count("call_result_errors", "other")]


@pytest.mark.parametrize("depth", [10, 200, 1_000])
def test_a_signed_result_may_not_hide_what_no_frame_may_hold(depth: int) -> None:
    talk = Conversation(VERSIONS["ocpp2.0.1"])
    asked = {"getVariableData": [{"component": {"name": "A"}, "variable": {"name": "B"}}]}
    assert talk.session.call("m-1", "GetVariables", asked) is not None
    inner = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    talk.hear([3, "m-1", {"signature": "x", "payload": base64.urlsafe_b64encode(inner).decode()}])
    ended = talk.one(CallEnded)
    orjson.dumps([[[ended.payload]]])
    assert ended.schema_errors


def test_an_event_too_large_for_kafka_carries_its_message_as_it_came() -> None:
    """Refused, it would never be answered, and the station would repeat it for ever with all the others behind it."""
    talk = Conversation(VERSIONS["ocpp1.6"], SessionPolicy(max_event_bytes=20_000))
    values = [{"timestamp": "2026-11-22T10:00:00Z", "sampledValue": [{"value": "1"}] * 1_000}]
    payload = {"connectorId": 1, "transactionId": 5, "meterValue": values}
    talk.hear([2, "1", "MeterValues", payload])
    published = talk.one(Publish)
    assert len(published.value) < 20_000
    assert published.event == "OcppMessageReceived"
    assert talk.event["data"] == {"action": "MeterValues", "payload": payload}
    assert Count("unmapped_messages", "MeterValues") in talk.effects
    talk.acknowledged()
    assert talk.answer == [3, "1", {}]


def test_large_calls_stop_the_reading_sooner() -> None:
    """Eight of the largest messages of every station, while Kafka is away, would be more than a pod has."""
    talk = Conversation(VERSIONS["ocpp1.6"], SessionPolicy(max_waiting_bytes=10_000))
    for number in range(3):
        assert not talk.session.full
        talk.hear([2, f"{number}", "DataTransfer", {"vendorId": "v", "data": "x" * 6_000}])
    assert talk.session.full


@pytest.mark.parametrize(("given", "answered"), [("-5", -5), ("0", 0), ("2147483647", 2147483647)])
def test_a_backend_may_give_any_transaction_id_that_the_contract_allows(given: str, answered: int) -> None:
    talk = Conversation(VERSIONS["ocpp1.6"], SessionPolicy(asks=frozenset({"start"})))
    start = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-11-22T10:00:00Z"}
    talk.hear([2, "1", "StartTransaction", start])
    talk.recalled(None)
    talk.decided({"idTokenInfo": {"status": "Accepted"}, "transactionId": given})
    assert talk.event["data"]["transactionId"] == given
    talk.acknowledged()
    assert talk.answer[2]["transactionId"] == answered
