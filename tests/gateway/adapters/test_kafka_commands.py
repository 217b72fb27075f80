"""The consumer of the command lanes against a real broker: nothing skipped, nothing handed over after the end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from ocpp_contract.ids import Partition
from ocpp_gateway.adapters import commands
from ocpp_gateway.adapters.commands import CommandConsumer, LanesDiffer
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.group_offsets import MAX_METADATA_BYTES
from ocpp_gateway.adapters.kafka_connection import KafkaConnection, KafkaRefused, KafkaUnknown
from ocpp_gateway.core.effects import Lane, LanePosition, SourceRecord
from tests.gateway.adapters.odd_records import CODECS, odd_batch, produce_batch
from tests.testbed.kafka import EmbeddedBroker, KafkaServer, create_topics

SETTINGS = {"message.timestamp.type": "LogAppendTime"}
BOTH_FROM_START = {Lane.NORMAL: 0, Lane.URGENT: 0}
P0, P1, P2 = Partition(0), Partition(1), Partition(2)


class Mailbox:
    """Collects what is handed over; `until(n)` waits for n records."""

    def __init__(self) -> None:
        self.records: list[SourceRecord] = []
        self._changed = asyncio.Event()

    def __call__(self, record: SourceRecord) -> None:
        self.records.append(record)
        self._changed.set()

    async def until(self, number: int, timeout: float = 30.0) -> None:
        try:
            async with asyncio.timeout(timeout):
                while len(self.records) < number:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{len(self.records)} of {number} records came") from None

    def values(self, partition: int, lane: Lane = Lane.NORMAL) -> list[int]:
        return [int(r.value or b"") for r in self.records if (r.partition, r.lane) == (partition, lane)]


class Lanes:
    """Both topics of one test on one broker, with a producer and any number of consumers."""

    def __init__(self, bootstrap: str, normal: str, urgent: str, group: str) -> None:
        self.connection = KafkaConnection((bootstrap,), request_timeout=5.0)
        self.topics: Mapping[Lane, str] = {Lane.NORMAL: normal, Lane.URGENT: urgent}
        self.group = group
        self.producer = EventProducer(self.connection)

    @asynccontextmanager
    async def consuming(self, **options) -> AsyncIterator[tuple[CommandConsumer, Mailbox]]:
        mailbox = Mailbox()
        consumer = CommandConsumer(self.connection, self.topics, self.group, mailbox, **options)
        consumer.start()
        try:
            yield consumer, mailbox
        finally:
            await consumer.stop()

    async def send(self, numbers: range, partition: int, lane: Lane = Lane.NORMAL) -> None:
        await asyncio.gather(
            *(self.producer.produce(self.topics[lane], b"CP1", b"%d" % n, partition=partition) for n in numbers)
        )


@asynccontextmanager
async def lanes_on(
    bootstrap: str, fresh_name, partitions: int = 3, settings: Mapping[str, str] = SETTINGS
) -> AsyncIterator[Lanes]:
    lanes = Lanes(bootstrap, fresh_name("commands-down"), fresh_name("commands-urgent"), fresh_name("group"))
    await create_topics(bootstrap, dict.fromkeys(lanes.topics.values(), partitions), settings)
    lanes.producer.start()
    try:
        yield lanes
    finally:
        await lanes.producer.stop(timeout=1.0)


@pytest.fixture
async def lanes(kafka: KafkaServer, fresh_name) -> AsyncIterator[Lanes]:
    async with lanes_on(kafka.bootstrap, fresh_name) as made:
        yield made


async def test_both_lanes_arrive_whole_with_time_key_and_headers(lanes: Lanes) -> None:
    async with lanes.consuming() as (consumer, mailbox):
        consumer.start_fetch(P1, BOTH_FROM_START)
        await lanes.producer.produce(lanes.topics[Lane.NORMAL], b"CP1", b"1", (("cg-hop", b"2"),), partition=1)
        await lanes.producer.produce(lanes.topics[Lane.URGENT], None, None, partition=1)
        await lanes.send(range(5), partition=2)  # not ours
        await mailbox.until(2)
    normal, urgent = sorted(mailbox.records, key=lambda record: record.lane)
    assert normal == SourceRecord(Lane.NORMAL, P1, 0, normal.timestamp_ms, b"CP1", b"1", (("cg-hop", b"2"),))
    assert normal.timestamp_ms > 1_700_000_000_000
    assert (urgent.lane, urgent.key, urgent.value, urgent.offset) == (Lane.URGENT, None, None, 0)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_however_backends_or_the_topic_compress_it_is_read(kafka: KafkaServer, fresh_name, codec: str) -> None:
    """One record that cannot be unpacked would hold up the whole lane."""
    settings = {**SETTINGS, "compression.type": codec}
    async with (
        lanes_on(kafka.bootstrap, fresh_name, partitions=1, settings=settings) as lanes,
        lanes.consuming() as (
            consumer,
            mailbox,
        ),
    ):
        consumer.start_fetch(P0, BOTH_FROM_START)
        await lanes.send(range(20), partition=0)
        await mailbox.until(20, timeout=10)
    assert mailbox.values(0) == list(range(20))


async def test_fetching_starts_at_the_offset_given_per_lane(lanes: Lanes) -> None:
    await lanes.send(range(10), partition=0)
    await lanes.send(range(10), partition=0, lane=Lane.URGENT)
    async with lanes.consuming() as (consumer, mailbox):
        consumer.start_fetch(P0, {Lane.NORMAL: 4, Lane.URGENT: 9})
        await mailbox.until(7)
        assert mailbox.values(0) == [4, 5, 6, 7, 8, 9]
        assert mailbox.values(0, Lane.URGENT) == [9]


async def test_a_partition_that_comes_or_goes_skips_and_repeats_nothing_of_the_others(lanes: Lanes) -> None:
    async with lanes.consuming() as (consumer, mailbox):
        consumer.start_fetch(P0, BOTH_FROM_START)
        for round_ in range(20):
            send = asyncio.create_task(lanes.send(range(round_ * 50, round_ * 50 + 50), partition=0))
            (consumer.start_fetch(P1, BOTH_FROM_START) if round_ % 2 else consumer.stop_fetch(P1))
            await send
        await mailbox.until(1_000)
        assert mailbox.values(0) == list(range(1_000))


async def test_a_large_backlog_survives_changes_in_the_middle_of_handing_it_over(lanes: Lanes) -> None:
    await lanes.send(range(3_000), partition=0)
    async with lanes.consuming() as (consumer, mailbox):
        consumer.start_fetch(P0, BOTH_FROM_START)
        for number in (1, 500, 1_100, 2_500):
            await mailbox.until(number)
            consumer.start_fetch(P1, BOTH_FROM_START)
            consumer.stop_fetch(P1)
        await mailbox.until(3_000)
        assert mailbox.values(0) == list(range(3_000))


async def test_after_stop_fetch_nothing_of_the_partition_is_handed_over(lanes: Lanes) -> None:
    await lanes.send(range(2_000), partition=0)
    async with lanes.consuming() as (consumer, mailbox):
        consumer.start_fetch(P0, BOTH_FROM_START)
        await mailbox.until(1)
        consumer.stop_fetch(P0)
        seen = len(mailbox.records)
        consumer.start_fetch(P1, BOTH_FROM_START)
        await lanes.send(range(3), partition=1)
        await lanes.send(range(2_000, 2_010), partition=0)
        await mailbox.until(seen + 3)
        assert mailbox.values(1) == [0, 1, 2]
        assert len(mailbox.values(0)) == seen


async def test_a_partition_ended_and_begun_again_goes_on_exactly_where_it_is_told(lanes: Lanes) -> None:
    await lanes.send(range(600), partition=0)
    async with lanes.consuming() as (consumer, mailbox):
        consumer.start_fetch(P0, BOTH_FROM_START)
        await mailbox.until(600)
        consumer.stop_fetch(P0)
        consumer.start_fetch(P0, {Lane.NORMAL: 590, Lane.URGENT: 0})
        await mailbox.until(610)
        await lanes.send(range(600, 605), partition=0)
        await mailbox.until(615)
        assert mailbox.values(0) == [*range(600), *range(590, 605)]


async def test_whoever_takes_a_record_may_end_and_begin_the_partition_on_the_spot(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then neither the rest of that batch counts, nor what the client has fetched behind it."""
    monkeypatch.setattr(commands, "_AT_ONCE", 3)  # many turns of the loop within a batch: the client fetches ahead
    padding = b" " * 1_000  # several fetches of a mebibyte, so that the next is in the client's hands by then
    await asyncio.gather(
        *(
            lanes.producer.produce(lanes.topics[Lane.NORMAL], b"CP1", b"%d" % n + padding, partition=0)
            for n in range(4_000)
        )
    )
    turns = [700, 1_400, 2_100, 2_800, 3_500]
    seen: list[int] = []
    finished = asyncio.Event()

    def take(record: SourceRecord) -> None:
        seen.append(record.offset)
        if turns and record.offset == turns[0]:
            turns.pop(0)
            consumer.stop_fetch(P0)
            consumer.start_fetch(P0, {Lane.NORMAL: record.offset - 10, Lane.URGENT: 0})
        if record.offset == 3_999:
            finished.set()

    consumer = CommandConsumer(lanes.connection, lanes.topics, lanes.group, take)
    consumer.start()
    try:
        consumer.start_fetch(P0, BOTH_FROM_START)
        async with asyncio.timeout(30):
            await finished.wait()
    finally:
        await consumer.stop()
    begins = [0, 690, 1_390, 2_090, 2_790, 3_490]
    ends = [700, 1_400, 2_100, 2_800, 3_500, 3_999]
    assert seen == [n for begin, end in zip(begins, ends, strict=True) for n in range(begin, end + 1)]


async def test_an_offset_the_log_does_not_hold_begins_at_the_earliest_record(lanes: Lanes) -> None:
    await lanes.send(range(3), partition=0)
    async with lanes.consuming() as (consumer, mailbox):
        consumer.start_fetch(P0, {Lane.NORMAL: 500, Lane.URGENT: 0})
        await mailbox.until(3)
        assert mailbox.values(0) == [0, 1, 2], "after Kafka lost data no command may be skipped"


async def test_commit_and_metadata_come_back_and_a_fresh_partition_has_none(lanes: Lanes) -> None:
    await lanes.send(range(5), partition=0)
    async with lanes.consuming() as (consumer, _):
        assert await consumer.positions(P0) == dict.fromkeys(Lane, LanePosition(None, "", 0))
        await consumer.commit(Lane.NORMAL, P0, 4, "runs é")
        assert await consumer.positions(P0) == {
            Lane.NORMAL: LanePosition(4, "runs é", 0),
            Lane.URGENT: LanePosition(None, "", 0),
        }
        await consumer.commit(Lane.NORMAL, P0, 5, "x" * MAX_METADATA_BYTES)
        with pytest.raises(KafkaRefused, match="metadata"):
            await consumer.commit(Lane.NORMAL, P0, 6, "x" * (MAX_METADATA_BYTES + 1))
        assert (await consumer.positions(P0))[Lane.NORMAL].committed == 5


async def test_commits_of_many_partitions_at_once_all_count(kafka: KafkaServer, fresh_name) -> None:
    async with lanes_on(kafka.bootstrap, fresh_name, partitions=64) as lanes, lanes.consuming() as (consumer, _):
        await asyncio.gather(
            *(consumer.commit(lane, Partition(n), 100 + n, f"{lane} {n}") for lane in Lane for n in range(64))
        )
        found = await asyncio.gather(*(consumer.positions(Partition(n)) for n in range(64)))
        assert [position[lane][:2] for position in found for lane in Lane] == [
            (100 + n, f"{lane} {n}") for n in range(64) for lane in Lane
        ]


async def test_kafka_takes_a_zombies_older_commit_and_the_owners_next_one_repairs_it(lanes: Lanes) -> None:
    """The fact behind "every owner re-commits each partition and lane every minute": there is no fencing."""
    async with lanes.consuming() as (owner, _), lanes.consuming() as (zombie, _):
        await owner.commit(Lane.NORMAL, P0, 50, "owner")
        await zombie.commit(Lane.NORMAL, P0, 10, "zombie")
        assert (await owner.positions(P0))[Lane.NORMAL][:2] == (10, "zombie")
        await owner.commit(Lane.NORMAL, P0, 50, "owner")
        assert (await zombie.positions(P0))[Lane.NORMAL][:2] == (50, "owner")


async def test_lanes_with_different_numbers_of_partitions_are_refused(kafka: KafkaServer, fresh_name) -> None:
    lanes = Lanes(kafka.bootstrap, fresh_name("down"), fresh_name("urgent"), fresh_name("group"))
    async with lanes.consuming() as (consumer, _):
        counted = asyncio.create_task(consumer.partition_count())
        await create_topics(kafka.bootstrap, {lanes.topics[Lane.NORMAL]: 3})
        done, _ = await asyncio.wait((counted,), timeout=0.5)
        assert not done, "a topic that is not there yet is waited for"
        await create_topics(kafka.bootstrap, {lanes.topics[Lane.URGENT]: 2})
        with pytest.raises(LanesDiffer, match=r"has 3.*has 2"):
            await counted


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_an_outage_skips_and_repeats_nothing_and_commits_are_unknown_meanwhile(
    private_kafka: KafkaServer, fresh_name, fault: str
) -> None:
    async with (
        lanes_on(private_kafka.bootstrap, fresh_name) as lanes,
        lanes.consuming(stall_after=1.5) as (consumer, mailbox),
    ):
        consumer.start_fetch(P0, BOTH_FROM_START)
        await lanes.send(range(100), partition=0)
        await mailbox.until(100)
        await consumer.commit(Lane.NORMAL, P0, 100, "before")
        if fault == "killed":
            private_kafka.kill()
        else:
            private_kafka.pause()
        with pytest.raises(KafkaUnknown):
            await consumer.commit(Lane.NORMAL, P0, 101, "during")
        if fault == "killed":
            await private_kafka.start_async()
        else:
            private_kafka.resume()
        await asyncio.gather(*(_insist(lanes, number) for number in range(100, 200)))
        await mailbox.until(200)
        assert sorted(set(mailbox.values(0))) == list(range(200))
        assert [record.offset for record in mailbox.records] == list(range(len(mailbox.records)))
        await consumer.commit(Lane.NORMAL, P0, 200, "after")
        assert (await consumer.positions(P0))[Lane.NORMAL][:2] == (200, "after")


async def _insist(lanes: Lanes, number: int) -> None:
    while True:
        try:
            return await lanes.producer.produce(lanes.topics[Lane.NORMAL], b"CP1", b"%d" % number, partition=0)
        except KafkaUnknown:
            continue


async def test_a_client_that_hears_nothing_any_more_is_replaced(lanes: Lanes) -> None:
    """As seen after a restart of a whole cluster; here its fetching task is taken away."""
    async with lanes.consuming(stall_after=1.0) as (consumer, mailbox):
        consumer.start_fetch(P0, BOTH_FROM_START)
        await lanes.send(range(5), partition=0)
        await mailbox.until(5)
        stuck = consumer._readers[Lane.NORMAL]._consumer
        stuck._fetcher._fetch_task.cancel()
        await asyncio.gather(*stuck._fetcher._pending_tasks)  # a fetch under way would still bring records
        await lanes.send(range(5, 10), partition=0)
        await mailbox.until(10)
        assert mailbox.values(0) == list(range(10))
        assert consumer._readers[Lane.NORMAL]._consumer is not stuck


async def test_a_quiet_partition_is_no_reason_to_replace_the_client(lanes: Lanes) -> None:
    async with lanes.consuming(stall_after=0.5) as (consumer, mailbox):
        consumer.start_fetch(P0, BOTH_FROM_START)
        await lanes.send(range(1), partition=0)
        await mailbox.until(1)
        clients = [reader._consumer for reader in consumer._readers.values()]
        await asyncio.sleep(1.5)
        assert clients == [reader._consumer for reader in consumer._readers.values()]


async def test_a_consumer_that_starts_before_kafka_reads_when_it_comes(private_kafka: KafkaServer, fresh_name) -> None:
    async with lanes_on(private_kafka.bootstrap, fresh_name) as lanes:
        await lanes.send(range(5), partition=2)
        await private_kafka.stop_async()
        async with lanes.consuming() as (consumer, mailbox):
            consumer.start_fetch(P2, BOTH_FROM_START)
            with pytest.raises(KafkaUnknown):
                await consumer.positions(P2)
            await private_kafka.start_async()
            await mailbox.until(5)
            assert mailbox.values(2) == [0, 1, 2, 3, 4]


async def test_the_embedded_broker_serves_both_lanes_without_metadata(
    embedded_broker: EmbeddedBroker, fresh_name
) -> None:
    async with (
        lanes_on(embedded_broker.bootstrap, fresh_name) as lanes,
        lanes.consuming(fetch_max_wait=0.02) as (consumer, mailbox),
    ):
        assert await consumer.partition_count() == 3
        assert await consumer.positions(P0) == dict.fromkeys(Lane, LanePosition(None, "", 0))
        consumer.start_fetch(P0, BOTH_FROM_START)
        await lanes.send(range(50), partition=0)
        await lanes.send(range(5), partition=0, lane=Lane.URGENT)
        await mailbox.until(55)
        assert mailbox.values(0) == list(range(50))
        await consumer.commit(Lane.NORMAL, P0, 50, "dropped by this broker")
        position = (await consumer.positions(P0))[Lane.NORMAL]
        assert position.committed == 50


@pytest.mark.parametrize(("kind", "lines"), [("CreateTime", 1), ("LogAppendTime", 0)])
async def test_a_topic_that_keeps_the_time_of_producers_is_told_once(
    kafka: KafkaServer, fresh_name, caplog: pytest.LogCaptureFixture, kind: str, lines: int
) -> None:
    """Deadlines count from it, and the clocks of backends are nobody's."""
    async with lanes_on(kafka.bootstrap, fresh_name, settings={"message.timestamp.type": kind}) as lanes:
        await lanes.send(range(20), partition=0)
        async with lanes.consuming() as (consumer, mailbox):
            for begin in (0, 10):
                consumer.start_fetch(P0, {Lane.NORMAL: begin, Lane.URGENT: 0})
                await mailbox.until(20 + begin)
                consumer.stop_fetch(P0)
        told = [line for line in caplog.messages if "LogAppendTime" in line]
        assert len(told) == lines
        assert all(lanes.topics[Lane.NORMAL] in line for line in told)


# ---------------------------------------------------------------------------------------- header names that are no UTF-8

_ODD_NAME = b"c\xf0g-\xff\xfehop"
_ODD_NAME_READ = "c\x1ag-\x1a\x1ahop"


@pytest.mark.parametrize("codec", CODECS)
async def test_a_header_name_that_is_no_utf_8_arrives_substituted_amid_its_neighbours(lanes: Lanes, codec: str) -> None:
    """Read by aiokafka alone, none of these records would ever arrive."""
    odd = {70, 71, 299}
    batch = odd_batch(
        [
            (b"CP1", b"%d" % n, [(_ODD_NAME if n in odd else "käse-name".encode(), b"\xff"), (b"other-name", None)])
            for n in range(300)
        ],
        codec,
    )
    await lanes.send(range(1000, 1003), partition=0)
    first = await produce_batch(lanes.connection.bootstrap_servers[0], lanes.topics[Lane.NORMAL], 0, batch)
    await lanes.send(range(2000, 2003), partition=0)
    async with lanes.consuming() as (consumer, mailbox):
        consumer.start_fetch(P0, BOTH_FROM_START)
        await mailbox.until(306)
        assert mailbox.values(0) == [1000, 1001, 1002, *range(300), 2000, 2001, 2002]
        assert [record.offset for record in mailbox.records] == list(range(306))
        assert {record.offset - first: record.headers[0] for record in mailbox.records[3:303]} == {
            n: (_ODD_NAME_READ if n in odd else "käse-name", b"\xff") for n in range(300)
        }
        assert {record.headers[1] for record in mailbox.records[3:303]} == {("other-name", None)}


async def test_fetching_may_start_behind_such_a_record_or_at_it(lanes: Lanes) -> None:
    batch = odd_batch([(None, b"%d" % n, [(_ODD_NAME, b"")] if n == 1 else []) for n in range(4)], "zstd")
    await produce_batch(lanes.connection.bootstrap_servers[0], lanes.topics[Lane.URGENT], 0, batch)
    async with lanes.consuming() as (consumer, mailbox):
        for begin in (1, 2):
            consumer.start_fetch(P0, {Lane.NORMAL: 0, Lane.URGENT: begin})
            await mailbox.until(4 - begin)
            assert mailbox.values(0, Lane.URGENT) == list(range(begin, 4))
            consumer.stop_fetch(P0)
            mailbox.records.clear()
