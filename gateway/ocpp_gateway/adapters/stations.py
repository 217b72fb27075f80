"""Reads the topic ocpp-stations and brings it into Redis, where admission looks stations up.

The owner of command partition k projects partition k of the topic: one reader each, without any agreement of its own.
Two readers for a moment, or the same records twice, are harmless: a record only counts above the offset projected last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ocpp_contract.errors import ContractError
from ocpp_contract.header_names import check_header_names
from ocpp_contract.registry import CredentialRecord, StationRecord, parse_key
from ocpp_gateway.adapters.fetched_records import lenient
from ocpp_gateway.adapters.kafka_connection import KafkaConnection, close_consumer, start_client
from ocpp_gateway.adapters.redis_shard import StoreUnknown
from ocpp_gateway.adapters.station_projection import Applied, StationProjection

log = logging.getLogger(__name__)

_POLL_MS = 500
_BATCH = 500
_RETRY = 0.5
_LOOK_AT_MARKER = 5.0


class Stations:
    """`run` as a task; `set_partitions` whenever the owned command partitions change."""

    def __init__(
        self, connection: KafkaConnection, topic: str, projection: StationProjection, count: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._projection = projection
        self._count = count
        self._wanted: frozenset[int] = frozenset()
        self._next: dict[int, int] = {}
        """Offset to read next, per partition that is being read."""
        self._marked: dict[int, int] = {}
        """What the marker shows, per partition."""
        self._idle: dict[int, set[int]] = {}
        """Per partition the times of fetches that were answered since the last record."""
        self._runs: str | None = None
        self._looked_at = 0.0
        """When the marker was last seen, on the loop's clock."""

    def set_partitions(self, partitions: Iterable[int]) -> None:
        """The command partitions held now."""
        self._wanted = frozenset(partitions)

    async def run(self) -> None:
        """Until cancelled. Kafka or Redis away: again, from where the marker says."""
        while True:
            try:
                await self._learn_partitions()
                async with _started(self._consumer()) as consumer:
                    self._next.clear()
                    while True:
                        await self._step(consumer)
            except (KafkaError, StoreUnknown, TimeoutError) as error:
                log.warning("projection of %s: %s", self._topic, error)
            except Exception:  # whatever a client dies of, the next one goes on from the marker; nor may it end the pod
                log.exception("projection of %s failed", self._topic)
            self._count("projection")
            await asyncio.sleep(_RETRY)

    async def _learn_partitions(self) -> None:
        admin = self._connection.admin()
        try:
            await start_client(admin)
            [topic] = await admin.describe_topics([self._topic])
        finally:
            await admin.close()
        if topic["error_code"] or not topic["partitions"]:
            raise KafkaError(f"there is no topic {self._topic} (error {topic['error_code']})")
        self._projection.partitions = len(topic["partitions"])

    def _consumer(self) -> AIOKafkaConsumer:
        return lenient(
            self._connection.consumer(
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=_POLL_MS // 2,
            )
        )

    async def _step(self, consumer: AIOKafkaConsumer) -> None:
        runs = self._projection.runs
        wanted = {k for k in self._wanted if k < (self._projection.partitions or 0)}
        if runs is None or not wanted:
            await asyncio.sleep(_POLL_MS / 1000)
            return
        if runs != self._runs or wanted != self._next.keys():
            await self._place(consumer, wanted, runs)
        elif await self._marker_is_gone():
            self._runs = None  # from the beginning, at the next step
            return
        batches: dict[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
        for partition, messages in batches.items():
            await self._projection.apply([record for message in messages if (record := self._read(message))])
            self._next[partition.partition] = messages[-1].offset + 1
            self._idle.pop(partition.partition, None)
        for k, offset in self._next.items():
            if self._marked.get(k) != offset and self._read_to_end(consumer, k):
                await self._projection.mark(k, offset, runs)
                self._marked[k] = offset

    async def _marker_is_gone(self) -> bool:
        """Data may be lost without another run (FLUSHALL, eviction, somebody's DEL): what we marked must still be there."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at < _LOOK_AT_MARKER:
            return False
        self._looked_at = now
        return not self._marked.keys() <= (await self._projection.positions()).keys()

    def _read_to_end(self, consumer: AIOKafkaConsumer, k: int) -> bool:
        """Only what was read to its end is marked. The end may be a gap that compaction left, with no record to read:
        then fetches that were sent and answered since the last record, and brought nothing, show it."""
        partition = TopicPartition(self._topic, k)
        end, answered = consumer.highwater(partition), consumer.last_poll_timestamp(partition)
        if end is None or answered is None:
            return False
        self._idle.setdefault(k, set()).add(answered)
        return self._next[k] >= end or len(self._idle[k]) >= 3

    async def _place(self, consumer: AIOKafkaConsumer, wanted: set[int], runs: str) -> None:
        if runs != self._runs:
            self._next.clear()
            self._marked.clear()
        stored = await self._projection.positions()
        if self._projection.runs != runs:
            raise StoreUnknown("the server is another run by now")
        positions = {k: self._next.get(k, stored.get(k, 0)) for k in sorted(wanted)}
        self._runs, self._next = runs, positions
        self._marked = {k: offset for k, offset in stored.items() if k in wanted}
        self._idle.clear()
        # assign() forgets all positions: every one is set again before anything else can run.
        consumer.assign([TopicPartition(self._topic, k) for k in positions])
        for k, offset in positions.items():
            consumer.seek(TopicPartition(self._topic, k), offset)

    def _read(self, message: Any) -> Applied | None:
        """A record that nobody can use is counted and passed over; the last good one stays."""
        try:
            check_header_names(message.headers)
            station, credential = parse_key(message.key)
            if message.value is not None:
                (CredentialRecord if credential else StationRecord).from_json(message.value)
        except ContractError as error:
            log.warning("%s/%d/%d: %s", message.topic, message.partition, message.offset, error)
            self._count("registry_record")
            return None
        return Applied(station, "credential" if credential else "record", message.offset, message.value)


@contextlib.asynccontextmanager
async def _started(consumer: AIOKafkaConsumer) -> Any:
    try:
        await start_client(consumer)
        yield consumer
    finally:
        await close_consumer(consumer)
