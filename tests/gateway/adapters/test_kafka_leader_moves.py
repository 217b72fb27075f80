"""One of three brokers goes or freezes: its partitions get other leaders, and the producer and the consumer follow."""

import asyncio
from collections import Counter

import pytest

from ocpp_contract.ids import Partition
from ocpp_gateway.adapters.commands import CommandConsumer
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import KafkaConnection
from ocpp_gateway.core.effects import Lane, SourceRecord
from tests.gateway.adapters.kafka_reading import read_topic
from tests.testbed.kafka import KafkaCluster, create_topics

PARTITIONS = 9


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_records_flow_on_without_the_broker_in_order_and_without_loss(
    private_kafka_cluster: KafkaCluster, fault: str
) -> None:
    cluster = private_kafka_cluster
    topics = {Lane.NORMAL: "commands-down", Lane.URGENT: "commands-urgent"}
    await create_topics(
        cluster.bootstrap, dict.fromkeys(topics.values(), PARTITIONS), {"min.insync.replicas": "2"}, replication=3
    )
    connection = KafkaConnection(tuple(cluster.bootstrap.split(",")), request_timeout=2.0)
    read: dict[int, list[int]] = {number: [] for number in range(PARTITIONS)}
    acknowledged: Counter[bool] = Counter()
    producer = EventProducer(connection)
    consumer = CommandConsumer(
        connection, topics, "group", lambda record: read[record.partition].append(number_in(record)), stall_after=4.0
    )
    producer.start()
    consumer.start()
    try:
        for partition in range(PARTITIONS):
            consumer.start_fetch(Partition(partition), dict.fromkeys(Lane, 0))
        await producer.ready("commands-down")
        published = 0
        victim = cluster.nodes[1]
        for turn in range(80):
            if turn == 20:
                victim.kill() if fault == "killed" else victim.pause()
            for _ in range(10):
                key = b"CP%d" % (published % 50)
                producer.publish(
                    "commands-down", key, b"%d" % published, [], lambda error: acknowledged.update([error is None])
                )
                published += 1
            await asyncio.sleep(0.05)
        async with asyncio.timeout(60):
            while acknowledged.total() < published or len({n for each in read.values() for n in each}) < published:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert acknowledged == {True: published}
    finally:
        await consumer.stop()
        await producer.stop(timeout=1.0)
    healthy = ",".join(node.bootstrap for node in cluster.nodes if node is not victim)
    written: dict[bytes, dict[int, None]] = {}
    for record in await read_topic(healthy, "commands-down"):
        written.setdefault(record.key, {}).setdefault(int(record.value))
    assert {key: list(numbers) for key, numbers in written.items()} == {
        b"CP%d" % station: list(range(station, published, 50)) for station in range(50)
    }
    for numbers in read.values():
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts), "what the consumer hands over is in the order of the log"


def number_in(record: SourceRecord) -> int:
    return int(record.value or b"")
