"""What an OCPP 2.1 station may say beyond 2.0.1.

None of it has an event of its own yet: it becomes OcppMessageReceived, whole, and gets the answer of a CSMS that takes note.
"""

from __future__ import annotations

from dataclasses import replace

from ocpp_gateway.core.handlers import JsonObject, Uplink, UplinkContext
from ocpp_gateway.core.ocpp201.charging import authorize_answer, transaction_answer
from ocpp_gateway.core.ocpp201.uplink import UPLINK as UPLINK_201
from ocpp_gateway.core.ocpp201.uplink import accepted, as_message, ev_certificate
from ocpp_gateway.core.shared_rows import timestamp


def _ev_certificate(payload: JsonObject, context: UplinkContext) -> JsonObject:
    answer = ev_certificate(payload, context)
    decision = context.decision or {}
    if "remainingContracts" in decision:
        answer["remainingContracts"] = decision["remainingContracts"]
    return answer


def _chain_status(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # M07: the gateway asks no certificate authority; Failed tells the station to try elsewhere or again.
    return {
        "certificateStatus": [
            {
                "certificateHashData": one["certificateHashData"],
                "source": one["source"],
                "status": "Failed",
                "nextUpdate": context.received_at,
            }
            for one in payload["certificateStatusRequests"]
        ]
    }


def _no_schedule(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # K28: a backend pushes schedules with UpdateDynamicSchedule; there is none here to be pulled.
    return {"status": "Rejected"}


def _vat_number(payload: JsonObject, context: UplinkContext) -> JsonObject:
    answer = {"status": "Rejected", "vatNumber": payload["vatNumber"]}
    return answer | {"evseId": payload["evseId"]} if "evseId" in payload else answer


def _base_time(payload: JsonObject) -> str | None:
    return payload.get("basetime")


def _settlement_time(payload: JsonObject) -> str | None:
    return payload.get("settlementTime")


def _taken_note(action: str) -> Uplink:
    return Uplink(action, "OcppMessageReceived", as_message(action), occurred_at=timestamp)


UPLINK: dict[str, Uplink] = UPLINK_201 | {
    row.action: row
    for row in (
        replace(UPLINK_201["Authorize"], answer=authorize_answer),
        replace(UPLINK_201["TransactionEvent"], answer=transaction_answer),
        replace(UPLINK_201["Get15118EVCertificate"], answer=_ev_certificate),
        Uplink(
            "GetCertificateChainStatus",
            "OcppMessageReceived",
            as_message("GetCertificateChainStatus"),
            answer=_chain_status,
            constant_answer=False,
        ),
        Uplink(
            "OpenPeriodicEventStream",
            "OcppMessageReceived",
            as_message("OpenPeriodicEventStream"),
            answer=accepted,
            constant_answer=False,
        ),
        Uplink(
            "NotifyPeriodicEventStream",
            "OcppMessageReceived",
            as_message("NotifyPeriodicEventStream"),
            occurred_at=_base_time,
            unanswered=True,
        ),
        Uplink(
            "PullDynamicScheduleUpdate",
            "OcppMessageReceived",
            as_message("PullDynamicScheduleUpdate"),
            answer=_no_schedule,
            constant_answer=False,
        ),
        Uplink(
            "VatNumberValidation",
            "OcppMessageReceived",
            as_message("VatNumberValidation"),
            answer=_vat_number,
            constant_answer=False,
        ),
        _taken_note("BatterySwap"),
        _taken_note("ClosePeriodicEventStream"),
        _taken_note("NotifyDERAlarm"),
        _taken_note("NotifyDERStartStop"),
        _taken_note("NotifyPriorityCharging"),
        replace(_taken_note("NotifySettlement"), occurred_at=_settlement_time),
        _taken_note("ReportDERControl"),
    )
}
