"""The producer against a real broker: acknowledged means written, in order, whatever happens to Kafka meanwhile."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ocpp_contract.partitioning import partition_for
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import KafkaConnection, KafkaRefused, KafkaUnknown
from tests.gateway.adapters.kafka_reading import read_topic
from tests.testbed.kafka import EmbeddedBroker, KafkaServer, create_topics

HEADERS = [("ce_id", b"1"), ("ce_type", b"t")]


@asynccontextmanager
async def producing(bootstrap: str, request_timeout: float = 2.0, **options) -> AsyncIterator[EventProducer]:
    producer = EventProducer(KafkaConnection((bootstrap,), request_timeout=request_timeout), **options)
    producer.start()
    try:
        yield producer
    finally:
        await producer.stop(timeout=1.0)


class Acks:
    """Collects acknowledgements; `all(n)` waits for n of them."""

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []
        self._changed = asyncio.Event()

    def __call__(self, error: Exception | None) -> None:
        self.errors.append(error)
        self._changed.set()

    async def all(self, number: int, timeout: float = 60.0) -> list[Exception | None]:
        async with asyncio.timeout(timeout):
            while len(self.errors) < number:
                self._changed.clear()
                await self._changed.wait()
        assert len(self.errors) == number, "one acknowledgement per record"
        return self.errors


def per_key(records) -> dict[bytes, list[bytes]]:
    """Values by key in the topic's order, each value once: a repetition after a lost reply is no second event."""
    values: dict[bytes, dict[bytes, None]] = defaultdict(dict)
    for record in records:
        values[record.key].setdefault(record.value)
    return {key: list(each) for key, each in values.items()}


async def test_records_arrive_whole_and_in_the_partition_of_their_key(kafka: KafkaServer, make_topics) -> None:
    [topic] = await make_topics(events=7)
    acks = Acks()
    async with producing(kafka.bootstrap) as producer:
        for number in range(100):
            producer.publish(topic, b"CP%d" % (number % 13), b"%d" % number, HEADERS, acks)
        assert acks.errors == [], "never from within publish"
        assert producer.pending == 100
        assert set(await acks.all(100)) == {None}
        assert (producer.pending, producer.pending_bytes, producer.oldest_age()) == (0, 0, None)
    records = await read_topic(kafka.bootstrap, topic)
    assert sorted(int(record.value) for record in records) == list(range(100))
    assert all(record.partition == partition_for(record.key, 7) for record in records)
    assert {tuple(record.headers) for record in records} == {tuple(HEADERS)}
    for key, values in per_key(records).items():
        assert values == [b"%d" % number for number in range(100) if b"CP%d" % (number % 13) == key]


async def test_thousands_of_waiters_over_more_than_a_thousand_partitions(kafka: KafkaServer, make_topics) -> None:
    a, b = await make_topics(wide=600, broad=600)
    acks = Acks()
    async with producing(kafka.bootstrap, request_timeout=20.0) as producer:
        await producer.ready(a, b)
        for number in range(12_000):
            producer.publish(a if number % 2 else b, b"CP%d" % number, b"x" * 300, HEADERS, acks)
        assert set(await acks.all(12_000)) == {None}
    assert len(await read_topic(kafka.bootstrap, a)) + len(await read_topic(kafka.bootstrap, b)) == 12_000


async def test_produce_goes_to_the_partition_named_and_returns_when_acknowledged(
    kafka: KafkaServer, make_topics
) -> None:
    [topic] = await make_topics(commands=4)
    async with producing(kafka.bootstrap, linger=30.0) as producer:
        async with asyncio.timeout(10):  # far less than the linger: a command does not wait for company
            await producer.produce(topic, b"CP1", b"{}", (("cg-hop", b"1"),), partition=3)
        await producer.produce(topic, None, None, partition=2)
    written = {
        (record.partition, record.key, record.value, tuple(record.headers))
        for record in await read_topic(kafka.bootstrap, topic)
    }
    assert written == {(3, b"CP1", b"{}", (("cg-hop", b"1"),)), (2, None, None, ())}


async def test_records_wait_for_a_topic_that_is_not_there_yet(kafka: KafkaServer, fresh_name) -> None:
    topic = fresh_name("late")
    acks = Acks()
    async with producing(kafka.bootstrap) as producer:
        for number in range(10):
            producer.publish(topic, b"CP1", b"%d" % number, HEADERS, acks)
        with pytest.raises(KafkaUnknown):
            await producer.produce(topic, b"CP1", b"given up", timeout=0.3)
        assert acks.errors == []
        assert producer.pending == 10, "what was given up before it left is withdrawn"
        await create_topics(kafka.bootstrap, {topic: 3})
        await acks.all(10)
    assert per_key(await read_topic(kafka.bootstrap, topic)) == {b"CP1": [b"%d" % number for number in range(10)]}


async def test_one_oversize_record_fails_alone_and_its_neighbours_keep_their_order(
    kafka: KafkaServer, make_topics
) -> None:
    [topic] = await make_topics({"max.message.bytes": "20000"}, small=1)
    outcomes: dict[int, Exception | None] = {}
    acks = Acks()

    def settled(number: int) -> Callable[[Exception | None], None]:
        def settle(error: Exception | None) -> None:
            outcomes[number] = error
            acks(error)

        return settle

    async with producing(kafka.bootstrap) as producer:
        await producer.ready(topic)
        for number in range(50):
            value = b"%d" % number + (b" " * 30_000 if number in (7, 31) else b" " * 100)
            producer.publish(topic, b"CP1", value, HEADERS, settled(number))
        await acks.all(50)
        assert {number for number, error in outcomes.items() if isinstance(error, KafkaRefused)} == {7, 31}
        too_large = Acks()
        producer.publish(topic, b"CP1", b"x" * 2_000_000, HEADERS, too_large)
        assert isinstance((await too_large.all(1))[0], KafkaRefused)
    values = per_key(await read_topic(kafka.bootstrap, topic))[b"CP1"]
    assert [int(value) for value in values] == [number for number in range(50) if number not in (7, 31)]


async def test_a_record_that_cannot_be_encoded_fails_alone(kafka: KafkaServer, make_topics) -> None:
    [topic] = await make_topics(bad=1)
    acks = Acks()
    async with producing(kafka.bootstrap) as producer:
        await producer.ready(topic)
        producer.publish(topic, b"CP1", b"before", HEADERS, acks)
        producer.publish(topic, b"CP1", b"bad", [("name", "no bytes")], acks)  # type: ignore[list-item]
        producer.publish(topic, b"CP1", b"after", HEADERS, acks)
        errors = await acks.all(3)
    assert sorted(type(error).__name__ for error in errors) == ["KafkaRefused", "NoneType", "NoneType"]
    assert per_key(await read_topic(kafka.bootstrap, topic)) == {b"CP1": [b"before", b"after"]}


async def test_a_mistake_in_one_acknowledgement_handler_leaves_the_others_alone(
    kafka: KafkaServer, make_topics, caplog
) -> None:
    [topic] = await make_topics(mistake=1)
    acks = Acks()

    def broken(error: Exception | None) -> None:
        raise RuntimeError("mine")

    async with producing(kafka.bootstrap) as producer:
        producer.publish(topic, b"CP1", b"1", HEADERS, broken)
        producer.publish(topic, b"CP1", b"2", HEADERS, acks)
        await acks.all(1)
    assert "acknowledgement handler failed" in caplog.text


@pytest.mark.parametrize("fault", ["killed", "stopped", "frozen"])
async def test_an_outage_loses_nothing_reorders_nothing_and_ends_by_itself(
    private_kafka: KafkaServer, fault: str
) -> None:
    await create_topics(private_kafka.bootstrap, {"events": 3})
    acks = Acks()
    published = 0

    def publish(producer: EventProducer, number: int) -> None:
        nonlocal published
        for _ in range(number):
            producer.publish("events", b"CP%d" % (published % 9), b"%d" % published, HEADERS, acks)
            published += 1

    async with producing(private_kafka.bootstrap, request_timeout=1.0, stall_after=2.0) as producer:
        publish(producer, 300)
        await acks.all(300)
        publish(producer, 300)  # under way when the fault comes
        if fault == "frozen":
            private_kafka.pause()
        elif fault == "killed":
            private_kafka.kill()
        else:
            await private_kafka.stop_async()
        for _ in range(30):  # three seconds: time-outs, a new client, many repetitions
            publish(producer, 20)
            await asyncio.sleep(0.1)
        age = producer.oldest_age()
        assert age is not None, "nothing is acknowledged during the outage"
        assert age > 2.5
        if fault == "frozen":
            private_kafka.resume()
        else:
            await private_kafka.start_async()
        publish(producer, 20)
        assert set(await acks.all(published)) == {None}
        assert producer.oldest_age() is None
    records = await read_topic(private_kafka.bootstrap, "events")
    assert per_key(records) == {
        b"CP%d" % key: [b"%d" % number for number in range(published) if number % 9 == key] for key in range(9)
    }


async def test_a_producer_that_starts_before_kafka_catches_up(private_kafka: KafkaServer) -> None:
    await create_topics(private_kafka.bootstrap, {"events": 1})
    await private_kafka.stop_async()
    acks = Acks()
    async with producing(private_kafka.bootstrap) as producer:
        producer.publish("events", b"CP1", b"1", HEADERS, acks)
        with pytest.raises(KafkaUnknown):
            await producer.produce("events", b"CP1", b"2", timeout=0.2)
        assert not producer.connected
        await private_kafka.start_async()
        await acks.all(1)
        assert producer.connected
    assert [record.value for record in await read_topic(private_kafka.bootstrap, "events")] == [b"1"]


async def test_stop_is_bounded_while_kafka_is_away_and_tells_who_still_waits(private_kafka: KafkaServer) -> None:
    await create_topics(private_kafka.bootstrap, {"events": 2})
    acks = Acks()
    producer = EventProducer(KafkaConnection((private_kafka.bootstrap,)))
    producer.start()
    await producer.ready("events")
    private_kafka.pause()
    for number in range(10):
        producer.publish("events", b"CP%d" % number, b"x", HEADERS, acks)
    began = asyncio.get_running_loop().time()
    assert await producer.stop(timeout=0.5) == 10
    assert asyncio.get_running_loop().time() - began < 6
    assert {type(error) for error in acks.errors} == {KafkaUnknown}
    assert len(acks.errors) == 10
    late = Acks()
    producer.publish("events", b"CP1", b"x", HEADERS, late)
    assert isinstance((await late.all(1))[0], KafkaUnknown), "after stop nothing is taken in silence"
    private_kafka.resume()


async def test_stop_flushes_what_lingers(kafka: KafkaServer, make_topics) -> None:
    [topic] = await make_topics(lingering=2)
    acks = Acks()
    producer = EventProducer(KafkaConnection((kafka.bootstrap,)), linger=60.0)
    producer.start()
    await producer.ready(topic)
    producer.publish(topic, b"CP1", b"x", HEADERS, acks)
    assert await producer.stop() == 0
    assert acks.errors == [None]


async def test_the_embedded_broker_takes_the_same_path(embedded_broker: EmbeddedBroker, fresh_name) -> None:
    topic = fresh_name("events")
    await create_topics(embedded_broker.bootstrap, {topic: 4})
    acks = Acks()
    async with producing(embedded_broker.bootstrap) as producer:
        for number in range(500):
            producer.publish(topic, b"CP%d" % (number % 10), b"%d" % number, HEADERS, acks)
        await producer.produce(topic, b"CP1", b"command", partition=3)
        assert set(await acks.all(500)) == {None}
    records = await read_topic(embedded_broker.bootstrap, topic)
    assert len(records) == 501
    assert (3, b"command") in {(record.partition, record.value) for record in records}


async def test_the_age_of_one_topic_leaves_the_others_out() -> None:
    """A dead letter that cannot be written must not close the stations: their gate looks at the events alone."""
    producer = EventProducer(KafkaConnection(("127.0.0.1:1",)))
    producer.publish("dead-letters", b"CP1", b"{}", (), lambda _: None)
    assert producer.oldest_age("events") is None
    assert producer.oldest_age("dead-letters") is not None
    assert producer.oldest_age() is not None
