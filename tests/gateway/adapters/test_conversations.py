"""What a conversation writes into the log, and that a mistake half-way ends it and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from ocpp_contract.ids import ChargePointId, CommandId
from ocpp_gateway.adapters.background import Background
from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.conversation import Conversation, ConversationPorts
from ocpp_gateway.adapters.conversations import Conversations
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.policy import SessionPolicy
from ocpp_gateway.core.versions import VERSIONS

STATION = ChargePointId("CP1")
COMMAND = CommandId("6f1b8f3e-0000-4000-8000-000000000001")


class Socket:
    """What is written and how it is closed."""

    def __init__(self) -> None:
        self.is_open = True
        self.sent: list[bytes] = []
        self.closed: list[int] = []

    def send_text(self, frame: bytes) -> bool:
        self.sent.append(frame)
        return True

    def close(self, code: int, reason: str = "") -> None:
        self.closed.append(code)

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Kafka:
    """Keeps the acknowledgement of the latest event."""

    def publish(self, topic: str, key: bytes, value: bytes, headers: Any, on_ack: Any) -> None:
        self.acknowledge = on_ack


class Pod:
    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.socket = Socket()
        self.kafka = Kafka()
        self.failed: list[str] = []
        self.background = Background(tasks, self.failed.append)
        ports = ConversationPorts(
            producer=cast(EventProducer, self.kafka),
            events_topic="events",
            source="/chargegateway/r/p",
            companions=cast(Any, None),  # whoever asks it makes the mistake
            webhook=None,
            call_ended=lambda connection, ended: None,
            boot_changed=lambda connection: None,
            gone=lambda conversation, code, reason: None,
            count=lambda *labels: None,
            observe_command=lambda seconds: None,
            background=self.background,
        )
        self.conversations = Conversations(
            ports, {"ocpp1.6": Dialect(VERSIONS["ocpp1.6"])}, lambda validation: SessionPolicy()
        )
        self.conversation: Conversation = self.conversations.open(
            cast(ChargePointSocket, self.socket), "c-1", STATION, 7, "ocpp1.6", "KeepTransactions", None
        )


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    async with asyncio.TaskGroup() as tasks:
        yield Pod(tasks)


async def test_a_refused_message_is_logged_by_its_id_and_without_what_stood_in_it(
    pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        pod.conversation.on_text('[2,"m-1","Authorize",{"idTag":{"secret":"s3cret"}}]')
    [record] = caplog.records
    said = vars(record)
    assert (said["correlation"], said["station"], said["fault"]) == ("m-1", "CP1", "TypeConstraintViolation")
    assert "s3cret" not in str(said)


async def test_a_station_that_says_everything_wrong_does_not_fill_the_log(
    pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        for _ in range(100):
            pod.conversation.on_text("{}")
    assert len(caplog.records) == 10
    assert len(pod.socket.sent) == 100


async def test_a_command_on_its_way_is_logged_by_its_id(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert pod.conversations.write_call("c-1", COMMAND, "Reset", {"type": "Soft"}, 0.0)
    [record] = caplog.records
    assert vars(record)["correlation"] == COMMAND


async def test_a_mistake_beside_the_session_closes_its_socket_and_is_counted(pod: Pod) -> None:
    """StartTransaction asks the store, which is not there at all."""
    pod.conversation.on_text(
        '[2,"m-1","StartTransaction",{"connectorId":1,"idTag":"T","meterStart":0,"timestamp":"2026-11-22T10:00:00Z"}]'
    )
    await pod.background.finish(5)
    assert pod.socket.closed == [1011]
    assert pod.failed == ["conversation"]


async def test_a_mistake_in_an_acknowledgement_closes_the_socket(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session would wait for ever, with the station's next messages behind it."""

    def mistaken(*_: object) -> None:
        raise RuntimeError("a mistake")

    pod.conversation.on_text('[2,"m-1","MeterValues",{"connectorId":1,"meterValue":[]}]')
    monkeypatch.setattr(type(pod.conversation.session), "acknowledged", mistaken)
    with pytest.raises(RuntimeError):  # the producer logs it and goes on
        pod.kafka.acknowledge(None)
    assert pod.socket.closed == [1011]
