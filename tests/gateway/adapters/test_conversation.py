"""The order of what a conversation does, with a producer that acknowledges when the test says so.

What happens against the real Kafka and Redis is in tests/system; here the moments in between are held still.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ocpp_contract.ids import ChargePointId
from ocpp_gateway.adapters.background import Background
from ocpp_gateway.adapters.conversation import Conversation, ConversationPorts
from ocpp_gateway.adapters.conversations import Conversations
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.effects import Unknown
from ocpp_gateway.core.policy import SessionPolicy
from ocpp_gateway.core.uplink import Flow
from ocpp_gateway.core.versions import VERSIONS

METER_VALUES = '[2,"m","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-11-22T10:00:00Z","sampledValue":[{"value":"1"}]}]}]'
START = '[2,"s","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-11-22T10:00:00Z"}]'


class HeldProducer:
    """Keeps every record until the test acknowledges or refuses it."""

    def __init__(self) -> None:
        self.held: list[tuple[str, Callable[[Exception | None], None]]] = []

    def publish(self, topic: str, key: bytes, value: bytes, headers: Any, on_ack: Any, *, urgent: bool = False) -> None:
        self.held.append((dict(headers)["ce_type"].decode(), on_ack))

    def settle(self, error: Exception | None = None) -> None:
        _, on_ack = self.held.pop(0)
        on_ack(error)


class SilentStore:
    """Redis that answers `remember` when the test says so, and knows nothing."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.remembered: list[str] = []
        self.away = False

    async def recall(self, station: ChargePointId, digest: str) -> bytes | None:
        if self.away:
            raise Unknown(0.0, "away")
        return None

    async def remember(self, station: ChargePointId, digest: str, value: bytes) -> None:
        await self.may_answer.wait()
        if self.away:
            raise Unknown(0.0, "away")
        self.remembered.append(digest)

    async def put_boot(self, station: ChargePointId, record: Any, epoch: int) -> bool:
        return True


class Socket:
    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.reading = True
        self.closed: tuple[int, str] | None = None
        self.is_open = True

    def send_text(self, data: bytes) -> bool:
        self.sent.append(json.loads(data))
        return True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Scene:
    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.producer = HeldProducer()
        self.store = SilentStore()
        self.socket = Socket()
        ports = ConversationPorts(
            producer=self.producer,  # type: ignore[arg-type]
            events_topic="events",
            source="/test",
            companions=self.store,
            webhook=None,
            call_ended=lambda connection, ended: None,
            boot_changed=lambda connection: None,
            gone=lambda conversation, code, reason: None,
            count=lambda *labels, by=1: None,
            observe_command=lambda seconds: None,
            background=Background(tasks, lambda name: pytest.fail(name)),
        )
        dialects = {name: Dialect(version) for name, version in VERSIONS.items()}
        self.all = Conversations(ports, dialects, lambda mode: SessionPolicy())
        self.one: Conversation = self.all.open(
            self.socket,  # type: ignore[arg-type]
            "c1",
            ChargePointId("CP1"),
            1,
            "ocpp1.6",
            "KeepTransactions",
            None,
        )


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with asyncio.TaskGroup() as tasks:
        found = Scene(tasks)
        yield found
        found.store.may_answer.set()


async def turns(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition`; tasks of the test's own making need a few turns, never time."""
    for _ in range(50):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("never happened")


async def test_nothing_is_answered_before_kafka_has_the_event(scene: Scene) -> None:
    scene.one.on_text(METER_VALUES)
    assert [event for event, _ in scene.producer.held] == ["io.chargegateway.MeterValues.v1"]
    assert scene.socket.sent == []
    scene.producer.settle()
    assert scene.socket.sent == [[3, "m", {}]]


async def test_an_event_refused_for_good_is_not_answered_and_the_station_may_try_again(scene: Scene) -> None:
    scene.one.on_text(METER_VALUES)
    scene.producer.settle(ValueError("too large"))
    assert scene.socket.sent == []
    scene.one.on_text(METER_VALUES)
    scene.producer.settle()
    assert scene.socket.sent == [[3, "m", {}]]


async def test_the_answer_with_our_transaction_id_waits_until_it_is_remembered(scene: Scene) -> None:
    scene.one.on_text(START)
    await turns(lambda: bool(scene.producer.held))
    scene.producer.settle()
    await asyncio.sleep(0)
    assert scene.socket.sent == []
    scene.store.may_answer.set()
    await turns(lambda: bool(scene.socket.sent))
    assert scene.socket.sent[0][2]["transactionId"] > 0
    assert len(scene.store.remembered) == 1


async def test_a_store_that_is_away_does_not_withhold_the_answer_of_a_transaction(scene: Scene) -> None:
    scene.store.away = True
    scene.store.may_answer.set()
    scene.one.on_text(START)
    await turns(lambda: bool(scene.producer.held))
    scene.producer.settle()
    await turns(lambda: bool(scene.socket.sent))
    assert scene.socket.sent[0][2]["idTagInfo"] == {"status": "Accepted"}


async def test_a_station_far_ahead_of_its_answers_is_not_read(scene: Scene) -> None:
    for number in range(SessionPolicy().max_waiting + 1):
        assert scene.socket.reading
        scene.one.on_text(METER_VALUES.replace('"m"', f'"m{number}"'))
    assert not scene.socket.reading
    while scene.producer.held:
        scene.producer.settle()
    assert scene.socket.reading
    assert [frame[1] for frame in scene.socket.sent] == [f"m{n}" for n in range(SessionPolicy().max_waiting + 1)]


async def test_reading_stops_with_the_flow_and_goes_on_with_it(scene: Scene) -> None:
    scene.all.change_flow(Flow.HELD)
    assert not scene.socket.reading
    scene.all.change_flow(Flow.OPEN)
    assert scene.socket.reading
    assert scene.socket.closed is None


async def test_a_closed_flow_sends_stations_away_to_queue_offline(scene: Scene) -> None:
    scene.all.change_flow(Flow.CLOSED)
    assert scene.socket.closed is not None
    assert scene.socket.closed[0] == 1013


async def test_an_answer_that_comes_after_the_socket_has_gone_is_not_sent(scene: Scene) -> None:
    scene.one.on_text(METER_VALUES)
    scene.one.on_closed(1006, "")
    scene.producer.settle()
    assert scene.socket.sent == []
    assert len(scene.all) == 0


async def test_a_trace_sees_both_directions_without_secrets(scene: Scene) -> None:
    lines = scene.all.trace("CP1")
    reading = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)
    scene.one.on_text('[2,"h","Heartbeat",{}]')
    first, second = json.loads(await reading), json.loads(await anext(lines))
    assert (first["direction"], second["direction"]) == ("received", "sent")
    scene.one.write_call(
        "k", "ChangeConfiguration", {"key": "AuthorizationKey", "value": "00112233445566778899AABBCCDDEEFF"}
    )
    assert b"00112233" not in await anext(lines)
    await lines.aclose()
