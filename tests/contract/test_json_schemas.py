"""The published schemas are those of the code (`make docs` renews them) and hold what the models hold."""

from __future__ import annotations

import jsonschema_rs
import orjson
import pytest

from ocpp_contract import json_schemas
from tests.contract.publish import FOLDER

FILES = json_schemas.files()


@pytest.mark.parametrize("name", sorted(FILES))
def test_published_file_is_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == FILES[name], "run `make docs`"


def test_nothing_stale_is_published() -> None:
    published = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert published - set(FILES) == {"README.md"}


@pytest.mark.parametrize("name", [name for name in sorted(FILES) if name.endswith(".json")])
def test_every_schema_is_a_schema(name: str) -> None:
    jsonschema_rs.meta.validate(orjson.loads(FILES[name]))
