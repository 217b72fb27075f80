"""A version of five messages: enough to drive every path of the session without the real tables."""

from __future__ import annotations

from dataclasses import replace

from ocpp_gateway.core.handlers import JsonObject, Uplink, UplinkContext, Version


def _same(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return dict(payload)


def _boot_answer(payload: JsonObject, context: UplinkContext) -> JsonObject:
    status = context.decision["status"] if context.decision else "Accepted"
    return {"status": status, "currentTime": context.received_at, "interval": context.heartbeat_interval}


def _start_answer(payload: JsonObject, context: UplinkContext) -> JsonObject:
    status = context.decision["idTokenInfo"]["status"] if context.decision else "Accepted"
    return {"transactionId": context.transaction_id, "idTagInfo": {"status": status}}


def _started(payload: JsonObject, context: UplinkContext) -> JsonObject:
    assert context.transaction_id is not None
    return {
        "transactionId": str(context.transaction_id),
        "transactionRef": context.transaction_ref(context.transaction_id),
        "meterStart": payload["meterStart"],
    }


ROWS16 = (
    Uplink("BootNotification", "DeviceBooted", _same, _boot_answer, constant_answer=False, decision="BootNotification"),
    Uplink(
        "Heartbeat", None, _same, lambda payload, context: {"currentTime": context.received_at}, constant_answer=False
    ),
    Uplink(
        "MeterValues",
        "MeterValues",
        _same,
        transaction=True,
        identifying=("connectorId",),
        occurred_at=lambda payload: payload["meterValue"][0]["timestamp"],
    ),
    Uplink(
        "StartTransaction",
        "TransactionStarted",
        _started,
        _start_answer,
        constant_answer=False,
        decision="StartTransaction",
        transaction=True,
        identifying=("connectorId", "idTag", "timestamp", "meterStart"),
        natural_key=lambda p: (p["connectorId"], p["idTag"], p["timestamp"], p["meterStart"]),
        occurred_at=lambda payload: payload["timestamp"],
        remembered=True,
    ),
    Uplink(
        "StopTransaction",
        "TransactionEnded",
        lambda payload, context: {"transactionId": str(payload["transactionId"])},
        transaction=True,
        identifying=("transactionId",),
        natural_key=lambda payload: (payload["transactionId"],),
        occurred_at=lambda payload: payload["timestamp"],
        ends=lambda payload: payload["transactionId"],
    ),
    Uplink("StatusNotification", "ConnectorStatusChanged", _same, occurred_at=lambda payload: payload.get("timestamp")),
    Uplink(
        "DataTransfer",
        "DataTransferReceived",
        _same,
        lambda payload, context: {"status": "Accepted"},
        constant_answer=False,
    ),
)

TINY16 = Version(
    subprotocol="ocpp1.6",
    schemas="v16",
    uplink={row.action: row for row in ROWS16},
    downlink={},
    calls=frozenset({"Reset", "TriggerMessage", "RemoteStartTransaction", "GetConfiguration", "SetChargingProfile"}),
    not_while_pending=frozenset({"RemoteStartTransaction"}),
)


def _odd_answer(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {"odd": 1}


ODD16 = replace(
    TINY16,
    uplink={row.action: replace(row, answer=_odd_answer, constant_answer=False) for row in ROWS16},
)
"""Every answer breaks its schema, as after a mistake in a table."""


def _measured(payload: JsonObject, context: UplinkContext) -> JsonObject:
    from ocpp_gateway.core.frames import number_text

    return {"values": [number_text(s["value"]) for v in payload["meterValue"] for s in v["sampledValue"]]}


ROWS21 = (
    ROWS16[1],
    Uplink("BootNotification", "DeviceBooted", _same, _boot_answer, constant_answer=False, decision="BootNotification"),
    Uplink("MeterValues", "MeterValues", _measured, transaction=True, identifying=("evseId",)),
    Uplink(
        "TransactionEvent",
        "TransactionUpdated",
        lambda payload, context: {"transactionId": payload["transactionInfo"]["transactionId"]},
        lambda payload, context: {},
        transaction=True,
        identifying=("transactionInfo.transactionId", "seqNo"),
        natural_key=lambda payload: (payload["transactionInfo"]["transactionId"], payload["seqNo"]),
        occurred_at=lambda payload: payload["timestamp"],
        event_of=lambda payload: f"Transaction{payload['eventType']}",
    ),
    Uplink(
        "NotifyPeriodicEventStream",
        "OcppMessageReceived",
        lambda payload, context: {"action": "NotifyPeriodicEventStream", "payload": payload},
        unanswered=True,
    ),
)

TINY21 = Version(
    subprotocol="ocpp2.1",
    schemas="v21",
    uplink={row.action: row for row in ROWS21},
    downlink={},
    calls=frozenset({"Reset", "TriggerMessage", "RequestStartTransaction", "ClearCache"}),
    not_while_pending=frozenset({"RequestStartTransaction"}),
    trigger_actions={"SignChargingStationCertificate": "SignCertificate"},
    exact_numbers=True,
    sends=True,
)
