"""The variants of a resource whose children are kept as golden files: `golden/<name>.in.yaml` -> `golden/<name>.yaml`.

A new case is a new `.in.yaml`; `python -m tests.operator_core.manifests` writes what follows from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ocpp_operator.core import kinds, stored_plan, template
from ocpp_operator.core.manifests.assembly import children
from ocpp_operator.core.manifests.metadata import Manifest
from ocpp_operator.core.spec import Resource

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.name.removesuffix(".in.yaml") for path in GOLDEN.glob("*.in.yaml"))
RENEW = "python -m tests.operator_core.manifests"
UID = "3f0c5a52-3f1c-4d57-9d5e-5d1c0e0b7a11"
TOKEN = "a-token-that-the-operator-drew"
VERSION, REPOSITORY = "0.2.0", "registry.example/mirror/gateway"
"""What an operator would say for a resource without version and repository."""


def raw(name: str) -> dict[str, Any]:
    """The resource as the API server would show it, but for defaults."""
    found: dict[str, Any] = yaml.safe_load((GOLDEN / f"{name}.in.yaml").read_text())
    found["metadata"] |= {"namespace": "stations", "uid": UID, "generation": 1}
    return found


def resource(name: str) -> Resource:
    return Resource.parse(raw(name))


def manifests(of: Resource) -> list[Manifest]:
    """Everything that a resource gets when it is new."""
    fresh = template.render(of, VERSION, REPOSITORY)
    chosen = template.choose(of, [], fresh)
    return children(of, chosen, TOKEN, kinds.CHILDREN, plan={"format": stored_plan.FORMAT, "generation": "0"})


class _Dumper(yaml.SafeDumper):
    """Without anchors, lists indented as people do, text of several lines as a block."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def rendered(name: str) -> str:
    """The golden file's content."""
    head = f"# What {name}.in.yaml becomes. Written by `{RENEW}`.\n"
    return head + yaml.dump_all(manifests(resource(name)), Dumper=_Dumper, sort_keys=False, width=140)


def write() -> None:
    for name in NAMES:
        (GOLDEN / f"{name}.yaml").write_text(rendered(name))
    for path in GOLDEN.glob("*.yaml"):
        if path.name.removesuffix(".in.yaml").removesuffix(".yaml") not in NAMES:
            path.unlink()
