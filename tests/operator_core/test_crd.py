"""The rendered CRD, without a server: published as it is, structural, and documented field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ocpp_operator.core import crd
from tests.operator_core.publish import ROOT, wanted

SCHEMA = crd.schema()
FIELDS = list(crd.fields(SCHEMA, ""))


@pytest.mark.parametrize("path", wanted(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_published_is_what_would_be_generated(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == wanted()[path], "run `make docs`"


@pytest.mark.parametrize("path", [path for path, node, _ in FIELDS if not path.endswith(("[]", ".*", ".metadata"))])
def test_every_field_has_a_description_that_reads_like_one(path: str) -> None:
    description = next(node for other, node, _ in FIELDS if other == path)["description"]
    assert re.fullmatch(r"[A-Z`0].*\.", description, re.DOTALL)
    assert "\n" not in description


def test_every_value_is_bounded() -> None:
    """CEL's cost is estimated from the bounds, and an object without any could be as large as etcd takes."""
    unbounded = [path for path, node, _ in FIELDS if path.startswith(".spec") and not _bounded(node)]
    assert unbounded == []


def _bounded(node: Mapping[str, Any]) -> bool:
    match node:
        case {"enum": _} | {"x-kubernetes-preserve-unknown-fields": True} | {"properties": _}:
            return True
        case {"type": "string"} | {"x-kubernetes-int-or-string": True}:
            return "maxLength" in node
        case {"type": "integer"}:
            return "minimum" in node and "maximum" in node
        case {"type": "array"}:
            return "maxItems" in node
        case {"type": "object"}:
            return "maxProperties" in node
    return False


def test_the_schema_is_structural() -> None:
    forbidden = {"$ref", "$defs", "title", "anyOf", "allOf", "oneOf", "const", "ge", "le", "exclusiveMinimum"}
    assert not forbidden & set(_keywords(SCHEMA))
    typed = [path for path, node, _ in FIELDS if "type" not in node and "x-kubernetes-int-or-string" not in node]
    assert typed == []


def _keywords(node: Mapping[str, Any]) -> Iterator[str]:
    yield from node
    for _, child, _ in crd.fields(node, ""):
        yield from child


def test_exclusive_bounds_are_written_as_openapi_wants_them() -> None:
    node = {"type": "number", "exclusiveMinimum": 0, "title": "Rate"}
    assert crd._structural(node, {}) == {"type": "number", "minimum": 0, "exclusiveMinimum": True}


def test_lists_say_how_they_are_merged() -> None:
    """Lists with names merge by name, so that two owners can each have theirs."""
    merged = {path: node.get("x-kubernetes-list-type") for path, node, _ in FIELDS if node.get("type") == "array"}
    assert merged[".spec.listeners"] == merged[".status.conditions"] == "map"
    assert merged[".spec.redis.addresses"] == "set"
    assert [path for path, kind in merged.items() if kind is None] == [".spec.template.pod.tolerations"]


def test_every_rule_has_a_message_for_people() -> None:
    rules = [rule for _, node, _ in [("", SCHEMA, True), *FIELDS] for rule in node.get("x-kubernetes-validations", ())]
    assert len(rules) > 40
    for rule in rules:
        assert re.fullmatch(r"[A-Za-z].{5,200}[^.]", rule["message"])
        assert rule.get("reason") in (None, "FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired")


def test_a_group_gets_its_defaults_without_being_named() -> None:
    """The API server fills in defaults only below objects that are there."""
    for path, node, needed in FIELDS:
        if path.startswith(".spec.") and "properties" in node and not path.endswith("[]"):
            complete = not node.get("required") and any("default" in child for child in node["properties"].values())
            optional = path in (".spec.autoscaling",) or needed
            assert ("default" in node) == (complete and not optional), path
