"""Configuration keys of 1.6 as components and variables of 2.x, both ways.

Backends speak of components and variables only. The keys that the specification defines have the counterpart that the
device model of 2.0.1 (part 2, appendices) gives them; every other key is reached as component `OCPP16`, variable = key,
and that name is accepted for the defined keys as well. A key that this table does not list comes back under `OCPP16`.
"""

from __future__ import annotations

from typing import NamedTuple

from ocpp_gateway.core.handlers import Answered, Call, DownlinkContext, Invalid, JsonObject, Unsupported

PLAIN = "OCPP16"
"""The component that stands for "a 1.6 key, named as it is"."""


class Variable(NamedTuple):
    component: str
    variable: str
    variable_instance: str | None = None


KEYS: dict[str, Variable] = {
    # 9.1 Core profile
    "AllowOfflineTxForUnknownId": Variable("AuthCtrlr", "OfflineTxForUnknownIdEnabled"),
    "AuthorizationCacheEnabled": Variable("AuthCacheCtrlr", "Enabled"),
    "AuthorizeRemoteTxRequests": Variable("AuthCtrlr", "AuthorizeRemoteStart"),
    "ClockAlignedDataInterval": Variable("AlignedDataCtrlr", "Interval"),
    "ConnectionTimeOut": Variable("TxCtrlr", "EVConnectionTimeOut"),
    "GetConfigurationMaxKeys": Variable("DeviceDataCtrlr", "ItemsPerMessage", "GetVariables"),
    "HeartbeatInterval": Variable("OCPPCommCtrlr", "HeartbeatInterval"),
    "LocalAuthorizeOffline": Variable("AuthCtrlr", "LocalAuthorizeOffline"),
    "LocalPreAuthorize": Variable("AuthCtrlr", "LocalPreAuthorize"),
    "MaxEnergyOnInvalidId": Variable("TxCtrlr", "MaxEnergyOnInvalidId"),
    "MeterValuesAlignedData": Variable("AlignedDataCtrlr", "Measurands"),
    "MeterValuesSampledData": Variable("SampledDataCtrlr", "TxUpdatedMeasurands"),
    "MeterValueSampleInterval": Variable("SampledDataCtrlr", "TxUpdatedInterval"),
    "ResetRetries": Variable("OCPPCommCtrlr", "ResetRetries"),
    "StopTransactionOnEVSideDisconnect": Variable("TxCtrlr", "StopTxOnEVSideDisconnect"),
    "StopTransactionOnInvalidId": Variable("TxCtrlr", "StopTxOnInvalidId"),
    "StopTxnAlignedData": Variable("AlignedDataCtrlr", "TxEndedMeasurands"),
    "StopTxnSampledData": Variable("SampledDataCtrlr", "TxEndedMeasurands"),
    "TransactionMessageAttempts": Variable("OCPPCommCtrlr", "MessageAttempts", "TransactionEvent"),
    "TransactionMessageRetryInterval": Variable("OCPPCommCtrlr", "MessageAttemptInterval", "TransactionEvent"),
    "UnlockConnectorOnEVSideDisconnect": Variable("OCPPCommCtrlr", "UnlockOnEVSideDisconnect"),
    "WebSocketPingInterval": Variable("OCPPCommCtrlr", "WebSocketPingInterval"),
    # 9.2 Local auth list management
    "LocalAuthListEnabled": Variable("LocalAuthListCtrlr", "Enabled"),
    "SendLocalListMaxLength": Variable("LocalAuthListCtrlr", "ItemsPerMessage"),
    # 9.3 Reservation
    "ReserveConnectorZeroSupported": Variable("ReservationCtrlr", "NonEvseSpecific"),
    # 9.4 Smart charging
    "ChargeProfileMaxStackLevel": Variable("SmartChargingCtrlr", "ProfileStackLevel"),
    "ChargingScheduleAllowedChargingRateUnit": Variable("SmartChargingCtrlr", "RateUnit"),
    "ChargingScheduleMaxPeriods": Variable("SmartChargingCtrlr", "PeriodsPerSchedule"),
    "ConnectorSwitch3to1PhaseSupported": Variable("SmartChargingCtrlr", "Phases3to1"),
    "MaxChargingProfilesInstalled": Variable("SmartChargingCtrlr", "Entries", "ChargingProfiles"),
    # Security whitepaper, chapter 4
    "AdditionalRootCertificateCheck": Variable("SecurityCtrlr", "AdditionalRootCertificateCheck"),
    "AuthorizationKey": Variable("SecurityCtrlr", "BasicAuthPassword"),
    "CertificateSignedMaxChainSize": Variable("SecurityCtrlr", "MaxCertificateChainSize"),
    "CertificateStoreMaxLength": Variable("SecurityCtrlr", "CertificateEntries"),
    "CpoName": Variable("SecurityCtrlr", "OrganizationName"),
    "SecurityProfile": Variable("SecurityCtrlr", "SecurityProfile"),
}

_BY_VARIABLE = {(one.component.lower(), one.variable.lower(), one.variable_instance): key for key, one in KEYS.items()}


def key_of(wanted: JsonObject, field: str) -> str:
    """Names compare without case (2.0.1 part 2: component and variable names are case insensitive)."""
    component, variable = wanted["component"], wanted["variable"]
    name, instance = str(variable["name"]), variable.get("instance")
    for part in ("instance", "evse"):
        if part in component:
            raise Invalid(
                f"{field}.component.{part}", "configuration keys of OCPP 1.6 belong to the station as a whole"
            )
    if str(component["name"]).lower() == PLAIN.lower():
        if instance is not None:
            raise Invalid(f"{field}.variable.instance", "configuration keys of OCPP 1.6 have no instances")
        return name
    if (key := _BY_VARIABLE.get((str(component["name"]).lower(), name.lower(), instance))) is not None:
        return key
    raise Invalid(
        f"{field}.variable",
        f"no OCPP 1.6 configuration key stands for {component['name']}.{name}; use component {PLAIN}, variable = the key",
    )


def variable_of(key: str) -> JsonObject:
    known = KEYS.get(key)
    if known is None:
        return {"component": {"name": PLAIN}, "variable": {"name": key}}
    variable: JsonObject = {"name": known.variable}
    if known.variable_instance is not None:
        variable["instance"] = known.variable_instance
    return {"component": {"name": known.component}, "variable": variable}


def get_variables(payload: JsonObject, context: DownlinkContext) -> Call:
    keys = []
    for index, one in enumerate(payload["getVariableData"]):
        field = f"payload.getVariableData[{index}]"
        _actual(one, field)
        keys.append(key_of(one, field))
    return Call("GetConfiguration", {"key": list(dict.fromkeys(keys))})


def variables_got(payload: JsonObject, call: Call, response: JsonObject) -> Answered:
    """One result per variable that was asked for, in that order, as 2.x answers."""
    found = {entry["key"].lower(): entry for entry in response.get("configurationKey", [])}  # keys compare without case
    results = [_result(one, found.get(key_of(one, "payload").lower())) for one in payload["getVariableData"]]
    return Answered(_status_of_all(results), {"getVariableResult": results})


def _result(wanted: JsonObject, entry: JsonObject | None) -> JsonObject:
    result = _named(wanted)
    if entry is None:
        return result | {"attributeStatus": "UnknownVariable"}
    result["attributeStatus"] = "Accepted"
    if "value" in entry:
        result["attributeValue"] = entry["value"]
    return result


def _named(wanted: JsonObject) -> JsonObject:
    return {"component": wanted["component"], "variable": wanted["variable"], "attributeType": "Actual"}


def set_variables(payload: JsonObject, context: DownlinkContext) -> Call:
    data = payload["setVariableData"]
    if len(data) != 1:
        # One command is one CALL and one outcome; half of a list would have no honest outcome.
        raise Invalid("payload.setVariableData", "OCPP 1.6 changes one key per CALL: send one command per variable")
    field = "payload.setVariableData[0]"
    _actual(data[0], field)
    return Call("ChangeConfiguration", {"key": key_of(data[0], field), "value": data[0]["attributeValue"]})


def variables_set(payload: JsonObject, call: Call, response: JsonObject) -> Answered:
    # 7.22 ConfigurationStatus: NotSupported means that the key is not known.
    status = response["status"]
    result = _named(payload["setVariableData"][0])
    result["attributeStatus"] = "UnknownVariable" if status == "NotSupported" else status
    return Answered(result["attributeStatus"], {"setVariableResult": [result]})


def get_base_report(payload: JsonObject, context: DownlinkContext) -> Call:
    """6.23: without keys all of them. The answer itself is the report, no ReportReceived follows."""
    if payload["reportBase"] == "SummaryInventory":
        raise Unsupported("OCPP 1.6 has no SummaryInventory")
    return Call("GetConfiguration", {})


def base_report(payload: JsonObject, call: Call, response: JsonObject) -> Answered:
    data = []
    for entry in response.get("configurationKey", []):
        attribute: JsonObject = {"type": "Actual", "mutability": "ReadOnly" if entry["readonly"] else "ReadWrite"}
        if "value" in entry:
            attribute["value"] = entry["value"]
        data.append({**variable_of(entry["key"]), "variableAttribute": [attribute]})
    return Answered(None, {"requestId": payload["requestId"], "reportData": data})


def _actual(wanted: JsonObject, field: str) -> None:
    if wanted.get("attributeType", "Actual") != "Actual":
        raise Invalid(f"{field}.attributeType", "OCPP 1.6 knows actual values only")


def _status_of_all(results: list[JsonObject]) -> str:
    """Accepted when all are; else the first that is not, so that one word tells what to look for."""
    return next((str(one["attributeStatus"]) for one in results if one["attributeStatus"] != "Accepted"), "Accepted")
