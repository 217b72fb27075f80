"""A trace shows everything but secrets."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_gateway.core.trace import REDACTED, redact_frame

SECRET = "s3cr3t-t0k3n"


def jws(payload: object) -> dict[str, Any]:
    return {"payload": base64.urlsafe_b64encode(orjson.dumps(payload)).decode(), "signature": "AA"}


@pytest.mark.parametrize(
    "payload",
    [
        {"key": "AuthorizationKey", "value": SECRET},
        {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": SECRET}]},
        {"setVariableData": [{"attributeValue": SECRET, "variable": {"name": "BasicAuthPassword"}, "component": {}}]},
        {"getVariableResult": [{"attributeValue": SECRET, "variable": {"name": "basicauthpassword"}}]},
        {"reportData": [{"variable": {"name": "VpnKey"}, "variableAttribute": [{"type": "Actual", "value": SECRET}]}]},
        {"eventData": [{"actualValue": SECRET, "variable": {"name": "ApnPassword"}}]},
        {"connectionData": {"vpn": {"user": "u", "password": SECRET, "key": SECRET}}},
        {"connectionData": {"apn": {"apnPassword": SECRET, "simPin": SECRET}, "basicAuthPassword": SECRET}},
        {"location": f"ftp://user:{SECRET}@host/path"},
        {"log": {"remoteLocation": f"sftp://user:p@ss:{SECRET}@host:22/path"}},
        {"vendorId": "v", "data": f'{{"password":"{SECRET}"}}'},
        {"vendorId": "v", "data": {"deep": [{"api_key": SECRET}]}},
        {"data": f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}"},
        jws({"setVariableData": [{"attributeValue": SECRET, "variable": {"name": "BasicAuthPassword"}}]}),
    ],
)
def test_secrets_are_hidden(payload: dict[str, Any]) -> None:
    shown = redact_frame(orjson.dumps([2, "1", "Action", payload]))
    assert SECRET not in shown
    assert base64.b64encode(SECRET.encode())[:12].decode() not in shown
    assert REDACTED in shown
    assert orjson.loads(shown)[:3] == [2, "1", "Action"]


@pytest.mark.parametrize(
    "payload",
    [
        {"key": "HeartbeatInterval", "value": "300"},
        {"idTag": "TAG", "connectorId": 0, "meterStart": 0},
        {"type": "InvalidCentralSystemCertificate", "techInfo": "password was changed"},
        {"setVariableData": [{"attributeValue": "wss://a/b", "variable": {"name": "NetworkProfile"}}]},
        {"location": "https://host/path?x=a@b"},
        {"x": None, "y": True, "z": [1, 2.5]},
    ],
)
def test_all_else_is_shown(payload: dict[str, Any]) -> None:
    frame = [2, "1", "Action", payload]
    assert orjson.loads(redact_frame(orjson.dumps(frame))) == frame


@pytest.mark.parametrize(
    "raw",
    [
        f'[2,"1","X",{{"password":"{SECRET}"'.encode(),
        f"AuthorizationKey={SECRET}".encode(),
        f'ftp://u:{SECRET}@h"'.encode(),
    ],
)
def test_what_is_no_json_shows_no_secret_either(raw: bytes) -> None:
    assert SECRET not in redact_frame(raw)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("unit", ["x", "://", "a://b", "password", "x.", "\\", '"'])
def test_a_long_broken_frame_is_cut_and_takes_no_time(unit: str) -> None:
    assert len(redact_frame(unit * (1_000_000 // len(unit)))) < 1_100
    shown = redact_frame(orjson.dumps([2, "1", "X", {"data": unit * (1_000_000 // len(unit))}]))
    assert len(shown) < 2_200_000


@given(st.binary(max_size=100) | st.text(max_size=100))
def test_it_never_raises(raw: bytes | str) -> None:
    redact_frame(raw).encode()


def test_deep_nesting_is_not_walked() -> None:
    assert "nested deeper" in redact_frame("[" * 900 + "]" * 900)
