"""Every golden file: one input, and what the decoder makes of it or how it refuses. A new case is a new file.

``golden/<kind>/<case>.json`` holds ``input`` (JSON, or text where the kind is text), and either ``output`` or ``error``
with ``field`` and ``reason``. Where a JSON Schema of the kind is published, accepted inputs must fit it and refused ones
must not, unless the file says ``"beyondSchema": true``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from ocpp_contract import decisions, internal_api, json_schemas
from ocpp_contract.assignment import Assignment, format_cpuset, parse_annotations_file, parse_cpuset
from ocpp_contract.commands import decode_command
from ocpp_contract.commit_metadata import decode_metadata
from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.errors import ContractError
from ocpp_contract.events import EVENT_TYPES, Event
from ocpp_contract.ids import check_charge_point_id
from ocpp_contract.outcome import CommandResult
from ocpp_contract.registry import CredentialRecord, StationRecord
from ocpp_contract.scripts.records import StoreClaim
from ocpp_contract.times import format_time, parse_station_time, parse_time

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.rglob("*.json"))
SCHEMAS = {
    name.removesuffix(".schema.json"): jsonschema_rs.validator_for(orjson.loads(text), validate_formats=True)
    for name, text in json_schemas.files().items()
    if name.endswith(".json")
}


def _command(raw: bytes) -> Any:
    return orjson.loads(decode_command(raw).to_json())


def _event(short: str) -> Callable[[bytes], Any]:
    def read(raw: bytes) -> Any:
        event = Event.from_json(short, raw)
        if not event.schema_errors:
            event.typed_data()
        return orjson.loads(event.to_json())

    return read


def _annotations(raw: bytes) -> Any:
    found = parse_annotations_file(orjson.loads(raw))
    assignment = Assignment.from_annotations(found)
    if assignment is None:
        return {"annotations": found, "assignment": None}
    return {
        "annotations": found,
        "assignment": {"generation": assignment.generation, "partitions": sorted(assignment.partitions)},
    }


def _station_time(raw: bytes) -> Any:
    found = parse_station_time(orjson.loads(raw))
    return {"time": format_time(found.time), "assumedUtc": found.assumed_utc}


def _commit_metadata(raw: bytes) -> Any:
    found = decode_metadata(**orjson.loads(raw))
    return None if found is None else {"resourceUid": found.resource_uid, "finished": sorted(found.finished)}


READERS: Mapping[str, Callable[[bytes], Any]] = {
    "command": _command,
    "command-result": lambda raw: orjson.loads(CommandResult.from_json(raw).to_json()),
    "connection": lambda raw: orjson.loads(ConnectionRecord.from_json(raw).to_json()),
    "station": lambda raw: orjson.loads(StationRecord.from_json(raw).to_json()),
    "credential": lambda raw: orjson.loads(CredentialRecord.from_json(raw).to_json()),
    "internal-connections": lambda raw: orjson.loads(
        internal_api.encode_connections(internal_api.decode_connections(raw))
    ),
    "annotations-file": _annotations,
    "commit-metadata": _commit_metadata,
    "store-claim": lambda raw: orjson.loads(StoreClaim.from_json(raw).to_json()),
    "cpuset": lambda raw: format_cpuset(parse_cpuset(orjson.loads(raw))),
    "time": lambda raw: format_time(parse_time(orjson.loads(raw))),
    "station-time": _station_time,
    "charge-point-id": lambda raw: check_charge_point_id(*orjson.loads(raw)),
    **{f"decisions/{kind}": partial(decisions.decode_response, kind) for kind in decisions.DECISIONS},
    **{f"events/{short}": _event(short) for short in EVENT_TYPES},
}


@pytest.mark.parametrize("path", CASES, ids=lambda path: str(path.relative_to(GOLDEN).with_suffix("")))
def test_golden(path: Path) -> None:
    kind = str(path.parent.relative_to(GOLDEN))
    case = orjson.loads(path.read_bytes())
    raw = orjson.dumps(case["input"])
    if "error" in case:
        with pytest.raises(ContractError) as caught:
            READERS[kind](raw)
        found = {"field": caught.value.field, "reason": caught.value.reason}
        if "outcome" in case["error"]:
            found["outcome"] = caught.value.outcome  # type: ignore[attr-defined]  # InvalidCommand, named by the file
        assert found == case["error"]
    else:
        assert READERS[kind](raw) == case["output"]
    if kind in SCHEMAS and not case.get("beyondSchema"):
        assert SCHEMAS[kind].is_valid(case["input"]) is ("output" in case)
        if "output" in case:
            assert SCHEMAS[kind].is_valid(case["output"])


def test_every_kind_has_an_accepted_case() -> None:
    accepted = {str(path.parent.relative_to(GOLDEN)) for path in CASES if b'"output"' in path.read_bytes()}
    assert accepted == set(READERS)


def test_every_command_type_has_a_case() -> None:
    types = {orjson.loads(path.read_bytes())["input"]["type"] for path in (GOLDEN / "command").glob("type-*.json")}
    assert types == set(orjson.loads(json_schemas.files()["command.schema.json"])["properties"]["type"]["enum"])
