"""The producer: events, results, dead letters and forwarded commands on their way into Kafka.

    publish() -> queue of the partition -> one flush tick for all partitions -> one request per leader -> on_ack()

- A produce request costs far more than a record in it, so records gather for `linger` and all partitions leave in one
  request per leader. `urgent` ends the gathering at once (results, forwards). One request per leader is under way: the
  broker serves a connection's requests one after the other anyway, and what comes meanwhile leaves together next.
- acks=all, one batch per partition on its way, a failed batch is repeated in place for ever: nothing is dropped or
  reordered while Kafka is away, and the uplink's limits bound what piles up (`pending`, `oldest_age`). A repetition after
  a lost reply may write a batch twice; consumers know the copies by their `ce_id`.
- What a broker refuses as too large is halved until the one guilty record fails alone.

aiokafka brings connections, metadata and the wire format; its own producer is not used, since there a batch expires, a
partition is waited for in tasks and a future is made per record (ADR 0010, measured in benchmarks/bench_producer.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from aiokafka.structs import TopicPartition

from ocpp_contract.partitioning import partition_for
from ocpp_gateway.adapters.batches import Headers, OnAck, PartitionQueue, Record
from ocpp_gateway.adapters.flush_tick import FlushTick
from ocpp_gateway.adapters.kafka_connection import KafkaConnection, KafkaRefused, KafkaUnknown, SteadyClient

log = logging.getLogger(__name__)

_RECORD_OVERHEAD = 256


class _Topic:
    """Partitions of a topic that something was produced to, and what came before their number was known."""

    __slots__ = ("name", "partitions", "queues", "unrouted")

    def __init__(self, name: str) -> None:
        self.name = name
        self.partitions: int | None = None
        self.queues: dict[int, PartitionQueue] = {}
        self.unrouted: deque[tuple[Record, int | None]] = deque()


class EventProducer:
    """Produces with acks=all, in order per partition. Make and use it within one event loop."""

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        linger: float = 0.005,
        max_record_bytes: int = 1_000_000,
        stall_after: float | None = None,
    ) -> None:
        """`linger` and `stall_after` in seconds: after the latter without any acknowledgement (default three request
        time-outs) the connections are made anew."""
        self.pending = 0
        """Records that Kafka has not acknowledged."""
        self.pending_bytes = 0
        """Their keys and values."""
        self._loop = asyncio.get_running_loop()
        self._max_record_bytes = max_record_bytes
        self._timeout = connection.request_timeout
        self._stall_after = stall_after or 3 * connection.request_timeout
        self._kafka = SteadyClient(connection, self._metadata_changed)
        self._topics: dict[str, _Topic] = {}
        self._tick = FlushTick(self._kafka, self._settle, linger=linger, request_timeout=connection.request_timeout)
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = False
        self._watchdog: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self, topics: Iterable[str] = ()) -> None:
        """Begin to connect and return at once; `topics` are looked up ahead. Kafka may be away: records wait."""
        for topic in topics:
            self._topic(topic)
        self._kafka.start()
        self._watchdog = asyncio.create_task(self._watch(), name="kafka producer watchdog")

    async def ready(self, *topics: str) -> None:
        """Wait until Kafka was reached and every topic has partitions."""
        while any(self._topic(topic).partitions is None for topic in topics) or self._kafka.client is None:
            self._kafka.refresh()
            await asyncio.sleep(0.05)

    async def stop(self, timeout: float = 5.0) -> int:
        """Flush for at most `timeout` seconds, then close. Whoever still waits gets KafkaUnknown; returns their number."""
        self._tick.flush()
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            log.error("producer stopped with %d records that Kafka has not acknowledged", self.pending)
        self._stopped = True
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.wait((self._watchdog,))
        await self._kafka.stop()
        await self._tick.stop()
        return self._abandon()

    # --- producing ----------------------------------------------------------------------------------------------------

    def publish(
        self, topic: str, key: bytes, value: bytes, headers: Headers, on_ack: OnAck, *, urgent: bool = False
    ) -> None:
        """Queue a record for the partition of its key. `on_ack(None)` follows once all in-sync replicas have it,
        `on_ack(KafkaRefused)` when it can never be written, `on_ack(KafkaUnknown)` only at `stop`. Never called from
        within this call."""
        record = Record(key, value, headers, on_ack, self._loop.time())
        self._accept(self._topic(topic), record, None, urgent)

    async def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        *,
        partition: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Write one record (to `partition`, or that of its key) without lingering, and return when acknowledged.

        Raises KafkaUnknown after `timeout` seconds (default: the request time-out), KafkaRefused when it can never be
        written. A record that has not left by then is withdrawn, so repetitions do not pile up while Kafka is away.
        """
        done: asyncio.Future[None] = self._loop.create_future()

        def acknowledged(error: Exception | None) -> None:
            if not done.done():
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

        record = Record(key, value, headers, acknowledged, self._loop.time())
        self._accept(self._topic(topic), record, partition, urgent=True)
        try:
            async with asyncio.timeout(self._timeout if timeout is None else timeout):
                await done
        except TimeoutError:
            raise KafkaUnknown(f"{topic}: no acknowledgement in time") from None
        finally:
            if not done.done() or done.cancelled():
                self._withdraw(self._topics[topic], record, partition)

    def oldest_age(self, topic: str | None = None) -> float | None:
        """Seconds since the oldest unacknowledged record (of one topic) was queued; None when there is none."""
        if not self.pending:
            return None
        topics = self._topics.values() if topic is None else (self._topic(topic),)
        times = [queue.oldest for each in topics for queue in each.queues.values()]
        times += [each.unrouted[0][0].since for each in topics if each.unrouted]
        oldest = min((time for time in times if time is not None), default=None)
        return None if oldest is None else self._loop.time() - oldest

    @property
    def connected(self) -> bool:
        """Whether there is a client at all (its brokers may still be silent: see `oldest_age`)."""
        return self._kafka.client is not None

    def partitions(self, topic: str) -> int | None:
        """Number of partitions as last seen, None while never seen."""
        return self._topic(topic).partitions

    # --- queueing -----------------------------------------------------------------------------------------------------

    def _topic(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(name)
            topic.partitions = self._kafka.partitions(name)
            self._kafka.watch(name)
        return topic

    def _accept(self, topic: _Topic, record: Record, partition: int | None, urgent: bool) -> None:
        key, value = record.key, record.value
        size = (len(value) if value is not None else 0) + (len(key) if key is not None else 0)
        self.pending += 1
        self.pending_bytes += size
        self._idle.clear()
        if self._stopped:
            self._loop.call_soon(self._settle, record, KafkaUnknown("the producer has stopped"))
        elif size + _RECORD_OVERHEAD > self._max_record_bytes:
            too_large = KafkaRefused(f"{topic.name}: a record of {size} bytes is larger than {self._max_record_bytes}")
            self._loop.call_soon(self._settle, record, too_large)
        elif topic.partitions is None:
            topic.unrouted.append((record, partition))
            self._kafka.refresh()
        else:
            self._enqueue(topic, topic.partitions, record, partition, urgent)

    def _enqueue(self, topic: _Topic, partitions: int, record: Record, partition: int | None, urgent: bool) -> None:
        if partition is None:
            partition = partition_for(record.key or b"", partitions)
        queue = topic.queues.get(partition)
        if queue is None:
            queue = topic.queues[partition] = PartitionQueue(TopicPartition(topic.name, partition))
        queue.waiting.append(record)
        self._tick.offer(queue, urgent=urgent)

    def _withdraw(self, topic: _Topic, record: Record, partition: int | None) -> None:
        taken = False
        if (record, partition) in topic.unrouted:
            topic.unrouted.remove((record, partition))
            taken = True
        else:
            taken = any(queue.withdraw(record) for queue in topic.queues.values())
        if taken:
            self._forget(record)

    # --- settling -----------------------------------------------------------------------------------------------------

    def _settle(self, record: Record, error: Exception | None) -> None:
        self._forget(record)
        try:
            record.on_ack(error)
        except Exception:  # one waiter's mistake must not keep its neighbours waiting
            log.exception("acknowledgement handler failed")

    def _forget(self, record: Record) -> None:
        self.pending -= 1
        key, value = record.key, record.value
        self.pending_bytes -= (len(value) if value is not None else 0) + (len(key) if key is not None else 0)
        if not self.pending:
            self._idle.set()

    def _abandon(self) -> int:
        left: list[Record] = []
        for topic in self._topics.values():
            left += (record for record, _ in topic.unrouted)
            topic.unrouted.clear()
            for queue in topic.queues.values():
                batches = [*((queue.flight,) if queue.flight else ()), *queue.repeat]
                left += (record for batch in batches for record in batch.records)
                left += queue.waiting
                queue.flight = None
                queue.repeat.clear()
                queue.waiting.clear()
        for record in left:
            self._settle(record, KafkaUnknown("the producer has stopped"))
        return len(left)

    # --- keeping at it ------------------------------------------------------------------------------------------------

    def _metadata_changed(self) -> None:
        """A client came up or metadata arrived: route what waited for a topic, then flush."""
        for topic in self._topics.values():
            partitions = self._kafka.partitions(topic.name)
            if partitions is not None:
                topic.partitions = partitions
                while topic.unrouted:
                    record, partition = topic.unrouted.popleft()
                    self._enqueue(topic, partitions, record, partition, urgent=True)
            elif topic.unrouted:
                self._kafka.refresh()
        self._loop.call_soon(self._tick.flush)

    async def _watch(self) -> None:
        """Make the connections anew when records wait and nothing has been acknowledged for too long."""
        idle_until = self._loop.time()
        while True:
            await asyncio.sleep(min(1.0, self._stall_after / 4))
            now = self._loop.time()
            if not self.pending:
                idle_until = now
            elif now - max(idle_until, self._tick.last_answer) > self._stall_after:
                self._tick.say(f"records wait and Kafka has answered nothing for {self._stall_after:.0f} s")
                idle_until = now
                self._kafka.renew()
