"""Writes what is generated in charts/chargegateway: ``python -m tests.chart.publish``. Needs no Helm.

values.schema.json is the one source of the values: their types, bounds, defaults and descriptions. values.yaml, which people read and
copy, and the table in the chart's README follow from it. The CRD is the one of crds/.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.operator_core.publish import CRD, ROOT

CHART = ROOT / "charts" / "chargegateway"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
_TABLE = re.compile(r"(?<=<!-- values: begin -->\n).*(?=<!-- values: end -->)", re.DOTALL)
_WIDTH = 120
_OWN = frozenset({"global"})
"""Helm's own: it comes from outside, nobody sets it here."""

Json = dict[str, Any]


def schema() -> Json:
    """values.schema.json."""
    found: Json = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


def leaves(node: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every value that can be set: those with a default. What has none is a group of others."""
    for name, child in node["properties"].items():
        if not path and name in _OWN:
            continue
        if "default" in child:
            yield (*path, name), child
        else:
            yield from leaves(child, (*path, name))


def values_yaml() -> str:
    head = "# Generated from values.schema.json; do not edit. `python -m tests.chart.publish` renews it.\n"
    groups = ["".join(_lines(name, child, 0)) for name, child in schema()["properties"].items() if name not in _OWN]
    return head + "".join(f"\n{group}" for group in groups)


def _lines(name: str, node: Mapping[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for line in textwrap.wrap(_with_choices(node), _WIDTH - len(indent) - 2, break_long_words=False):
        yield f"{indent}# {line}\n"
    if "default" not in node:
        yield f"{indent}{name}:\n"
        for child, below in node["properties"].items():
            yield from _lines(child, below, depth + 1)
        return
    default = node["default"]
    if isinstance(default, Mapping) and default:
        yield f"{indent}{name}:\n{textwrap.indent(yaml.safe_dump(default, sort_keys=False), indent + '  ')}"
    else:
        yield f"{indent}{name}: {_shown(default)}\n"


def _with_choices(node: Mapping[str, Any]) -> str:
    choices = f" One of {', '.join(node['enum'])}." if "enum" in node else ""
    return f"{node['description']}{choices}"


def _shown(default: object) -> str:
    plain = isinstance(default, str) and re.fullmatch(r"[A-Za-z][\w./-]*", default)
    return str(default) if plain else json.dumps(default)


def readme() -> str:
    """README.md with its table anew."""
    lines = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, node in leaves(schema()):
        lines.append(f"| `{'.'.join(path)}` | `{_shown(node['default'])}` | {_with_choices(node)} |")
    table = "\n".join(lines) + "\n"
    return _TABLE.sub(lambda _: table, README.read_text(encoding="utf-8"))


def wanted() -> dict[Path, str]:
    """Every generated file."""
    return {
        CHART / "files" / CRD.name: CRD.read_text(encoding="utf-8"),
        CHART / "values.yaml": values_yaml(),
        README: readme(),
    }


def main() -> None:
    for path, text in wanted().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
