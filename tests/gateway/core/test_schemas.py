"""The official schemas: present, compiled, and read as the field needs them."""

from __future__ import annotations

from importlib.resources import files

import pytest

from ocpp_gateway.core.faults import Fault
from ocpp_gateway.core.schemas import CLEAN, examine, request_schema, response_schema

STATUS = {"connectorId": 0, "status": "Available", "errorCode": "NoError"}


@pytest.mark.parametrize(("version", "count"), [("v16", 78), ("v201", 128), ("v21", 181)])
def test_every_shipped_schema_is_reachable(version: str, count: int) -> None:
    names = [entry.name.removesuffix(".json") for entry in (files("ocpp") / version / "schemas").iterdir()]
    assert len(names) == count
    for name in names:
        if name.endswith("Response"):
            assert response_schema(version, name.removesuffix("Response")) is not None
        else:
            assert request_schema(version, name.removesuffix("Request")) is not None


@pytest.mark.parametrize("action", ["", "../v21/schemas/Reset", "Réset", "Reset.json", "Unheard", "Reset\x00"])
def test_other_names_reach_no_file(action: str) -> None:
    assert request_schema("v16", action) is None
    assert response_schema("v21", action) is None


def test_a_valid_payload_is_clean() -> None:
    validator = request_schema("v16", "StatusNotification")
    assert validator is not None
    assert examine(validator, STATUS) is CLEAN


@pytest.mark.parametrize(
    ("changes", "path", "fault"),
    [
        ({"connectorId": "1"}, "connectorId", Fault.TYPE),
        ({"connectorId": 1.5}, "connectorId", Fault.TYPE),
        ({"status": "Great"}, "status", Fault.PROPERTY),
        ({"info": "x" * 51}, "info", Fault.PROPERTY),
        ({"timestamp": "yesterday"}, "timestamp", Fault.PROPERTY),
        ({"timestamp": "2026-02-30T10:00:00Z"}, "timestamp", Fault.PROPERTY),
        ({"errorCode": None}, "errorCode", Fault.TYPE),
    ],
)
def test_a_violation_names_field_and_fault(changes: dict[str, object], path: str, fault: Fault) -> None:
    validator = request_schema("v16", "StatusNotification")
    assert validator is not None
    violations = examine(validator, {**STATUS, **changes}).violations
    assert (path, fault) in [(violation.path, violation.fault) for violation in violations]


def test_paths_reach_into_lists() -> None:
    validator = request_schema("v16", "MeterValues")
    assert validator is not None
    payload = {"connectorId": 1, "meterValue": [{"timestamp": "2026-11-22T10:00:00Z", "sampledValue": [{"value": 5}]}]}
    (violation,) = examine(validator, payload).violations
    assert str(violation) == 'meterValue[0].sampledValue[0].value: 5 is not of type "string"'


def test_reasons_are_short_whatever_came() -> None:
    validator = request_schema("v16", "StatusNotification")
    assert validator is not None
    (violation,) = examine(validator, {**STATUS, "status": "x" * 100_000}).violations
    assert len(str(violation)) < 200


def test_the_number_of_violations_is_bounded() -> None:
    validator = request_schema("v16", "MeterValues")
    assert validator is not None
    findings = examine(validator, {"connectorId": 1, "meterValue": [{"timestamp": "x", "sampledValue": []}] * 500})
    assert len(findings.violations) == 10


@pytest.mark.parametrize("limit", [0.1, 0.3, 0.7, 6.1, 16.3, 32.1, 99.9, 1e15])
def test_one_decimal_is_a_multiple_of_a_tenth(limit: float) -> None:
    validator = response_schema("v16", "GetCompositeSchedule")
    assert validator is not None
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}]}
    assert examine(validator, {"status": "Accepted", "chargingSchedule": schedule}) is CLEAN


def test_two_decimals_are_not() -> None:
    validator = response_schema("v16", "GetCompositeSchedule")
    assert validator is not None
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.35}]}
    assert examine(validator, {"status": "Accepted", "chargingSchedule": schedule}).violations
