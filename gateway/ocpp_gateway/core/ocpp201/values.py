"""Values of OCPP 2.x that the contract spells differently: EVSE numbers and measured values.

Clauses are those of "OCPP 2.0.1 part 2"; 2.1 changed none of what is used here.
"""

from __future__ import annotations

from ocpp_gateway.core.frames import number_text
from ocpp_gateway.core.handlers import JsonObject


def meter_values(meter_value: list[JsonObject]) -> list[JsonObject]:
    """2.30 MeterValueType, with the defaults of 2.41 SampledValueType written out; a number becomes the text it was."""
    return [
        {"timestamp": one["timestamp"], "sampledValue": [_sampled_value(value) for value in one["sampledValue"]]}
        for one in meter_value
    ]


def _sampled_value(sent: JsonObject) -> JsonObject:
    get = sent.get
    measurand = get("measurand", "Energy.Active.Import.Register")
    found: JsonObject = {
        "value": number_text(sent["value"]),
        "measurand": measurand,
        "context": get("context", "Sample.Periodic"),
        "location": get("location", "Outlet"),
    }
    unit = get("unitOfMeasure")
    if unit is not None and "unit" in unit:
        found["unit"] = unit["unit"]
    elif measurand.startswith("Energy"):
        found["unit"] = "Wh"
    if unit is not None and "multiplier" in unit:
        found["multiplier"] = unit["multiplier"]
    if (phase := get("phase")) is not None:
        found["phase"] = phase
    if (signed := get("signedMeterValue")) is not None:
        found["signedMeterValue"] = signed
    return found
