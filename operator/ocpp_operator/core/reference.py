"""docs/resource.md: every field of the resource with type, default, bounds, meaning and rules, from the schema of the CRD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocpp_operator.core.crd import fields, shown_bounds, shown_default, structural
from ocpp_operator.core.fields import BETWEEN, DURATION_PATTERN, VALIDATIONS
from ocpp_operator.core.names import GROUP, KIND, VERSION
from ocpp_operator.core.spec import Resource, Spec
from ocpp_operator.core.status import Status

Node = Mapping[str, Any]

_HEAD = f"""# The ChargeGateway resource

Generated from `ocpp_operator.core.spec` (`make docs`); do not edit. `kubectl explain cgw.spec` tells the same. Kind `{KIND}`,
`{GROUP}/{VERSION}`, short name `cgw`; `kubectl get chargegateway` lists those of a namespace. Whole objects to begin with:
[minimal](../examples/minimal.yaml), [production](../examples/production.yaml), [local](../examples/local.yaml).

Durations are written as in Go: `500ms`, `30s`, `1h30m`, `168h`. `...SecretRef` names one key of a Secret of the same
namespace, `...Refs` whole Secrets; they are re-read when they change. The rules are checked when the object is applied; what
only the operator can see (a Secret that is not there, a broker out of reach) becomes a condition in the status.
"""


def page() -> str:
    """The whole page."""
    spec = structural(Spec)
    lines = [_HEAD, "## metadata", "", *(f"- {rule.message}" for rule in Resource.rules), ""]
    lines += _section("spec", spec, spec["description"])
    for path, node, _ in fields(spec, "spec"):
        if "properties" in node and not path.endswith(("Ref", "Refs[]", "pullSecrets[]")):
            lines += _section(path, node, node["description"])
    lines += _status(structural(Status))
    return "\n".join(lines).rstrip() + "\n"


def _section(path: str, node: Node, description: str) -> Iterator[str]:
    yield from (f"## {path}" if path == "spec" else f"### {path}", "", description, "")
    yield from ("| field | type | default | meaning |", "| --- | --- | --- | --- |")
    for name, child in node["properties"].items():
        group = "properties" in child  # whose fields tell their defaults themselves
        default = "**needed**" if name in node.get("required", ()) else "" if group else _code(shown_default(child))
        kind = ", ".join(filter(None, (_type(child), shown_bounds(child))))
        yield f"| `{name}` | {kind} | {default} | {_cell(child['description'])} |"
    yield ""
    rules = [rule["message"] for rule in node.get(VALIDATIONS, ()) if not rule["message"].startswith(BETWEEN)]
    if rules:
        yield from ("Rules:", "", *(f"- {rule}" for rule in rules), "")


def _status(status: Node) -> Iterator[str]:
    yield from ("## status", "", status["description"], "")
    yield from ("| field | type | meaning |", "| --- | --- | --- |")
    for path, node, _ in fields(status, "status"):
        if "description" in node and not path.endswith("[]"):
            yield f"| `{path.removeprefix('status.')}` | {_type(node)} | {_cell(node['description'])} |"


def _type(node: Node) -> str:
    """The type as people say it; choices in full."""
    if "enum" in node:
        return ", ".join(f"`{choice}`" for choice in node["enum"])
    match node:
        case {"x-kubernetes-int-or-string": True}:
            return "quantity"
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": values}:
            return f"map to {_type(values)}"
        case {"type": "string", "pattern": pattern} if pattern == DURATION_PATTERN:
            return "duration"
        case {"type": "string", "format": "date-time"}:
            return "time"
        case {"type": "string"}:
            return "text"
        case {"type": "integer"}:
            return "number"
    return "object"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
