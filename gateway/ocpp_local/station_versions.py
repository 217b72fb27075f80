"""The dialects of simulated stations: OCPP 1.6, 2.0.1 and 2.1 as the PyPI package `ocpp` speaks them.

Only what a station says and how it answers; when it says something is decided in `stations`. Actions without a handler here are
answered NotImplemented by the library, as a small station would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ocpp import v16, v21, v201
from ocpp.routing import after, on
from websockets.asyncio.client import ClientConnection

from ocpp_contract.names import OCPP16, OCPP21, OCPP201
from ocpp_local.stations import Conversation, Station, TransactionMessage, now

ANSWER_TIMEOUT = 20.0
VENDOR, MODEL = "ChargeGateway", "Simulator"


class _Obeys:
    """Commands that all versions have under the same name."""

    station: Station
    _call: Any
    _call_result: Any

    def _result(self, action: str, **fields: Any) -> Any:
        return getattr(self._call_result, action)(**fields)

    def _request(self, action: str, **fields: Any) -> Any:
        return getattr(self._call, action)(**fields)

    async def _ask(self, action: str, message_id: str | None = None, **fields: Any) -> Any:
        # suppress=False: a CALLERROR is raised, not turned into None
        return await self.call(self._request(action, **fields), suppress=False, unique_id=message_id)  # type: ignore[attr-defined]

    async def heartbeat(self) -> None:
        await self._ask("Heartbeat")

    @on("Reset")
    def on_reset(self, call_unique_id: str, **_: Any) -> Any:
        self.station.note("Reset", call_unique_id)
        return self._result("Reset", status="Accepted")

    @after("Reset")
    def after_reset(self, **_: Any) -> None:
        self.station.reboot()

    @on("TriggerMessage")
    def on_trigger_message(self, call_unique_id: str, requested_message: str, **_: Any) -> Any:
        self.station.note("TriggerMessage", call_unique_id, requested_message)
        if requested_message == "Heartbeat":
            self.station.errand(lambda conversation: conversation.heartbeat())
        elif requested_message == "StatusNotification":
            charging = self.station.session is not None
            self.station.errand(lambda conversation: conversation.status(charging))
        elif requested_message == "BootNotification":
            self.station.errand(_boot)
        else:
            return self._result("TriggerMessage", status="NotImplemented")
        return self._result("TriggerMessage", status="Accepted")

    @on("DataTransfer")
    async def on_data_transfer(self, call_unique_id: str, data: Any = "", **_: Any) -> Any:
        self.station.note("DataTransfer", call_unique_id, str(data))
        await asyncio.sleep(self.station.thinking)
        return self._result("DataTransfer", status="Accepted")

    @on("ClearCache")
    def on_clear_cache(self, call_unique_id: str, **_: Any) -> Any:
        self.station.note("ClearCache", call_unique_id)
        return self._result("ClearCache", status="Accepted")

    @on("UnlockConnector")
    def on_unlock_connector(self, call_unique_id: str, **_: Any) -> Any:
        self.station.note("UnlockConnector", call_unique_id)
        return self._result("UnlockConnector", status="Unlocked")

    @on("ChangeAvailability")
    def on_change_availability(self, call_unique_id: str, **_: Any) -> Any:
        self.station.note("ChangeAvailability", call_unique_id)
        return self._result("ChangeAvailability", status="Accepted")

    @on("SetChargingProfile")
    def on_set_charging_profile(self, call_unique_id: str, **_: Any) -> Any:
        self.station.note("SetChargingProfile", call_unique_id)
        return self._result("SetChargingProfile", status="Accepted")

    @on("GetLocalListVersion")
    def on_get_local_list_version(self, call_unique_id: str, **_: Any) -> Any:
        self.station.note("GetLocalListVersion", call_unique_id)
        word = "list_version" if self.station.subprotocol == OCPP16 else "version_number"
        return self._result("GetLocalListVersion", **{word: 0})


async def _boot(conversation: Conversation) -> None:
    await conversation.boot()


class Station16(_Obeys, v16.ChargePoint):
    """OCPP 1.6J."""

    def __init__(self, station: Station, socket: ClientConnection) -> None:
        super().__init__(station.id, socket, response_timeout=ANSWER_TIMEOUT)
        self.station = station

    async def boot(self) -> tuple[str, int]:
        answer = await self._ask("BootNotification", charge_point_vendor=VENDOR, charge_point_model=MODEL)
        return str(answer.status), int(answer.interval)

    async def status(self, charging: bool) -> None:
        word = "Charging" if charging else "Available"
        await self._ask("StatusNotification", connector_id=1, error_code="NoError", status=word, timestamp=now())

    async def transaction(self, message: TransactionMessage) -> str:
        session = message.session
        if message.kind == "Started":
            answer = await self._ask(
                "StartTransaction",
                message.message_id,
                connector_id=1,
                id_tag=session.id_token,
                meter_start=message.wh,
                timestamp=message.at,
            )
            session.transaction_id = str(answer.transaction_id)
            return "StartTransaction"
        # The queue is in order: a transaction id is known here unless the start was given up, and then 0 says so.
        transaction_id = int(session.transaction_id or 0)
        if message.kind == "Updated":
            await self._ask(
                "MeterValues",
                message.message_id,
                connector_id=1,
                transaction_id=transaction_id,
                meter_value=[
                    {
                        "timestamp": message.at,
                        "sampled_value": [
                            {"value": str(message.wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
                        ],
                    }
                ],
            )
            return "MeterValues"
        await self._ask(
            "StopTransaction",
            message.message_id,
            meter_stop=message.wh,
            timestamp=message.at,
            transaction_id=transaction_id,
            reason=message.reason,
            id_tag=session.id_token,
        )
        return "StopTransaction"

    @on("RemoteStartTransaction")
    def on_remote_start(self, call_unique_id: str, id_tag: str, **_: Any) -> Any:
        self.station.note("RemoteStartTransaction", call_unique_id, id_tag)
        free = self.station.session is None
        return self._result("RemoteStartTransaction", status="Accepted" if free else "Rejected")

    @after("RemoteStartTransaction")
    def after_remote_start(self, id_tag: str, **_: Any) -> None:
        self.station.begin(id_tag)

    @on("RemoteStopTransaction")
    def on_remote_stop(self, call_unique_id: str, transaction_id: int, **_: Any) -> Any:
        self.station.note("RemoteStopTransaction", call_unique_id, str(transaction_id))
        stopped = self.station.end(str(transaction_id), reason="Remote")
        return self._result("RemoteStopTransaction", status="Accepted" if stopped else "Rejected")

    @on("GetConfiguration")
    def on_get_configuration(self, call_unique_id: str, key: list[str] | None = None, **_: Any) -> Any:
        self.station.note("GetConfiguration", call_unique_id)
        known = self.station.variables
        return self._result(
            "GetConfiguration",
            configuration_key=[
                {"key": name, "readonly": False, "value": value}
                for name, value in known.items()
                if not key or name in key
            ],
            unknown_key=[name for name in key or [] if name not in known] or None,
        )

    @on("ChangeConfiguration")
    def on_change_configuration(self, call_unique_id: str, key: str, value: str, **_: Any) -> Any:
        self.station.note("ChangeConfiguration", call_unique_id, f"{key}={value}")
        if key not in self.station.variables:
            return self._result("ChangeConfiguration", status="NotSupported")
        self.station.variables[key] = value
        return self._result("ChangeConfiguration", status="Accepted")


class _Speaks2x(_Obeys):
    """What 2.0.1 and 2.1 have in common: nearly everything a station needs."""

    async def boot(self) -> tuple[str, int]:
        reason = "PowerUp" if self.station.ledger.connections == 1 else "RemoteReset"
        answer = await self._ask(
            "BootNotification", charging_station={"vendor_name": VENDOR, "model": MODEL}, reason=reason
        )
        return str(answer.status), int(answer.interval)

    async def status(self, charging: bool) -> None:
        word = "Occupied" if charging else "Available"
        await self._ask("StatusNotification", timestamp=now(), connector_status=word, evse_id=1, connector_id=1)

    async def transaction(self, message: TransactionMessage) -> str:
        session = message.session
        info: dict[str, Any] = {"transaction_id": session.transaction_id}
        optional: dict[str, Any] = {}
        if message.kind == "Started":
            info["charging_state"] = "Charging"
            optional["evse"] = {"id": 1, "connector_id": 1}
            optional["id_token"] = {"id_token": session.id_token, "type": "Central"}
            if session.remote_start_id is not None:
                info["remote_start_id"] = session.remote_start_id
        if message.kind == "Ended":
            info["stopped_reason"] = message.reason
        await self._ask(
            "TransactionEvent",
            message.message_id,
            event_type=message.kind,
            timestamp=message.at,
            trigger_reason=self._trigger(message),
            seq_no=message.sequence,
            offline=message.offline,
            transaction_info=info,
            meter_value=[
                {
                    "timestamp": message.at,
                    "sampled_value": [
                        {
                            "value": message.wh,
                            "measurand": "Energy.Active.Import.Register",
                            "unit_of_measure": {"unit": "Wh"},
                        }
                    ],
                }
            ],
            **optional,
        )
        return "TransactionEvent"

    @staticmethod
    def _trigger(message: TransactionMessage) -> str:
        if message.kind == "Updated":
            return "MeterValuePeriodic"
        if message.kind == "Started":
            return "Authorized" if message.session.remote_start_id is None else "RemoteStart"
        return {"Remote": "RemoteStop", "Reboot": "ResetCommand"}.get(message.reason, "StopAuthorized")

    @on("RequestStartTransaction")
    def on_request_start(self, call_unique_id: str, id_token: dict[str, Any], **_: Any) -> Any:
        self.station.note("RequestStartTransaction", call_unique_id, id_token["id_token"])
        free = self.station.session is None
        return self._result("RequestStartTransaction", status="Accepted" if free else "Rejected")

    @after("RequestStartTransaction")
    def after_request_start(self, id_token: dict[str, Any], remote_start_id: int, **_: Any) -> None:
        self.station.begin(id_token["id_token"], remote_start_id)

    @on("RequestStopTransaction")
    def on_request_stop(self, call_unique_id: str, transaction_id: str, **_: Any) -> Any:
        self.station.note("RequestStopTransaction", call_unique_id, transaction_id)
        stopped = self.station.end(transaction_id, reason="Remote")
        return self._result("RequestStopTransaction", status="Accepted" if stopped else "Rejected")

    @on("GetVariables")
    def on_get_variables(self, call_unique_id: str, get_variable_data: list[dict[str, Any]], **_: Any) -> Any:
        self.station.note("GetVariables", call_unique_id)
        return self._result(
            "GetVariables", get_variable_result=[self._variable(wanted) for wanted in get_variable_data]
        )

    def _variable(self, wanted: dict[str, Any]) -> dict[str, Any]:
        value = self.station.variables.get(wanted["variable"]["name"])
        found = (
            {"attribute_status": "UnknownVariable"}
            if value is None
            else {"attribute_status": "Accepted", "attribute_value": value}
        )
        return found | {"component": wanted["component"], "variable": wanted["variable"]}

    @on("SetVariables")
    def on_set_variables(self, call_unique_id: str, set_variable_data: list[dict[str, Any]], **_: Any) -> Any:
        self.station.note("SetVariables", call_unique_id)
        results = []
        for wanted in set_variable_data:
            name = wanted["variable"]["name"]
            known = name in self.station.variables
            if known:
                self.station.variables[name] = wanted["attribute_value"]
            status = "Accepted" if known else "UnknownVariable"
            results.append(
                {"attribute_status": status, "component": wanted["component"], "variable": wanted["variable"]}
            )
        return self._result("SetVariables", set_variable_result=results)


class Station201(_Speaks2x, v201.ChargePoint):
    """OCPP 2.0.1."""

    def __init__(self, station: Station, socket: ClientConnection) -> None:
        super().__init__(station.id, socket, response_timeout=ANSWER_TIMEOUT)
        self.station = station


class Station21(_Speaks2x, v21.ChargePoint):
    """OCPP 2.1."""

    def __init__(self, station: Station, socket: ClientConnection) -> None:
        super().__init__(station.id, socket, response_timeout=ANSWER_TIMEOUT)
        self.station = station


VERSIONS: Mapping[str, Callable[[Station, ClientConnection], Conversation]] = {
    OCPP16: Station16,
    OCPP201: Station201,
    OCPP21: Station21,
}


def station(station_id: str, url: str, subprotocol: str, **options: Any) -> Station:
    """A station that speaks `subprotocol`. `url` ends in `/`."""
    return Station(station_id, url, subprotocol, VERSIONS[subprotocol], **options)
