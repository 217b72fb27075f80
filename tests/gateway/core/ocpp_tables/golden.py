"""Golden files of the version tables: one file per case, and no code for a new one.

    tests/gateway/core/<version>/up/*.json    {"action", "payload", "context"?, "event", "occurredAt"?, "data"?, "answer"}
    tests/gateway/core/<version>/down/*.json  {"type", "payload", "call": [action, payload], "answers": [...]}
                                              or {"type", "payload", "refused": [outcome, field or null, reason]}

`context` may hold `decision` and `transactionId`. Each entry of `answers` is {"response", "status", "payload", "positive"}.
A null event means: answered, not published. `"breaks": true` marks a payload that breaks the schema on purpose.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from ocpp_contract.commands import check_payload
from ocpp_contract.ids import CommandId
from ocpp_gateway.core.frames import encode_default, parse_exact
from ocpp_gateway.core.handlers import DownlinkContext, UplinkContext, Version
from ocpp_gateway.core.ocpp16 import OCPP16
from ocpp_gateway.core.ocpp21 import OCPP21
from ocpp_gateway.core.ocpp201 import OCPP201
from ocpp_gateway.core.schemas import examine, request_schema, response_schema

VERSIONS: dict[str, Version] = {"ocpp16": OCPP16, "ocpp201": OCPP201, "ocpp21": OCPP21}
FOLDER = Path(__file__).parent.parent
DOWNLINK_CONTEXT = DownlinkContext("CP-1", "5e0f6b0e-7f2c-4a53-9d0a-0c1f4d3f5b11")


def cases(direction: str) -> list[tuple[str, Path]]:
    return [(version, path) for version in VERSIONS for path in sorted((FOLDER / version / direction).glob("*.json"))]


def identity(value: object) -> str:
    return value.stem if isinstance(value, Path) else str(value)


def load(path: Path) -> dict[str, Any]:
    """Numbers keep their text, as in frames that the session reads exactly."""
    loaded: dict[str, Any] = parse_exact(path.read_bytes())
    return loaded


def uplink_context(case: dict[str, Any]) -> UplinkContext:
    given = case.get("context", {})
    return UplinkContext("CP-1", "2026-11-22T10:00:00.000Z", 300, given.get("decision"), given.get("transactionId"))


def checked(case: dict[str, Any]) -> dict[str, Any]:
    """The command's payload as the session gets it: checked by the contract, times normalised, request id derived."""
    return check_payload(case["type"], case["payload"], CommandId(DOWNLINK_CONTEXT.command_id))


def schema_names(folder: str) -> set[str]:
    return {one.name[:-5] for one in (importlib.resources.files("ocpp") / folder / "schemas").iterdir()}


def request_errors(version: Version, action: str, payload: object) -> list[str]:
    """What the official schema says of a CALL, over what JSON makes of the payload; quirks count."""
    return _errors(request_schema(version.schemas, action), payload)


def response_errors(version: Version, action: str, payload: object) -> list[str]:
    return _errors(response_schema(version.schemas, action), payload)


def _errors(validator: jsonschema_rs.Validator | None, payload: object) -> list[str]:
    assert validator is not None, "no such message in this version"
    return [str(violation) for violation in examine(validator, as_json(payload), strict=True).violations]


def as_json(value: object) -> Any:
    """What a reader finds on the wire."""
    return orjson.loads(orjson.dumps(value, default=encode_default))
