"""Charging profiles of 2.x as those of 1.6 (7.8 ChargingProfile, 7.13 ChargingSchedule), and schedules back.

A 2.x profile may hold what 1.6 has no field for: several schedules, a tariff, the phase to use. A profile that would
charge differently from what was asked is refused; only ids that nobody on the wire of 1.6 sees are dropped.
"""

from __future__ import annotations

from ocpp_gateway.core.handlers import Answered, Call, DownlinkContext, Invalid, JsonObject, Unsupported
from ocpp_gateway.core.ocpp16.values import only, transaction_id

_PURPOSE = {
    "ChargingStationMaxProfile": "ChargePointMaxProfile",
    "TxDefaultProfile": "TxDefaultProfile",
    "TxProfile": "TxProfile",
}
_PROFILE = frozenset(
    (
        "id",
        "stackLevel",
        "chargingProfilePurpose",
        "chargingProfileKind",
        "recurrencyKind",
        "validFrom",
        "validTo",
        "chargingSchedule",
        "transactionId",
    )
)
_SCHEDULE = frozenset(
    ("id", "startSchedule", "duration", "chargingRateUnit", "chargingSchedulePeriod", "minChargingRate")
)
_PERIOD = frozenset(("startPeriod", "limit", "numberPhases"))


def purpose(name: str) -> str:
    found = _PURPOSE.get(name)
    if found is None:
        raise Unsupported(f"OCPP 1.6 has no charging profile purpose {name}")
    return found


def charging_profile(profile: JsonObject, field: str) -> JsonObject:
    only(profile, _PROFILE, field)
    schedules = profile["chargingSchedule"]
    if len(schedules) != 1:
        raise Invalid(f"{field}.chargingSchedule", "OCPP 1.6 has one schedule per charging profile")
    found: JsonObject = {
        "chargingProfileId": profile["id"],
        "stackLevel": profile["stackLevel"],
        "chargingProfilePurpose": purpose(profile["chargingProfilePurpose"]),
        "chargingProfileKind": profile["chargingProfileKind"],
        "chargingSchedule": _schedule(schedules[0], f"{field}.chargingSchedule[0]"),
    }
    for name in ("recurrencyKind", "validFrom", "validTo"):
        if name in profile:
            found[name] = profile[name]
    if "transactionId" in profile:
        found["transactionId"] = transaction_id(profile["transactionId"], f"{field}.transactionId")
    return found


def _schedule(schedule: JsonObject, field: str) -> JsonObject:
    only(schedule, _SCHEDULE, field)
    periods = []
    for index, period in enumerate(schedule["chargingSchedulePeriod"]):
        only(period, _PERIOD, f"{field}.chargingSchedulePeriod[{index}]")
        if "limit" not in period:
            raise Invalid(f"{field}.chargingSchedulePeriod[{index}].limit", "OCPP 1.6 needs a limit")
        periods.append(period)
    found: JsonObject = {"chargingRateUnit": schedule["chargingRateUnit"], "chargingSchedulePeriod": periods}
    for name in ("duration", "startSchedule", "minChargingRate"):
        if name in schedule:
            found[name] = schedule[name]
    return found


def set_charging_profile(payload: JsonObject, context: DownlinkContext) -> Call:
    profile = charging_profile(payload["chargingProfile"], "payload.chargingProfile")
    return Call("SetChargingProfile", {"connectorId": payload["evseId"], "csChargingProfiles": profile})


def clear_charging_profile(payload: JsonObject, context: DownlinkContext) -> Call:
    criteria = payload.get("chargingProfileCriteria", {})
    found: JsonObject = {}
    if "chargingProfileId" in payload:
        found["id"] = payload["chargingProfileId"]
    if "evseId" in criteria:
        found["connectorId"] = criteria["evseId"]
    if "chargingProfilePurpose" in criteria:
        found["chargingProfilePurpose"] = purpose(criteria["chargingProfilePurpose"])
    if "stackLevel" in criteria:
        found["stackLevel"] = criteria["stackLevel"]
    return Call("ClearChargingProfile", found)


def get_composite_schedule(payload: JsonObject, context: DownlinkContext) -> Call:
    found: JsonObject = {"connectorId": payload["evseId"], "duration": payload["duration"]}
    if "chargingRateUnit" in payload:
        found["chargingRateUnit"] = payload["chargingRateUnit"]
    return Call("GetCompositeSchedule", found)


def composite_schedule(payload: JsonObject, call: Call, response: JsonObject) -> Answered:
    status = response["status"]
    found: JsonObject = {"status": status}
    if (sent := response.get("chargingSchedule")) is not None:
        schedule: JsonObject = {
            "evseId": response.get("connectorId", payload["evseId"]),
            "duration": sent.get("duration", payload["duration"]),
            "chargingRateUnit": sent["chargingRateUnit"],
            "chargingSchedulePeriod": sent["chargingSchedulePeriod"],
        }
        # 6.22: scheduleStart tells the time zero of the periods; startSchedule inside may repeat it.
        if (start := response.get("scheduleStart", sent.get("startSchedule"))) is not None:
            schedule["scheduleStart"] = start
        if "minChargingRate" in sent:
            schedule["minChargingRate"] = sent["minChargingRate"]
        found["schedule"] = schedule
    return Answered(status, found)
