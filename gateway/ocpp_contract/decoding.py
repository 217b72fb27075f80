"""Bytes and JSON objects into checked values: the strict half of every ``from_json``.

Unknown fields are ignored by all readers. Known ones have exactly the type the contract names: a number is no string,
a boolean is no number. Nesting is bounded here, because orjson reads 1,024 levels but writes only 254: a
``replyContext`` that we could read but never send back would stop its pod's result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ocpp_contract.errors import ContractError

MAX_DEPTH = 64

JsonObject = dict[str, Any]


def decode_object(raw: bytes | str, max_bytes: int | None = None, max_depth: int = MAX_DEPTH) -> JsonObject:
    """One JSON object; raises ContractError for anything else. Of duplicate names the last one counts (RFC 8259)."""
    if max_bytes is not None and len(raw) > max_bytes:
        raise ContractError("", f"is larger than {max_bytes} bytes")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ContractError("", f"is not JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise ContractError("", "must be a JSON object")
    check_depth(raw, value, max_depth)
    return value


def check_depth(raw: bytes | str, value: object, max_depth: int = MAX_DEPTH) -> None:
    """Raise ContractError when ``value`` (decoded from ``raw``) nests deeper; nearly free for ordinary records."""
    opened = raw.count("{") + raw.count("[") if isinstance(raw, str) else raw.count(b"{") + raw.count(b"[")
    if opened <= max_depth:
        return
    level: list[Any] = [value]
    for _ in range(max_depth):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise ContractError("", f"is nested deeper than {max_depth} levels")


def text(fields: Mapping[str, Any], name: str) -> str:
    """A string that must be there."""
    value = fields.get(name)
    if isinstance(value, str):
        return value
    raise ContractError(name, "is missing" if value is None else "must be a string")


def optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else text(fields, name)


def integer(fields: Mapping[str, Any], name: str, low: int = 0, high: int = 2**63 - 1) -> int:
    """A whole number that must be there; 1.0 and true are none."""
    value = fields.get(name)
    if value is None:
        raise ContractError(name, "is missing")
    if not isinstance(value, int) or isinstance(value, bool):
        raise ContractError(name, "must be an integer")
    if not low <= value <= high:
        raise ContractError(name, f"must be between {low} and {high}")
    return value


def boolean(fields: Mapping[str, Any], name: str, default: bool | None = None) -> bool:
    """``default`` None: it must be there."""
    value = fields.get(name)
    if value is None:
        if default is None:
            raise ContractError(name, "is missing")
        return default
    if not isinstance(value, bool):
        raise ContractError(name, "must be true or false")
    return value


def strings(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of strings; missing is empty."""
    value = fields.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ContractError(name, "must be a list of strings")
    return tuple(value)


def one_of(fields: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if value is None or (isinstance(value, str) and value not in allowed) or not isinstance(value, str):
        raise ContractError(name, "is missing" if value is None else f"must be one of {', '.join(allowed)}")
    return value


def encode(fields: Mapping[str, Any]) -> bytes:
    """JSON without optional members that are absent: null is never written."""
    return orjson.dumps({name: value for name, value in fields.items() if value is not None})
