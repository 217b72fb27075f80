"""EventConsumer and TopicReader against a real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from ocpp_client.errors import KafkaUnavailable
from ocpp_client.events import EventConsumer, Received
from ocpp_client.kafka import KafkaAccess
from ocpp_client.topic_reader import Start, TopicReader
from ocpp_contract.cloudevents import CloudEvent
from ocpp_contract.events import Event, ce_type
from ocpp_contract.ids import ChargePointId
from ocpp_contract.names import Topics
from tests.gateway.adapters.odd_records import odd_batch, produce_batch
from tests.testbed.kafka import EmbeddedBroker, KafkaServer, create_topics

NOW = "2026-11-22T10:00:00.000Z"


async def publish(
    producer: AIOKafkaProducer, topics: Topics, ce_id: str, type_name: str = "MeterValues", epoch: int = 1
) -> None:
    event = Event(type_name, ChargePointId("CP1"), NOW, NOW, epoch, {})
    headers = CloudEvent(ce_id, "/chargegateway/t/gw-0", ce_type(type_name), "CP1", NOW).to_headers()
    await producer.send_and_wait(topics.events_up, event.to_json(), key=b"CP1", headers=headers)


async def take(consumer: EventConsumer, number: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(20):
        async for received in consumer:
            found.append(received.id)
            if len(found) == number:
                break
    return found


@pytest.mark.parametrize("grouped", [True, False])
async def test_copies_foreign_records_and_old_goodbyes_are_left_out(
    access: KafkaAccess, topics: Topics, group_name: str, grouped: bool
) -> None:
    async with access.producer() as producer:
        await publish(producer, topics, "1", "DeviceOnline", epoch=2)
        await publish(producer, topics, "2")
        await publish(producer, topics, "2")
        await producer.send_and_wait(topics.events_up, b"{}", key=b"CP1")
        await publish(producer, topics, "3", "DeviceOffline", epoch=1)
        await publish(producer, topics, "4", "SomethingNewer")
    async with EventConsumer(access, topics=topics, group_id=group_name if grouped else None) as consumer:
        assert await take(consumer, 3) == ["1", "2", "4"]
        assert consumer.skipped == 1


@pytest.mark.parametrize("grouped", [True, False])
async def test_a_header_name_that_is_no_utf_8_costs_only_its_own_record(
    access: KafkaAccess, topics: Topics, group_name: str, grouped: bool
) -> None:
    """aiokafka alone would never read this partition again, neither before nor behind it."""
    event = Event("MeterValues", ChargePointId("CP1"), NOW, NOW, 1, {}).to_json()
    batch = [
        (b"CP1", event, [*_names(str(number)), *([(b"odd-\xff", b"")] if number in (2, 3) else [])])
        for number in range(6)
    ]
    await produce_batch(access.bootstrap_servers[0], topics.events_up, 0, odd_batch(batch, "zstd"))
    async with EventConsumer(access, topics=topics, group_id=group_name if grouped else None) as consumer:
        assert await take(consumer, 4) == ["0", "1", "4", "5"]
        assert consumer.skipped == 2


def _names(ce_id: str) -> list[tuple[bytes, bytes | None]]:
    event = CloudEvent(ce_id, "/chargegateway/t/gw-0", ce_type("MeterValues"), "CP1", NOW)
    return [(name.encode(), value) for name, value in event.to_headers()]


async def test_a_group_goes_on_after_what_it_committed(access: KafkaAccess, topics: Topics, group_name: str) -> None:
    async with access.producer() as producer:
        for number in range(4):
            await publish(producer, topics, str(number))
    async with EventConsumer(access, topics=topics, group_id=group_name) as consumer:
        assert await take(consumer, 2) == ["0", "1"]
        await consumer.commit()
        assert await take(consumer, 1) == ["2"]  # handed out, not committed
    async with EventConsumer(access, topics=topics, group_id=group_name) as consumer:
        assert await take(consumer, 2) == ["2", "3"]


async def test_an_event_whose_handling_failed_comes_again(access: KafkaAccess, topics: Topics, group_name: str) -> None:
    async with access.producer() as producer:
        await publish(producer, topics, "1")
    consumer = EventConsumer(access, topics=topics, group_id=group_name)

    async def handle() -> None:
        async with consumer, asyncio.timeout(20):
            async for _ in consumer:
                raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            await handle()


async def test_from_the_end_only_what_is_new(access: KafkaAccess, topics: Topics) -> None:
    async with access.producer() as producer:
        await publish(producer, topics, "old")
        async with EventConsumer(access, topics=topics, start=Start.END) as consumer:
            await publish(producer, topics, "new")
            assert await take(consumer, 1) == ["new"]


async def test_only_a_group_commits(access: KafkaAccess, topics: Topics) -> None:
    async with EventConsumer(access, topics=topics) as consumer:
        with pytest.raises(RuntimeError, match="member of a group"):
            await consumer.commit()


async def test_a_topic_that_does_not_exist_is_named(access: KafkaAccess) -> None:
    with pytest.raises(KafkaUnavailable, match="no-such-topic"):
        async with TopicReader(replace(access, request_timeout=1.0), "no-such-topic"):
            pass
    with pytest.raises(KafkaUnavailable, match="no-such-topic"):
        async with EventConsumer(
            replace(access, request_timeout=1.0), topics=Topics(events_up="no-such-topic"), group_id="g"
        ):
            pass


async def test_new_partitions_are_read_and_the_old_ones_go_on(access: KafkaAccess, topics: Topics) -> None:
    fresh = replace(access, metadata_max_age=0.3)
    admin = AIOKafkaAdminClient(bootstrap_servers=list(access.bootstrap_servers))
    await admin.start()
    try:
        async with TopicReader(fresh, topics.commands_dlq) as reader, fresh.producer() as producer:
            batches = reader.batches()
            await producer.send_and_wait(topics.commands_dlq, b"0", partition=0)
            assert [record.value for record in await anext(batches)] == [b"0"]
            await admin.create_partitions({topics.commands_dlq: NewPartitions(2)})
            await create_topics(access.bootstrap_servers[0], {topics.commands_dlq: 2})
            async with access.producer() as late:
                await late.send_and_wait(topics.commands_dlq, b"1", partition=1)
                await late.send_and_wait(topics.commands_dlq, b"2", partition=0)
            found: set[bytes] = set()
            async with asyncio.timeout(20):
                while len(found) < 2:
                    found |= {record.value for record in await anext(batches)}
            assert found == {b"1", b"2"}
            await batches.aclose()  # type: ignore[attr-defined]  # an async generator
    finally:
        await admin.close()


async def test_a_reader_outlives_a_broker_that_stops_and_comes_back(private_kafka: KafkaServer) -> None:
    await create_topics(private_kafka.bootstrap, {"t": 1})
    access = replace(KafkaAccess.of(private_kafka.bootstrap), request_timeout=1.0, metadata_max_age=1.0)
    async with TopicReader(access, "t", stuck_after=2.0) as reader:
        batches = reader.batches()
        async with access.producer() as producer:
            await producer.send_and_wait("t", b"before", partition=0)
        assert [record.value for record in await anext(batches)] == [b"before"]
        waiting = asyncio.ensure_future(anext(batches))
        await private_kafka.stop_async()
        await private_kafka.start_async()
        async with access.producer() as producer:
            await producer.send_and_wait("t", b"after", partition=0)
        async with asyncio.timeout(30):
            assert [record.value for record in await waiting] == [b"after"]
        await batches.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_typed_data_of_a_received_event(
    access: KafkaAccess, topics: Topics, fresh_name: Callable[[str], str]
) -> None:
    station = ChargePointId(fresh_name("cp"))
    data = {"vendorId": "com.example", "data": "x"}
    event = Event("DataTransferReceived", station, NOW, NOW, 1, data)
    async with access.producer() as producer:
        headers = CloudEvent("1", "/s", ce_type("DataTransferReceived")).to_headers()
        await producer.send_and_wait(topics.events_up, event.to_json(), key=station.encode(), headers=headers)
    async with EventConsumer(access, topics=topics) as consumer, asyncio.timeout(20):
        async for received in consumer:
            assert isinstance(received, Received)
            assert received.event.typed_data().model_dump(exclude_none=True) == data
            break


async def test_a_broker_that_takes_its_time_to_let_a_group_in(embedded_broker: EmbeddedBroker, group_name: str) -> None:
    """The broker of `up` answers a JoinGroup after five seconds, longer than any other request may take."""
    topics = Topics(events_up=f"events-{group_name}")
    await create_topics(embedded_broker.bootstrap, {topics.events_up: 2})
    access = KafkaAccess.of(embedded_broker.bootstrap)
    async with access.producer() as producer:
        await publish(producer, topics, "1")
    async with EventConsumer(access, topics=topics, group_id=group_name) as consumer:
        assert await take(consumer, 1) == ["1"]
        await consumer.commit()
