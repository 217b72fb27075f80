"""Writes the generated half of ``docs/contract/``: ``python -m tests.contract.publish`` (that is `make docs`)."""

from __future__ import annotations

from pathlib import Path

from ocpp_contract import json_schemas

FOLDER = Path(__file__).parents[2] / "docs" / "contract"


def main() -> None:
    wanted = json_schemas.files()
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.name != "README.md" and str(path.relative_to(FOLDER)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
