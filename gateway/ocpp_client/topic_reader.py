"""Reading a topic without a consumer group: all partitions, from a position of one's own choice.

The positions are kept here, not in aiokafka: its ``assign`` forgets those of kept partitions when the topic grows, and a
consumer that is stuck after a whole-cluster restart can only be replaced. Both go on exactly where they were.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from enum import Enum
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from ocpp_client import kafka
from ocpp_client.errors import KafkaUnavailable
from ocpp_client.kafka import KafkaAccess

log = logging.getLogger(__name__)

_POLL = 0.25
_RETRY = 0.5


class Start(Enum):
    BEGINNING = "beginning"
    END = "end"


class TopicReader:
    """``async with``, then ``batches()`` for ever or ``to_end()`` once. ``stuck_after`` in seconds."""

    def __init__(
        self, access: KafkaAccess, topic: str, start: Start = Start.BEGINNING, stuck_after: float = 10.0
    ) -> None:
        self.topic = topic
        self._access = access
        self._start = start
        self._stuck_after = stuck_after
        self._consumer: AIOKafkaConsumer | None = None
        self._next: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        """Every record produced after this returns will be read. Raises KafkaUnavailable."""
        consumer = await self._connect()
        try:
            async with asyncio.timeout(4 * self._access.request_timeout):
                partitions = [TopicPartition(self.topic, number) for number in await self._partitions(consumer)]
                edge = consumer.beginning_offsets if self._start is Start.BEGINNING else consumer.end_offsets
                self._next = {partition.partition: offset for partition, offset in (await edge(partitions)).items()}
        except (KafkaError, TimeoutError) as error:
            await kafka.stop(consumer)
            raise KafkaUnavailable(f"topic {self.topic} cannot be read: {error or 'no answer'}") from error
        except BaseException:
            await kafka.stop(consumer)
            raise
        self._assign(consumer)
        self._consumer = consumer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await kafka.stop(consumer)

    async def batches(self) -> AsyncIterator[list[ConsumerRecord]]:
        """Records as they come, in order within a partition; survives brokers that go and come back."""
        loop = asyncio.get_running_loop()
        progress = loop.time()
        while True:
            try:
                consumer = await self._present()
                batch = await self._poll(consumer)
                if batch:
                    progress = loop.time()
                    yield batch
                elif self._grown(consumer):
                    self._assign(consumer)
                elif loop.time() - progress > self._stuck_after:
                    progress = loop.time()
                    if await self._behind(consumer):
                        log.warning("reading %s makes no progress; starting a new consumer", self.topic)
                        await self._give_up()
            except (KafkaError, KafkaUnavailable, TimeoutError) as error:
                log.warning("reading %s failed, trying again: %s", self.topic, error or type(error).__name__)
                await self._give_up()
                await asyncio.sleep(_RETRY)

    async def to_end(self) -> AsyncIterator[ConsumerRecord]:
        """Everything up to where the topic ended when this was called, and perhaps what came since. Raises KafkaUnavailable.

        Nothing that was fetched is left out: the embedded broker of `ocpp_local` tells the first record of its last batch as
        the end, so the rest of that batch lies behind it.
        """
        if self._consumer is None:
            raise KafkaUnavailable("this reader is not open")
        consumer = self._consumer
        try:
            ends = await consumer.end_offsets([TopicPartition(self.topic, number) for number in self._next])
            wanted = {partition.partition: end for partition, end in ends.items()}
            stuck = asyncio.get_running_loop().time() + self._stuck_after
            while any(self._next[number] < end for number, end in wanted.items()):
                batch = await self._poll(consumer)
                for record in batch:
                    yield record
                if batch:
                    stuck = asyncio.get_running_loop().time() + self._stuck_after
                elif asyncio.get_running_loop().time() > stuck:
                    raise KafkaUnavailable(f"topic {self.topic} cannot be read to its end")
                else:
                    await self._pass_gaps(consumer)
        except KafkaError as error:
            raise KafkaUnavailable(f"topic {self.topic} cannot be read: {error}") from error

    async def _connect(self) -> AIOKafkaConsumer:
        consumer = self._access.consumer()
        # A consumer keeps the metadata of what it is assigned only.
        consumer.assign([TopicPartition(self.topic, 0)])
        try:
            await self._access.start(consumer)
        except KafkaError as error:
            raise KafkaUnavailable(f"topic {self.topic} cannot be read: {error}") from error
        return consumer

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[int]:
        # aiokafka updates its metadata by itself and tells nobody; the caller bounds the wait.
        while not (found := consumer.partitions_for_topic(self.topic)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return sorted(found)

    def _assign(self, consumer: AIOKafkaConsumer) -> None:
        """Assign and seek without an await between: a fetch in between would start elsewhere."""
        partitions = [TopicPartition(self.topic, number) for number in sorted(self._next)]
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, self._next[partition.partition])

    def _grown(self, consumer: AIOKafkaConsumer) -> bool:
        """New partitions are read from their beginning: they did not exist when this reader was opened."""
        added = (consumer.partitions_for_topic(self.topic) or set()) - self._next.keys()
        self._next.update(dict.fromkeys(added, 0))
        return bool(added)

    async def _poll(self, consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
        fetched = await consumer.getmany(timeout_ms=round(_POLL * 1000))
        batch = [record for records in fetched.values() for record in records]
        for record in batch:
            self._next[record.partition] = record.offset + 1
        return batch

    async def _pass_gaps(self, consumer: AIOKafkaConsumer) -> None:
        """Compaction leaves no record at the last offsets: the consumer's own position is past them."""
        for number in self._next:
            position = await consumer.position(TopicPartition(self.topic, number))
            self._next[number] = max(self._next[number], position)

    async def _behind(self, consumer: AIOKafkaConsumer) -> bool:
        async with asyncio.timeout(2 * self._access.request_timeout):
            ends = await consumer.end_offsets([TopicPartition(self.topic, number) for number in self._next])
            await self._pass_gaps(consumer)
        return any(self._next[partition.partition] < end for partition, end in ends.items())

    async def _present(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = await self._connect()
            self._assign(consumer)
            self._consumer = consumer
        return self._consumer

    async def _give_up(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await kafka.stop(consumer)
