"""The consumer of both command lanes.

    start_fetch(partition, offsets) -> a reader per lane -> deliver(SourceRecord), in order per partition
    commit, position                -> GroupOffsets

Partitions are assigned by hand: who owns one is decided in Redis. Each lane has a client of its own, so that a backlog of
normal commands cannot stand in front of urgent ones. The reader knows for every partition the next offset to hand over;
that is what makes the traps of aiokafka's consumer harmless:

- `assign()` replaces everything and forgets the positions of kept partitions: all are sought right after it, with no
  await in between, and a batch that was fetched before it is dropped and fetched again.
- `pause()` throws prefetched records away, so it is never used: records go straight into the caller's own queues.
- A consumer can stay stuck after a restart of the whole cluster: a partition from which nothing was heard for `stall_after`
  (not even "no records") has the client made anew, from the same positions.
- One header name that is no UTF-8 stops a partition for good: `fetched_records` lets such a record arrive, to be refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition

from ocpp_contract.ids import Partition
from ocpp_gateway.adapters.fetched_records import lenient
from ocpp_gateway.adapters.group_offsets import GroupOffsets
from ocpp_gateway.adapters.kafka_connection import KafkaConnection, close_consumer, start_client
from ocpp_gateway.core.effects import Lane, LanePosition, SourceRecord

log = logging.getLogger(__name__)

Deliver = Callable[[SourceRecord], None]

_POLL = 1.0
_AT_ONCE = 200  # records handed over before the loop gets its turn
_BACKOFF = 0.2
_BACKOFF_MAX = 1.0
_FETCH_BYTES = 8 << 20
_CREATE_TIME = 0
_PARTITION_FETCH_BYTES = 1 << 20


class LanesDiffer(Exception):
    """`commands-urgent` must have exactly the partitions of `commands-down`."""


class CommandConsumer:
    """Reads the command topics. `deliver` is called for every record and must return at once."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: Mapping[Lane, str],
        group_id: str,
        deliver: Deliver,
        *,
        fetch_max_wait: float = 0.1,
        stall_after: float | None = None,
    ) -> None:
        """`fetch_max_wait` and `stall_after` in seconds; the latter is three request time-outs by default."""
        self._topics = topics
        self._offsets = GroupOffsets(connection, group_id)
        self._readers = {
            lane: _LaneReader(
                connection, lane, topic, deliver, fetch_max_wait, stall_after or 3 * connection.request_timeout
            )
            for lane, topic in topics.items()
        }

    def start(self) -> None:
        """Begin to connect and return at once; Kafka may be away."""
        self._offsets.start(self._topics.values())
        for reader in self._readers.values():
            reader.start()

    async def stop(self) -> None:
        """Hand nothing over any more and close, within seconds also while Kafka is away."""
        await asyncio.gather(*(reader.stop() for reader in self._readers.values()))
        await self._offsets.stop()

    async def partition_count(self) -> int:
        """The number of partitions of both lanes; waits until both topics exist. Raises LanesDiffer."""
        while True:
            counts = {topic: self._offsets.partitions(topic) for topic in self._topics.values()}
            known = [count for count in counts.values() if count is not None]
            if len(known) == len(counts):
                if len(set(known)) > 1:
                    told = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
                    raise LanesDiffer(f"the command topics must have the same number of partitions, but {told}")
                return known[0]
            # A pod that starts waits here: it looks when metadata come, and asks for more only when they lack a topic.
            if not await self._offsets.news(_BACKOFF):
                self._offsets.refresh()

    def start_fetch(self, partition: Partition, offsets: Mapping[Lane, int]) -> None:
        """Hand over the records of both lanes from these offsets on. Offsets that the log no longer (or not yet) holds
        begin at the earliest record."""
        for lane, offset in offsets.items():
            self._readers[lane].begin(partition, offset)

    def stop_fetch(self, partition: Partition) -> None:
        """From now on no record of the partition is handed over."""
        for reader in self._readers.values():
            reader.end(partition)

    async def commit(self, lane: Lane, partition: Partition, offset: int, metadata: str) -> None:
        """Raises KafkaUnknown after the request time-out, KafkaRefused when the metadata is too long."""
        await self._offsets.commit(TopicPartition(self._topics[lane], partition), offset, metadata)

    async def positions(self, partition: Partition) -> Mapping[Lane, LanePosition]:
        """What the group committed for both lanes, and where their logs begin. Raises KafkaUnknown."""
        lanes = tuple(self._topics)
        found = await asyncio.gather(*(self._position(lane, partition) for lane in lanes))
        return dict(zip(lanes, found, strict=True))

    async def _position(self, lane: Lane, partition: Partition) -> LanePosition:
        where = TopicPartition(self._topics[lane], partition)
        committed, beginning = await asyncio.gather(self._offsets.committed(where), self._offsets.beginning(where))
        return LanePosition(committed.offset, committed.metadata, beginning)


class _LaneReader:
    """One client for one command topic; keeps it fetching exactly the partitions begun and not ended."""

    def __init__(
        self,
        connection: KafkaConnection,
        lane: Lane,
        topic: str,
        deliver: Deliver,
        fetch_max_wait: float,
        stall_after: float,
    ) -> None:
        self._connection = connection
        self._lane = lane
        self._topic = topic
        self._deliver = deliver
        self._fetch_max_wait_ms = round(fetch_max_wait * 1000)
        self._stall_after = stall_after
        self._next: dict[Partition, int] = {}
        """Partitions to fetch and the next offset to hand over of each."""
        self._warned_of_time = False
        self._assignments = 0
        self._assigned = asyncio.Event()
        self._consumer: Any = None
        self._assign_due: asyncio.Handle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_reading(), name=f"commands {self._lane}")

    async def stop(self) -> None:
        self._next.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def begin(self, partition: Partition, offset: int) -> None:
        self._next[partition] = offset
        self._change()

    def end(self, partition: Partition) -> None:
        if self._next.pop(partition, None) is not None:
            self._change()

    # --- assignment ---------------------------------------------------------------------------------------------------

    def _change(self) -> None:
        """Assign anew at the end of this turn of the loop: a pod that takes 128 partitions does it once. What the client
        yields until then is dropped, since it is sought again from `_next`."""
        if self._assign_due is None:
            self._assign_due = asyncio.get_running_loop().call_soon(self._assign)

    def _assign(self) -> None:
        self._assign_due = None
        consumer = self._consumer
        if consumer is None:
            return  # a new client assigns by itself
        self._assignments += 1
        where = {partition: TopicPartition(self._topic, partition) for partition in self._next}
        consumer.assign(list(where.values()))
        for partition, offset in self._next.items():
            consumer.seek(where[partition], offset)
        if where:
            self._assigned.set()
        else:
            self._assigned.clear()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _keep_reading(self) -> None:
        backoff = _BACKOFF
        while True:
            consumer = lenient(
                self._connection.consumer(
                    group_id=None,  # positions are kept in the group by GroupOffsets; nobody joins it
                    auto_offset_reset="earliest",
                    fetch_max_wait_ms=self._fetch_max_wait_ms,
                    fetch_max_bytes=_FETCH_BYTES,
                    max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
                )
            )
            try:
                await start_client(consumer)
                # aiokafka 0.14 cannot close a consumer whose background tasks have not taken their first step.
                await asyncio.sleep(0)
                backoff = _BACKOFF
                self._consumer = consumer
                self._assign()
                await self._read(consumer)
            except KafkaConnectionError as error:
                log.warning("%s: Kafka cannot be reached: %s", self._topic, error)
            except Exception:  # whatever a client dies of, the next one goes on from the same offsets
                log.exception("%s: consumer failed, making a new one", self._topic)
            finally:
                self._consumer = None
                await close_consumer(consumer)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _BACKOFF_MAX)

    async def _read(self, consumer: Any) -> None:
        """Hand records over until the client is found stuck."""
        watch = _Watch(self._stall_after)
        while True:
            await self._assigned.wait()
            batches = await consumer.getmany(timeout_ms=round(_POLL * 1000))
            if watch.stalled(consumer, asyncio.get_running_loop().time()):
                log.warning(
                    "%s: nothing heard of a partition for %.0f s, making a new client", self._topic, watch.after
                )
                return
            # Records of an older assignment never come out of `getmany`, but this one may be about to be replaced.
            if batches and self._assign_due is None:
                await self._hand_over(batches)

    async def _hand_over(self, batches: Mapping[TopicPartition, list[Any]]) -> None:
        assignments = self._assignments
        turn = _AT_ONCE
        for where, records in batches.items():
            partition = Partition(where.partition)
            for record in records:
                expected = self._next.get(partition)
                if expected is None:
                    break  # ended by what `deliver` did
                if record.offset < expected:
                    # The log is shorter than we knew: Kafka lost data, or the topic was made anew.
                    log.error("%s partition %d went back from offset %d to %d",
                              self._topic, partition, expected, record.offset)  # fmt: skip
                self._next[partition] = record.offset + 1
                if record.timestamp_type == _CREATE_TIME and not self._warned_of_time:
                    self._warn_of_time(partition, record.offset)
                self._deliver(
                    SourceRecord(
                        self._lane,
                        partition,
                        record.offset,
                        record.timestamp,
                        record.key,
                        record.value,
                        tuple(record.headers),
                    )
                )
                turn -= 1
                if not turn:
                    turn = _AT_ONCE
                    await asyncio.sleep(0)
                if self._assign_due is not None or assignments != self._assignments:
                    return  # the rest is fetched again, from `_next`

    def _warn_of_time(self, partition: Partition, offset: int) -> None:
        """Once for the topic: nothing is wrong with the single record, and some brokers know no other time."""
        self._warned_of_time = True
        log.warning(
            "%s/%d/%d carries the time of its producer: deadlines count from clocks of backends until the topic has "
            "message.timestamp.type=LogAppendTime (said once)",
            self._topic,
            partition,
            offset,
        )


class _Watch:
    """Finds a client that no longer hears of one of its partitions. A fetch that brings nothing counts as hearing."""

    def __init__(self, after: float) -> None:
        self.after = after
        self._heard: dict[TopicPartition, tuple[int | None, float]] = {}
        self._next_look = 0.0

    def stalled(self, consumer: Any, now: float) -> bool:
        """`now` in seconds of the loop's clock; the broker's answers carry wall time, so only their change is used."""
        if now < self._next_look:
            return False
        self._next_look = now + self.after / 10
        heard: dict[TopicPartition, tuple[int | None, float]] = {}
        for where in consumer.assignment():
            last = consumer.last_poll_timestamp(where)
            known, since = self._heard.get(where, (None, now))
            # A new assignment forgets the time; that is no news of the partition.
            heard[where] = (last, now) if last is not None and last != known else (known, since)
        self._heard = heard
        return any(now - since > self.after for _, since in heard.values())
