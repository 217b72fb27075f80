"""What a CALL of the station must pass before it is worked on: known action, boot state, schema.

What does not pass is answered with the CALLERROR of its version. Signed messages are taken out of their signature first.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from ocpp_gateway.core import frames
from ocpp_gateway.core.boot import Boot
from ocpp_gateway.core.dialect import Dialect, Route
from ocpp_gateway.core.faults import Fault
from ocpp_gateway.core.frames import BrokenFrame, Frame
from ocpp_gateway.core.policy import SessionPolicy, Validation
from ocpp_gateway.core.schemas import Violation, examine
from ocpp_gateway.core.session_effects import Count, Send, SessionEffect
from ocpp_gateway.core.signed import unwrap

_SIGNED: Final = "-Signed"


class Checked(NamedTuple):
    route: Route
    payload: dict[str, Any]
    schema_errors: tuple[str, ...]
    """Kept although it breaks the schema, by the mode of validation."""


def refuse(
    dialect: Dialect,
    message_id: str | None,
    fault: Fault,
    description: str,
    violations: tuple[Violation, ...],
    effects: list[SessionEffect],
) -> None:
    """CALLERROR. `message_id` None: what was wrong is not to be answered (a SEND, or an answer), only counted."""
    effects.append(Count("call_errors", fault.value))
    if message_id is not None:
        details = {"errors": [str(violation) for violation in violations]} if violations else {}
        code = dialect.spelling(fault)
        effects.append(Send(frames.write_error(frames.CALLERROR, message_id, code, description, details)))


def check(
    frame: Frame, raw: bytes, dialect: Dialect, boot: Boot, policy: SessionPolicy, effects: list[SessionEffect]
) -> Checked | None:
    """None: refused, and the CALLERROR is among the effects."""
    action, payload = frame.action, frame.payload
    route = dialect.route(action)
    if route is None:
        if action.endswith(_SIGNED) and dialect.version.exact_numbers:
            return _check_signed(frame, dialect, boot, policy, effects)
        refuse(dialect, _answer_to(frame), dialect.unknown(action), f"{action[:64]} is not for us", (), effects)
        return None
    if not boot.admits(action):
        refuse(dialect, _answer_to(frame), Fault.SECURITY, f"not accepted yet: {boot.status}", (), effects)
        return None
    if route.row.unanswered is (frame.type == frames.CALL):
        # Accepted all the same: answered if it is a CALL, not answered if it is a SEND.
        effects.append(Count("quirks", "call-instead-of-send" if route.row.unanswered else "send-instead-of-call"))
    if route.row.misspelt_unit is not None and route.row.misspelt_unit in raw:
        effects.append(Count("quirks", "misspelt-unit"))
    schema_errors: tuple[str, ...] = ()
    if route.request is not None and not route.request.is_valid(payload):
        findings = examine(route.request, payload, strict=policy.validation is Validation.STRICT)
        effects.extend(Count("quirks", quirk) for quirk in findings.quirks)
        violations = findings.violations
        if violations and not _keeps(policy.validation, route, payload):
            effects.append(Count("schema_violations", action))
            refuse(dialect, _answer_to(frame), violations[0].fault, str(violations[0]), violations, effects)
            return None
        if violations:
            schema_errors = tuple(map(str, violations))
            effects.append(Count("schema_violations_kept", action))
    if route.exact and frames.needs_exact(raw):
        payload = frames.parse_exact(raw)[3]
    return Checked(route, payload, schema_errors)


def _answer_to(frame: Frame) -> str | None:
    return frame.message_id if frame.type == frames.CALL else None


def _keeps(validation: Validation, route: Route, payload: dict[str, Any]) -> bool:
    if validation is Validation.KEEP_TRANSACTIONS:
        return route.row.transaction and route.identified(payload)
    return validation is Validation.LENIENT


def _check_signed(
    frame: Frame, dialect: Dialect, boot: Boot, policy: SessionPolicy, effects: list[SessionEffect]
) -> Checked | None:
    inner = unwrap(frame.payload)
    if inner is None:
        refuse(dialect, _answer_to(frame), Fault.FORMAT, "no JSON Web Signature around an object", (), effects)
        return None
    effects.append(Count("signed_messages"))
    # The frame as it would have come unsigned, from the very bytes that were signed: numbers keep their text.
    action = frame.action.removesuffix(_SIGNED)
    raw = orjson.dumps([frame.type, frame.message_id, action, orjson.Fragment(inner)])
    try:
        unsigned = frames.parse(raw, policy.json_depth)
    except BrokenFrame as broken:
        refuse(dialect, _answer_to(frame), broken.fault, broken.description, (), effects)
        return None
    assert type(unsigned) is Frame
    return check(unsigned, raw, dialect, boot, policy, effects)
