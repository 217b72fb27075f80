"""Payloads made from the official schemas: the least and the most that each message may hold.

They prove reach (every message, every field name), not meaning; meaning is what the golden files are for.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson

_TEXTS = {
    # The few texts of which 2.1 demands a form, in the descriptions of its schemas only.
    "startTimeOfDay": "23:59",
    "endTimeOfDay": "00:00",
    "validFromDate": "2026-11-22",
    "validToDate": "2026-11-23",
}
_FORMATS = {"date-time": "2026-11-22T10:00:00.000Z", "uri": "https://backend.example/x"}


def schema_names(folder: str) -> set[str]:
    return {one.name.removesuffix(".json") for one in (files("ocpp") / folder / "schemas").iterdir()}


def request_name(folder: str, action: str) -> str:
    # 1.6 names the request by the action alone, and so is 2.1's one message that is no CALL.
    return action if folder == "v16" or action == "NotifyPeriodicEventStream" else f"{action}Request"


def sample(folder: str, name: str, *, full: bool) -> dict[str, Any]:
    """`full`: every field of the schema but customData; else the required ones."""
    resource = files("ocpp") / folder / "schemas" / f"{name}.json"
    schema = orjson.loads(resource.read_text("utf-8-sig"))
    made: dict[str, Any] = _value(schema, schema, full)
    return made


def _value(schema: dict[str, Any], root: dict[str, Any], full: bool) -> Any:
    if "$ref" in schema:
        return _value(root["definitions"][schema["$ref"].rpartition("/")[2]], root, full)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            return {
                name: _TEXTS.get(name) or _value(inner, root, full)
                for name, inner in schema.get("properties", {}).items()
                if name in required or (full and name != "customData")
            }
        case "array":
            return [_value(schema["items"], root, full)] * max(1, schema.get("minItems", 1))
        case "string":
            return _FORMATS.get(schema.get("format", ""), "7" * min(3, schema.get("maxLength", 3)))
        case "integer":
            return int(_within(1, schema))
        case "number":
            return _within(1.5, schema)
        case "boolean":
            return False
        case None:
            return {"any": ["JSON", 1]}
        case other:
            raise AssertionError(f"no sample for {other}")


def _within(number: float, schema: dict[str, Any]) -> float:
    found: float = min(max(number, schema.get("minimum", number)), schema.get("maximum", number))
    return found
