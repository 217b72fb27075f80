"""What waits for one Kafka partition, in order: batches to repeat first, then records that have no batch yet.

A batch is built when it can be sent and keeps its bytes, so a repetition is the same bytes again. At most one batch of a
partition is on its way, which keeps the order without the idempotent producer (ADR 0011).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

Headers = Sequence[tuple[str, bytes]]
OnAck = Callable[[Exception | None], None]

_MAGIC, _NO_COMPRESSION, _NOT_TRANSACTIONAL, _NO_PRODUCER_ID, _NO_EPOCH, _NO_SEQUENCE = 2, 0, 0, -1, -1, 0


class Record:
    """One record on its way; `on_ack` is called once, with None when Kafka has it."""

    __slots__ = ("headers", "key", "on_ack", "since", "value")

    def __init__(self, key: bytes | None, value: bytes | None, headers: Headers, on_ack: OnAck, since: float) -> None:
        self.key = key
        self.value = value
        self.headers = headers
        self.on_ack = on_ack
        self.since = since


class Batch:
    """Records in the wire format of one record batch."""

    __slots__ = ("data", "records")

    def __init__(self, records: list[Record], data: bytes) -> None:
        self.records = records
        self.data = data


class PartitionQueue:
    """All that is not acknowledged of one partition. `failed` gets records that cannot be encoded."""

    __slots__ = ("attempts", "blocked", "flight", "repeat", "waiting", "where")

    def __init__(self, where: TopicPartition) -> None:
        self.where = where
        self.waiting: deque[Record] = deque()
        self.repeat: deque[Batch] = deque()
        self.flight: Batch | None = None
        self.blocked = False
        """A failed batch pauses before it is repeated."""
        self.attempts = 0

    @property
    def sendable(self) -> bool:
        """Whether something may leave now."""
        return self.flight is None and not self.blocked and bool(self.repeat or self.waiting)

    @property
    def oldest(self) -> float | None:
        """Since when the oldest record waits."""
        first = self.flight or (self.repeat[0] if self.repeat else None)
        if first is not None:
            return first.records[0].since
        return self.waiting[0].since if self.waiting else None

    def next_batch(self, limit: int, failed: Callable[[Record, Exception], None]) -> Batch | None:
        """The batch to send now; None when every waiting record turned out not to be encodable."""
        if self.repeat:
            return self.repeat.popleft()
        while self.waiting:
            batch = encode(self.waiting, limit, failed)
            if batch is not None:
                return batch
        return None

    def withdraw(self, record: Record) -> bool:
        """Take back a record that is in no batch yet; False when it may have left."""
        try:
            self.waiting.remove(record)
        except ValueError:
            return False
        return True

    def split(self, batch: Batch, failed: Callable[[Record, Exception], None]) -> None:
        """Put back a batch that the broker finds too large, as two halves in its place."""
        middle = len(batch.records) // 2
        for half in (batch.records[middle:], batch.records[:middle]):
            records = deque(half)
            rebuilt = encode(records, len(batch.data), failed)
            if rebuilt is not None:
                self.repeat.appendleft(rebuilt)


def encode(records: deque[Record], limit: int, failed: Callable[[Record, Exception], None]) -> Batch | None:
    """Take records from the left into one batch of at most `limit` bytes (one record is always taken).

    A record that the encoder refuses (a header that is no bytes, say) is handed to `failed` alone; the encoder may have
    written half of it, so the batch is begun again without it. None: that was the last one.
    """
    while records:
        builder = DefaultRecordBatchBuilder(
            _MAGIC, _NO_COMPRESSION, _NOT_TRANSACTIONAL, _NO_PRODUCER_ID, _NO_EPOCH, _NO_SEQUENCE, limit
        )
        append = builder.append
        taken: list[Record] = []
        number = 0
        try:
            for record in records:
                headers = record.headers
                if type(headers) is not list:
                    headers = list(headers)
                if append(number, None, record.key, record.value, headers) is None:
                    break
                taken.append(record)
                number += 1
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            bad = records[number]
            del records[number]
            failed(bad, error)
            continue
        for _ in range(number):
            records.popleft()
        return Batch(taken, bytes(builder.build()))
    return None
