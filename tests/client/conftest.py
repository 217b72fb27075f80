"""The client's surroundings: topics and keys of the test's own, and a stand-in that answers commands as a pod would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from redis.asyncio import Redis

from ocpp_client.kafka import KafkaAccess
from ocpp_client.status import RedisAccess
from ocpp_contract.commands import Command, decode_command
from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, Incarnation, Partition, PodName
from ocpp_contract.names import Keys, Topics
from ocpp_contract.outcome import CommandResult, Outcome
from tests.conftest import MakeTopics
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisServer

COMMAND_PARTITIONS = 8
POD = PodName("gw-0")
NOW = "2026-11-22T10:00:00.000Z"


@pytest.fixture
async def topics(make_topics: MakeTopics) -> Topics:
    names = await make_topics(up=3, down=COMMAND_PARTITIONS, urgent=COMMAND_PARTITIONS, results=3, dlq=1, stations=4)
    return Topics(*names)


@pytest.fixture
def access(kafka: KafkaServer) -> KafkaAccess:
    return KafkaAccess.of(kafka.bootstrap)


@pytest.fixture
def redis_access(redis_server: RedisServer, redis_prefix: str) -> RedisAccess:
    return RedisAccess(redis_server.url, prefix=redis_prefix, timeout=10.0)


@pytest.fixture
async def store(redis_access: RedisAccess) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_access.url) as store:
        yield store


@pytest.fixture
def keys(redis_access: RedisAccess) -> Keys:
    return Keys(redis_access.prefix)


def entry(partition: int, epoch: int = 1) -> ConnectionRecord:
    incarnation = Incarnation(POD, "u", "00000001")
    return ConnectionRecord(POD, incarnation, Partition(partition), epoch, "c", "ocpp1.6", NOW)


def result(command: Command, outcome: Outcome = Outcome.ACCEPTED) -> CommandResult:
    return CommandResult(command.id, command.charge_point_id, command.type, outcome, POD, NOW, status="Accepted")


Answer = Callable[[Command], list[CommandResult]]


@dataclass
class Pod:
    """Answers every command with what ``answer`` makes of it, and keeps the records it saw."""

    access: KafkaAccess
    topics: Topics
    answer: Answer = field(default=lambda command: [result(command)])
    seen: list[ConsumerRecord] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Pod]:
        arguments = self.access.arguments()
        producer = AIOKafkaProducer(**arguments, acks="all")
        consumer = AIOKafkaConsumer(
            self.topics.commands_down, self.topics.commands_urgent, **arguments, auto_offset_reset="earliest"
        )
        async with producer, consumer:
            task = asyncio.create_task(self._serve(consumer, producer))
            try:
                yield self
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _serve(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        async for record in consumer:
            self.seen.append(record)
            command = decode_command(record.value)
            for report in self.answer(command):
                key = command.charge_point_id.encode()
                await producer.send(self.topics.command_results, report.to_json(), key=key)


async def read_all(access: KafkaAccess, *topics: str, wanted: int) -> list[ConsumerRecord]:
    """The first ``wanted`` records of the topics."""
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(20):
        async with AIOKafkaConsumer(*topics, **access.arguments(), auto_offset_reset="earliest") as consumer:
            while len(found) < wanted:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
    return found


CP = ChargePointId("CP1")
