"""Writes what is generated from the typed spec: ``python -m tests.operator_core.publish`` (part of `make docs`).

Beside CRD and page: `versions/<version>.json`, what operator and gateway of this version say to each other through the settings
file. Those of earlier versions stay as they were released (`test_version_skew`).
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

from ocpp_gateway.settings import Settings
from ocpp_operator.core import crd, gateway_settings, reference
from ocpp_operator.core.names import PLURAL
from ocpp_operator.core.spec import Resource
from tests.operator_cluster.crd_objects import FULL_SPEC, MINIMAL_SPEC, gateway

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds" / f"{PLURAL}.yaml"
REFERENCE = ROOT / "docs" / "resource.md"
VERSIONS = Path(__file__).parent / "versions"
THIS_VERSION = VERSIONS / f"{metadata.version('chargegateway')}.json"


def wanted() -> dict[Path, str]:
    return {CRD: crd.text(), REFERENCE: reference.page(), THIS_VERSION: said()}


def said() -> str:
    """The schema of the gateway's settings file, resources, and the files that the operator makes of them."""
    resources = [gateway(MINIMAL_SPEC), gateway(FULL_SPEC)]
    rendered = [gateway_settings.render(Resource.parse(resource)) for resource in resources]
    found = {"schema": _without_words(Settings.model_json_schema()), "resources": resources, "rendered": rendered}
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def _without_words(schema: object) -> object:
    """What the settings mean is told elsewhere."""
    if isinstance(schema, list):
        return [_without_words(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_words(value)
        for key, value in schema.items()
        if not (key in ("title", "description") and isinstance(value, str))
    }


def main() -> None:
    for path, text in wanted().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
