"""The Kafka of the test bed is real, ready when it says so, and goes through the faults that tests need."""

import asyncio
import socket
import subprocess
import sys
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.testbed.kafka import EmbeddedBroker, KafkaServer, create_topics


async def test_a_new_topic_takes_records_in_every_partition_at_once(kafka: KafkaServer, make_topics) -> None:
    [topic] = await make_topics({"message.timestamp.type": "LogAppendTime"}, many=128)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", retry_backoff_ms=5_000) as producer:
        began = time.monotonic()
        sent = [await producer.send(topic, b"x", partition=partition) for partition in range(128)]
        done = await asyncio.gather(*sent)
    assert time.monotonic() - began < 5, "a missing leader would have cost a retry of 5 s"
    assert {record.partition for record in done} == set(range(128))
    assert {record.timestamp_type for record in done} == {1}, "LogAppendTime"


async def test_it_keeps_its_data_over_a_kill_and_loses_it_on_restart_empty(private_kafka: KafkaServer) -> None:
    await create_topics(private_kafka.bootstrap, {"kept": 1})
    async with AIOKafkaProducer(bootstrap_servers=private_kafka.bootstrap, acks="all") as producer:
        await producer.send_and_wait("kept", b"one")
    private_kafka.kill()
    await private_kafka.start_async()
    assert await _end_offset(private_kafka, "kept") == 1

    await private_kafka.restart_empty_async()
    await create_topics(private_kafka.bootstrap, {"kept": 1})
    assert await _end_offset(private_kafka, "kept") == 0


async def test_a_paused_broker_keeps_its_connections_and_says_nothing(private_kafka: KafkaServer) -> None:
    private_kafka.pause()
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(private_kafka.answers)
    private_kafka.resume()
    await asyncio.to_thread(private_kafka.wait_until_ready)


async def test_the_embedded_broker_takes_and_gives_records(embedded_broker: EmbeddedBroker, fresh_name) -> None:
    topic = fresh_name("embedded")
    await create_topics(embedded_broker.bootstrap, {topic: 4})
    async with AIOKafkaProducer(bootstrap_servers=embedded_broker.bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, b"one", partition=3)
    assert await _end_offset(embedded_broker, topic, 3) == 1


def test_a_server_dies_with_its_parent_even_when_that_is_killed() -> None:
    program = "\n".join(
        [
            "from tests.testbed.redis import RedisServer",
            "server = RedisServer()",
            "server.start()",
            "print(server.port, flush=True)",
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -9, done.stderr
    deadline = time.monotonic() + 10
    while _listens(int(done.stdout)):
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _end_offset(server: KafkaServer | EmbeddedBroker, topic: str, partition: int = 0) -> int:
    async with AIOKafkaConsumer(bootstrap_servers=server.bootstrap) as consumer:
        where = TopicPartition(topic, partition)
        return (await consumer.end_offsets([where]))[where]
