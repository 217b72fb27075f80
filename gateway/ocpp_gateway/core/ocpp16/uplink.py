"""What an OCPP 1.6 station may say: core, firmware management and the messages of the security whitepaper.

Each row gives the event's data and, where the answer is not `{}`, the answer. Data holds nothing that the event envelope
holds already: a message's own timestamp becomes `occurredAt`. Numbers after a name in a comment are clauses of
"OCPP 1.6 edition 2 FINAL"; SEC names "Improved security for OCPP 1.6-J, edition 3".
"""

from __future__ import annotations

from ocpp_gateway.core import shared_rows
from ocpp_gateway.core.handlers import JsonObject, Uplink, UplinkContext
from ocpp_gateway.core.ocpp16.values import (
    CONNECTOR_STATUS,
    MISSPELT_CELSIUS,
    STOPPED_REASON,
    evse,
    id_tag_info,
    id_token,
    meter_values,
)
from ocpp_gateway.core.shared_rows import boot_status, copied, id_token_info, timestamp


def _boot(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # 6.3: 1.6 states no reason for a boot; 2.x has a word for that.
    get = payload.get
    station: JsonObject = {"vendorName": payload["chargePointVendor"], "model": payload["chargePointModel"]}
    if (serial := get("chargePointSerialNumber", get("chargeBoxSerialNumber"))) is not None:
        station["serialNumber"] = serial
    if (firmware := get("firmwareVersion")) is not None:
        station["firmwareVersion"] = firmware
    if modem := {name: payload[name] for name in ("iccid", "imsi") if name in payload}:
        station["modem"] = modem
    data: JsonObject = {"chargingStation": station, "reason": "Unknown", "status": boot_status(context)}
    names = (("meterType", "type"), ("meterSerialNumber", "serialNumber"))
    if meter := {ours: payload[theirs] for theirs, ours in names if theirs in payload}:
        data["meter"] = meter
    return data


def _status(payload: JsonObject, context: UplinkContext) -> JsonObject:
    status = payload["status"]
    data: JsonObject = {
        "status": CONNECTOR_STATUS[status],
        "statusDetail": status,
        "errorCode": payload["errorCode"],
    }
    if (found := evse(payload["connectorId"])) is not None:
        data["evse"] = found
    for name in ("info", "vendorId", "vendorErrorCode"):
        if name in payload:
            data[name] = payload[name]
    return data


def _authorize(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {"idToken": id_token(payload["idTag"]), "idTokenInfo": id_token_info(context)}


def _authorize_answer(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {"idTagInfo": id_tag_info(id_token_info(context))}


def _start(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # 6.45; meterStart is Wh at the connector: the same reading as a 2.x meter value of context Transaction.Begin.
    assert context.transaction_id is not None, "the session assigns the id before the event is made"
    data: JsonObject = {
        "transactionId": str(context.transaction_id),
        "transactionRef": context.transaction_ref(context.transaction_id),
        "idToken": id_token(payload["idTag"]),
        "idTokenInfo": id_token_info(context),
        "meterStart": str(payload["meterStart"]),
        "meterValue": [_register(payload["timestamp"], payload["meterStart"], "Transaction.Begin")],
    }
    if (found := evse(payload["connectorId"])) is not None:
        data["evse"] = found
    if (reservation := payload.get("reservationId")) is not None:
        data["reservationId"] = reservation
    return data


def _start_answer(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {"transactionId": context.transaction_id, "idTagInfo": id_tag_info(id_token_info(context))}


def _stop(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # 6.47: the reason may only be left out when it is Local. Its connector is not in the message: consumers join by ref.
    # The end of a transaction is told as long as it says which one: an invented reason or a missing reading is kept or
    # left out (schemaErrors name it), so that billing hears of the end as it hears of every other.
    transaction_id = payload["transactionId"]
    reason = payload.get("reason", "Local")
    data: JsonObject = {
        "transactionId": str(transaction_id),
        "transactionRef": context.transaction_ref(transaction_id),
        "stoppedReason": STOPPED_REASON.get(reason, "Other"),
        "stoppedReasonDetail": reason,
    }
    values = meter_values(payload.get("transactionData", []))
    if "meterStop" in payload:
        data["meterStop"] = str(payload["meterStop"])
        if "timestamp" in payload:
            values.append(_register(payload["timestamp"], payload["meterStop"], "Transaction.End"))
    if values:
        data["meterValue"] = values
    if (tag := payload.get("idTag")) is not None:
        data["idToken"] = id_token(tag)
    return data


def _register(timestamp: str, reading: int, context: str) -> JsonObject:
    return {
        "timestamp": timestamp,
        "sampledValue": [
            {
                "value": str(reading),
                "measurand": "Energy.Active.Import.Register",
                "context": context,
                "location": "Outlet",
                "unit": "Wh",
            }
        ],
    }


def _meter_values(payload: JsonObject, context: UplinkContext) -> JsonObject:
    data: JsonObject = {"meterValue": meter_values(payload["meterValue"])}
    connector = payload["connectorId"]
    if connector:
        data["evse"] = {"id": connector, "connectorId": 1}
    transaction_id = payload.get("transactionId")
    if transaction_id is not None:
        data["transactionId"] = str(transaction_id)
        data["transactionRef"] = context.transaction_ref(transaction_id)
    return data


def _data_transfer_answer(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # 1.6 carries text; other JSON in the decision has no place in the answer and must not cost its status.
    answer = shared_rows.data_transfer(payload, context)
    if not isinstance(answer.get("data", ""), str):
        del answer["data"]
    return answer


def _diagnostics(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # 7.24 DiagnosticsStatus is UploadLogStatusEnumType of 2.x with one word changed.
    status = payload["status"]
    return {"status": "UploadFailure" if status == "UploadFailed" else status, "logType": "DiagnosticsLog"}


def _signing_request(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # SEC A00.FR: 1.6 knows one kind of certificate of its own.
    return {"csr": payload["csr"], "certificateType": "ChargingStationCertificate"}


def _first_meter_value(payload: JsonObject) -> str | None:
    return payload["meterValue"][0]["timestamp"]  # type: ignore[no-any-return]  # JSON


def _start_key(payload: JsonObject) -> tuple[str | int, ...]:
    return ("start", payload["connectorId"], payload["idTag"], payload["timestamp"], payload["meterStart"])


def _stop_key(payload: JsonObject) -> tuple[str | int, ...]:
    # Time and reading too: a station that lost our answer stops transaction 0 or -1, again and again.
    return ("stop", payload["transactionId"], payload.get("timestamp", ""), payload.get("meterStop", ""))


def _stopped(payload: JsonObject) -> int:
    return payload["transactionId"]  # type: ignore[no-any-return]  # JSON


UPLINK: dict[str, Uplink] = {
    row.action: row
    for row in (
        Uplink(
            "BootNotification", "DeviceBooted", _boot, answer=shared_rows.boot, constant_answer=False, decision="boot"
        ),
        Uplink("Heartbeat", None, shared_rows.nothing, answer=shared_rows.heartbeat, constant_answer=False),
        Uplink("StatusNotification", "ConnectorStatusChanged", _status, occurred_at=timestamp),
        Uplink(
            "Authorize",
            "AuthorizationRequested",
            _authorize,
            answer=_authorize_answer,
            constant_answer=False,
            decision="authorize",
        ),
        Uplink(
            "StartTransaction",
            "TransactionStarted",
            _start,
            answer=_start_answer,
            constant_answer=False,
            decision="start",
            transaction=True,
            identifying=("connectorId", "idTag", "timestamp", "meterStart"),
            natural_key=_start_key,
            occurred_at=timestamp,
            remembered=True,
        ),
        Uplink(
            "StopTransaction",
            "TransactionEnded",
            _stop,
            transaction=True,
            identifying=("transactionId",),
            natural_key=_stop_key,
            ends=_stopped,
            occurred_at=timestamp,
            misspelt_unit=MISSPELT_CELSIUS,
        ),
        Uplink(
            "MeterValues",
            "MeterValues",
            _meter_values,
            transaction=True,
            identifying=("connectorId",),
            occurred_at=_first_meter_value,
            misspelt_unit=MISSPELT_CELSIUS,
        ),
        Uplink(
            "DataTransfer",
            "DataTransferReceived",
            copied("vendorId", "messageId", "data"),
            answer=_data_transfer_answer,
            constant_answer=False,
            decision="dataTransfer",
        ),
        Uplink("FirmwareStatusNotification", "FirmwareStatusChanged", copied("status")),
        Uplink("DiagnosticsStatusNotification", "LogStatusChanged", _diagnostics),
        # The whitepaper's messages.
        Uplink("SignedFirmwareStatusNotification", "FirmwareStatusChanged", copied("status", "requestId")),
        Uplink("LogStatusNotification", "LogStatusChanged", copied("status", "requestId")),
        Uplink(
            "SecurityEventNotification",
            "SecurityEventReported",
            copied("type", "techInfo"),
            occurred_at=timestamp,
        ),
        Uplink(
            "SignCertificate",
            "CertificateSigningRequested",
            _signing_request,
            answer=shared_rows.signing_request,
            constant_answer=False,
            decision="certificate",
        ),
    )
}
