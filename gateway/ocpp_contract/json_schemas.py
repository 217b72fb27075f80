"""The contract for other languages: JSON Schemas (draft 2020-12) and the page of command types, as file name -> text.

Payloads, event data and decisions come from their models; the envelopes around them are written here, because their
types are plain dataclasses. `make docs` writes the files to ``docs/contract/``; a test compares them and holds every
golden file to both the schema and the decoder.

The schemas say what a writer must produce. Readers ignore unknown fields, so nothing forbids additional ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ocpp_contract.command_types import COMMAND_TYPES, CommandType
from ocpp_contract.commands import PRIORITIES
from ocpp_contract.decisions import DECISIONS
from ocpp_contract.events import EVENT_TYPES, ce_type
from ocpp_contract.names import SUBPROTOCOLS
from ocpp_contract.outcome import Outcome
from ocpp_contract.payloads.parts import Part
from ocpp_contract.registry import MAX_CREDENTIALS, VALIDATION_MODES

Schema = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_STATION: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^{}/]+$"}
_UUID: Schema = {
    "type": "string",
    "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
}
_EPOCH: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_INCARNATION: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9.-]*/[A-Za-z0-9][A-Za-z0-9-]*/[0-9a-f]{8}$",
}


def files() -> dict[str, str]:
    """Every generated file by its name below ``docs/contract/``."""
    found = {f"{name}.schema.json": _text(schema) for name, schema in _schemas()}
    found["commands.md"] = _commands_page()
    return dict(sorted(found.items()))


def _schemas() -> Iterator[tuple[str, Schema]]:
    yield "command", _command()
    yield "command-result", _command_result()
    yield "connection", _connection()
    for event, model in EVENT_TYPES.items():
        yield f"events/{event}", _event(event, model)
    for kind, model in DECISIONS.items():
        yield f"decisions/{kind}", _bundle(f"Decision of kind {kind} (webhook response)", {}, [model], root=model)
    yield "station", _station()
    yield "credential", _credential()
    yield "internal-connections", _internal_connections()


def _command() -> Schema:
    types = list(COMMAND_TYPES.values())
    schema = _object(
        "Command (commands-down, commands-urgent)",
        {
            "id": _UUID,
            "chargePointId": _STATION,
            "type": {"enum": [entry.name for entry in types]},
            "payload": {"type": "object"},
            "expiresAt": _TIME,
            "priority": {"enum": list(PRIORITIES), "default": "normal"},
            "waitForStation": {"type": "boolean", "default": True},
            "replyContext": {"description": "Comes back in every result untouched."},
        },
        required=("id", "chargePointId", "type"),
    )
    schema["allOf"] = [
        {
            "if": {"properties": {"type": {"const": entry.name}}},
            "then": {"properties": {"payload": {"$ref": f"#/$defs/{entry.payload.__name__}"}}},
        }
        for entry in types
    ]
    # A payload may be left out only where the empty one fits.
    needing = [
        entry.name for entry in types if any(field.is_required() for field in entry.payload.model_fields.values())
    ]
    schema["allOf"].append({"if": {"properties": {"type": {"enum": needing}}}, "then": {"required": ["payload"]}})
    return _bundle(schema.pop("title"), schema, [entry.payload for entry in types])


def _command_result() -> Schema:
    schema = _object(
        "Report on a command (command-results)",
        {
            "commandId": _TEXT,
            "chargePointId": _TEXT,
            "type": _TEXT,
            "outcome": {"enum": [outcome.value for outcome in Outcome]},
            "final": {"type": "boolean"},
            "reason": _TEXT,
            "status": {**_TEXT, "description": "The station's own word."},
            "payload": {"type": "object", "description": "The station's answer in version-neutral form."},
            "pod": _TEXT,
            "at": _TIME,
            "replyContext": {},
        },
        required=("commandId", "chargePointId", "type", "outcome", "final", "pod", "at"),
    )
    schema["if"] = {"properties": {"outcome": {"const": Outcome.TIMED_OUT.value}}}
    schema["then"] = {"properties": {"final": {"const": False}}}
    schema["else"] = {"properties": {"final": {"const": True}}}
    return _headed(schema)


def _connection() -> Schema:
    return _headed(
        _object(
            "Where a station is connected (Redis, conn:<charge point id>)",
            {
                "pod": _TEXT,
                "incarnation": _INCARNATION,
                "partition": {"type": "integer", "minimum": 0, "description": "Produce commands here."},
                "epoch": _EPOCH,
                "connection": _TEXT,
                "version": {"enum": list(SUBPROTOCOLS)},
                "since": _TIME,
            },
            required=("pod", "incarnation", "partition", "epoch", "connection", "version", "since"),
        )
    )


def _event(event: str, model: type[Part]) -> Schema:
    schema = _object(
        ce_type(event),
        {
            "chargePointId": _TEXT,
            "occurredAt": {**_TIME, "description": "As the station says, in UTC; else the time of receipt."},
            "receivedAt": _TIME,
            "ocppVersion": {"enum": list(SUBPROTOCOLS)},
            "messageId": _TEXT,
            "epoch": {**_EPOCH, "description": "Of the connection; order holds within one."},
            "data": {"type": "object"},
            "schemaErrors": {
                "type": "array",
                "items": _TEXT,
                "description": "The station's message breaks its OCPP schema in these ways.",
            },
            "timeAssumedUtc": {"type": "boolean"},
        },
        required=("chargePointId", "occurredAt", "receivedAt", "epoch", "data"),
    )
    # What a station sent against its own schema is published all the same, as far as it could be mapped.
    schema["if"] = {"not": {"required": ["schemaErrors"]}}
    schema["then"] = {"properties": {"data": {"$ref": f"#/$defs/{model.__name__}"}}}
    return _bundle(schema.pop("title"), schema, [model])


def _station() -> Schema:
    return _headed(
        _object(
            "Station record (ocpp-stations, key <charge point id>)",
            {
                "allowedVersions": {"type": "array", "items": {"enum": list(SUBPROTOCOLS)}},
                "securityProfile": {"type": "integer", "minimum": 0, "maximum": 3},
                "blocked": {"type": "boolean", "default": False},
                "validation": {"enum": list(VALIDATION_MODES)},
                "tags": {"type": "object", "additionalProperties": _TEXT},
            },
        )
    )


def _credential() -> Schema:
    return _headed(
        _object(
            "Credential record (ocpp-stations, key <charge point id>/credential)",
            {
                "hashes": {
                    "type": "array",
                    "maxItems": MAX_CREDENTIALS,
                    "items": {"type": "string", "pattern": "^[^$]+\\$", "description": "<algorithm>$<salt>$<digest>"},
                }
            },
            required=("hashes",),
        )
    )


def _internal_connections() -> Schema:
    item = _object(
        "One live connection as its pod sees it",
        {
            "id": _TEXT,
            "epoch": _EPOCH,
            "connection": _TEXT,
            "partition": {"type": "integer", "minimum": 0},
        },
        required=("id", "epoch", "connection", "partition"),
    )
    return _headed({"title": "GET /internal/v1/connections", "type": "array", "items": item})


def _object(title: str, properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {"title": title, "type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return schema


def _headed(schema: Schema) -> Schema:
    return {"$schema": _DRAFT, **schema}


def _bundle(title: str, schema: Schema, models: list[type[Part]], root: type[Part] | None = None) -> Schema:
    """``schema`` with everything it refers to in ``$defs``: one file stands alone."""
    pairs: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in models]
    _, definitions = models_json_schema(pairs, ref_template="#/$defs/{model}")
    found = {name: _tidy(part) for name, part in definitions.get("$defs", {}).items()}
    body = found.pop(root.__name__) if root is not None else schema
    return _headed({**body, "title": title, **({"$defs": found} if found else {})})


def _tidy(schema: Any) -> Any:
    """Without pydantic's titles (they repeat the field's name) and nulls: absent is how a writer says nothing."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found: Schema = {}
    for name, value in schema.items():
        if name == "properties":
            found[name] = {field: _tidy(part) for field, part in value.items()}
        elif name not in ("title", "default") or (name == "default" and value is not None):
            found[name] = _tidy(value)
    if "anyOf" in found:
        choices = [choice for choice in found["anyOf"] if choice != {"type": "null"}]
        if len(choices) == 1:
            del found["anyOf"]
            return {**choices[0], **found}
        found["anyOf"] = choices
    return found


def _text(schema: Mapping[str, Any]) -> str:
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode() + "\n"


def _commands_page() -> str:
    lines = [
        "# Command types",
        "",
        "Generated by `make docs`. Payloads: `command.schema.json`, `$defs` of the same name.",
        "",
        "*Again*: what the gateway does when a command was written to a socket and the answer was lost. `safe`: it is sent",
        "again while its deadline allows. `conditional`: the same, because the repeat of one record is byte-identical and",
        "the type tolerates that. `never`: the command ends as `Uncertain`, and *evidence* says where to look.",
        "",
        "| type | again | statuses that count as Accepted | evidence when Uncertain |",
        "| --- | --- | --- | --- |",
    ]
    lines += [_command_row(entry) for entry in COMMAND_TYPES.values()]
    return "\n".join(lines) + "\n"


def _command_row(entry: CommandType) -> str:
    statuses = ", ".join(sorted(entry.positive))
    if entry.status_list is not None:
        statuses += f" (all of `{entry.status_list[0]}`)"
    return f"| `{entry.name}` | {entry.redelivery.value} | {statuses} | {entry.evidence} |"
