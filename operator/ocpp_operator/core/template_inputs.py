"""The fields of a spec that pods are made of, in a form that outlives versions of the operator.

A revision is rendered anew only when one of these fields changes, so what counts is what was said, not what it renders to. A newer
operator knows more fields, and the API server shows them with their defaults in resources that nobody touched; it may also take
another value for a default, while stored resources keep the old one. Neither is a change. Hence two halves: what was told, and
what was left at its default. A field that only one side knows is a change only if it was told.

Fields are inputs unless listed here: a forgotten one rolls pods once too often, where the opposite would leave a change without effect.
`version` counts as it is written. Left out it stands for the operator's own, and that must roll nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from ocpp_operator.core.spec import Spec

_TOPIC_SHAPE: Final = {"partitions": True, "retention": True}
NO_INPUTS: Final[dict[str, Any]] = {
    "replicas": True,
    "autoscaling": True,
    "service": True,
    "network_policy": True,
    "monitoring": True,
    "listeners": {"__all__": {"port": True}},  # the Service's; containers count from 8000
    "commands": {"partitions": True},  # gateways ask the brokers
    "kafka": {
        "topics": {
            "management": True,
            "replicas": True,
            "min_in_sync_replicas": True,
            "events_up": _TOPIC_SHAPE,
            "command_results": _TOPIC_SHAPE,
            "commands_dlq": _TOPIC_SHAPE,
            "stations": {"partitions": True},
        }
    },
    "template": {"pod": {"service_account_annotations": True}},
}
"""What other children, topics and the plan are made of."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Values by JSON pointer (RFC 6901). An object or list has an entry too, so that an empty one differs from none."""

    told: Mapping[str, Any]
    defaulted: Mapping[str, Any]

    @classmethod
    def of(cls, spec: Spec) -> Self:
        everything = spec.model_dump(mode="json", by_alias=True, exclude=NO_INPUTS)
        beyond_defaults = spec.model_dump(mode="json", by_alias=True, exclude=NO_INPUTS, exclude_defaults=True)
        told = dict(_members("", beyond_defaults))
        return cls(told, {pointer: value for pointer, value in _members("", everything) if pointer not in told})

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_data` never made."""
        return cls(dict(data["told"]), dict(data["defaulted"]))

    def to_data(self) -> dict[str, Any]:
        return {"told": dict(self.told), "defaulted": dict(self.defaulted)}

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.told, sort_keys=True).encode()).hexdigest()[:16]

    def changes(self, stored: Inputs) -> list[str]:
        """Pointers of what changed since `stored`."""
        ours, theirs = {**self.defaulted, **self.told}, {**stored.defaulted, **stored.told}
        return sorted(
            pointer
            for pointer in ours.keys() | theirs.keys()
            if (
                ours[pointer] != theirs[pointer]
                if pointer in ours and pointer in theirs
                else pointer in self.told or pointer in stored.told
            )
        )


def _members(pointer: str, group: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in group.items():
        yield from _flat(f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", item)


def _flat(pointer: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield pointer, "object"
        yield from _members(pointer, value)
    elif isinstance(value, list):
        yield pointer, f"list of {len(value)}"
        for index, item in enumerate(value):
            yield from _flat(f"{pointer}/{index}", item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield pointer, int(value) if value == int(value) else value  # as JSON comes back from the API server
    else:
        yield pointer, value
