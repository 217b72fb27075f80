"""Authorize, TransactionEvent and MeterValues: the messages that money hangs on.

Comments name use cases of "OCPP 2.0.1 part 2". OCPP 2.1 takes the data over and has its own answers, which hold more.
"""

from __future__ import annotations

from typing import Final

from ocpp_gateway.core.handlers import JsonObject, UplinkContext
from ocpp_gateway.core.ocpp201.values import meter_values
from ocpp_gateway.core.shared_rows import id_token_info

_TRANSACTION_EVENT: Final = {
    "Started": "TransactionStarted",
    "Updated": "TransactionUpdated",
    "Ended": "TransactionEnded",
}

# What the contract takes from a TransactionEvent as it is; behind the empty line what 2.1 added.
_TRANSACTION: Final = frozenset(
    (
        "triggerReason",
        "seqNo",
        "offline",
        "numberOfPhasesUsed",
        "cableMaxCurrent",
        "reservationId",
        "evse",
        "idToken",
        "customData",

        "costDetails",
        "preconditioningStatus",
        "evseSleep",
    )
)  # fmt: skip
_TRANSACTION_INFO: Final = frozenset(
    (
        "chargingState",
        "timeSpentCharging",
        "stoppedReason",
        "remoteStartId",

        "operationMode",
        "tariffId",
        "transactionLimit",
    )
)  # fmt: skip

_TOKEN_LENGTH: Final = 36
_TEXT_LENGTH: Final = 512
_TOKEN_TYPES: Final = frozenset(
    ("Central", "eMAID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress", "NoAuthorization")
)


def fitting(info: JsonObject) -> JsonObject:
    """idTokenInfo of a decision without what 2.0.1 has no room for: a refusal must not be lost over its display text."""
    found = dict(info)
    group, text = found.get("groupIdToken"), found.get("personalMessage")
    if group is not None and (len(group["idToken"]) > _TOKEN_LENGTH or group["type"] not in _TOKEN_TYPES):
        del found["groupIdToken"]
    if text is not None and not _fits(text):
        del found["personalMessage"]
    return found


def _fits(text: JsonObject) -> bool:
    return text["format"] != "QRCODE" and len(text["content"]) <= _TEXT_LENGTH


def _certificate_status(payload: JsonObject, context: UplinkContext) -> str | None:
    """C07: only who presented a contract certificate hears about it."""
    if "certificate" not in payload and "iso15118CertificateHashData" not in payload:
        return None
    if context.decision is None:
        return "Accepted"
    return context.decision.get("certificateStatus")


def authorize(payload: JsonObject, context: UplinkContext) -> JsonObject:
    data: JsonObject = {"idToken": payload["idToken"], "idTokenInfo": id_token_info(context)}
    for name in ("certificate", "iso15118CertificateHashData"):
        if name in payload:
            data[name] = payload[name]
    if (status := _certificate_status(payload, context)) is not None:
        data["certificateStatus"] = status
    return data


def authorize_answer(payload: JsonObject, context: UplinkContext) -> JsonObject:
    answer: JsonObject = {"idTokenInfo": id_token_info(context)}
    if (status := _certificate_status(payload, context)) is not None:
        answer["certificateStatus"] = status
    return answer


def authorize_answer_201(payload: JsonObject, context: UplinkContext) -> JsonObject:
    answer = authorize_answer(payload, context)
    return answer | {"idTokenInfo": fitting(answer["idTokenInfo"])}


def transaction_event(payload: JsonObject) -> str:
    return _TRANSACTION_EVENT[payload["eventType"]]


def transaction(payload: JsonObject, context: UplinkContext) -> JsonObject:
    info = payload["transactionInfo"]
    transaction_id = info["transactionId"]
    data: JsonObject = {
        "transactionId": transaction_id,
        "transactionRef": context.transaction_ref(transaction_id),
    }
    for name, value in info.items():
        if name in _TRANSACTION_INFO:
            data[name] = value
    for name, value in payload.items():
        if name in _TRANSACTION:
            data[name] = value
    if "meterValue" in payload:
        data["meterValue"] = meter_values(payload["meterValue"])
    if "idToken" in payload:
        data["idTokenInfo"] = id_token_info(context)
    if payload["eventType"] == "Ended" and "stoppedReason" not in data:
        # 2.48 TransactionType: the reason may only be left out when it is Local.
        data["stoppedReason"] = "Local"
    return data


def has_token(payload: JsonObject) -> bool:
    # E05, C: the CSMS validates the token of every TransactionEvent that carries one.
    return "idToken" in payload


def transaction_answer(payload: JsonObject, context: UplinkContext) -> JsonObject:
    found: JsonObject = {}
    if "idToken" in payload:
        found["idTokenInfo"] = id_token_info(context)
    if (decision := context.decision) is not None:
        for name in ("totalCost", "chargingPriority", "updatedPersonalMessage"):
            if name in decision:
                found[name] = decision[name]
    return found


def transaction_answer_201(payload: JsonObject, context: UplinkContext) -> JsonObject:
    found = transaction_answer(payload, context)
    if "idTokenInfo" in found:
        found["idTokenInfo"] = fitting(found["idTokenInfo"])
    if "updatedPersonalMessage" in found and not _fits(found["updatedPersonalMessage"]):
        del found["updatedPersonalMessage"]
    return found


def transaction_key(payload: JsonObject) -> tuple[str | int, ...]:
    return (payload["transactionInfo"]["transactionId"], payload["seqNo"])


def meter_values_data(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # J01: evseId 0 is the station's main meter.
    data: JsonObject = {"meterValue": meter_values(payload["meterValue"])}
    if payload["evseId"]:
        data["evse"] = {"id": payload["evseId"]}
    if "customData" in payload:
        data["customData"] = payload["customData"]
    return data


def first_meter_value(payload: JsonObject) -> str | None:
    return payload["meterValue"][0]["timestamp"]  # type: ignore[no-any-return]  # JSON
