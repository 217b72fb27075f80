"""What OCPP 1.6 says differently, value by value: connectors, tokens, meter values, statuses.

One way a value is read from a station, the other way it is written into a CALL. Zeros are values: nothing here asks for
truth where it means presence. Clauses are those of "OCPP 1.6 edition 2 FINAL, 2017-09-28".
"""

from __future__ import annotations

from ocpp_gateway.core.handlers import Invalid, JsonObject

ID_TAG_LENGTH = 20  # 7.29 IdToken: CiString20Type

_CELCIUS = "Celcius"  # 1.6 itself misspelled it (7.45 UnitOfMeasure); both spellings mean one unit
MISSPELT_CELSIUS = f'"{_CELCIUS}"'.encode()

CONNECTOR_STATUS = {
    # 7.7 ChargePointStatus -> ConnectorStatusEnumType of 2.x; the exact word survives in statusDetail.
    "Available": "Available",
    "Preparing": "Occupied",
    "Charging": "Occupied",
    "SuspendedEVSE": "Occupied",
    "SuspendedEV": "Occupied",
    "Finishing": "Occupied",
    "Reserved": "Reserved",
    "Unavailable": "Unavailable",
    "Faulted": "Faulted",
}

STOPPED_REASON = {
    # 7.36 Reason -> ReasonEnumType of 2.x, where a reset that ends a transaction is always an immediate one, and an
    # unlock is one of the ways a CSMS stops from afar.
    "DeAuthorized": "DeAuthorized",
    "EmergencyStop": "EmergencyStop",
    "EVDisconnected": "EVDisconnected",
    "HardReset": "ImmediateReset",
    "Local": "Local",
    "Other": "Other",
    "PowerLoss": "PowerLoss",
    "Reboot": "Reboot",
    "Remote": "Remote",
    "SoftReset": "ImmediateReset",
    "UnlockCommand": "Remote",
}

_ID_TAG_STATUS = {
    # AuthorizationStatusEnumType of 2.x -> 7.2 AuthorizationStatus; what 1.6 cannot say is still a refusal.
    "Accepted": "Accepted",
    "Blocked": "Blocked",
    "ConcurrentTx": "ConcurrentTx",
    "Expired": "Expired",
    "Invalid": "Invalid",
    "NoCredit": "Blocked",
    "NotAllowedTypeEVSE": "Invalid",
    "NotAtThisLocation": "Invalid",
    "NotAtThisTime": "Invalid",
    "Unknown": "Invalid",
}


def evse(connector_id: int) -> JsonObject | None:
    """Connector n is the only connector of EVSE n; connector 0 is the station itself (no EVSE)."""
    return {"id": connector_id, "connectorId": 1} if connector_id else None


def connector_id(evse: JsonObject | None, field: str) -> int:
    """The way back. An EVSE of 1.6 has exactly one connector."""
    if evse is None:
        return 0
    if evse.get("connectorId", 1) != 1:
        raise Invalid(f"{field}.connectorId", "in OCPP 1.6 every EVSE has one connector, number 1")
    return int(evse["id"])


def id_token(id_tag: str) -> JsonObject:
    return {"idToken": id_tag, "type": "Central"}


def id_tag(token: JsonObject, field: str) -> str:
    """1.6 tokens have no type; the type is dropped, since it changes nothing the station does."""
    text: str = token["idToken"]
    if not text:
        raise Invalid(f"{field}.idToken", "OCPP 1.6 needs an idTag")
    if len(text) > ID_TAG_LENGTH:
        raise Invalid(f"{field}.idToken", f"an idTag of OCPP 1.6 has at most {ID_TAG_LENGTH} characters")
    return text


def id_tag_info(info: JsonObject) -> JsonObject:
    """idTokenInfo (2.x, as decisions and local lists carry it) -> IdTagInfo (7.28).

    What 1.6 has no room for (personal message, priority, EVSE list) concerns the display, not the right to charge.
    """
    # A status of a later revision is a refusal that 1.6 has no word for.
    found: JsonObject = {"status": _ID_TAG_STATUS.get(info["status"], "Invalid")}
    if (expiry := info.get("cacheExpiryDateTime")) is not None:
        found["expiryDate"] = expiry
    # A longer one would make the whole answer invalid, and a refusal must not be lost over its group.
    if (group := info.get("groupIdToken")) is not None and len(group["idToken"]) <= ID_TAG_LENGTH:
        found["parentIdTag"] = group["idToken"]
    return found


def meter_values(meter_value: list[JsonObject]) -> list[JsonObject]:
    """7.33 MeterValue, with the defaults of 7.43 SampledValue written out and every value as the text that was sent.

    `SignedData` keeps its format: its value is no number and none is made of it.
    """
    return [
        {"timestamp": one["timestamp"], "sampledValue": [_sampled_value(value) for value in one["sampledValue"]]}
        for one in meter_value
    ]


def _sampled_value(sent: JsonObject) -> JsonObject:
    get = sent.get
    measurand = get("measurand", "Energy.Active.Import.Register")
    found: JsonObject = {
        "value": sent["value"],
        "measurand": measurand,
        "context": get("context", "Sample.Periodic"),
        "location": get("location", "Outlet"),
    }
    unit = get("unit")
    if unit is not None:
        found["unit"] = "Celsius" if unit == _CELCIUS else unit
    elif measurand.startswith("Energy"):
        found["unit"] = "Wh"
    if (phase := get("phase")) is not None:
        found["phase"] = phase
    if (form := get("format")) is not None and form != "Raw":
        found["format"] = form
    return found


def transaction_id(text: object, field: str) -> int:
    """Transaction ids are integers on the wire of 1.6 and strings everywhere else."""
    try:
        return int(str(text))
    except ValueError:
        raise Invalid(field, "a transaction id of OCPP 1.6 is an integer") from None


def only(payload: JsonObject, allowed: frozenset[str], field: str) -> None:
    """A field that 1.6 cannot carry is refused, never dropped: the station would do something else than was asked.

    customData alone is dropped; the contract says so.
    """
    for name in payload:
        if name not in allowed and name != "customData":
            raise Invalid(f"{field}.{name}", "OCPP 1.6 cannot express this field")
