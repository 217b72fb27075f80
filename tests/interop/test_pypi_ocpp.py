"""The PyPI package `ocpp` (1.6, 2.0.1, 2.1) against real gateways, Kafka and Redis.

The package validates both directions by the official schemas, so a test that passes also says that what the gateway sent
was valid in the eyes of somebody else.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from ocpp.exceptions import OCPPError

from tests.interop.pypi_stations import Pypi, pypi_station
from tests.system.site import Site

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="package")]
AT = "2026-11-22T10:00:00Z"
LATER = "2026-11-22T10:30:00Z"
BOTH_2X = pytest.mark.parametrize("version", ["ocpp2.0.1", "ocpp2.1"])
TOKEN = {"idToken": "ABCD1234", "type": "Central"}

# ------------------------------------------------------------------------------------------------------------------- 1.6


async def _boot16(station: Pypi) -> None:
    answer = await station.ask("BootNotification", charge_point_vendor="vendor", charge_point_model="model")
    assert answer.status == "Accepted"
    assert answer.interval == 300


def _start16(connector: int = 1, tag: str = "TAG16", wh: int = 0, at: str = AT) -> dict[str, Any]:
    return {"connector_id": connector, "id_tag": tag, "meter_start": wh, "timestamp": at}


async def test_a_whole_session_in_16(site: Site) -> None:
    async with pypi_station(site.pods[0].station_url, "ocpp1.6") as station:
        await _boot16(station)
        assert (await station.ask("Heartbeat")).current_time
        await station.ask("StatusNotification", connector_id=1, error_code="NoError", status="Preparing", timestamp=AT)
        authorized = await station.ask("Authorize", id_tag="TAG16")
        assert authorized.id_tag_info["status"] == "Accepted"
        started = await station.ask("StartTransaction", **_start16(wh=100))
        assert started.id_tag_info["status"] == "Accepted"
        sampled = [
            {"value": "110.50", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
            {"value": "7.040", "measurand": "Power.Active.Import", "unit": "kW", "phase": "L1"},
        ]
        await station.ask(
            "MeterValues",
            connector_id=1,
            transaction_id=started.transaction_id,
            meter_value=[{"timestamp": AT, "sampled_value": sampled}],
        )
        await station.ask(
            "StopTransaction",
            transaction_id=started.transaction_id,
            meter_stop=900,
            timestamp=LATER,
            id_tag="TAG16",
            reason="EVDisconnected",
        )
        name = station.name
    events = {event["type"]: event for event in [await site.event(name, kind) for kind in _SESSION]}
    begun, ended = events["TransactionStarted"], events["TransactionEnded"]
    assert begun["data"]["transactionId"] == ended["data"]["transactionId"] == str(started.transaction_id)
    assert begun["data"]["transactionRef"] == ended["data"]["transactionRef"]
    assert begun["data"]["idToken"] == {"idToken": "TAG16", "type": "Central"}
    assert begun["data"]["evse"] == {"id": 1, "connectorId": 1}
    assert (begun["data"]["meterStart"], ended["data"]["meterStop"]) == ("100", "900")
    assert begun["occurredAt"].startswith("2026-11-22T10:00:00")
    values = events["MeterValues"]["data"]["meterValue"][0]["sampledValue"]
    assert [value["value"] for value in values] == ["110.50", "7.040"]
    assert values[1]["phase"] == "L1"
    assert events["ConnectorStatusChanged"]["data"]["statusDetail"] == "Preparing"
    assert events["MeterValues"]["data"]["transactionRef"] == begun["data"]["transactionRef"]
    assert len({event["epoch"] for event in events.values()}) == 1


_SESSION = (
    "DeviceBooted", "ConnectorStatusChanged", "AuthorizationRequested", "TransactionStarted", "MeterValues", "TransactionEnded",
)  # fmt: skip


async def test_a_start_repeated_on_another_pod_gets_the_same_transaction_id(site: Site) -> None:
    """The answer was lost with the pod: the same message, word by word, comes to the other one."""
    name = f"PYPI-{secrets.token_hex(4)}"
    ids = []
    for pod in (site.pods[0], site.pods[1], site.pods[0]):
        async with pypi_station(pod.station_url, "ocpp1.6", name) as station:
            await _boot16(station)
            answer = await station.ask("StartTransaction", message_id="start-of-session", **_start16())
            ids.append(answer.transaction_id)
            # Others repeat themselves under a new message id.
            ids.append((await station.ask("StartTransaction", **_start16())).transaction_id)
    assert len(set(ids)) == 1
    begun = site.events(name, "TransactionStarted")
    assert len({event["ce_id"] for event in begun}) == 1


async def test_seen_two_stations_that_start_in_the_same_second_never_share_a_transaction_id(site: Site) -> None:
    """Transaction ids were made from the clock in seconds."""
    ids = []
    for _ in range(8):
        async with pypi_station(site.pods[0].station_url, "ocpp1.6") as station:
            ids += [
                (await station.ask("StartTransaction", **_start16(connector))).transaction_id for connector in (1, 2)
            ]
    assert len(set(ids)) == 16
    assert all(0 < number < 2**31 for number in ids)


async def test_a_station_whose_clock_stands_still_gets_a_new_id_for_its_next_transaction(site: Site) -> None:
    async with pypi_station(site.pods[0].station_url, "ocpp1.6") as station:
        first = (await station.ask("StartTransaction", **_start16())).transaction_id
        await station.ask("StopTransaction", transaction_id=first, meter_stop=5, timestamp=AT)
        second = (await station.ask("StartTransaction", **_start16())).transaction_id
        assert second != first


PROFILE = {
    "id": 3,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": [
        {"id": 1, "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0}]}
    ],
}
VARIABLE = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
LOG = {"logType": "DiagnosticsLog", "log": {"remoteLocation": "https://example.org/logs"}}
FIRMWARE = {"firmware": {"location": "https://example.org/f.bin", "retrieveDateTime": AT}}

# type, payload, the action as 1.6 has it (None: not in 1.6)
COMMANDS = [
    ("RequestStartTransaction", {"idToken": TOKEN, "evseId": 1}, "RemoteStartTransaction"),
    ("RequestStopTransaction", {"transactionId": "4711"}, "RemoteStopTransaction"),
    ("GetVariables", {"getVariableData": [VARIABLE]}, "GetConfiguration"),
    ("SetVariables", {"setVariableData": [{**VARIABLE, "attributeValue": "60"}]}, "ChangeConfiguration"),
    ("Reset", {"type": "OnIdle"}, "Reset"),
    ("TriggerMessage", {"requestedMessage": "Heartbeat"}, "TriggerMessage"),
    ("UnlockConnector", {"evseId": 1, "connectorId": 1}, "UnlockConnector"),
    ("ChangeAvailability", {"operationalStatus": "Inoperative", "evse": {"id": 1}}, "ChangeAvailability"),
    ("ClearCache", {}, "ClearCache"),
    ("DataTransfer", {"vendorId": "v", "messageId": "m", "data": "text"}, "DataTransfer"),
    ("ReserveNow", {"id": 5, "expiryDateTime": LATER, "idToken": TOKEN, "evseId": 1}, "ReserveNow"),
    ("CancelReservation", {"reservationId": 5}, "CancelReservation"),
    ("SetChargingProfile", {"evseId": 1, "chargingProfile": PROFILE}, "SetChargingProfile"),
    ("ClearChargingProfile", {"chargingProfileId": 3}, "ClearChargingProfile"),
    ("GetLocalListVersion", {}, "GetLocalListVersion"),
    (
        "SendLocalList",
        {
            "versionNumber": 13,
            "updateType": "Full",
            "localAuthorizationList": [{"idToken": TOKEN, "idTokenInfo": {"status": "Accepted"}}],
        },
        "SendLocalList",
    ),
    ("UpdateFirmware", FIRMWARE, "UpdateFirmware"),
    ("GetBaseReport", {"reportBase": "FullInventory"}, None),
    ("GetLog", LOG, None),
]


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
async def test_commands_down_are_valid_and_understood(site: Site, version: str) -> None:
    async with pypi_station(site.pods[1].station_url, version) as station:
        for type_name, payload, action16 in COMMANDS:
            action = action16 if version == "ocpp1.6" else type_name
            if action is None:
                continue
            result = await site.final(await site.send(station.name, type_name, payload))
            assert result["outcome"] == "Accepted", (type_name, result)
            assert station.commands[-1][0] == action, (type_name, station.commands[-1])
        if version == "ocpp1.6":
            said = dict(station.commands)
            assert said["RemoteStartTransaction"] == {"id_tag": "ABCD1234", "connector_id": 1}
            assert said["RemoteStopTransaction"] == {"transaction_id": 4711}
            assert said["Reset"] == {"type": "Soft"}
            assert said["ChangeConfiguration"] == {"key": "HeartbeatInterval", "value": "60"}


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1"])
async def test_a_command_that_the_package_does_not_handle_is_a_callerror(site: Site, version: str) -> None:
    """In 2.1 the package (2.1.0) is silent instead."""
    async with pypi_station(site.pods[0].station_url, version) as station:
        sent = await site.send(station.name, "GetCompositeSchedule", {"evseId": 1, "duration": 60})
        result = await site.final(sent)
        assert (result["outcome"], result["status"]) == ("CallError", "NotImplemented")


async def test_a_raw_call_passes_through(site: Site) -> None:
    async with pypi_station(site.pods[0].station_url, "ocpp2.0.1") as station:
        raw = {"action": "GetBaseReport", "payload": {"requestId": 9, "reportBase": "SummaryInventory"}}
        result = await site.final(await site.send(station.name, "OcppCall", raw))
        assert result["outcome"] == "Accepted"
        assert station.commands == [("GetBaseReport", {"request_id": 9, "report_base": "SummaryInventory"})]
        unknown = await site.send(station.name, "OcppCall", {"action": "GetBaseReport", "payload": {"requestId": "9"}})
        assert await site.outcome(unknown) == "Invalid"


async def test_a_callerror_reaches_the_package_as_its_exception(site: Site) -> None:
    async with pypi_station(site.pods[0].station_url, "ocpp1.6") as station:
        with pytest.raises(OCPPError):
            await station.point.call(
                station.point._call.DataTransfer(vendor_id="v" * 300), suppress=False, skip_schema_validation=True
            )
        assert (await station.ask("Heartbeat")).current_time


# ------------------------------------------------------------------------------------------------------------------- 2.x


async def _boot2(station: Pypi) -> None:
    answer = await station.ask(
        "BootNotification", charging_station={"vendor_name": "vendor", "model": "model"}, reason="PowerUp"
    )
    assert answer.status == "Accepted"


def _event2(kind: str, number: int, value: float, **more: Any) -> dict[str, Any]:
    measured = {"value": value, "measurand": "Energy.Active.Import.Register", "unit_of_measure": {"unit": "kWh"}}
    return {
        "event_type": kind,
        "timestamp": AT,
        "trigger_reason": "Authorized" if kind == "Started" else "MeterValuePeriodic",
        "seq_no": number,
        "transaction_info": {"transaction_id": "TX-2X", "charging_state": "Charging"},
        "meter_value": [{"timestamp": AT, "sampled_value": [measured]}],
        **more,
    }


@BOTH_2X
async def test_a_whole_session_in_2x_with_decimals_as_sent(site: Site, version: str) -> None:
    values = [0.1, 1234.567, 98765432109.25]
    async with pypi_station(site.pods[1].station_url, version) as station:
        await _boot2(station)
        await station.ask("StatusNotification", timestamp=AT, connector_status="Occupied", evse_id=1, connector_id=1)
        authorized = await station.ask("Authorize", id_token={"id_token": "ABCD1234", "type": "ISO14443"})
        assert authorized.id_token_info["status"] == "Accepted"
        token = {"id_token": "ABCD1234", "type": "ISO14443"}
        started = await station.ask(
            "TransactionEvent",
            **_event2("Started", 0, values[0], id_token=token, evse={"id": 1, "connector_id": 1}),
        )
        assert started.id_token_info["status"] == "Accepted"
        await station.ask("TransactionEvent", **_event2("Updated", 1, values[1]))
        await station.ask("TransactionEvent", **_event2("Ended", 2, values[2]))
        await station.ask(
            "MeterValues", evse_id=1, meter_value=[{"timestamp": AT, "sampled_value": [{"value": 229.9}, {"value": 0}]}]
        )
        name = station.name
    kinds = ("TransactionStarted", "TransactionUpdated", "TransactionEnded")
    events = [await site.event(name, kind) for kind in kinds]
    sampled = [event["data"]["meterValue"][0]["sampledValue"][0] for event in events]
    assert [each["value"] for each in sampled] == [json.dumps(value) for value in values]
    assert {each["unit"] for each in sampled} == {"kWh"}
    assert [event["data"]["seqNo"] for event in events] == [0, 1, 2]
    assert len({event["data"]["transactionRef"] for event in events}) == 1
    assert events[0]["data"]["idToken"] == {"idToken": "ABCD1234", "type": "ISO14443"}
    metered = await site.event(name, "MeterValues")
    assert [each["value"] for each in metered["data"]["meterValue"][0]["sampledValue"]] == ["229.9", "0"]
    assert (await site.event(name, "ConnectorStatusChanged"))["data"]["status"] == "Occupied"
    assert (await site.event(name, "DeviceBooted"))["data"]["reason"] == "PowerUp"
    await site.event(name, "AuthorizationRequested")


@BOTH_2X
async def test_a_transaction_event_repeated_under_a_new_message_id_is_the_same_event(site: Site, version: str) -> None:
    async with pypi_station(site.pods[0].station_url, version) as station:
        for _ in range(2):
            await station.ask("TransactionEvent", **_event2("Started", 0, 1.5))
        await station.ask("TransactionEvent", **_event2("Updated", 1, 2.5))
        name = station.name
    await site.event(name, "TransactionUpdated")
    assert len({event["ce_id"] for event in site.events(name, "TransactionStarted")}) == 1


@BOTH_2X
async def test_a_report_comes_in_parts(site: Site, version: str) -> None:
    async with pypi_station(site.pods[0].station_url, version) as station:
        sent = await site.send(station.name, "GetBaseReport", {"reportBase": "FullInventory", "requestId": 77})
        assert await site.outcome(sent) == "Accepted"
        assert station.commands == [("GetBaseReport", {"request_id": 77, "report_base": "FullInventory"})]
        for number in range(3):
            entry = {
                "component": {"name": "EVSE"},
                "variable": {"name": f"Variable{number}"},
                "variable_attribute": [{"type": "Actual", "value": str(number)}],
            }
            await station.ask(
                "NotifyReport", request_id=77, generated_at=AT, seq_no=number, tbc=number < 2, report_data=[entry]
            )
        name = station.name
    await site.event(name, "ReportReceived", seqNo=2)
    parts = [event["data"] for event in site.events(name, "ReportReceived")]
    assert [(part["requestId"], part["seqNo"], part["tbc"]) for part in parts] == [
        (77, 0, True),
        (77, 1, True),
        (77, 2, False),
    ]
    assert [part["reportData"][0]["variable"]["name"] for part in parts] == [f"Variable{n}" for n in range(3)]


@BOTH_2X
async def test_what_else_a_station_says_becomes_events(site: Site, version: str) -> None:
    async with pypi_station(site.pods[0].station_url, version) as station:
        await station.ask("SecurityEventNotification", type="SettingSystemTime", timestamp=AT)
        await station.ask("FirmwareStatusNotification", status="Downloading", request_id=4)
        await station.ask("LogStatusNotification", status="Uploaded", request_id=5)
        transferred = await station.ask("DataTransfer", vendor_id="v", message_id="m", data={"a": [1, 2]})
        assert transferred.status
        monitored = {
            "event_id": 1,
            "timestamp": AT,
            "trigger": "Alerting",
            "actual_value": "42",
            "component": {"name": "EVSE"},
            "variable": {"name": "Temperature"},
            "event_notification_type": "HardWiredMonitor",
        }
        await station.ask("NotifyEvent", generated_at=AT, seq_no=0, event_data=[monitored])
        # Without an event of its own:
        await station.ask("NotifyChargingLimit", charging_limit={"charging_limit_source": "EMS"})
        name = station.name
    assert (await site.event(name, "SecurityEventReported"))["data"]["type"] == "SettingSystemTime"
    assert (await site.event(name, "FirmwareStatusChanged"))["data"]["requestId"] == 4
    assert (await site.event(name, "LogStatusChanged"))["data"]["status"] == "Uploaded"
    assert (await site.event(name, "DataTransferReceived"))["data"]["data"] == {"a": [1, 2]}
    assert (await site.event(name, "MonitoringEventReported"))["data"]["eventData"][0]["actualValue"] == "42"
    raw = await site.event(name, "OcppMessageReceived")
    assert raw["data"]["action"] == "NotifyChargingLimit"
