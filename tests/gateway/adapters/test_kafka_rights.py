"""The rights of docs/kubernetes.md are enough for everything that a pod does with the brokers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocpp_contract.ids import ChargePointId, Partition
from ocpp_contract.names import GROUP_ID, Topics
from ocpp_contract.registry import StationRecord
from ocpp_gateway.adapters.commands import CommandConsumer
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import KafkaConnection, KafkaUnknown
from ocpp_gateway.adapters.secret_files import followed_text
from ocpp_gateway.adapters.stations import Stations
from ocpp_gateway.core.effects import Lane
from ocpp_gateway.core.registry import StationEntry
from tests.gateway.adapters.test_kafka_commands import Mailbox
from tests.gateway.adapters.test_redis_stations import becomes, opened
from tests.operator_adapters.kafka_secure import GROUP, TOPIC, SecureKafka, allow, make_pems
from tests.testbed.kafka import KafkaServer, create_topics
from tests.testbed.redis import RedisServer

P = Partition(0)
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
RESOURCES = {"topic": TOPIC, "group": GROUP}
ROW = re.compile(r"^\| (topic|group) `([^`]+)` \| ([A-Za-z, ]+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def secure_kafka(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """Where the run's Kafka starts, this one does."""
    folder = tmp_path_factory.mktemp("pki")
    make_pems(folder)
    with SecureKafka(folder) as server:
        yield server


async def test_a_pod_needs_no_more(
    secure_kafka: SecureKafka, redis_server: RedisServer, redis_prefix: str, tmp_path: Path
) -> None:
    topics = Topics()
    lanes = {Lane.NORMAL: topics.commands_down, Lane.URGENT: topics.commands_urgent}
    produced = (topics.events_up, *lanes.values(), topics.command_results, topics.commands_dlq, topics.stations)
    await create_topics(secure_kafka.bootstrap, dict.fromkeys(produced, 1))
    (tmp_path / "password").write_text("right")
    connection = KafkaConnection(
        (secure_kafka.addresses["SASL"],),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        username="guest",
        password=followed_text(tmp_path / "password"),
    )
    mailbox = Mailbox()
    producer, consumer = EventProducer(connection), CommandConsumer(connection, lanes, GROUP_ID, mailbox)
    async with opened(redis_server, redis_prefix) as projection:
        stations = Stations(connection, topics.stations, projection, lambda what: None)
        stations.set_partitions((0,))
        projecting = asyncio.create_task(stations.run())
        producer.start()
        consumer.start()
        try:
            with pytest.raises(KafkaUnknown):  # the user has no right yet
                await producer.produce(topics.events_up, b"CP-1", b"{}", timeout=1.0)
            rows = ROW.findall(Path("docs/kubernetes.md").read_text())
            assert {name for _, name, _ in rows} == {*produced, GROUP_ID}
            for kind, name, operations in rows:
                wanted = [OPERATIONS[each.strip()] for each in operations.split(",")]
                await allow(secure_kafka, "guest", RESOURCES[kind], name, *wanted)
            async with asyncio.timeout(60):
                await producer.ready(*produced)
                assert await consumer.partition_count() == 1
                record = StationRecord(security_profile=1)
                for topic in produced:
                    value = record.to_json() if topic == topics.stations else b"{}"
                    await producer.produce(topic, b"CP-1", value, timeout=30.0)
                consumer.start_fetch(P, dict.fromkeys(Lane, 0))
                await mailbox.until(2)
                await consumer.commit(Lane.NORMAL, P, 1, "")
                position = (await consumer.positions(P))[Lane.NORMAL]
                assert position.committed == 1
            await becomes(StationEntry(record, ()), lambda: projection.look_up(ChargePointId("CP-1")))
        finally:
            projecting.cancel()
            await asyncio.wait((projecting,))
            await consumer.stop()
            await producer.stop(timeout=1.0)
