"""A version table made ready for the hot path: per action everything the session needs, looked up once.

One `Dialect` per version and process, shared by all sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from ocpp_gateway.core.faults import Fault, spelling
from ocpp_gateway.core.handlers import Uplink, Version
from ocpp_gateway.core.schemas import CLEAN, Findings, Violation, examine, preload, request_schema, response_schema


@dataclass(frozen=True, slots=True)
class Route:
    """One message that a station may send."""

    row: Uplink
    request: jsonschema_rs.Validator | None
    response: jsonschema_rs.Validator | None
    identifying: tuple[tuple[str, ...], ...]
    exact: bool
    """Measured values are numbers whose text counts."""

    def identified(self, payload: Mapping[str, Any]) -> bool:
        """Whether a payload that breaks the schema still says which transaction it is about."""
        for path in self.identifying:
            value: Any = payload
            for step in path:
                value = value.get(step) if type(value) is dict else None
            # A zero identifies as well as any number does; only what is not there or empty does not.
            if value is None or value == "" or value == [] or value == {}:
                return False
        return True


class Dialect:
    """See module. `version` stays available for the downlink rows."""

    __slots__ = ("_outbound", "_routes", "version")

    def __init__(self, version: Version, *, check_outbound: bool = True) -> None:
        self.version = version
        self._outbound = check_outbound
        self._routes: dict[str, Route] = {}

    def preload(self) -> None:
        """Compile every schema now (tens of milliseconds), so that no station's first message waits for it."""
        preload(self.version.schemas, frozenset(self.version.uplink) | self.version.calls)
        for action in self.version.uplink:
            self.route(action)

    def route(self, action: str) -> Route | None:
        """None: a station may not send this in this version."""
        route = self._routes.get(action)
        if route is None:
            row = self.version.uplink.get(action)
            if row is None:
                return None
            route = self._routes[action] = Route(
                row,
                request_schema(self.version.schemas, action),
                response_schema(self.version.schemas, action),
                tuple(tuple(path.split(".")) for path in row.identifying),
                self.version.exact_numbers and action in ("MeterValues", "TransactionEvent"),
            )
        return route

    def spelling(self, fault: Fault) -> str:
        return spelling(fault, self.version.subprotocol)

    def unknown(self, action: str) -> Fault:
        """Why there is no route: an action that only we may send is known but not supported."""
        return Fault.NOT_SUPPORTED if action in self.version.calls else Fault.NOT_IMPLEMENTED

    def check_call(self, action: str, payload: Any) -> Violation | None:
        """What makes our CALL unfit to be sent: the command is Invalid. Ask before the claim."""
        if action not in self.version.calls:
            return Violation("action", f"{self.version.subprotocol} has no {action[:64]} from us", Fault.NOT_SUPPORTED)
        if type(payload) is not dict:
            return Violation("", "the payload must be an object", Fault.PROTOCOL)
        if not self._outbound:
            return None
        validator = request_schema(self.version.schemas, action)
        findings = examine(validator, payload, strict=True) if validator is not None else CLEAN
        return findings.violations[0] if findings.violations else None

    def check_answer(self, route: Route, payload: Any) -> Violation | None:
        """The same for what we answer."""
        if not self._outbound or route.response is None:
            return None
        findings = examine(route.response, payload, strict=True)
        return findings.violations[0] if findings.violations else None

    def check_response(self, action: str, payload: Any, *, strict: bool) -> Findings:
        """What is wrong with a station's CALLRESULT."""
        validator = response_schema(self.version.schemas, action)
        return examine(validator, payload, strict=strict) if validator is not None else CLEAN
