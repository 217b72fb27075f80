"""Writes what is generated from the typed spec: ``python -m tests.operator_core.publish`` (part of `make docs`)."""

from __future__ import annotations

from pathlib import Path

from ocpp_operator.core import crd, reference
from ocpp_operator.core.names import PLURAL

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds" / f"{PLURAL}.yaml"
REFERENCE = ROOT / "docs" / "resource.md"


def wanted() -> dict[Path, str]:
    return {CRD: crd.text(), REFERENCE: reference.page()}


def main() -> None:
    for path, text in wanted().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
