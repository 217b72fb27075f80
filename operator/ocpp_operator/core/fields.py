"""The kinds of fields that a ChargeGateway is made of: groups with rules, durations, references, what Kubernetes passes through.

A rule stands beside the fields that it is about and is said twice in one place: in CEL, for the API server, which refuses
the object before it is stored and shows the message to whoever typed it; and in Python, for an object that an older CRD
let in. Rules about changes (`oldSelf`) only the API server can judge. `core/crd.py` renders both halves' words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

BROKEN_RULES = "broken_rules"
"""Type of the validation error that carries broken rules, `(field path, message)` each."""

VALIDATIONS = "x-kubernetes-validations"
BETWEEN = "must be between "
"""How the message about a duration's bounds begins."""
SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
"""Marks a list whose items differ; owners of items may differ too (server-side apply)."""
BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
"""Marks a list whose items have a name, by which they differ and are merged."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# What Go's time.ParseDuration reads, and so CEL's duration(); no fractions, and never beyond what its 64 bits hold.
DURATION_PATTERN = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
SERVER = (
    r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[\[][0-9A-Fa-f:.]+[\]])"
    "[:]([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
"""`host:port`; an IPv6 address stands in brackets. The gateway refuses any other."""
LABEL_KEY = (
    "([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?"
    "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a group. `at` is the path from the group to the field that the message is about (`.port`)."""

    cel: str
    message: str
    at: str = ""
    holds: Callable[[Any], bool] | None = None
    """The same in Python; None for a rule about a change."""
    reason: Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"] = "FieldValueInvalid"
    """Not FieldValueDuplicate: with it the API server shows no message."""


def _publish_rules(schema: dict[str, Any], group: type[Any]) -> None:
    if group.rules:
        schema[VALIDATIONS] = [as_validation(rule) for rule in group.rules]


def as_validation(rule: Rule) -> dict[str, str]:
    """The rule as an item of `x-kubernetes-validations`."""
    validation = {"rule": rule.cel, "message": rule.message, "reason": rule.reason}
    return validation | ({"fieldPath": rule.at} if rule.at else {})


class Group(BaseModel):
    """A group of fields: camelCase in YAML, snake_case here. What it does not know it leaves aside: newer versions add."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        json_schema_extra=_publish_rules,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        broken = [
            (rule.at, rule.message) for rule in type(self).rules if rule.holds is not None and not rule.holds(self)
        ]
        if broken:
            text = "; ".join(message for _, message in broken)
            raise PydanticCustomError(BROKEN_RULES, "{text}", {"text": text, "broken": broken})
        return self


# --- durations --------------------------------------------------------------------------------------------------------


def seconds(text: str) -> float:
    """Seconds of a duration as it is written, `1m30s`. Raises ValueError."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is no duration: write 500ms, 30s, 10m, 168h or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall("([0-9]+)(ms|h|m|s)", text))


Duration = Annotated[
    float,
    BeforeValidator(lambda value: seconds(value) if isinstance(value, str) else value),
    WithJsonSchema({"type": "string", "maxLength": 28, "pattern": DURATION_PATTERN}),
]
"""A string such as `30s` in YAML, seconds here. Give it bounds and default with `duration`."""


def duration(default: str | None, least: str, most: str, description: str) -> Any:
    """A field of type `Duration` (`Duration | None` when `default` is None) from `least` to `most`."""
    bounds = {
        "rule": f"duration(self) >= duration('{least}') && duration(self) <= duration('{most}')",
        "message": f"{BETWEEN}{least} and {most}",
    }
    extra: dict[str, Any] = {VALIDATIONS: [bounds]}
    if default is not None:
        extra["default"] = default  # as it is written, not in seconds
    return Field(
        None if default is None else seconds(default),
        ge=seconds(least),
        le=seconds(most),
        description=description,
        json_schema_extra=extra,
    )


# --- words and references ---------------------------------------------------------------------------------------------

# A Secret's name and one of its keys, as Kubernetes allows them.
ObjectName = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
]
SecretKey = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Annotations = Mapping[str, Annotated[str, StringConstraints(max_length=4096)]]
Labels = Mapping[
    str,
    Annotated[str, StringConstraints(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")],
]
Quantity = Annotated[
    int | str,
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            "pattern": r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$",
        }
    ),
]
PassedThrough = Annotated[
    Mapping[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]
"""Kubernetes' own type, handed on as it is; Kubernetes judges it when the pods are made."""


class SecretKeyRef(Group):
    """One value in a Secret of the same namespace. Rotated values are taken up without a restart."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretKey = Field(description="Key of the value in it.")


class SecretRef(Group):
    """A Secret of the same namespace, used as a whole."""

    name: ObjectName = Field(description="Name of the Secret.")


def kubernetes_keys(field: str) -> Rule:
    """The rule for a map whose keys become those of labels or annotations."""
    return Rule(
        f"self.{to_camel(field)}.all(key, key.matches('^{LABEL_KEY}$'))",
        f"keys of {to_camel(field)} must be such as Kubernetes allows (prefix/name)",
        f".{to_camel(field)}",
        lambda group: all(re.fullmatch(LABEL_KEY, key) for key in getattr(group, field)),
    )


def not_the_operators(field: str, prefixes: tuple[str, ...], because: str) -> Rule:
    """The rule for a map with such keys, of which those with `prefixes` are ours to write."""
    foreign = " && ".join(f"!key.startsWith('{prefix}')" for prefix in prefixes)
    return Rule(
        f"self.{to_camel(field)}.all(key, {foreign})",
        f"{to_camel(field)} under {' and '.join(prefixes)} are the operator's: {because}",
        f".{to_camel(field)}",
        lambda group: not any(key.startswith(prefixes) for key in getattr(group, field)),
        "FieldValueForbidden",
    )
