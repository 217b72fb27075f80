"""The CustomResourceDefinition, rendered from the typed spec: one source for what the API server admits and what we read.

Pydantic's JSON Schema says everything; a CRD wants it in another dialect ("structural schema"): no references, no titles, no
`null`, and a default on every group whose fields all have one, since the API server fills in defaults only below objects
that are there. `python -m ocpp_operator.core.crd` prints crds/chargegateways.yaml.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from ocpp_operator.core.fields import BETWEEN, VALIDATIONS, as_validation
from ocpp_operator.core.names import GROUP, KIND, PLURAL, VERSION
from ocpp_operator.core.spec import Resource, Spec
from ocpp_operator.core.status import Status

Json = dict[str, Any]

_ORDER = (
    "description", "type", "default", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems",
    "maxItems", "maxProperties", "required", "properties", "additionalProperties", "items",
)  # fmt: skip
_DROPPED = ("title", "$defs", "ge", "le")  # the latter are a duration's bounds in seconds; it has rules instead
_UNSEEN: Json = {"observedGeneration": 0}
"""The status of a resource that no operator has looked at yet: without one kstatus would call it done."""
_COLUMNS = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether it serves stations."),
    ("Replicas", "integer", ".status.replicas", "Pods."),
    ("Connections", "integer", ".status.connections", "Stations connected."),
    ("Assigned", "integer", ".status.partitions.assigned", "Mailbox partitions that a pod serves."),
    ("Address", "string", ".status.addresses[0].url", "Where stations reach the first listener."),
    ("Version", "string", ".status.version", "Version of the gateway."),
    ("Age", "date", ".metadata.creationTimestamp", "Since when the resource exists."),
)


def manifest() -> Json:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["cgw"],
                "categories": ["chargegateway"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "description": description}
                        for name, kind, path, description in _COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def schema() -> Json:
    """The OpenAPI schema of a whole ChargeGateway."""
    about = {
        "apiVersion": "Version of this schema.",
        "kind": f"Always {KIND}.",
    }
    return {
        "description": "A highly available OCPP gateway: charge points on one side, Kafka on the other.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            **{name: {"description": description, "type": "string"} for name, description in about.items()},
            "metadata": {"type": "object"},
            "spec": _explained(structural(Spec)),
            "status": _sorted({**structural(Status), "default": _UNSEEN}),
        },
        VALIDATIONS: [as_validation(rule) for rule in Resource.rules],
    }


def structural(model: type[BaseModel]) -> Json:
    """A model's schema in the dialect of CRDs."""
    published = model.model_json_schema(by_alias=True)
    return _structural(published, published.get("$defs", {}))


def text() -> str:
    """crds/chargegateways.yaml."""
    head = "# Generated from ocpp_operator.core.spec; do not edit. `make docs` renews it.\n"
    return head + yaml.safe_dump(manifest(), sort_keys=False, allow_unicode=True, width=120)


def fields(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Every node of a structural schema below `path`, as (path, schema, whether it is needed), parents first.

    Items of a list are `path[]`, values of a map `path.*`.
    """
    needed = node.get("required", ())
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child, name in needed
        yield from fields(child, f"{path}.{name}")
    for suffix, keyword in (("[]", "items"), (".*", "additionalProperties")):
        if isinstance(child := node.get(keyword), Mapping):
            yield f"{path}{suffix}", child, False
            yield from fields(child, f"{path}{suffix}")


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Json:
    node = _inlined(_without_null(node), definitions)
    result: Json = {key: copy.deepcopy(value) for key, value in node.items() if key not in _DROPPED}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in result:  # a number in JSON Schema, a flag in OpenAPI 3.0
            result[bound], result[exclusive] = result[exclusive], True
    for keyword in ("items", "additionalProperties"):
        if isinstance(result.get(keyword), Mapping):
            result[keyword] = _structural(result[keyword], definitions)
    if "properties" in result:
        result["properties"] = {name: _structural(child, definitions) for name, child in result["properties"].items()}
        if "default" in result:
            result["default"] = _default(result)
    return _sorted(result)


def _sorted(node: Mapping[str, Any]) -> Json:
    rank = {key: position for position, key in enumerate(_ORDER)}
    return dict(sorted(node.items(), key=lambda item: rank.get(item[0], len(_ORDER))))


def _explained(node: Json) -> Json:
    """Default and bounds into the descriptions of single values: `kubectl explain` shows no other place."""
    for name, child in node.get("properties", {}).items():
        said = shown_default(child), shown_bounds(child)
        if "properties" not in child and any(said):
            notes = " ".join(
                f"{title}: {text}." for title, text in zip(("Default", "Allowed"), said, strict=True) if text
            )
            child = {**child, "description": f"{child['description']} {notes}"}
        node["properties"][name] = _explained(child)
    if "items" in node:
        node["items"] = _explained(node["items"])
    return node


def shown_default(node: Mapping[str, Any]) -> str:
    """The default of a single value or list as one would write it; empty where there is none, or nothing to see."""
    default = node.get("default")
    return "" if default in (None, "", [], {}) else default if isinstance(default, str) else json.dumps(default)


def shown_bounds(node: Mapping[str, Any]) -> str:
    """Bounds of a number or a duration, in words."""
    if "maximum" in node:
        return f"{node['minimum']} to {node['maximum']}"
    for validation in node.get(VALIDATIONS, ()):
        if validation["message"].startswith(BETWEEN):
            return str(validation["message"].removeprefix(BETWEEN).replace(" and ", " to "))
    return ""


def _default(node: Json) -> Json:
    """The default of a group whose fields all have one: `{}`, which the API server fills, or all of it where a rule looks at
    it, since rules judge a default as it stands here."""
    if not _has_rules(node):
        return {}
    return {name: copy.deepcopy(child["default"]) for name, child in node["properties"].items() if "default" in child}


def _has_rules(node: Mapping[str, Any]) -> bool:
    """On the group or a group in it; those of single fields judge what is there."""
    return "properties" in node and (VALIDATIONS in node or any(map(_has_rules, node["properties"].values())))


def _inlined(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Json:
    """What a reference points to; what stands beside the reference is nearer and wins."""
    if "$ref" not in node:
        return dict(node)
    target = definitions[node["$ref"].removeprefix("#/$defs/")]
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def _without_null(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """`X | None` is X: a field that may be left out. The API server takes a null for left out."""
    if "anyOf" not in node:
        return node
    [choice] = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
    rest = {key: value for key, value in node.items() if key != "anyOf" and (key != "default" or value is not None)}
    return {**choice, **rest}


if __name__ == "__main__":
    sys.stdout.write(text())
