"""The demo's backend: produces commands as the contract says, and reads results and events into the account.

It reads the raw records, copies and headers included: an account that was kept through a de-duplicating client would prove less.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from ocpp_client.kafka import KafkaAccess
from ocpp_client.topic_reader import Start, TopicReader
from ocpp_contract import decoding
from ocpp_contract.cloudevents import header
from ocpp_contract.commands import Command
from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.events import short_type
from ocpp_contract.ids import ChargePointId, CommandId, Partition
from ocpp_contract.names import Keys, Topics
from ocpp_contract.outcome import CommandResult
from ocpp_contract.partitioning import partition_for
from ocpp_contract.scripts.records import PartitionRecord
from ocpp_local.account import Account, Report, SeenEvent, Sent


class Backend:
    """Use as `async with`. `on_event` hears every record of `ocpp-events-up` (short type, value)."""

    def __init__(
        self,
        kafka: str,
        redis: str,
        partitions: int,
        account: Account,
        on_event: Callable[[str, dict[str, Any]], None] = lambda kind, value: None,
    ) -> None:
        self._kafka = kafka
        self._partitions = partitions
        self.account = account
        self._on_event = on_event
        self._topics, self._keys = Topics(), Keys()
        self._store = Redis.from_url(redis, socket_timeout=2.0)
        self._readers: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._open.push_async_callback(self._store.aclose)
        self._producer = AIOKafkaProducer(bootstrap_servers=self._kafka, acks="all")
        await self._producer.start()
        self._open.push_async_callback(self._producer.stop)
        for topic, take in ((self._topics.command_results, self._result), (self._topics.events_up, self._event)):
            # From now on: a broker of one's own may hold what others did before.
            reader = await self._open.enter_async_context(TopicReader(KafkaAccess.of(self._kafka), topic, Start.END))
            self._readers.append(asyncio.create_task(self._read(reader, take)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._open.aclose()

    async def send(
        self, station: str, type_name: str, payload: dict[str, Any], deadline: float, marker: str | None = None,
        command_id: str | None = None, urgent: bool = False,
    ) -> str:  # fmt: skip
        """Produce one command to the mailbox that the station's entry names; its id."""
        command = Command(
            id=CommandId(command_id or str(uuid.uuid4())),
            charge_point_id=ChargePointId(station),
            type=type_name,
            payload=payload,
            expires_at=datetime.now(UTC) + timedelta(seconds=deadline),
            priority="urgent" if urgent else "normal",
        )
        entry = await self.entry(station)
        partition = entry.partition if entry else partition_for(station.encode(), self._partitions)
        topic = self._topics.commands_urgent if urgent else self._topics.commands_down
        self.account.command(Sent(command.id, station, type_name, time.monotonic(), marker))
        await self._producer.send_and_wait(topic, command.to_json(), key=station.encode(), partition=partition)
        return command.id

    async def entry(self, station: str) -> ConnectionRecord | None:
        """`conn:<id>`: who holds the station now."""
        text = await self._store.get(self._keys.conn(ChargePointId(station)))
        return None if text is None else ConnectionRecord.from_json(text)

    async def owners(self) -> dict[int, str]:
        """Which pod owns which partition now."""
        texts = await self._store.mget([self._keys.partition(Partition(n)) for n in range(self._partitions)])
        records = {n: PartitionRecord.from_json(text) for n, text in enumerate(texts) if text is not None}
        return {n: record.incarnation.pod for n, record in records.items() if record.incarnation is not None}

    async def until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until `condition` holds, looking again whenever something was read; False: it still does not."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._news.clear()
                    try:
                        await asyncio.wait_for(self._news.wait(), 0.1)
                    except TimeoutError:
                        continue
        except TimeoutError:
            return condition()
        return True

    async def _read(self, reader: TopicReader, take: Callable[[Any], None]) -> None:
        async for batch in reader.batches():
            for record in batch:
                take(record)
            self._news.set()

    def _result(self, record: Any) -> None:
        ce_id = header(record.headers, "ce_id") or ""
        self.account.report(Report(ce_id, CommandResult.from_json(record.value), time.monotonic()))

    def _event(self, record: Any) -> None:
        value = decoding.decode_object(record.value)
        kind = short_type(header(record.headers, "ce_type") or "") or "?"
        self.account.events.append(
            SeenEvent(header(record.headers, "ce_id") or "", kind, value["chargePointId"], value.get("messageId"))
        )
        self._on_event(kind, value)
