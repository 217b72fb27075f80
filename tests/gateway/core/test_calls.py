"""Whatever a station answers, its command gets an outcome that can be written and read again."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_contract.commands import Command
from ocpp_contract.ids import ChargePointId, CommandId, PodName
from ocpp_contract.outcome import CommandResult, Outcome
from ocpp_gateway.core.calls import VersionCalls
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.flight import CallResult
from ocpp_gateway.core.handlers import Call
from ocpp_gateway.core.versions import VERSIONS

ID, STATION = CommandId("6f1b8f3e-0000-4000-8000-000000000001"), ChargePointId("CP1")
ODD: tuple[Any, ...] = (
    {},
    [],
    5,
    True,
    None,
    "Bogus",
    [5],
    [{}],
    {"a": []},
    [{"status": {}}],
    [{"attributeStatus": []}],
)
FIELDS = (
    "status",
    "configurationKey",
    "unknownKey",
    "getVariableResult",
    "setVariableResult",
    "clearMonitoringResult",
    "setMonitoringResult",
    "clearTariffsResult",
    "chargingSchedule",
    "schedule",
    "listVersion",
    "versionNumber",
    "data",
    "certificateHashData",
    "fileName",
)
CALLS = VersionCalls({name: Dialect(version) for name, version in VERSIONS.items()}, lambda connection, action: True)


@pytest.mark.parametrize(
    ("version", "type_name"), [(name, row) for name, version in VERSIONS.items() for row in version.downlink]
)
def test_an_answer_that_breaks_its_schema_still_ends_its_command(version: str, type_name: str) -> None:
    """One that raised would leave the command, its station and its partition without an end."""
    command = Command(ID, STATION, type_name, {})
    for field in FIELDS:
        for odd in ODD:
            report = CALLS.report(command, version, Call("Any", {}), CallResult({field: odd}, ("it breaks",)))
            result = CommandResult(
                ID,
                STATION,
                type_name,
                report.outcome,
                PodName("p"),
                "2026-11-22T10:00:00.000Z",
                report.reason,
                report.status,
                report.payload,
            )
            assert CommandResult.from_json(result.to_json()) == result
            if field == "status" and odd is not None:
                assert report.outcome is Outcome.REJECTED
