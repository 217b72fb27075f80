"""The npm package `ocpp-rpc` as a strict client: it checks every message of the gateway by its own copy of the schemas.

1.6 and 2.0.1: in strict mode the package (2.2.1) does not find its own schemas of 2.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require
from tests.system.site import Site
from tests.testbed.components import OCPP_RPC

pytestmark = [
    pytest.mark.node,
    pytest.mark.system,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="package"),
]
SCRIPT = Path(__file__).with_name("npm_station.js")
AT = "2026-11-22T10:00:00Z"


class NpmStation:
    """See npm_station.js."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.broken: list[str] = []
        self.closed: dict[str, Any] | None = None
        self.connected: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.reading = asyncio.create_task(self._read())

    def post(self, action: str, params: Any) -> asyncio.Future[dict[str, Any]]:
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._write({"n": number, "call": action, "params": params})
        return waiting

    async def call(self, action: str, params: Any) -> dict[str, Any]:
        async with asyncio.timeout(12):
            said = await self.post(action, params)
        assert "answer" in said, said
        return dict(said["answer"])

    def close(self) -> None:
        self._write({"close": True})

    def _write(self, fields: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "n" in said:
                self._waiting.pop(said["n"]).set_result(said)
            elif "command" in said:
                self.commands.append((said["command"], said["params"]))
            elif "connected" in said:
                self.connected.set_result(said["connected"])
            elif "closed" in said:
                self.closed = said
            else:
                self.broken.append(said["broken"])


@contextlib.asynccontextmanager
async def npm_station(url: str, protocol: str) -> AsyncIterator[NpmStation]:
    """Connected, strict; in the end nothing of the gateway may have been wrong in its eyes."""
    packages = require(OCPP_RPC.find)
    name = f"NPM-{secrets.token_hex(4)}"
    process = await asyncio.create_subprocess_exec(
        "node", str(SCRIPT), url.rstrip("/"), name, protocol,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(packages / "node_modules")},
    )  # fmt: skip
    station = NpmStation(name, process)
    try:
        async with asyncio.timeout(15):
            assert await station.connected == protocol
        yield station
        station.close()
        async with asyncio.timeout(10):
            await process.wait()
            await station.reading
        assert process.returncode == 0
    finally:
        assert station.broken == []
        if process.returncode is None:
            process.kill()
            await process.wait()
        await station.reading


async def test_a_session_in_16(site: Site) -> None:
    async with npm_station(site.pods[0].station_url, "ocpp1.6") as station:
        booted = await station.call("BootNotification", {"chargePointVendor": "npm", "chargePointModel": "ocpp-rpc"})
        assert booted["status"] == "Accepted"
        assert (await station.call("Heartbeat", {}))["currentTime"].endswith("Z")
        await station.call("StatusNotification", {"connectorId": 0, "errorCode": "NoError", "status": "Available"})
        assert (await station.call("Authorize", {"idTag": "NPM1"}))["idTagInfo"]["status"] == "Accepted"
        start = {"connectorId": 1, "idTag": "NPM1", "meterStart": 0, "timestamp": AT}
        transaction = (await station.call("StartTransaction", start))["transactionId"]
        sampled = [{"value": "7.040", "measurand": "Power.Active.Import", "unit": "kW"}]
        meter = {
            "connectorId": 1,
            "transactionId": transaction,
            "meterValue": [{"timestamp": AT, "sampledValue": sampled}],
        }
        await station.call("MeterValues", meter)
        await station.call("StopTransaction", {"transactionId": transaction, "meterStop": 10, "timestamp": AT})
        name = station.name
    values = (await site.event(name, "MeterValues"))["data"]["meterValue"][0]["sampledValue"]
    assert (values[0]["value"], values[0]["unit"]) == ("7.040", "kW")
    ended = await site.event(name, "TransactionEnded")
    assert ended["data"]["transactionId"] == str(transaction)
    await site.event(name, "DeviceOffline")


async def test_a_session_in_201(site: Site) -> None:
    async with npm_station(site.pods[1].station_url, "ocpp2.0.1") as station:
        boot = {"reason": "PowerUp", "chargingStation": {"vendorName": "npm", "model": "ocpp-rpc"}}
        assert (await station.call("BootNotification", boot))["status"] == "Accepted"
        token = {"idToken": "NPM2", "type": "Central"}
        assert (await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"] == "Accepted"
        for number, kind in enumerate(("Started", "Updated", "Ended")):
            event: dict[str, Any] = {
                "eventType": kind,
                "timestamp": AT,
                "triggerReason": "Authorized" if number == 0 else "MeterValuePeriodic",
                "seqNo": number,
                "transactionInfo": {"transactionId": "TX-NPM"},
                "meterValue": [{"timestamp": AT, "sampledValue": [{"value": number + 0.1}]}],
            }
            answer = await station.call("TransactionEvent", event | ({"idToken": token} if number == 0 else {}))
            assert (number == 0) == ("idTokenInfo" in answer)
        name = station.name
    ended = await site.event(name, "TransactionEnded")
    assert ended["data"]["meterValue"][0]["sampledValue"][0]["value"] == "2.1"


TOKEN = {"idToken": "NPM3", "type": "Central"}
VARIABLE = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
COMMANDS: list[tuple[str, dict[str, Any], str]] = [
    ("RequestStartTransaction", {"idToken": TOKEN, "evseId": 1}, "RemoteStartTransaction"),
    ("RequestStopTransaction", {"transactionId": "12"}, "RemoteStopTransaction"),
    ("GetVariables", {"getVariableData": [VARIABLE]}, "GetConfiguration"),
    ("SetVariables", {"setVariableData": [{**VARIABLE, "attributeValue": "60"}]}, "ChangeConfiguration"),
    ("Reset", {"type": "Immediate"}, "Reset"),
    ("TriggerMessage", {"requestedMessage": "BootNotification"}, "TriggerMessage"),
    ("UnlockConnector", {"evseId": 2, "connectorId": 1}, "UnlockConnector"),
    ("ChangeAvailability", {"operationalStatus": "Operative"}, "ChangeAvailability"),
    ("ClearCache", {}, "ClearCache"),
    ("DataTransfer", {"vendorId": "v", "data": "echo"}, "DataTransfer"),
]


@pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])
async def test_commands_down_pass_strict_validation(site: Site, protocol: str) -> None:
    async with npm_station(site.pods[0].station_url, protocol) as station:
        for type_name, payload, action16 in COMMANDS:
            result = await site.final(await site.send(station.name, type_name, payload))
            assert result["outcome"] == "Accepted", result
            assert station.commands[-1][0] == (action16 if protocol == "ocpp1.6" else type_name)
        assert result["payload"]["data"] == "echo"
        unknown = await site.final(await site.send(station.name, "GetLocalListVersion"))
        assert (unknown["outcome"], unknown["status"]) == ("CallError", "NotImplemented")


async def test_both_directions_at_once(site: Site) -> None:
    """Commands and messages cross on one socket; neither waits for the other."""
    async with npm_station(site.pods[0].station_url, "ocpp1.6") as station:
        beats = [station.post("Heartbeat", {}) for _ in range(20)]
        sent = [await site.send(station.name, "DataTransfer", {"vendorId": "v", "data": str(n)}) for n in range(20)]
        assert [await site.outcome(each) for each in sent] == ["Accepted"] * 20
        assert all("answer" in said for said in await asyncio.gather(*beats))
        assert [params["data"] for _, params in station.commands] == [str(number) for number in range(20)]


async def test_a_callerror_is_what_the_package_expects(site: Site) -> None:
    """A CALL that is valid, but not for a charge point to send."""
    async with npm_station(site.pods[0].station_url, "ocpp1.6") as station:
        async with asyncio.timeout(12):
            said = await station.post("Reset", {"type": "Hard"})
        assert said["error"] == "NotSupported"
        assert (await station.call("Heartbeat", {}))["currentTime"]
