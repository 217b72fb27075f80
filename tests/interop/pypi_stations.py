"""Charge points as the PyPI package `ocpp` makes them, validating everything that they send and receive by its own schemas."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import websockets
from ocpp import v16, v21, v201
from ocpp.routing import on

MODULES = {"ocpp1.6": v16, "ocpp2.0.1": v201, "ocpp2.1": v21}
_ACCEPTED = {"status": "Accepted"}

# What a station answers to a command: fields of the package's own result class.
ANSWERS: dict[str, dict[str, Any]] = {
    "RemoteStartTransaction": _ACCEPTED,
    "RemoteStopTransaction": _ACCEPTED,
    "RequestStartTransaction": {"status": "Accepted", "transaction_id": "TX-REMOTE"},
    "RequestStopTransaction": _ACCEPTED,
    "ChangeConfiguration": _ACCEPTED,
    "Reset": _ACCEPTED,
    "TriggerMessage": _ACCEPTED,
    "UnlockConnector": {"status": "Unlocked"},
    "ChangeAvailability": {"status": "Scheduled"},
    "ClearCache": _ACCEPTED,
    "DataTransfer": {"status": "Accepted", "data": "done"},
    "ReserveNow": _ACCEPTED,
    "CancelReservation": _ACCEPTED,
    "SetChargingProfile": _ACCEPTED,
    "ClearChargingProfile": _ACCEPTED,
    "SendLocalList": _ACCEPTED,
    "GetBaseReport": _ACCEPTED,
    "GetLog": {"status": "Accepted", "filename": "station.log"},
    "InstallCertificate": _ACCEPTED,
    "DeleteCertificate": _ACCEPTED,
    "CertificateSigned": _ACCEPTED,
}
NO_STATUS = {
    "ocpp1.6": {"GetLocalListVersion": {"list_version": 12}, "UpdateFirmware": {}},
    "ocpp2.0.1": {"GetLocalListVersion": {"version_number": 12}, "UpdateFirmware": _ACCEPTED},
    "ocpp2.1": {"GetLocalListVersion": {"version_number": 12}, "UpdateFirmware": _ACCEPTED},
}


class Pypi:
    """One connected station. `point` is the package's ChargePoint, `commands` what it was asked to do, in order."""

    def __init__(self, name: str, version: str, socket: websockets.ClientConnection) -> None:
        self.name = name
        self.version = version
        self.commands: list[tuple[str, dict[str, Any]]] = []
        module = MODULES[version]
        self._call = module.call
        self._result = module.call_result
        self.point = _charge_point_class(self)(name, socket, response_timeout=10)
        self._listening = asyncio.create_task(self.point.start())

    async def ask(self, action: str, message_id: str | None = None, **fields: Any) -> Any:
        """The package checks request and answer against its schemas; a CALLERROR is raised."""
        request = getattr(self._call, action)(**fields)
        return await self.point.call(request, suppress=False, unique_id=message_id)

    def obey(self, action: str, fields: dict[str, Any]) -> Any:
        self.commands.append((action, fields))
        if action == "GetVariables":
            return self._result.GetVariables(
                get_variable_result=[
                    {**wanted, "attribute_status": "Accepted", "attribute_value": "1"}
                    for wanted in fields["get_variable_data"]
                ]
            )
        if action == "SetVariables":
            results = [
                {"component": each["component"], "variable": each["variable"], "attribute_status": "Accepted"}
                for each in fields["set_variable_data"]
            ]
            return self._result.SetVariables(set_variable_result=results)
        if action == "GetConfiguration":
            known = [{"key": key, "readonly": False, "value": "1"} for key in fields.get("key") or ()]
            return self._result.GetConfiguration(configuration_key=known)
        answer = {**ANSWERS, **NO_STATUS[self.version]}[action]
        return getattr(self._result, action)(**answer)

    async def leave(self) -> None:
        self._listening.cancel()
        await asyncio.wait((self._listening,))
        if not self._listening.cancelled():
            self._listening.exception()


def _charge_point_class(station: Pypi) -> Any:
    """A ChargePoint with a handler for every command that the package's version knows and the table answers."""
    module = MODULES[station.version]
    known = {**ANSWERS, **NO_STATUS[station.version], "GetVariables": {}, "SetVariables": {}, "GetConfiguration": {}}

    def handler(action: str) -> Any:
        def obey(self: Any, **fields: Any) -> Any:
            return station.obey(action, fields)

        obey.__name__ = f"on_{action}"  # the package finds handlers by the names of their functions
        return on(action)(obey)

    handlers = {f"on_{action}": handler(action) for action in known if hasattr(module.call_result, action)}
    return type("Obedient", (module.ChargePoint,), handlers)


@contextlib.asynccontextmanager
async def pypi_station(url: str, version: str, name: str | None = None) -> AsyncIterator[Pypi]:
    """`url` ends in a slash. Compression and pings as the client library has them by default."""
    name = name or f"PYPI-{secrets.token_hex(4)}"
    async with websockets.connect(url + name, subprotocols=[websockets.Subprotocol(version)]) as socket:
        assert socket.subprotocol == version
        station = Pypi(name, version, socket)
        try:
            yield station
        finally:
            await station.leave()
