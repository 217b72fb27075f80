"""Password and authority of the brokers change while a pod's Kafka adapters run: nobody restarts, all go on."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocpp_contract.ids import ChargePointId, Partition
from ocpp_contract.registry import StationRecord
from ocpp_gateway.adapters.commands import CommandConsumer
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import KafkaConnection, KafkaUnknown
from ocpp_gateway.adapters.secret_files import followed_context, followed_text
from ocpp_gateway.adapters.stations import Stations
from ocpp_gateway.core.effects import Lane
from ocpp_gateway.core.registry import StationEntry
from tests.conftest import running
from tests.gateway.adapters.test_kafka_commands import Mailbox
from tests.gateway.adapters.test_redis_stations import becomes, opened
from tests.operator_adapters.kafka_secure import SecureKafka, make_pems
from tests.testbed.kafka import create_topics
from tests.testbed.redis import RedisServer

P = Partition(0)
TOPICS = {Lane.NORMAL: "commands-down", Lane.URGENT: "commands-urgent"}


@pytest.fixture
def private_kafka(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SecureKafka]:
    make_pems(tmp_path)
    yield from running(request, lambda: SecureKafka(tmp_path))


def change_password(server: SecureKafka, password: str) -> None:
    subprocess.run(
        server.java(
            "kafka.admin.ConfigCommand", "--bootstrap-server", server.bootstrap, "--alter",
            "--entity-type", "users", "--entity-name", "gateway", "--add-config", f"SCRAM-SHA-512=[password={password}]",
        ),
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


async def test_what_was_rotated_is_used_at_the_next_connection(
    private_kafka: SecureKafka, redis_server: RedisServer, redis_prefix: str, tmp_path: Path
) -> None:
    await create_topics(private_kafka.bootstrap, {**dict.fromkeys(TOPICS.values(), 1), "stations": 1})
    ca, password = tmp_path / "mounted-ca.crt", tmp_path / "mounted-password"
    ca.write_bytes((tmp_path / "ca.pem").read_bytes())
    password.write_text("right")
    connection = KafkaConnection(
        (private_kafka.addresses["SASLTLS"],),
        request_timeout=2.0,
        security_protocol="SASL_SSL",
        tls=followed_context(ca),
        username="gateway",
        password=followed_text(password),
    )
    mailbox = Mailbox()
    producer = EventProducer(connection)
    consumer = CommandConsumer(connection, TOPICS, "group", mailbox)
    async with opened(redis_server, redis_prefix) as projection:
        stations = Stations(connection, "stations", projection, lambda what: None)
        stations.set_partitions((0,))
        projecting = asyncio.create_task(stations.run())
        producer.start()
        consumer.start()
        consumer.start_fetch(P, dict.fromkeys(Lane, 0))

        async def everything_works(record: StationRecord, commands: int) -> None:
            async with asyncio.timeout(60):
                while True:
                    try:
                        await producer.produce("stations", b"CP-1", record.to_json())
                        break
                    except KafkaUnknown:
                        continue
                for topic in TOPICS.values():
                    await producer.produce(topic, b"CP-1", b"command", partition=0)
                await mailbox.until(commands)
                while True:
                    try:
                        await consumer.commit(Lane.NORMAL, P, commands, "")
                        break
                    except KafkaUnknown:
                        continue
            await becomes(StationEntry(record, ()), lambda: projection.look_up(ChargePointId("CP-1")))

        try:
            await everything_works(StationRecord(security_profile=1), 2)

            await asyncio.to_thread(change_password, private_kafka, "next")
            await everything_works(StationRecord(security_profile=2), 4)  # on the connections that stand
            private_kafka.kill()
            make_pems(tmp_path)  # the broker comes back with a certificate of another authority
            await private_kafka.start_async()
            with pytest.raises(KafkaUnknown):
                await producer.produce("stations", b"CP-1", b"{}")

            ca.write_bytes((tmp_path / "ca.pem").read_bytes())
            with pytest.raises(KafkaUnknown):  # trusted now, but it refuses the old password
                await producer.produce("stations", b"CP-1", b"{}")
            password.write_text("next")
            await everything_works(StationRecord(blocked=True), 6)
        finally:
            projecting.cancel()
            await asyncio.wait((projecting,))
            await consumer.stop()
            await producer.stop(timeout=1.0)
