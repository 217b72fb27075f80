"""Commands: bytes that are none, what is kept of broken ones, redelivery classes, positive answers."""

from __future__ import annotations

import importlib.resources
from contextlib import suppress
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.command_types import COMMAND_TYPES, Redelivery, is_positive
from ocpp_contract.commands import (
    MAX_COMMAND_BYTES,
    Command,
    InvalidCommand,
    decode_command,
    derived_request_id,
    repeat_is_safe,
)
from ocpp_contract.ids import ChargePointId, CommandId
from ocpp_contract.outcome import Outcome

ID = CommandId("6f1f0e0e-5a0c-4d0e-9d57-2f1d6f9f1c11")
WHOLE: dict[str, Any] = {"id": ID, "chargePointId": "CP1", "type": "ClearCache", "payload": {}}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def encoded(**changes: Any) -> bytes:
    return orjson.dumps(WHOLE | changes)


def refused(raw: bytes) -> InvalidCommand:
    with pytest.raises(InvalidCommand) as caught:
        decode_command(raw)
    return caught.value


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(raw: bytes) -> None:
    refused(raw)


@given(st.dictionaries(st.sampled_from([*WHOLE, "expiresAt", "priority", "waitForStation", "replyContext"]), JSON))
def test_wrong_types_anywhere_are_refused_or_read(changes: dict[str, Any]) -> None:
    try:
        raw = orjson.dumps(WHOLE | changes)
    except TypeError:  # integers beyond 64 bits: other writers can produce them, orjson cannot
        raw = b'{"id": %d}' % 2**70
    with suppress(InvalidCommand):
        decode_command(raw)


@given(st.sampled_from(sorted(COMMAND_TYPES)), JSON)
def test_any_payload_of_any_type_is_refused_or_read(type_name: str, payload: Any) -> None:
    try:
        raw = encoded(type=type_name, payload=payload)
    except TypeError:
        return
    try:
        command = decode_command(raw)
    except InvalidCommand:
        return
    assert decode_command(command.to_json()) == command


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b'"\\ud800"',
        b"NaN",
        b'{"id":NaN}',
        b'{"id":1e999}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b'{"id":"6f1f0e0e-5a0c-4d0e-9d57-2f1d6f9f1c11\\u0000"}',
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_bytes_that_are_no_command(raw: bytes) -> None:
    assert refused(raw).command_id is None


def test_a_nesting_that_orjson_reads_but_could_not_write_back_is_refused() -> None:
    deep = b"[" * 300 + b"]" * 300
    assert refused(encoded()[:-1] + b',"replyContext":' + deep + b"}").reason == "is nested deeper than 64 levels"


def test_wide_is_not_deep() -> None:
    wide: dict[str, Any] = {str(number): [{}] for number in range(1000)}
    assert decode_command(encoded(replyContext=wide)).reply_context == wide


def test_an_oversized_command_is_refused_before_it_is_parsed() -> None:
    error = refused(encoded(replyContext="x" * MAX_COMMAND_BYTES))
    assert (error.reason, error.command_id) == (f"is larger than {MAX_COMMAND_BYTES} bytes", None)


def test_a_huge_integer_is_no_integer() -> None:
    raw = encoded(type="CancelReservation", payload={"reservationId": 1}).replace(
        b'"reservationId":1', b'"reservationId":' + b"9" * 40
    )
    assert refused(raw).field == "payload.reservationId"


def test_of_duplicate_names_the_last_counts() -> None:
    raw = encoded()[:-1] + b',"type":"GetLocalListVersion"}'
    assert decode_command(raw).type == "GetLocalListVersion"


def test_a_broken_command_keeps_what_was_readable() -> None:
    error = refused(encoded(payload=[], replyContext={"a": 1}))
    assert (error.command_id, error.charge_point_id, error.type, error.reply_context, error.outcome) == (
        ID,
        "CP1",
        "ClearCache",
        {"a": 1},
        Outcome.INVALID,
    )


def test_a_station_is_known_although_the_id_is_broken() -> None:
    error = refused(encoded(id="x"))
    assert (error.command_id, error.charge_point_id) == (None, "CP1")


def test_the_complaint_does_not_repeat_the_input() -> None:
    secret = {
        "setVariableData": [
            {"component": {"name": "SecurityCtrlr"}, "variable": {"name": 5}, "attributeValue": ["hunter2"]}
        ]
    }
    assert "hunter2" not in str(refused(encoded(type="SetVariables", payload=secret)))


def test_the_complaint_is_in_the_words_of_json() -> None:
    error = refused(encoded(type="RequestStartTransaction", payload={"idToken": "ABC", "evseId": 1}))
    assert str(error) == "payload.idToken: must be an object"


def test_every_repeat_of_a_command_carries_the_same_derived_id() -> None:
    raw = encoded(type="RequestStartTransaction", payload={"idToken": {"idToken": "A"}})
    first, second = decode_command(raw), decode_command(raw)
    assert first.payload["remoteStartId"] == second.payload["remoteStartId"] == UUID(ID).int & 0x7FFFFFFF


@given(st.uuids())
def test_a_derived_id_is_a_positive_32_bit_integer(uuid: UUID) -> None:
    assert 0 < derived_request_id(CommandId(str(uuid))) < 2**31


def test_a_derived_id_is_never_zero() -> None:
    assert derived_request_id(CommandId("00000000-0000-0000-0000-000080000000")) == 1


# --- which may be sent again --------------------------------------------------------------------------------------------

SAFE = {name for name in COMMAND_TYPES if name.startswith("Get") and name != "GetLog"} | {
    "TriggerMessage",
    "ClearCache",
    "SetVariables",
    "SetChargingProfile",
    "ReserveNow",
    "CancelReservation",
    "ChangeAvailability",
}
CONDITIONAL = {"RequestStopTransaction", "UpdateFirmware", "GetLog", "SendLocalList", "InstallCertificate"}


@pytest.mark.parametrize("name", sorted(COMMAND_TYPES))
def test_redelivery_class_as_the_design_states_it(name: str) -> None:
    expected = Redelivery.SAFE if name in SAFE else Redelivery.CONDITIONAL if name in CONDITIONAL else Redelivery.NEVER
    assert COMMAND_TYPES[name].redelivery is expected


@pytest.mark.parametrize("name", sorted(COMMAND_TYPES))
def test_a_type_that_may_end_uncertain_says_where_to_look(name: str) -> None:
    entry = COMMAND_TYPES[name]
    assert entry.evidence or entry.redelivery is Redelivery.SAFE


def command(type_name: str, payload: dict[str, Any]) -> Command:
    return Command(ID, ChargePointId("CP1"), type_name, payload)


def test_repeats() -> None:
    assert repeat_is_safe(command("GetVariables", {}))
    assert repeat_is_safe(command("RequestStopTransaction", {"transactionId": "5"}))
    assert repeat_is_safe(command("GetLog", {"requestId": 1}))
    assert not repeat_is_safe(command("GetLog", {}))
    assert not repeat_is_safe(command("RequestStartTransaction", {}))
    assert not repeat_is_safe(command("OcppCall", {"action": "ClearCache", "payload": {}}))


# --- which answers count as Accepted -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_name", "answer", "positive"),
    [
        ("GetLocalListVersion", {"versionNumber": 0}, True),
        ("Reset", {"status": "Accepted"}, True),
        ("Reset", {"status": "Scheduled"}, True),
        ("Reset", {"status": "Rejected"}, False),
        ("ClearCache", {"status": "Scheduled"}, False),
        ("UnlockConnector", {"status": "Unlocked"}, True),
        ("UnlockConnector", {"status": "UnlockFailed"}, False),
        ("GetLog", {"status": "AcceptedCanceled", "filename": "a"}, True),
        ("SetVariables", {"setVariableResult": [{"attributeStatus": "Accepted"}]}, True),
        (
            "SetVariables",
            {"setVariableResult": [{"attributeStatus": "Accepted"}, {"attributeStatus": "RebootRequired"}]},
            True,
        ),
        (
            "SetVariables",
            {"setVariableResult": [{"attributeStatus": "Accepted"}, {"attributeStatus": "Rejected"}]},
            False,
        ),
        ("GetVariables", {"getVariableResult": [{"attributeStatus": "UnknownVariable"}]}, False),
        ("ClearTariffs", {"clearTariffsResult": [{"status": "NoTariff"}]}, False),
        ("ClearVariableMonitoring", {"clearMonitoringResult": [{"id": 1, "status": "Accepted"}]}, True),
        ("SetVariableMonitoring", {"setMonitoringResult": ["?"]}, False),
        ("OcppCall", {"status": "Unlocked"}, True),
        ("OcppCall", {"status": "Rejected"}, False),
        ("OcppCall", {"setVariableResult": [{"attributeStatus": "Rejected"}]}, False),
        ("OcppCall", {"configurationKey": []}, True),
        ("Reset", {"status": None}, False),
    ],
)
def test_positive_answers(type_name: str, answer: dict[str, Any], positive: bool) -> None:
    assert is_positive(type_name, answer) is positive


# --- every message a CSMS may send is reachable --------------------------------------------------------------------------

# Messages of the official schema files that a charging station sends (OCPP 2.1 part 2); all others are a CSMS's.
FROM_THE_STATION = {
    "Authorize", "BatterySwap", "BootNotification", "ClearedChargingLimit", "ClosePeriodicEventStream",
    "FirmwareStatusNotification", "Get15118EVCertificate", "GetCertificateChainStatus", "GetCertificateStatus",
    "Heartbeat", "LogStatusNotification", "MeterValues", "NotifyChargingLimit", "NotifyCustomerInformation",
    "NotifyDERAlarm", "NotifyDERStartStop", "NotifyDisplayMessages", "NotifyEVChargingNeeds",
    "NotifyEVChargingSchedule", "NotifyEvent", "NotifyMonitoringReport", "NotifyPriorityCharging", "NotifyReport",
    "NotifySettlement", "OpenPeriodicEventStream", "PublishFirmwareStatusNotification", "PullDynamicScheduleUpdate",
    "ReportChargingProfiles", "ReportDERControl", "ReservationStatusUpdate", "SecurityEventNotification",
    "SignCertificate", "StatusNotification", "TransactionEvent", "VatNumberValidation",
}  # fmt: skip
RENAMED_FROM_16 = {
    "ChangeConfiguration": "SetVariables",
    "ExtendedTriggerMessage": "TriggerMessage",
    "GetConfiguration": "GetVariables",
    "GetDiagnostics": "GetLog",
    "RemoteStartTransaction": "RequestStartTransaction",
    "RemoteStopTransaction": "RequestStopTransaction",
    "SignedUpdateFirmware": "UpdateFirmware",
}
FROM_A_16_STATION = {
    "Authorize", "BootNotification", "DiagnosticsStatusNotification", "FirmwareStatusNotification", "Heartbeat",
    "LogStatusNotification", "MeterValues", "SecurityEventNotification", "SignCertificate",
    "SignedFirmwareStatusNotification", "StartTransaction", "StatusNotification", "StopTransaction",
}  # fmt: skip


@pytest.mark.parametrize("version", ["v201", "v21"])
def test_every_csms_message_of_2x_is_a_command_type(version: str) -> None:
    names = {path.name for path in (importlib.resources.files("ocpp") / version / "schemas").iterdir()}
    messages = {name.removesuffix("Request.json") for name in names if name.endswith("Request.json")}
    assert messages - FROM_THE_STATION - set(COMMAND_TYPES) == set()


def test_every_csms_message_of_16_is_reachable_by_its_2x_name() -> None:
    names = {path.name for path in (importlib.resources.files("ocpp") / "v16" / "schemas").iterdir()}
    messages = {name.removesuffix(".json") for name in names if name.endswith(".json") and "Response" not in name}
    wanted = {RENAMED_FROM_16.get(name, name) for name in messages - FROM_A_16_STATION}
    assert wanted - set(COMMAND_TYPES) == set()
