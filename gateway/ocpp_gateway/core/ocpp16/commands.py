"""Commands to an OCPP 1.6 station: core, local list, reservation, remote trigger.

The unified payload (`ocpp_contract.payloads`) is checked, its times are in the form that stations want, and what is absent
is left out. Two rules hold for every row: a field that changes what the station does and that
1.6 cannot carry is refused (Invalid); a field that only correlates (remoteStartId, requestId) is left out.
"""

from __future__ import annotations

from ocpp_gateway.core.handlers import Answered, Call, DownlinkContext, Invalid, JsonObject, Unsupported
from ocpp_gateway.core.ocpp16.charging_profiles import charging_profile
from ocpp_gateway.core.ocpp16.values import connector_id, id_tag, id_tag_info, only, transaction_id

_RESET = {"Immediate": "Hard", "OnIdle": "Soft"}

_TRIGGER = {
    # Plain TriggerMessage wherever it has the word: every 1.6 station with remote trigger knows that one, and only
    # those with the security extension know ExtendedTriggerMessage.
    "BootNotification": Call("TriggerMessage", {"requestedMessage": "BootNotification"}),
    "DiagnosticsStatusNotification": Call("TriggerMessage", {"requestedMessage": "DiagnosticsStatusNotification"}),
    "FirmwareStatusNotification": Call("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}),
    "Heartbeat": Call("TriggerMessage", {"requestedMessage": "Heartbeat"}),
    "MeterValues": Call("TriggerMessage", {"requestedMessage": "MeterValues"}),
    "StatusNotification": Call("TriggerMessage", {"requestedMessage": "StatusNotification"}),
    "LogStatusNotification": Call("ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification"}),
    "SignChargingStationCertificate": Call(
        "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}
    ),
}


def answered(payload: JsonObject, call: Call, response: JsonObject) -> Answered:
    """For responses that say the same in both worlds."""
    return Answered(response.get("status"), response)


def request_start_transaction(payload: JsonObject, context: DownlinkContext) -> Call:
    only(payload, frozenset(("idToken", "evseId", "remoteStartId", "chargingProfile")), "payload")
    found: JsonObject = {"idTag": id_tag(payload["idToken"], "payload.idToken")}
    if "evseId" in payload:
        found["connectorId"] = payload["evseId"]
    if "chargingProfile" in payload:
        found["chargingProfile"] = charging_profile(payload["chargingProfile"], "payload.chargingProfile")
    return Call("RemoteStartTransaction", found)


def request_stop_transaction(payload: JsonObject, context: DownlinkContext) -> Call:
    return Call(
        "RemoteStopTransaction", {"transactionId": transaction_id(payload["transactionId"], "payload.transactionId")}
    )


def reset(payload: JsonObject, context: DownlinkContext) -> Call:
    if "evseId" in payload:
        raise Unsupported("OCPP 1.6 resets the station as a whole")
    wanted = _RESET.get(payload["type"])
    if wanted is None:
        raise Unsupported(f"OCPP 1.6 has no reset {payload['type']}")
    return Call("Reset", {"type": wanted})


def unlock_connector(payload: JsonObject, context: DownlinkContext) -> Call:
    evse = {"id": payload["evseId"], "connectorId": payload["connectorId"]}
    return Call("UnlockConnector", {"connectorId": connector_id(evse, "payload")})


def change_availability(payload: JsonObject, context: DownlinkContext) -> Call:
    connector = connector_id(payload.get("evse"), "payload.evse")
    return Call("ChangeAvailability", {"connectorId": connector, "type": payload["operationalStatus"]})


def trigger_message(payload: JsonObject, context: DownlinkContext) -> Call:
    call = _TRIGGER.get(payload["requestedMessage"])
    if call is None:
        raise Unsupported(f"OCPP 1.6 cannot trigger {payload['requestedMessage']}")
    if (evse := payload.get("evse")) is None:
        return call
    # 6.51: connectorId must be above 0, so "the station" is said by leaving it out.
    connector = connector_id(evse, "payload.evse")
    return Call(call.action, {**call.payload, "connectorId": connector} if connector else call.payload)


def clear_cache(payload: JsonObject, context: DownlinkContext) -> Call:
    return Call("ClearCache", {})


def data_transfer(payload: JsonObject, context: DownlinkContext) -> Call:
    if not isinstance(payload.get("data", ""), str):
        raise Invalid("payload.data", "OCPP 1.6 carries text: encode it as the vendor defines")
    return Call("DataTransfer", {name: payload[name] for name in ("vendorId", "messageId", "data") if name in payload})


def get_local_list_version(payload: JsonObject, context: DownlinkContext) -> Call:
    return Call("GetLocalListVersion", {})


def local_list_version(payload: JsonObject, call: Call, response: JsonObject) -> Answered:
    return Answered(None, {"versionNumber": response["listVersion"]})


def send_local_list(payload: JsonObject, context: DownlinkContext) -> Call:
    found: JsonObject = {"listVersion": payload["versionNumber"], "updateType": payload["updateType"]}
    if "localAuthorizationList" in payload:
        found["localAuthorizationList"] = [
            _local_list_entry(entry, f"payload.localAuthorizationList[{index}]")
            for index, entry in enumerate(payload["localAuthorizationList"])
        ]
    return Call("SendLocalList", found)


def _local_list_entry(entry: JsonObject, field: str) -> JsonObject:
    found: JsonObject = {"idTag": id_tag(entry["idToken"], f"{field}.idToken")}
    if "idTokenInfo" in entry:
        if "groupIdToken" in entry["idTokenInfo"]:
            id_tag(entry["idTokenInfo"]["groupIdToken"], f"{field}.idTokenInfo.groupIdToken")
        found["idTagInfo"] = id_tag_info(entry["idTokenInfo"])
    return found


def reserve_now(payload: JsonObject, context: DownlinkContext) -> Call:
    only(payload, frozenset(("id", "expiryDateTime", "idToken", "evseId", "groupIdToken")), "payload")
    found: JsonObject = {
        "connectorId": payload.get("evseId", 0),  # 6.35: 0 reserves any connector
        "expiryDate": payload["expiryDateTime"],
        "idTag": id_tag(payload["idToken"], "payload.idToken"),
        "reservationId": payload["id"],
    }
    if "groupIdToken" in payload:
        found["parentIdTag"] = id_tag(payload["groupIdToken"], "payload.groupIdToken")
    return Call("ReserveNow", found)


def cancel_reservation(payload: JsonObject, context: DownlinkContext) -> Call:
    return Call("CancelReservation", {"reservationId": payload["reservationId"]})
