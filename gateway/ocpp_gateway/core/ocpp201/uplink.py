"""What an OCPP 2.0.1 station may say. The contract took its words from 2.x, so most data is the message itself.

Messages without an event of their own become OcppMessageReceived and get the answer that a CSMS without that function
gives. Comments name use cases of "OCPP 2.0.1 part 2". OCPP 2.1 takes all rows over and adds its own.
"""

from __future__ import annotations

from collections.abc import Callable

from ocpp_gateway.core import shared_rows
from ocpp_gateway.core.handlers import JsonObject, Uplink, UplinkContext
from ocpp_gateway.core.ocpp201 import charging
from ocpp_gateway.core.shared_rows import ACCEPTED, boot_status, copied, timestamp


def as_message(action: str) -> Callable[[JsonObject, UplinkContext], JsonObject]:
    """Data of OcppMessageReceived."""

    def data(payload: JsonObject, context: UplinkContext) -> JsonObject:
        return {"action": action, "payload": payload}

    return data


def _boot(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {
        "chargingStation": payload["chargingStation"],
        "reason": payload["reason"],
        "status": boot_status(context),
    }


def _status(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {
        "status": payload["connectorStatus"],
        "evse": {"id": payload["evseId"], "connectorId": payload["connectorId"]},
    }


def _reservation(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {"reservationId": payload["reservationId"], "status": payload["reservationUpdateStatus"]}


_NEEDS = copied("chargingNeeds", "maxScheduleTuples", "timestamp", "customData")


def _charging_needs(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {"evse": {"id": payload["evseId"]}, **_NEEDS(payload, context)}


def _processing(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # K15.FR.04: the profile comes later, as a SetChargingProfile command of the backend.
    return {"status": "Processing"}


def accepted(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return dict(ACCEPTED)


def report_part(
    report: str, *names: str, customer_data: bool = False
) -> Callable[[JsonObject, UplinkContext], JsonObject]:
    """One part of a report. It is complete with the part whose `tbc` is false, which is also the default."""

    def data(payload: JsonObject, context: UplinkContext) -> JsonObject:
        found: JsonObject = {
            "report": report,
            "requestId": payload["requestId"],
            "tbc": payload.get("tbc", False),
        }
        for name in names:
            if name in payload:
                found[name] = payload[name]
        if payload.get("evseId"):
            found["evse"] = {"id": payload["evseId"]}
        if customer_data:
            found["customerData"] = payload["data"]
        return found

    return data


def _monitoring_event(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {"tbc": False, **payload}


def generated_at(payload: JsonObject) -> str | None:
    return payload.get("generatedAt")


def ev_certificate(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # M01, M02: the gateway is no certificate authority; without a decision there is no contract certificate.
    decision = context.decision or {}
    exi = decision.get("exiResponse")
    accepted = decision.get("status") == "Accepted" and exi is not None
    return {"status": "Accepted" if accepted else "Failed", "exiResponse": exi or ""}


def _certificate_check(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # M06: the same for OCSP responses.
    decision = context.decision or {}
    result = decision.get("ocspResult")
    if decision.get("status") == "Accepted" and result is not None:
        return {"status": "Accepted", "ocspResult": result}
    return {"status": "Failed"}


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
            charging.authorize,
            answer=charging.authorize_answer_201,
            constant_answer=False,
            decision="authorize",
        ),
        Uplink(
            "TransactionEvent",
            "TransactionUpdated",
            charging.transaction,
            answer=charging.transaction_answer_201,
            constant_answer=False,
            decision="start",
            asks=charging.has_token,
            transaction=True,
            identifying=("transactionInfo.transactionId", "seqNo"),
            natural_key=charging.transaction_key,
            occurred_at=timestamp,
            event_of=charging.transaction_event,
        ),
        Uplink(
            "MeterValues",
            "MeterValues",
            charging.meter_values_data,
            transaction=True,
            identifying=("evseId",),
            occurred_at=charging.first_meter_value,
        ),
        Uplink("NotifyEvent", "MonitoringEventReported", _monitoring_event, occurred_at=generated_at),
        Uplink(
            "NotifyReport",
            "ReportReceived",
            report_part("NotifyReport", "seqNo", "generatedAt", "reportData"),
            occurred_at=generated_at,
        ),
        Uplink(
            "NotifyMonitoringReport",
            "ReportReceived",
            report_part("NotifyMonitoringReport", "seqNo", "generatedAt", "monitor"),
            occurred_at=generated_at,
        ),
        Uplink(
            "NotifyCustomerInformation",
            "ReportReceived",
            report_part("NotifyCustomerInformation", "seqNo", "generatedAt", customer_data=True),
            occurred_at=generated_at,
        ),
        Uplink("NotifyDisplayMessages", "ReportReceived", report_part("NotifyDisplayMessages", "messageInfo")),
        Uplink(
            "ReportChargingProfiles",
            "ReportReceived",
            report_part("ReportChargingProfiles", "chargingProfile", "chargingLimitSource"),
        ),
        Uplink(
            "SecurityEventNotification",
            "SecurityEventReported",
            copied("type", "techInfo", "customData"),
            occurred_at=timestamp,
        ),
        Uplink(
            "FirmwareStatusNotification",
            "FirmwareStatusChanged",
            copied("status", "requestId", "statusInfo", "customData"),
        ),
        Uplink(
            "PublishFirmwareStatusNotification",
            "FirmwareStatusChanged",
            copied("status", "requestId", "statusInfo", "location", "customData"),
        ),
        Uplink(
            "LogStatusNotification",
            "LogStatusChanged",
            copied("status", "requestId", "statusInfo", "customData"),
        ),
        Uplink(
            "DataTransfer",
            "DataTransferReceived",
            copied("vendorId", "messageId", "data", "customData"),
            answer=shared_rows.data_transfer,
            constant_answer=False,
            decision="dataTransfer",
        ),
        Uplink(
            "SignCertificate",
            "CertificateSigningRequested",
            copied("csr", "certificateType", "requestId", "hashRootCertificate", "customData"),
            answer=shared_rows.signing_request,
            constant_answer=False,
            decision="certificate",
        ),
        Uplink("ReservationStatusUpdate", "ReservationStatusChanged", _reservation),
        Uplink(
            "NotifyEVChargingNeeds",
            "ChargingNeedsReported",
            _charging_needs,
            answer=_processing,
            constant_answer=False,
        ),
        Uplink(
            "Get15118EVCertificate",
            "OcppMessageReceived",
            as_message("Get15118EVCertificate"),
            answer=ev_certificate,
            constant_answer=False,
            decision="certificate",
        ),
        Uplink(
            "GetCertificateStatus",
            "OcppMessageReceived",
            as_message("GetCertificateStatus"),
            answer=_certificate_check,
            constant_answer=False,
            decision="certificate",
        ),
        Uplink(
            "NotifyEVChargingSchedule",
            "OcppMessageReceived",
            as_message("NotifyEVChargingSchedule"),
            answer=accepted,
            constant_answer=False,
        ),
        Uplink("NotifyChargingLimit", "OcppMessageReceived", as_message("NotifyChargingLimit")),
        Uplink("ClearedChargingLimit", "OcppMessageReceived", as_message("ClearedChargingLimit")),
    )
}
