"""The topic ocpp-stations on a real Kafka, projected into a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aiokafka import AIOKafkaProducer

from ocpp_contract.ids import ChargePointId
from ocpp_contract.registry import CredentialRecord, StationRecord
from ocpp_gateway.adapters.kafka_connection import KafkaConnection
from ocpp_gateway.adapters.redis_link import Address, RedisAccess
from ocpp_gateway.adapters.station_projection import Applied, StationProjection
from ocpp_gateway.adapters.stations import Stations
from ocpp_gateway.adapters.store import Store, StoreSettings
from ocpp_gateway.core.effects import Unknown
from ocpp_gateway.core.registry import StationEntry
from tests.conftest import MakeTopics
from tests.gateway.adapters.odd_records import odd_batch, produce_batch
from tests.gateway.adapters.test_redis_store import PATIENT
from tests.testbed.kafka import EmbeddedBroker, KafkaServer, create_topics
from tests.testbed.redis import RedisServer

ONE, TWO = ChargePointId("CP-1"), ChargePointId("CP-2")
RECORD, LATER = StationRecord(security_profile=1), StationRecord(blocked=True)
OLD, NEW = CredentialRecord(("hmac-sha256$a$b",)), CredentialRecord(("hmac-sha256$c$d",))


@asynccontextmanager
async def opened(redis: RedisServer, prefix: str) -> AsyncIterator[StationProjection]:
    store = Store(
        StoreSettings((Address("127.0.0.1", redis.port),), RedisAccess(timeout=PATIENT), key_prefix=prefix),
        on_run=lambda shard, run_id: None,
    )
    await store.start()
    try:
        yield StationProjection(store.shards, store.keys)
    finally:
        await store.close()


@asynccontextmanager
async def reading(
    kafka: KafkaServer | EmbeddedBroker, topic: str, projection: StationProjection, *partitions: int
) -> AsyncIterator[tuple[Stations, list[str]]]:
    troubles: list[str] = []
    stations = Stations(KafkaConnection((kafka.bootstrap,)), topic, projection, troubles.append)
    stations.set_partitions(partitions)
    task = asyncio.create_task(stations.run())
    try:
        yield stations, troubles
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def produce(
    kafka: KafkaServer | EmbeddedBroker, topic: str, partition: int, *records: tuple[bytes, bytes | None]
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    await producer.start()
    try:
        for key, value in records:
            await producer.send_and_wait(topic, value, key, partition=partition)
    finally:
        await producer.stop()


async def becomes(expected: object, look: Callable[[], Awaitable[object]]) -> None:
    found: object = None
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    found = await look()
                except Unknown as unknown:
                    found = unknown
                if found == expected:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{found!r} did not become {expected!r}")


async def test_a_record_counts_only_above_the_offset_applied_before(
    redis_server: RedisServer, redis_prefix: str
) -> None:
    record, later, old, new = (each.to_json() for each in (RECORD, LATER, OLD, NEW))
    async with opened(redis_server, redis_prefix) as projection:
        assert await projection.apply([Applied(ONE, "record", 5, record), Applied(ONE, "credential", 3, old)]) == 2
        assert await projection.look_up(ONE) == StationEntry(RECORD, OLD.hashes)
        assert await projection.apply([Applied(ONE, "record", 5, later), Applied(ONE, "record", 4, None)]) == 0
        assert await projection.apply([Applied(ONE, "credential", 4, new)]) == 1
        assert await projection.look_up(ONE) == StationEntry(RECORD, NEW.hashes)
        assert await projection.apply([Applied(ONE, "record", 6, None), Applied(ONE, "record", 5, record)]) == 1
        with pytest.raises(Unknown, match="not projected yet"):
            await projection.look_up(ONE)


async def test_a_credential_that_may_not_be_projected_yet_is_not_missing(
    redis_server: RedisServer, redis_prefix: str
) -> None:
    """A 401 would send the station away for good, and a password change would drop the hash that nobody has seen yet."""
    async with opened(redis_server, redis_prefix) as projection:
        await projection.apply([Applied(ONE, "record", 5, RECORD.to_json())])
        projection.partitions = 2
        await projection.mark(0, 6, projection.runs or "")
        with pytest.raises(Unknown, match="not projected yet"):
            await projection.look_up(ONE)
        await projection.mark(1, 0, projection.runs or "")
        assert await projection.look_up(ONE) == StationEntry(RECORD)


async def test_a_marker_that_another_hand_wrote_is_no_position(redis_server: RedisServer, redis_prefix: str) -> None:
    async with opened(redis_server, redis_prefix) as projection:
        await projection.apply([Applied(ONE, "record", 5, RECORD.to_json())])
        await projection.mark(0, 6, projection.runs or "")
        key = projection._keys.stations_projected
        for field, mark in (("x", f"1 {projection.runs}"), ("1", f"-4 {projection.runs}"), ("2", b"\xff\xfe")):
            await projection._shards.command(key, "HSET", key, field, mark)
        assert await projection.positions() == {0: 6}


async def test_a_mistake_of_a_client_is_followed_by_another_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """As aiokafka's assertions are: the projection goes on, and the pod with it."""
    again = asyncio.Event()
    tries = 0

    async def learn() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise AssertionError("Partition is not assigned")
        again.set()
        await asyncio.Event().wait()

    troubles: list[str] = []
    stations = Stations(KafkaConnection(("127.0.0.1:1",)), "stations", cast(StationProjection, None), troubles.append)
    monkeypatch.setattr(stations, "_learn_partitions", learn)
    running = asyncio.create_task(stations.run())
    await asyncio.wait_for(again.wait(), 5)
    assert troubles == ["projection"]
    running.cancel()
    await asyncio.wait((running,))


async def test_stations_are_projected_by_the_owner_of_their_partition(
    kafka: KafkaServer, make_topics: MakeTopics, redis_server: RedisServer, redis_prefix: str
) -> None:
    [topic] = await make_topics({"cleanup.policy": "compact"}, stations=2)
    unusable = ((b"\xff", b"{}"), (b"a{b", b"{}"), (b"CP-1", b"{"))
    usable = ((b"CP-1", RECORD.to_json()), (b"CP-1/credential", OLD.to_json()))
    await produce(kafka, topic, 0, *usable[:1])
    await produce_batch(kafka.bootstrap, topic, 0, odd_batch([(b"CP-1", LATER.to_json(), [(b"odd-\xff", b"")])], "lz4"))
    await produce(kafka, topic, 0, *usable[1:], *unusable)
    await produce(kafka, topic, 1, (b"CP-2", RECORD.to_json()))
    async with opened(redis_server, redis_prefix) as projection:
        async with reading(kafka, topic, projection, 0, 7) as (stations, troubles):
            await becomes(StationEntry(RECORD, OLD.hashes), lambda: projection.look_up(ONE))
            assert troubles == ["registry_record"] * 4
            with pytest.raises(Unknown):  # partition 1 has no reader: nobody can say that CP-2 is unknown
                await projection.look_up(TWO)
            stations.set_partitions({0, 1, 7})
            await becomes(StationEntry(RECORD), lambda: projection.look_up(TWO))
            await becomes(None, lambda: projection.look_up(ChargePointId("CP-3")))
            await produce(kafka, topic, 0, (b"CP-1", None))
            await becomes(StationEntry(None, OLD.hashes), lambda: projection.look_up(ONE))
        await produce(kafka, topic, 1, (b"CP-2", LATER.to_json()))
        async with reading(kafka, topic, projection, 1):  # the next owner goes on where the marker points
            await becomes(StationEntry(LATER), lambda: projection.look_up(TWO))


async def test_an_emptied_redis_gets_all_stations_again(
    kafka: KafkaServer, make_topics: MakeTopics, private_redis: RedisServer
) -> None:
    [topic] = await make_topics({"cleanup.policy": "compact"}, stations=1)
    await produce(kafka, topic, 0, (b"CP-1", RECORD.to_json()))
    async with opened(private_redis, "") as projection, reading(kafka, topic, projection, 0):
        await becomes(StationEntry(RECORD), lambda: projection.look_up(ONE))
        await becomes({0: 1}, projection.positions)
        await private_redis.restart_empty_async()
        await becomes(StationEntry(RECORD), lambda: projection.look_up(ONE))
        await becomes({0: 1}, projection.positions)


async def test_the_embedded_broker_of_demo_and_up_serves_as_well(
    embedded_broker: EmbeddedBroker, fresh_name: Callable[[str], str], redis_server: RedisServer, redis_prefix: str
) -> None:
    topic = fresh_name("stations")
    await create_topics(embedded_broker.bootstrap, {topic: 2})
    async with opened(redis_server, redis_prefix) as projection, reading(embedded_broker, topic, projection, 0, 1):
        await becomes(None, lambda: projection.look_up(ONE))
        await produce(embedded_broker, topic, 0, (b"CP-1", RECORD.to_json()))
        await becomes(StationEntry(RECORD), lambda: projection.look_up(ONE))
