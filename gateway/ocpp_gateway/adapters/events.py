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
from typing import Any

from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    UnknownError,
    UnsupportedForMessageFormatError,
    for_code,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import TopicPartition

from ocpp_contract.partitioning import partition_for
from ocpp_gateway.adapters.batches import Batch, Headers, OnAck, PartitionQueue, Record
from ocpp_gateway.adapters.kafka_connection import KafkaConnection, KafkaRefused, KafkaUnknown, SteadyClient

log = logging.getLogger(__name__)

_ALL_REPLICAS = -1
_REQUEST_BYTES = 8 << 20  # of batches in one request; the broker's own limit is 100 MiB
_BATCH_BYTES = 256 << 10
_RECORD_OVERHEAD = 256
_BACKOFF = 0.05
_BACKOFF_MAX = 1.0
_SAY_AGAIN_AFTER = 10.0
_TOO_LARGE = frozenset({MessageSizeTooLargeError, RecordListTooLargeError})
_INVALID_RECORD = 87  # INVALID_RECORD of KIP-467, which aiokafka has no class for
_REFUSED = frozenset({InvalidTimestampError, PolicyViolationError, UnsupportedForMessageFormatError})


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
        self._linger = linger
        self._max_record_bytes = max_record_bytes
        self._timeout = connection.request_timeout
        self._stall_after = stall_after or 3 * connection.request_timeout
        self._kafka = SteadyClient(connection, self._metadata_changed)
        self._topics: dict[str, _Topic] = {}
        self._sendable: dict[PartitionQueue, None] = {}  # a set that keeps the order: first come, first served
        self._busy: set[int] = set()
        self._overdue = False
        self._timer: asyncio.Handle | None = None
        self._timer_urgent = False
        self._requests: set[asyncio.Task[None]] = set()
        self._last_ack = self._loop.time()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = False
        self._watchdog: asyncio.Task[None] | None = None
        self._said: dict[str, float] = {}

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
        self._flush()
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            log.error("producer stopped with %d records that Kafka has not acknowledged", self.pending)
        self._stopped = True
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.wait((self._watchdog,))
        if self._timer is not None:
            self._timer.cancel()
        await self._kafka.stop()
        for task in tuple(self._requests):
            task.cancel()
        if self._requests:
            await asyncio.wait(tuple(self._requests))
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

    def oldest_age(self) -> float | None:
        """Seconds since the oldest unacknowledged record was queued; None when there is none."""
        if not self.pending:
            return None
        times = [queue.oldest for topic in self._topics.values() for queue in topic.queues.values()]
        times += [topic.unrouted[0][0].since for topic in self._topics.values() if topic.unrouted]
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
            self._enqueue(topic, topic.partitions, record, partition)
            if self._timer is None:
                self._arm(urgent)
            elif urgent and not self._timer_urgent:
                self._timer.cancel()
                self._arm(urgent)

    def _enqueue(self, topic: _Topic, partitions: int, record: Record, partition: int | None) -> None:
        if partition is None:
            partition = partition_for(record.key or b"", partitions)
        queue = topic.queues.get(partition)
        if queue is None:
            queue = topic.queues[partition] = PartitionQueue(TopicPartition(topic.name, partition))
        queue.waiting.append(record)
        if queue.flight is None and not queue.blocked:
            self._sendable[queue] = None

    def _arm(self, urgent: bool) -> None:
        self._timer_urgent = urgent or not self._linger
        # An urgent record still waits for the others of this turn of the loop.
        self._timer = (
            self._loop.call_soon(self._flush)
            if self._timer_urgent
            else self._loop.call_later(self._linger, self._flush)
        )

    def _withdraw(self, topic: _Topic, record: Record, partition: int | None) -> None:
        taken = False
        if (record, partition) in topic.unrouted:
            topic.unrouted.remove((record, partition))
            taken = True
        else:
            taken = any(queue.withdraw(record) for queue in topic.queues.values())
        if taken:
            self._forget(record)

    # --- the flush tick -----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what may leave, one request per leader that has none under way."""
        self._timer = None
        client = self._kafka.client
        if client is None or self._stopped:
            return  # `_metadata_changed` flushes when there is one
        leader_for = client.cluster.leader_for_partition
        busy = self._busy
        self._overdue = bool(busy)  # what cannot leave now leaves as soon as the request under way is answered
        requests: dict[int, list[PartitionQueue]] = {}
        sizes: dict[int, int] = {}
        for queue in tuple(self._sendable):
            leader = leader_for(queue.where)
            if leader is None or leader < 0:
                self._kafka.refresh()
                continue
            if leader in busy:
                continue
            size = sizes.get(leader, 0)
            if size > _REQUEST_BYTES:
                self._overdue = True
                continue
            del self._sendable[queue]
            batch = queue.next_batch(_BATCH_BYTES, self._cannot_encode)
            if batch is None:
                continue
            queue.flight = batch
            sizes[leader] = size + len(batch.data)
            requests.setdefault(leader, []).append(queue)
        for leader, queues in requests.items():
            busy.add(leader)
            task = self._loop.create_task(self._request(leader, queues))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _request(self, leader: int, queues: list[PartitionQueue]) -> None:
        topics: dict[str, list[tuple[int, bytes]]] = {}
        for queue in queues:
            assert queue.flight is not None
            topics.setdefault(queue.where.topic, []).append((queue.where.partition, queue.flight.data))
        request = ProduceRequest(None, _ALL_REPLICAS, round(self._timeout * 1000), list(topics.items()))
        failed: list[PartitionQueue] = []
        try:
            response = await self._kafka.send(leader, request)
        except Exception as error:  # of the connection, the protocol or the library: the batches stay and go again
            self._say(f"produce requests to broker {leader} fail: {error!r}")
            failed = queues
        else:
            failed = self._answered(queues, response)
        finally:
            self._busy.discard(leader)
        if failed:
            self._repeat_later(failed)
        if self._overdue:
            if self._timer is not None:
                self._timer.cancel()
            self._flush()

    def _answered(self, queues: list[PartitionQueue], response: Any) -> list[PartitionQueue]:
        """Settle every partition of the response; returns those that must be repeated."""
        codes: dict[tuple[str, int], int] = {
            (topic, partition): code for topic, partitions in response.topics for partition, code, *_ in partitions
        }
        failed = []
        for queue in queues:
            code = codes.get(queue.where, UnknownError.errno)
            batch = queue.flight
            assert batch is not None
            if code == 0:
                queue.attempts = 0
                self._leave(queue)
                self._acknowledge(batch)
                continue
            error = for_code(code)
            if error in _TOO_LARGE or error in _REFUSED or code == _INVALID_RECORD:
                self._refused(queue, batch, error, code)
            else:  # also a refused authorization: it may be granted while the batch waits
                self._say(f"{queue.where.topic} partition {queue.where.partition}: {error.__name__}, repeating")
                failed.append(queue)
        return failed

    def _acknowledge(self, batch: Batch) -> None:
        self._last_ack = self._loop.time()
        settle = self._settle
        for record in batch.records:
            settle(record, None)

    def _refused(self, queue: PartitionQueue, batch: Batch, error: type[KafkaError], code: int) -> None:
        """One record is to blame: halve the batch until it stands alone."""
        self._last_ack = self._loop.time()
        if len(batch.records) > 1:
            queue.split(batch, self._cannot_encode)
            self._overdue = True
        else:
            where = f"{queue.where.topic} partition {queue.where.partition}"
            self._settle(batch.records[0], KafkaRefused(f"{where}: {error.__name__} (error {code})"))
        self._leave(queue)

    def _leave(self, queue: PartitionQueue) -> None:
        """The batch under way is settled: what waits behind it may leave."""
        queue.flight = None
        if queue.sendable:
            self._sendable[queue] = None
            if self._timer is None and not self._overdue:
                self._arm(urgent=False)

    def _repeat_later(self, queues: list[PartitionQueue]) -> None:
        self._kafka.refresh()
        attempts = 0
        for queue in queues:
            assert queue.flight is not None
            queue.repeat.appendleft(queue.flight)
            queue.flight = None
            queue.blocked = True
            queue.attempts += 1
            attempts = max(attempts, queue.attempts)
        self._loop.call_later(min(_BACKOFF * 2 ** min(attempts - 1, 10), _BACKOFF_MAX), self._repeat, queues)

    def _repeat(self, queues: list[PartitionQueue]) -> None:
        for queue in queues:
            queue.blocked = False
            self._sendable[queue] = None
        if self._timer is not None:
            self._timer.cancel()
        self._flush()

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

    def _cannot_encode(self, record: Record, error: Exception) -> None:
        self._loop.call_soon(self._settle, record, KafkaRefused(f"not encodable: {error!r}"))

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
                    self._enqueue(topic, partitions, record, partition)
            elif topic.unrouted:
                self._kafka.refresh()
        if self._sendable:
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._flush()

    async def _watch(self) -> None:
        """Make the connections anew when records wait and nothing has been acknowledged for too long."""
        while True:
            await asyncio.sleep(min(1.0, self._stall_after / 4))
            age = self.oldest_age()
            if age is None:
                self._last_ack = self._loop.time()
            elif min(age, self._loop.time() - self._last_ack) > self._stall_after:
                self._say(
                    f"{self.pending} records wait and Kafka has acknowledged nothing for {self._stall_after:.0f} s"
                )
                self._last_ack = self._loop.time()
                self._kafka.renew()

    def _say(self, message: str) -> None:
        """Warn, but not the same thing hundreds of times while Kafka is away."""
        now = self._loop.time()
        if now - self._said.get(message, -_SAY_AGAIN_AFTER) >= _SAY_AGAIN_AFTER:
            self._said = {text: at for text, at in self._said.items() if now - at < _SAY_AGAIN_AFTER}
            self._said[message] = now
            log.warning("%s", message)
