"""Simulated stations against a small central system made of the same `ocpp` package's other side."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from ocpp_local.station_versions import station
from ocpp_local.stations import Station

VERSIONS = ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]


class Central:
    """Answers everything; `mute` leaves the next transaction messages unanswered. Frames are kept."""

    def __init__(self) -> None:
        self.received: list[list[Any]] = []
        self.sockets: list[ServerConnection] = []
        self.mute = 0
        self.refuse = 0
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self.url = ""

    async def serve(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        with contextlib.suppress(Exception):
            async for text in socket:
                frame = json.loads(text)
                if frame[0] == 2:
                    await self._called(socket, frame)
                else:
                    self._answers.pop(frame[1]).set_result(frame)

    async def _called(self, socket: ServerConnection, frame: list[Any]) -> None:
        self.received.append(frame)
        action, payload = frame[2], frame[3]
        if action in ("StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"):
            if self.mute:
                self.mute -= 1
                return
            if self.refuse:
                self.refuse -= 1
                await socket.send(json.dumps([4, frame[1], "InternalError", "", {}]))
                return
        answers: dict[str, dict[str, Any]] = {
            "BootNotification": {"status": "Accepted", "interval": 60, "currentTime": "2026-11-22T10:00:00Z"},
            "Heartbeat": {"currentTime": "2026-11-22T10:00:00Z"},
            "StartTransaction": {"transactionId": 4711, "idTagInfo": {"status": "Accepted"}},
        }
        assert isinstance(payload, dict)
        await socket.send(json.dumps([3, frame[1], answers.get(action, {})]))

    async def call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        message_id = f"c{len(self._answers)}-{action}"
        future = asyncio.get_running_loop().create_future()
        self._answers[message_id] = future
        await self.sockets[-1].send(json.dumps([2, message_id, action, payload]))
        answer = await asyncio.wait_for(future, 5)
        assert answer[0] == 3, answer
        return dict(answer[2])

    def sent(self, *actions: str) -> list[list[Any]]:
        return [frame for frame in self.received if frame[2] in actions]


@pytest.fixture
async def central() -> AsyncIterator[Central]:
    server_side = Central()
    subprotocols = [Subprotocol(version) for version in VERSIONS]
    async with serve(server_side.serve, "127.0.0.1", 0, subprotocols=subprotocols) as server:
        server_side.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield server_side


@contextlib.asynccontextmanager
async def running(central: Central, version: str, **options: Any) -> AsyncIterator[Station]:
    made = station("CP1", central.url, version, **options)
    task = asyncio.create_task(made.run())
    try:
        await until(lambda: made.online)
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - many things change it
            await asyncio.sleep(0.01)


def remote_start(version: str) -> tuple[str, dict[str, Any]]:
    if version == "ocpp1.6":
        return "RemoteStartTransaction", {"idTag": "TAG"}
    return "RequestStartTransaction", {
        "idToken": {"idToken": "TAG", "type": "Central"},
        "remoteStartId": 7,
        "evseId": 1,
    }


def remote_stop(version: str, made: Station) -> tuple[str, dict[str, Any]]:
    assert made.session is not None
    transaction_id = made.session.transaction_id
    assert transaction_id is not None
    if version == "ocpp1.6":
        return "RemoteStopTransaction", {"transactionId": int(transaction_id)}
    return "RequestStopTransaction", {"transactionId": transaction_id}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_station_boots_charges_and_stops_as_told(central: Central, version: str) -> None:
    async with running(central, version, meter_interval=0.05) as made:
        assert central.received[0][2] == "BootNotification"
        assert await central.call(*remote_start(version)) == {"status": "Accepted"}
        assert await central.call(*remote_start(version)) == {"status": "Rejected"}, "it charges already"
        await until(lambda: len(made.ledger.answered) >= 3)
        assert await central.call(*remote_stop(version, made)) == {"status": "Accepted"}
        await until(lambda: made.owing == 0 and made.session is None)
    sent = central.sent("StartTransaction", "MeterValues", "StopTransaction", "TransactionEvent")
    assert {frame[1] for frame in sent} == set(made.ledger.answered)
    assert len(made.ledger.executed) == 3
    if version != "ocpp1.6":
        assert [frame[3]["seqNo"] for frame in sent] == list(range(len(sent)))
        assert sent[0][3]["transactionInfo"]["remoteStartId"] == 7


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_message_without_an_answer_comes_again_on_the_next_socket_word_for_word(
    central: Central, version: str
) -> None:
    async with running(central, version) as made:
        central.mute = 1
        made.begin("TAG")
        await until(lambda: bool(central.sent("StartTransaction", "TransactionEvent")))
        made.hang_up()
        made.end()
        await until(lambda: made.owing == 0)
        first, second, third = central.sent("StartTransaction", "StopTransaction", "TransactionEvent")
        assert first == second
        assert third[1] != first[1]
        assert len(central.sent("BootNotification")) == 1, "a reconnect is no boot"
        assert made.ledger.connections == 2


async def test_what_is_refused_three_times_is_given_up_and_does_not_block_the_queue(central: Central) -> None:
    async with running(central, "ocpp2.0.1") as made:
        central.refuse = 3
        made.begin("TAG")
        made.end()
        await until(lambda: made.owing == 0)
    assert len(made.ledger.refused) == 1
    assert len(made.ledger.answered) == 1


async def test_reset_ends_the_session_and_boots_again(central: Central) -> None:
    async with running(central, "ocpp1.6") as made:
        made.begin("TAG")
        await until(lambda: made.owing == 0)
        assert await central.call("Reset", {"type": "Hard"}) == {"status": "Accepted"}
        await until(lambda: len(central.sent("BootNotification")) == 2 and bool(central.sent("StopTransaction")))
    assert central.sent("StopTransaction")[0][3]["reason"] == "HardReset"


async def test_configuration_can_be_read_and_changed(central: Central) -> None:
    async with running(central, "ocpp1.6"):
        change = {"key": "HeartbeatInterval", "value": "77"}
        assert await central.call("ChangeConfiguration", change) == {"status": "Accepted"}
        read = await central.call("GetConfiguration", {"key": ["HeartbeatInterval", "Nonsense"]})
        assert read["configurationKey"][0]["value"] == "77"
        assert read["unknownKey"] == ["Nonsense"]
