"""Consuming what stations report: each event once per process, in the order of its station, connections by epoch.

    async with EventConsumer(KafkaAccess.of("kafka:9092"), group_id="billing") as events:
        async for received in events:
            ...                       # your work, then
            await events.commit()

Delivery is at least once. Copies with the same ``ce_id`` that this process has seen are left out; one that another process
of the group handled before a rebalance is not, so let the ``ce_id`` be a unique key where it matters.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from ocpp_client import kafka
from ocpp_client.errors import KafkaUnavailable
from ocpp_client.kafka import KafkaAccess
from ocpp_client.topic_reader import Start, TopicReader
from ocpp_contract.cloudevents import CloudEvent
from ocpp_contract.errors import ContractError
from ocpp_contract.events import Event, short_type
from ocpp_contract.header_names import check_header_names
from ocpp_contract.ids import ChargePointId
from ocpp_contract.names import Topics

log = logging.getLogger(__name__)

_CONNECTIVITY = frozenset({"DeviceOnline", "DeviceOffline"})


@dataclass(frozen=True, slots=True)
class Received:
    """An event with its identity and where it stands in Kafka."""

    event: Event
    ce: CloudEvent
    partition: int
    offset: int

    @property
    def id(self) -> str:
        """The ``ce_id``: the same again for a retry of the same station message."""
        return self.ce.id


def decode(record: ConsumerRecord) -> Received:
    """A record of ``ocpp-events-up``; raises ContractError when it is none of ours."""
    check_header_names(record.headers)
    ce = CloudEvent.from_headers(record.headers)
    short = short_type(ce.type)
    if short is None:
        raise ContractError("ce_type", f"{ce.type[:80]!r} is no event of ours")
    return Received(Event.from_json(short, record.value or b""), ce, record.partition, record.offset)


class Sieve:
    """Which events are news. Pure; remembers a bounded number of ids and of stations."""

    def __init__(self, ids: int = 200_000, stations: int = 1_000_000) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._epochs: OrderedDict[ChargePointId, int] = OrderedDict()
        self._max_ids = ids
        self._max_stations = stations

    def is_news(self, ce_id: str, event: Event) -> bool:
        """Whether to hand it on: not seen before, and no Online or Offline of a connection that has been replaced."""
        if ce_id in self._seen:
            return False
        return event.type not in _CONNECTIVITY or event.epoch >= self._epochs.get(event.charge_point_id, 0)

    def remember(self, ce_id: str, event: Event) -> None:
        """After it was handled, not before: an event whose handling failed must come again."""
        self._seen[ce_id] = None
        if len(self._seen) > self._max_ids:
            self._seen.popitem(last=False)
        known = self._epochs.pop(event.charge_point_id, 0)
        self._epochs[event.charge_point_id] = max(known, event.epoch)
        if len(self._epochs) > self._max_stations:
            self._epochs.popitem(last=False)


class EventConsumer:
    """With ``group_id``: a member of that group, which commits. Without: all partitions, from ``start`` on.

    Iterating again after an exception in the loop's body goes on with the next event; leave the ``async with`` and enter
    it again to get the uncommitted ones once more.
    """

    def __init__(
        self,
        access: KafkaAccess,
        *,
        group_id: str | None = None,
        start: Start = Start.BEGINNING,
        topics: Topics | None = None,
    ) -> None:
        self._access = access
        self._group_id = group_id
        self._topic = (topics or Topics()).events_up
        self._start = start
        self._sieve = Sieve()
        self._consumer: AIOKafkaConsumer | None = None
        self._reader: TopicReader | None = None
        self.skipped = 0
        """Records that were no event of ours."""

    async def __aenter__(self) -> Self:
        """Raises KafkaUnavailable."""
        self._sieve = Sieve()
        if self._group_id is None:
            self._reader = await TopicReader(self._access, self._topic, self._start).__aenter__()
        else:
            consumer = self._access.consumer(self._topic, group_id=self._group_id)
            try:
                await self._access.start(consumer)
            except KafkaError as error:
                raise KafkaUnavailable(f"topic {self._topic} cannot be read: {error}") from error
            self._consumer = consumer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        consumer, self._consumer = self._consumer, None
        reader, self._reader = self._reader, None
        if consumer is not None:
            await kafka.stop(consumer)
        if reader is not None:
            await reader.__aexit__(kind, error, trace)

    async def __aiter__(self) -> AsyncIterator[Received]:
        async for record in self._records():
            try:
                received = decode(record)
            except ContractError as error:
                self.skipped += 1
                log.warning("record %s/%s/%s is no event: %s", record.topic, record.partition, record.offset, error)
                continue
            if self._sieve.is_news(received.id, received.event):
                yield received
                self._sieve.remember(received.id, received.event)

    async def commit(self) -> None:
        """Everything handed out so far is done. Only with a group; raises KafkaError."""
        if self._consumer is None:
            raise RuntimeError("only a member of a group commits")
        await self._consumer.commit()

    async def _records(self) -> AsyncIterator[ConsumerRecord]:
        if self._consumer is not None:
            async for record in self._consumer:
                yield record
        elif self._reader is not None:
            async for batch in self._reader.batches():
                for record in batch:
                    yield record
        else:
            raise RuntimeError("use the consumer as `async with EventConsumer(...) as events`")
