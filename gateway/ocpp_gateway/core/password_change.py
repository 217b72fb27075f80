"""Which of our CALLs gives the station a new password.

The station uses it from its next connection on, so its hash must be stored before the CALL is written, beside the old one:
a station that accepted and whose answer was lost would otherwise be locked out.

OCPP 1.6 security whitepaper 4.1 (`AuthorizationKey`), 2.0.1 and 2.1 use case A01 (`SecurityCtrlr.BasicAuthPassword`).
"""

from __future__ import annotations

from typing import Any

from ocpp_gateway.core.handlers import Call


def new_password(call: Call) -> str | None:
    """The password as the CALL spells it (in 1.6 hexadecimal, as a rule); None: this CALL changes none.

    Looks at the CALL and not at the command, so that an OcppCall is seen as well. Never raises: called before the schema
    check of a raw call.
    """
    payload = call.payload
    if call.action == "ChangeConfiguration":
        return _text(payload.get("value")) if _is(payload.get("key"), "AuthorizationKey") else None
    if call.action != "SetVariables":
        return None
    entries = payload.get("setVariableData")
    for entry in entries if isinstance(entries, list) else ():
        if (
            isinstance(entry, dict)
            and _named(entry.get("component"), "SecurityCtrlr")
            and _named(entry.get("variable"), "BasicAuthPassword")
            and entry.get("attributeType", "Actual") == "Actual"
        ):
            return _text(entry.get("attributeValue"))
    return None


def _named(part: Any, name: str) -> bool:
    return isinstance(part, dict) and _is(part.get("name"), name)


def _is(value: Any, name: str) -> bool:
    # Keys, components and variables compare without case.
    return isinstance(value, str) and value.lower() == name.lower()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
