"""A password on its way to a station is seen in every spelling, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_contract.commands import check_payload
from ocpp_contract.ids import CommandId
from ocpp_gateway.core.handlers import Call, DownlinkContext, Version
from ocpp_gateway.core.ocpp16 import OCPP16
from ocpp_gateway.core.ocpp21 import OCPP21
from ocpp_gateway.core.ocpp201 import OCPP201
from ocpp_gateway.core.password_change import new_password

COMMAND = CommandId("5e0f6b0e-7f2c-4a53-9d0a-0c1f4d3f5b11")


def variable(component: str, name: str, **more: Any) -> dict[str, Any]:
    return {"component": {"name": component}, "variable": {"name": name}, "attributeValue": "secret", **more}


@pytest.mark.parametrize("version", [OCPP16, OCPP201, OCPP21], ids=lambda version: version.subprotocol)
def test_the_unified_command_is_seen_in_every_version(version: Version) -> None:
    payload = {"setVariableData": [variable("SecurityCtrlr", "BasicAuthPassword")]}
    checked = check_payload("SetVariables", payload, COMMAND)
    call = version.downlink["SetVariables"].call(checked, DownlinkContext("CP-1", COMMAND))
    assert new_password(call) == "secret"


@pytest.mark.parametrize(
    "call",
    [
        Call("ChangeConfiguration", {"key": "AuthorizationKey", "value": "secret"}),
        Call("ChangeConfiguration", {"key": "authorizationkey", "value": "secret"}),
        Call("SetVariables", {"setVariableData": [variable("A", "B"), variable("securityctrlr", "basicauthpassword")]}),
        Call(
            "SetVariables",
            {"setVariableData": [variable("SecurityCtrlr", "BasicAuthPassword", attributeType="Actual")]},
        ),
    ],
)
def test_every_spelling_is_seen(call: Call) -> None:
    assert new_password(call) == "secret"


@pytest.mark.parametrize(
    "call",
    [
        Call("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "secret"}),
        Call("ChangeConfiguration", {"key": "AuthorizationKey"}),
        Call("ChangeConfiguration", {"key": 1, "value": "secret"}),
        Call("GetConfiguration", {"key": ["AuthorizationKey"]}),
        Call("SetVariables", {"setVariableData": [variable("SecurityCtrlr", "OrganizationName")]}),
        Call(
            "SetVariables",
            {"setVariableData": [variable("SecurityCtrlr", "BasicAuthPassword", attributeType="Target")]},
        ),
        Call("SetVariables", {"setVariableData": "x"}),
        Call("SetVariables", {"setVariableData": [1, {"component": []}]}),
        Call("SetVariables", {}),
    ],
)
def test_nothing_else_is_a_password(call: Call) -> None:
    assert new_password(call) is None
