"""Commands to a station of OCPP 2.x. The unified payload is that of 2.x, so a row mostly names the action.

What a later revision added (a field, a word of an enumeration) passes here and meets the official schema of the
negotiated version before it is sent: the command is Invalid, with the field in the reason.
"""

from __future__ import annotations

from collections.abc import Callable

from ocpp_contract.command_types import COMMAND_TYPES
from ocpp_gateway.core.handlers import Answered, Call, Downlink, DownlinkContext, JsonObject, Unsupported


def direct(action: str) -> Downlink:
    """Type, payload and answer are those of the message itself."""

    def call(payload: JsonObject, context: DownlinkContext) -> Call:
        return Call(action, payload)

    return Downlink(action, call, answered(action))


def answered(command_type: str) -> Callable[[JsonObject, Call, JsonObject], Answered]:
    status_list, positive = COMMAND_TYPES[command_type].status_list, COMMAND_TYPES[command_type].positive

    def outcome(payload: JsonObject, call: Call, response: JsonObject) -> Answered:
        if status_list is None:
            return Answered(response.get("status"), response)
        name, field = status_list
        return Answered(_status_of_all([one.get(field) for one in response.get(name, [])], positive), response)

    return outcome


def _status_of_all(statuses: list[str | None], positive: frozenset[str]) -> str | None:
    """One word for a list: the first refusal, else the first that is not plainly Accepted, else Accepted."""
    for wanted in (positive, {"Accepted"}):
        for status in statuses:
            if status not in wanted:
                return status
    return "Accepted" if statuses else None


def ocpp_call(version: str, calls: frozenset[str]) -> Downlink:
    """A raw call of this version."""

    def call(payload: JsonObject, context: DownlinkContext) -> Call:
        action = payload["action"]
        if action not in calls:
            raise Unsupported(f"OCPP {version} has no call {action} to a station")
        return Call(action, payload["payload"])

    return Downlink("OcppCall", call, answered("OcppCall"))


def request_start_transaction(payload: JsonObject, context: DownlinkContext) -> Call:
    return Call("RequestStartTransaction", _with_schedule_ids(payload))


def set_charging_profile(payload: JsonObject, context: DownlinkContext) -> Call:
    return Call("SetChargingProfile", _with_schedule_ids(payload))


def _with_schedule_ids(payload: JsonObject) -> JsonObject:
    """Schedules need an id in 2.x; a backend that speaks to 1.6 too may leave it out, then it is the position."""
    profile = payload.get("chargingProfile")
    if profile is None:
        return payload
    schedules = [{"id": number, **one} for number, one in enumerate(profile["chargingSchedule"], start=1)]
    return {**payload, "chargingProfile": {**profile, "chargingSchedule": schedules}}


def trigger_message(payload: JsonObject, context: DownlinkContext) -> Call:
    if payload["requestedMessage"] == "DiagnosticsStatusNotification":
        raise Unsupported("DiagnosticsStatusNotification is a message of OCPP 1.6; ask for LogStatusNotification")
    return Call("TriggerMessage", payload)


def certificate_signed_201(payload: JsonObject, context: DownlinkContext) -> Call:
    """requestId came with 2.1 and correlates only: it is left out where there is no place for it."""
    return Call("CertificateSigned", {name: value for name, value in payload.items() if name != "requestId"})


def rows(version: str, calls: frozenset[str]) -> dict[str, Downlink]:
    """A row per type that this version has; every CSMS message of 2.x is a command type of the same name."""
    special = (
        Downlink("RequestStartTransaction", request_start_transaction, answered("RequestStartTransaction")),
        Downlink("SetChargingProfile", set_charging_profile, answered("SetChargingProfile")),
        Downlink("TriggerMessage", trigger_message, answered("TriggerMessage")),
        ocpp_call(version, calls),
    )
    return {action: direct(action) for action in sorted(calls)} | {row.type: row for row in special}
