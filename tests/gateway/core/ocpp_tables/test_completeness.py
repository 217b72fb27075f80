"""Nothing is missing: every message of every version has its row, every command type is reachable or refused.

The official schemas say which messages exist. Whatever a station may send becomes an event that fits the contract and gets
an answer that fits the schema, with the least and with the most that the schema allows.
"""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_contract.command_types import COMMAND_TYPES
from ocpp_contract.commands import check_payload
from ocpp_contract.decisions import DECISIONS
from ocpp_contract.events import EVENT_TYPES
from ocpp_contract.ids import CommandId
from ocpp_gateway.core.handlers import UplinkContext, Version
from tests.gateway.core.ocpp_tables.golden import (
    DOWNLINK_CONTEXT,
    VERSIONS,
    as_json,
    cases,
    load,
    request_errors,
    response_errors,
)
from tests.gateway.core.ocpp_tables.samples import request_name, sample, schema_names

BOTH_WAYS = {"DataTransfer"}
NOT_IN_16 = {
    # What 1.6 cannot express at all; everything else has a row, which may refuse single fields with a reason.
    "AFRRSignal",
    "AdjustPeriodicEventStream",
    "ChangeTransactionTariff",
    "ClearDERControl",
    "ClearDisplayMessage",
    "ClearTariffs",
    "ClearVariableMonitoring",
    "CostUpdated",
    "CustomerInformation",
    "GetChargingProfiles",
    "GetDERControl",
    "GetDisplayMessages",
    "GetMonitoringReport",
    "GetPeriodicEventStream",
    "GetReport",
    "GetTariffs",
    "GetTransactionStatus",
    "NotifyAllowedEnergyTransfer",
    "NotifyWebPaymentStarted",
    "PublishFirmware",
    "RequestBatterySwap",
    "SetDERControl",
    "SetDefaultTariff",
    "SetDisplayMessage",
    "SetMonitoringBase",
    "SetMonitoringLevel",
    "SetNetworkProfile",
    "SetVariableMonitoring",
    "UnpublishFirmware",
    "UpdateDynamicSchedule",
    "UsePriorityCharging",
}
NOT_IN_201 = {
    "AFRRSignal",
    "AdjustPeriodicEventStream",
    "ChangeTransactionTariff",
    "ClearDERControl",
    "ClearTariffs",
    "GetDERControl",
    "GetPeriodicEventStream",
    "GetTariffs",
    "NotifyAllowedEnergyTransfer",
    "NotifyWebPaymentStarted",
    "RequestBatterySwap",
    "SetDERControl",
    "SetDefaultTariff",
    "UpdateDynamicSchedule",
    "UsePriorityCharging",
}
UNSUPPORTED = {"ocpp16": NOT_IN_16, "ocpp201": NOT_IN_201, "ocpp21": set[str]()}

EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
EVERY_UPLINK = pytest.mark.parametrize(
    ("version", "action"),
    [
        pytest.param(version, action, id=f"{name}-{action}")
        for name, version in VERSIONS.items()
        for action in version.uplink
    ],
)


@EVERY_VERSION
def test_the_tables_hold_every_message_of_the_official_schemas(version: Version) -> None:
    actions = {
        name.removesuffix("Request")
        for name in schema_names(version.schemas)
        if not name.endswith("Response") and name != "NotifyPeriodicEventStream"
    } | ({"NotifyPeriodicEventStream"} if version.sends else set())
    assert version.uplink.keys() | version.calls == actions
    assert version.uplink.keys() & version.calls == BOTH_WAYS


@EVERY_VERSION
def test_rows_are_filed_under_their_own_names_and_use_names_of_the_contract(version: Version) -> None:
    for action, row in version.uplink.items():
        assert row.action == action
        assert row.event is None or row.event in EVENT_TYPES
        assert row.decision is None or row.decision in DECISIONS
        assert (row.event is None) == (action == "Heartbeat"), "every message but Heartbeat becomes an event"
    for name, down in version.downlink.items():
        assert down.type == name


@pytest.mark.parametrize("name", VERSIONS)
def test_every_command_type_has_a_row_or_is_known_not_to_exist_in_this_version(name: str) -> None:
    assert COMMAND_TYPES.keys() - VERSIONS[name].downlink.keys() == UNSUPPORTED[name]
    assert VERSIONS[name].downlink.keys() <= COMMAND_TYPES.keys()


@pytest.mark.parametrize("name", VERSIONS)
def test_every_message_and_every_command_has_a_golden_case(name: str) -> None:
    version = VERSIONS[name]
    up = {load(path)["action"] for version_name, path in cases("up") if version_name == name}
    down = {load(path)["type"] for version_name, path in cases("down") if version_name == name}
    assert up == version.uplink.keys()
    assert down == version.downlink.keys()


@pytest.mark.parametrize("name", VERSIONS)
def test_every_action_that_a_csms_may_send_is_reached_by_a_command_type(name: str) -> None:
    version = VERSIONS[name]
    reached = set()
    for version_name, path in cases("down"):
        case = load(path)
        if version_name == name and "call" in case and case["type"] != "OcppCall":
            reached.add(case["call"][0])
    assert version.calls - reached == set()


@EVERY_UPLINK
@pytest.mark.parametrize("full", [False, True], ids=["least", "most"])
def test_whatever_a_station_may_send_becomes_an_event_and_gets_a_valid_answer(
    version: Version, action: str, full: bool
) -> None:
    row = version.uplink[action]
    payload = sample(version.schemas, request_name(version.schemas, action), full=full)
    assert request_errors(version, action, payload) == []
    context = UplinkContext("CP-1", "2026-11-22T10:00:00.000Z", 300, None, 17)
    if row.event is not None:
        event = row.event_of(payload) if row.event_of else row.event
        EVENT_TYPES[event].model_validate(as_json(row.data(payload, context)))
    if not row.unanswered:
        assert response_errors(version, action, row.answer(payload, context)) == []


DECIDED: dict[str, list[dict[str, Any]]] = {
    "boot": [{"status": "Rejected"}, {"status": "Pending", "interval": 0}],
    "authorize": [
        {"idTokenInfo": {"status": status}, "certificateStatus": "CertificateRevoked"}
        for status in ("Accepted", "Blocked", "ConcurrentTx", "Expired", "Invalid", "NoCredit", "Unknown")
    ]
    + [{"idTokenInfo": {"status": status}} for status in ("NotAllowedTypeEVSE", "NotAtThisLocation", "NotAtThisTime")],
    "start": [
        {"idTokenInfo": {"status": "Blocked"}, "transactionId": "0", "totalCost": 0, "chargingPriority": -9},
        {
            "idTokenInfo": {
                "status": "Invalid",
                "cacheExpiryDateTime": "2026-12-01T00:00:00.000Z",
                "groupIdToken": {"idToken": "G" * 255, "type": "Central"},
                "personalMessage": {"format": "QRCODE", "content": "x" * 1024},
            },
            "updatedPersonalMessage": {"format": "UTF8", "content": "x" * 1024},
        },
    ],
    "dataTransfer": [{"status": "UnknownVendorId"}, {"status": "Accepted", "data": {"any": "JSON"}}],
    "certificate": [{"status": "Failed"}, {"status": "Rejected"}, {"status": "Accepted", "exiResponse": "e", "ocspResult": "o"}],
}  # fmt: skip


@EVERY_UPLINK
def test_every_decision_of_the_contract_makes_a_valid_answer_in_every_version(version: Version, action: str) -> None:
    """What a version has no place for is left out; the status itself never gets lost."""
    row = version.uplink[action]
    if row.decision is None:
        return
    payload = sample(version.schemas, request_name(version.schemas, action), full=True)
    for decision in DECIDED[row.decision]:
        checked = DECISIONS[row.decision].model_validate(decision).model_dump(exclude_none=True)
        context = UplinkContext("CP-1", "2026-11-22T10:00:00.000Z", 300, checked, 17)
        answer = row.answer(payload, context)
        assert response_errors(version, action, answer) == [], decision
        info = answer.get("idTokenInfo") or answer.get("idTagInfo") or answer
        given = checked.get("idTokenInfo") or checked
        assert (info["status"] == "Accepted") == (given["status"] == "Accepted")


@pytest.mark.parametrize(
    ("version", "action"),
    [
        pytest.param(version, action, id=f"{name}-{action}")
        for name, version in VERSIONS.items()
        if name != "ocpp16"
        for action in sorted(version.calls)
    ],
)
@pytest.mark.parametrize("full", [False, True], ids=["least", "most"])
def test_every_call_of_2x_is_a_command_of_the_same_payload(version: Version, action: str, full: bool) -> None:
    """The contract's model takes what the schema allows, and nothing of it is lost on the way to the CALL."""
    payload = sample(version.schemas, request_name(version.schemas, action), full=full)
    assert request_errors(version, action, payload) == []
    command = check_payload(action, payload, CommandId(DOWNLINK_CONTEXT.command_id))
    call = version.downlink[action].call(command, DOWNLINK_CONTEXT)
    assert call.action == action
    assert call.payload == payload
    for response_full in (False, True):
        response = sample(version.schemas, f"{action}Response", full=response_full)
        assert version.downlink[action].outcome(command, call, response).payload == response
