"""Golden files of the version tables: one file per case, and no code for a new one.

    tests/gateway/core/<version>/up/*.json    {"action", "payload", "context"?, "event", "occurredAt"?, "data"?, "answer"}
    tests/gateway/core/<version>/down/*.json  {"type", "payload", "call": [action, payload], "answers": [...]}
                                              or {"type", "payload", "refused": [outcome, field or null, reason]}

`context` may hold `decision` and `transactionId`. Each entry of `answers` is {"response", "status", "payload"}. A null event
means: answered, not published. `"breaks": true` marks a payload that breaks the schema on purpose.
"""

from __future__ import annotations

import importlib.resources
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from ocpp_contract.commands import check_payload
from ocpp_contract.ids import CommandId
from ocpp_gateway.core.handlers import DownlinkContext, UplinkContext, Version
from ocpp_gateway.core.ocpp16 import OCPP16

VERSIONS: dict[str, Version] = {"ocpp16": OCPP16}
FOLDER = Path(__file__).parent.parent
DOWNLINK_CONTEXT = DownlinkContext("CP-1", "5e0f6b0e-7f2c-4a53-9d0a-0c1f4d3f5b11")


def cases(direction: str) -> list[tuple[str, Path]]:
    return [(version, path) for version in VERSIONS for path in sorted((FOLDER / version / direction).glob("*.json"))]


def identity(value: object) -> str:
    return value.stem if isinstance(value, Path) else str(value)


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads(path.read_bytes())
    return loaded


def uplink_context(case: dict[str, Any]) -> UplinkContext:
    given = case.get("context", {})
    return UplinkContext("CP-1", "2026-11-22T10:00:00.000Z", 300, given.get("decision"), given.get("transactionId"))


def checked(case: dict[str, Any]) -> dict[str, Any]:
    """The command's payload as the session gets it: checked by the contract, times normalised, request id derived."""
    return check_payload(case["type"], case["payload"], CommandId(DOWNLINK_CONTEXT.command_id))


@cache
def schema_text(folder: str, name: str) -> dict[str, Any]:
    found = importlib.resources.files("ocpp") / folder / "schemas" / f"{name}.json"
    loaded: dict[str, Any] = orjson.loads(found.read_bytes())
    return loaded


def schema_names(folder: str) -> set[str]:
    return {one.name[:-5] for one in (importlib.resources.files("ocpp") / folder / "schemas").iterdir()}


def request_schema(version: Version, action: str) -> str:
    plain = version.schemas == "v16" or action == "NotifyPeriodicEventStream"
    return action if plain else f"{action}Request"


@cache
def validator(folder: str, name: str) -> Any:
    return jsonschema_rs.validator_for(schema_text(folder, name))


def schema_errors(version: Version, name: str, payload: object) -> list[str]:
    """Judged by the official schema, over what JSON makes of the payload."""
    checked = orjson.loads(orjson.dumps(payload))
    return [
        f"{'.'.join(str(part) for part in error.instance_path)}: {error.message}"
        for error in validator(version.schemas, name).iter_errors(checked)
    ]
