"""The flush tick: what waits for any partition leaves together, one produce request per leader.

    arm() -> flush() -> request per leader -> settle(record, None | error), or the batch goes again in its place

One request per leader is under way. The broker serves a connection's requests one after the other anyway, and what
comes meanwhile leaves together when the answer is in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka.errors import (
    InvalidTimestampError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    UnknownError,
    UnsupportedForMessageFormatError,
    for_code,
)
from aiokafka.protocol.produce import ProduceRequest

from ocpp_gateway.adapters.batches import PartitionQueue, Record
from ocpp_gateway.adapters.kafka_connection import KafkaRefused, SteadyClient

log = logging.getLogger(__name__)

_ALL_REPLICAS = -1
_REQUEST_BYTES = 8 << 20  # of batches in one request; the broker's own limit is 100 MiB
_BATCH_BYTES = 256 << 10
_BACKOFF = 0.05
_BACKOFF_MAX = 1.0
_SAY_AGAIN_AFTER = 10.0
_INVALID_RECORD = 87  # INVALID_RECORD of KIP-467, which aiokafka has no class for
_REFUSED_CODES = frozenset(
    {
        _INVALID_RECORD,
        *(
            error.errno
            for error in (
                MessageSizeTooLargeError,
                RecordListTooLargeError,
                InvalidTimestampError,
                PolicyViolationError,
                UnsupportedForMessageFormatError,
            )
        ),
    }
)
"""One record of the batch is to blame. Everything else may pass (also a refused authorization: it may yet be granted)."""


class FlushTick:
    """Sends the batches of partition queues; `settle` is called once for every record that is done with."""

    def __init__(
        self,
        kafka: SteadyClient,
        settle: Callable[[Record, Exception | None], None],
        *,
        linger: float,
        request_timeout: float,
    ) -> None:
        self.last_answer = 0.0
        """Loop time at which a broker last settled a batch."""
        self._kafka = kafka
        self._settle = settle
        self._linger = linger
        self._timeout_ms = round(request_timeout * 1000)
        self._loop = asyncio.get_running_loop()
        self._sendable: dict[PartitionQueue, None] = {}  # a set that keeps the order: first come, first served
        self._busy: set[int] = set()
        self._overdue = False
        self._timer: asyncio.Handle | None = None
        self._timer_urgent = False
        self._requests: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._said: dict[str, float] = {}

    # --- when ---------------------------------------------------------------------------------------------------------

    def offer(self, queue: PartitionQueue, *, urgent: bool) -> None:
        """Something was added to `queue`: it leaves when the linger ends, at the end of this turn if `urgent`."""
        if queue.flight is None and not queue.blocked:
            self._sendable[queue] = None
        if self._timer is None:
            self._arm(urgent)
        elif urgent and not self._timer_urgent:
            self._timer.cancel()
            self._arm(urgent)

    def flush(self) -> None:
        """Send now what may leave."""
        if self._timer is not None:
            self._timer.cancel()
        self._flush()

    async def stop(self) -> None:
        """Send nothing more and end the requests under way; their batches stay in the queues."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for task in tuple(self._requests):
            task.cancel()
        if self._requests:
            await asyncio.wait(tuple(self._requests))

    def _arm(self, urgent: bool) -> None:
        self._timer_urgent = urgent or not self._linger
        # An urgent record still waits for the others of this turn of the loop.
        if self._timer_urgent:
            self._timer = self._loop.call_soon(self._flush)
        else:
            self._timer = self._loop.call_later(self._linger, self._flush)

    # --- what ---------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._timer = None
        client = self._kafka.client
        if client is None or self._stopped:
            return  # the producer flushes when there is a client
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
        request = ProduceRequest(None, _ALL_REPLICAS, self._timeout_ms, list(topics.items()))
        try:
            response = await self._kafka.send(leader, request)
        except Exception as error:  # of the connection, the protocol or the library: the batches stay and go again
            self.say(f"produce requests to broker {leader} fail: {error!r}")
            failed = queues
        else:
            failed = self._answered(queues, response)
        finally:
            self._busy.discard(leader)
        if failed:
            self._repeat_later(failed)
        if self._overdue:
            self.flush()

    def _answered(self, queues: list[PartitionQueue], response: Any) -> list[PartitionQueue]:
        """Settle every partition of the response; returns those that must be repeated."""
        codes: dict[tuple[str, int], int] = {
            (topic, partition): code for topic, partitions in response.topics for partition, code, *_ in partitions
        }
        failed = []
        settle = self._settle
        for queue in queues:
            code = codes.get(queue.where, UnknownError.errno)
            batch = queue.flight
            assert batch is not None
            if code == 0:
                queue.attempts = 0
                self._next_of(queue)
                for record in batch.records:
                    settle(record, None)
            elif code in _REFUSED_CODES:
                self._refused(queue, code)
            else:
                self.say(f"{queue.where.topic} partition {queue.where.partition}: {for_code(code).__name__}, repeating")
                failed.append(queue)
        if len(failed) < len(queues):
            self.last_answer = self._loop.time()
        return failed

    def _refused(self, queue: PartitionQueue, code: int) -> None:
        """One record of the batch is to blame: halve it until that one stands alone."""
        batch = queue.flight
        assert batch is not None
        if len(batch.records) > 1:
            queue.split(batch, self._cannot_encode)
            self._overdue = True
        self._next_of(queue)
        if len(batch.records) == 1:
            where = f"{queue.where.topic} partition {queue.where.partition}"
            self._settle(batch.records[0], KafkaRefused(f"{where}: {for_code(code).__name__} (error {code})"))

    def _next_of(self, queue: PartitionQueue) -> None:
        """The batch under way is done with: what waits behind it may leave."""
        queue.flight = None
        if queue.sendable:
            self._sendable[queue] = None
            if self._timer is None and not self._overdue:
                self._arm(urgent=False)

    # --- again --------------------------------------------------------------------------------------------------------

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
        pause = min(_BACKOFF * 2 ** min(attempts - 1, 10), _BACKOFF_MAX)
        self._loop.call_later(pause, self._repeat, queues)

    def _repeat(self, queues: Iterable[PartitionQueue]) -> None:
        for queue in queues:
            queue.blocked = False
            self._sendable[queue] = None
        self.flush()

    def _cannot_encode(self, record: Record, error: Exception) -> None:
        self._loop.call_soon(self._settle, record, KafkaRefused(f"not encodable: {error!r}"))

    def say(self, message: str) -> None:
        """Warn, but not the same thing hundreds of times while Kafka is away."""
        now = self._loop.time()
        if now - self._said.get(message, -_SAY_AGAIN_AFTER) >= _SAY_AGAIN_AFTER:
            self._said = {text: at for text, at in self._said.items() if now - at < _SAY_AGAIN_AFTER}
            self._said[message] = now
            log.warning("%s", message)
