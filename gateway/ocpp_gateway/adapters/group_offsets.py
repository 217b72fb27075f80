"""Offsets and their metadata in the consumer group, and where the logs begin.

Partitions are assigned by hand and owned through Redis; the group is only the place where their positions are kept. So
there are no members and no generation: Kafka takes every commit, a zombie's too. Such a commit costs a replay, and owners
commit again every minute (protocol.md, "Offsets").

aiokafka's consumer commits only what is assigned to it and hides the metadata of what it fetches, so the three requests
are sent here. Calls made while a request is under way leave together in the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from aiokafka.client import CoordinationType
from aiokafka.errors import (
    InvalidCommitOffsetSizeError,
    KafkaError,
    LeaderNotAvailableError,
    OffsetMetadataTooLargeError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy
from aiokafka.structs import TopicPartition

from ocpp_gateway.adapters.kafka_connection import KafkaConnection, KafkaRefused, KafkaUnknown, SteadyClient

log = logging.getLogger(__name__)

MAX_METADATA_BYTES = 3_500
"""Ours; the broker's `offset.metadata.max.bytes` is 4,096 by default."""

_NO_GENERATION, _NO_MEMBER, _BROKER_RETENTION = -1, "", -1
_CONSUMER, _READ_UNCOMMITTED = -1, 0
_AGAIN_AFTER = 0.1
_COMMIT_REFUSED = (OffsetMetadataTooLargeError, InvalidCommitOffsetSizeError)

A = TypeVar("A")
R = TypeVar("R")


class Committed(NamedTuple):
    """What the group holds for a partition; offset None when it never committed there."""

    offset: int | None
    metadata: str


class GroupOffsets:
    """Commits and reads positions of one group. Every call raises KafkaUnknown after `timeout` seconds."""

    def __init__(self, connection: KafkaConnection, group_id: str, *, timeout: float | None = None) -> None:
        self._group_id = group_id
        self._timeout = connection.request_timeout if timeout is None else timeout
        self._metadata_came = asyncio.Event()
        self._kafka = SteadyClient(connection, self._metadata_came.set)
        self._coordinator: int | None = None
        self._commits: _Together[tuple[int, str], None] = _Together(self._commit)
        self._fetches: _Together[None, Committed] = _Together(self._fetch)
        self._beginnings: _Together[None, int] = _Together(self._list_beginnings)

    def start(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self._kafka.watch(topic)
        self._kafka.start()

    async def stop(self) -> None:
        await self._kafka.stop()
        for gathered in (self._commits, self._fetches, self._beginnings):
            await gathered.stop()

    async def commit(self, where: TopicPartition, offset: int, metadata: str) -> None:
        """Raises KafkaRefused when the metadata is too long."""
        if len(metadata.encode()) > MAX_METADATA_BYTES:
            raise KafkaRefused(f"commit metadata of {len(metadata.encode())} bytes, the limit is {MAX_METADATA_BYTES}")
        await self._until_known(self._commits, where, (offset, metadata))

    async def committed(self, where: TopicPartition) -> Committed:
        return await self._until_known(self._fetches, where, None)

    async def beginning(self, where: TopicPartition) -> int:
        """First offset that the log still holds."""
        return await self._until_known(self._beginnings, where, None)

    def partitions(self, topic: str) -> int | None:
        """Number of partitions, None while unknown."""
        return self._kafka.partitions(topic)

    async def news(self, within: float) -> bool:
        """Wait for metadata, those that came since the last call included, for so many seconds at most. False: none came."""
        try:
            async with asyncio.timeout(within):
                await self._metadata_came.wait()
        except TimeoutError:
            return False
        self._metadata_came.clear()
        return True

    def refresh(self) -> None:
        """Fetch metadata anew soon."""
        self._kafka.refresh()

    async def _until_known(self, gathered: _Together[A, R], where: TopicPartition, argument: A) -> R:
        """Ask again until there is a definite answer; all three requests may be repeated."""
        last: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    try:
                        return await gathered.ask(where, argument)
                    except KafkaRefused:
                        raise
                    except (KafkaError, OSError) as error:
                        last = error
                    await asyncio.sleep(_AGAIN_AFTER)
        except TimeoutError:
            raise KafkaUnknown(f"{where.topic} partition {where.partition}: no answer in time ({last!r})") from None

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _commit(self, positions: Mapping[TopicPartition, tuple[int, str]]) -> Mapping[TopicPartition, Any]:
        topics: dict[str, list[tuple[int, int, str]]] = {}
        for where, (offset, metadata) in positions.items():
            topics.setdefault(where.topic, []).append((where.partition, offset, metadata))
        response = await self._ask_coordinator(
            OffsetCommitRequest(self._group_id, _NO_GENERATION, _NO_MEMBER, _BROKER_RETENTION, list(topics.items()))
        )
        return {
            TopicPartition(topic, partition): self._judged(code, None)
            for topic, partitions in response.topics
            for partition, code in partitions
        }

    async def _fetch(self, asked: Mapping[TopicPartition, None]) -> Mapping[TopicPartition, Any]:
        response = await self._ask_coordinator(OffsetFetchRequest(self._group_id, _by_topic(asked)))
        return {
            TopicPartition(topic, partition): self._judged(
                code, Committed(offset if offset >= 0 else None, metadata or "")
            )
            for topic, partitions in response.topics
            for partition, offset, metadata, code in partitions
        }

    async def _ask_coordinator(self, request: Any) -> Any:
        client = self._kafka.client
        if client is None:
            raise LeaderNotAvailableError("no client")
        if self._coordinator is None:
            self._coordinator = await client.coordinator_lookup(CoordinationType.GROUP, self._group_id)
        try:
            return await self._kafka.send(self._coordinator, request, coordination=True)
        except (KafkaError, OSError):
            self._coordinator = None
            raise

    def _judged(self, code: int, value: Any) -> Any:
        """The value, or the error that stands instead of it."""
        if code == 0:
            return value
        error = for_code(code)
        if error in _COMMIT_REFUSED:
            return KafkaRefused(error.__name__)
        # Moved, loading, not there yet: look the coordinator up again.
        self._coordinator = None
        return error()

    async def _list_beginnings(self, asked: Mapping[TopicPartition, None]) -> Mapping[TopicPartition, Any]:
        client = self._kafka.client
        if client is None:
            raise LeaderNotAvailableError("no client")
        by_leader: dict[int, dict[str, list[tuple[int, int]]]] = {}
        found: dict[TopicPartition, Any] = {}
        for where in asked:
            leader = client.cluster.leader_for_partition(where)
            if leader is None or leader < 0:
                self._kafka.refresh()
                found[where] = UnknownTopicOrPartitionError(str(where))
            else:
                topics = by_leader.setdefault(leader, {})
                topics.setdefault(where.topic, []).append((where.partition, OffsetResetStrategy.EARLIEST))
        for leader, topics in by_leader.items():
            response = await self._kafka.send(leader, OffsetRequest(_CONSUMER, _READ_UNCOMMITTED, list(topics.items())))
            for topic, partitions in response.topics:
                for partition, code, *rest in partitions:
                    if code:
                        self._kafka.refresh()
                    found[TopicPartition(topic, partition)] = for_code(code)() if code else rest[-1]
        return found


class _Together(Generic[A, R]):
    """One request at a time; what is asked meanwhile leaves in the next. Of two arguments for one partition the later
    counts, and both askers get its answer."""

    def __init__(
        self, perform: Callable[[Mapping[TopicPartition, A]], Awaitable[Mapping[TopicPartition, Any]]]
    ) -> None:
        self._perform = perform
        self._waiting: dict[TopicPartition, A] = {}
        self._askers: dict[TopicPartition, list[asyncio.Future[R]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def ask(self, where: TopicPartition, argument: A) -> R:
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting[where] = argument
        self._askers.setdefault(where, []).append(answer)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="kafka group offsets")
        return await answer

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            askers, self._askers = self._askers, {}
            try:
                answers = await self._perform(waiting)
            except Exception as error:  # nobody may be left waiting, whatever a request dies of
                if not isinstance(error, KafkaError | OSError):
                    log.exception("group offsets request failed")
                answers = dict.fromkeys(waiting, KafkaError(repr(error)))
            for where, futures in askers.items():
                answer = answers.get(where, UnknownTopicOrPartitionError(str(where)))
                for future in futures:
                    if future.done():
                        continue  # its asker's time was up
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)


def _by_topic(asked: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
    topics: dict[str, list[int]] = {}
    for where in asked:
        topics.setdefault(where.topic, []).append(where.partition)
    return list(topics.items())
