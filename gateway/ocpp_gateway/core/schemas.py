"""The official OCPP JSON schemas as compiled validators.

They come with the PyPI package `ocpp` and are compiled once per process and message, on first use or by `preload`.
jsonschema-rs checks the parsed objects directly; a valid MeterValues costs about half a microsecond. Only what is not
valid is looked at a second time, to say what is wrong and whether the field knows it as harmless:

- a field that the schema does not name (`extra-field`),
- a time in a form that is no RFC 3339 but can be read, such as one without zone (`time-form`).

These are quirks: counted, never refused - except under validation Strict, which takes the schemas at their word.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Final, NamedTuple

import jsonschema_rs

from ocpp_contract.errors import ContractError
from ocpp_contract.times import parse_station_time
from ocpp_gateway.core.faults import Fault

_MAX_REPORTED: Final = 10
_MAX_MESSAGE: Final = 160

_FAULTS: Final = {
    "required": Fault.OCCURRENCE,
    "minItems": Fault.OCCURRENCE,
    "maxItems": Fault.OCCURRENCE,
    "additionalItems": Fault.OCCURRENCE,
    "additionalProperties": Fault.FORMAT,
    "type": Fault.TYPE,
}  # everything else (enum, maxLength, minimum, maximum, multipleOf, format): the value, PropertyConstraintViolation


class Violation(NamedTuple):
    """One thing that breaks the schema."""

    path: str
    """`meterValue[0].timestamp`; empty for the payload itself."""
    reason: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class Findings(NamedTuple):
    violations: tuple[Violation, ...]
    quirks: tuple[str, ...]
    """Kinds of harmless deviations, each once."""


CLEAN: Final = Findings((), ())


@cache
def request_schema(version: str, action: str) -> jsonschema_rs.Validator | None:
    """The validator of a CALL or SEND; `version` is the folder: v16, v201, v21. None: this version has no such action."""
    return _load(version, action if version == "v16" else f"{action}Request") or _load(version, action)


@cache
def response_schema(version: str, action: str) -> jsonschema_rs.Validator | None:
    """The validator of a CALLRESULT. None: this version has no such action, or it is a SEND."""
    return _load(version, f"{action}Response")


def preload(version: str, actions: frozenset[str]) -> None:
    """Compile ahead, so that no station's first message waits for it."""
    for action in actions:
        request_schema(version, action)
        response_schema(version, action)


def _load(version: str, name: str) -> jsonschema_rs.Validator | None:
    # Names come from our tables and from checked commands, but this is a file name: nothing else gets near it.
    if not name.isascii() or not name.isalnum():
        return None
    resource = files("ocpp") / version / "schemas" / f"{name}.json"
    if not resource.is_file():
        return None
    # Some of the files begin with a byte order mark. Formats are an opt-in of the newer drafts, so it is spelled out.
    return jsonschema_rs.validator_for(resource.read_text("utf-8-sig"), validate_formats=True)


def examine(validator: jsonschema_rs.Validator, payload: Any, *, strict: bool = False) -> Findings:
    """What breaks the schema. `strict`: quirks count as violations too."""
    if validator.is_valid(payload):
        return CLEAN
    violations: list[Violation] = []
    quirks: set[str] = set()
    for error in validator.iter_errors(payload):
        quirk = None if strict else _quirk(error)
        if quirk is not None:
            quirks.add(quirk)
        else:
            violations.append(_violation(error))
            if len(violations) == _MAX_REPORTED:
                break
    return Findings(tuple(violations), tuple(sorted(quirks)))


def _quirk(error: jsonschema_rs.ValidationError) -> str | None:
    keyword = error.kind.name
    if keyword == "additionalProperties":
        return "extra-field"
    if keyword == "format":
        try:
            parse_station_time(error.instance)
        except ContractError:
            return None
        return "time-form"
    return None


def _violation(error: jsonschema_rs.ValidationError) -> Violation:
    path = ""
    for step in islice(error.instance_path, 32):
        path += f"[{step}]" if isinstance(step, int) else (f".{step}" if path else str(step))
    reason = error.message
    if len(reason) > _MAX_MESSAGE:
        reason = f"breaks the schema's {error.kind.name}"
    return Violation(path[:_MAX_MESSAGE], reason, _FAULTS.get(error.kind.name, Fault.PROPERTY))
