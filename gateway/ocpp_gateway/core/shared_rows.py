"""Parts of rows that all versions share: what the backend decided, acceptance where nobody was asked, plain copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ocpp_gateway.core.handlers import JsonObject, UplinkContext

ACCEPTED: Final[JsonObject] = {"status": "Accepted"}


def boot_status(context: UplinkContext) -> str:
    return str(context.decision["status"]) if context.decision else "Accepted"


def boot(payload: JsonObject, context: UplinkContext) -> JsonObject:
    """The same fields in every version; an interval of 0 is an interval (the station chooses)."""
    interval = context.decision.get("interval") if context.decision else None
    return {
        "status": boot_status(context),
        "currentTime": context.received_at,
        "interval": context.heartbeat_interval if interval is None else interval,
    }


def heartbeat(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {"currentTime": context.received_at}


def id_token_info(context: UplinkContext) -> JsonObject:
    """In the words of 2.x, as decisions and events carry it."""
    found = context.decision.get("idTokenInfo") if context.decision else None
    return dict(found) if found else {"status": "Accepted"}


def data_transfer(payload: JsonObject, context: UplinkContext) -> JsonObject:
    decision = context.decision or ACCEPTED
    return {name: decision[name] for name in ("status", "data") if name in decision}


def signing_request(payload: JsonObject, context: UplinkContext) -> JsonObject:
    # Whatever is no acceptance is a refusal here: Failed is a word of other certificate messages.
    status = (context.decision or ACCEPTED)["status"]
    return {"status": "Accepted" if status == "Accepted" else "Rejected"}


def copied(*names: str) -> Callable[[JsonObject, UplinkContext], JsonObject]:
    """Event data that is those fields of the message, as far as it has them."""

    def data(payload: JsonObject, context: UplinkContext) -> JsonObject:
        return {name: payload[name] for name in names if name in payload}

    return data


def nothing(payload: JsonObject, context: UplinkContext) -> JsonObject:
    """Data of a message that becomes no event."""
    return {}


def timestamp(payload: JsonObject) -> str | None:
    return payload.get("timestamp")
