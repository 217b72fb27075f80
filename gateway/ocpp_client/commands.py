"""Sending commands to charge points, and hearing how they ended.

    async with CommandClient(KafkaAccess.of("kafka:9092"), RedisAccess("redis://redis")) as client:
        result = await client.send_and_wait("CP1", "Reset", {"type": "OnIdle"})

One GET of ``conn:<id>`` names the partition that reaches the station; without Redis, or while the station is away, the
partition is ``murmur2(id) % N``, which costs one hop. When Kafka does not say whether it has a record, the same record is
produced again: the gateway keeps one state per command id, so copies are harmless.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from ocpp_client import kafka
from ocpp_client.errors import NoResult, NotSent, ProduceUnknown, StoreUnavailable
from ocpp_client.kafka import KafkaAccess
from ocpp_client.results import OnTimedOut, Results
from ocpp_client.status import CommandStatus, Directory, RedisAccess
from ocpp_contract.commands import MAX_COMMAND_BYTES, Command, check_payload
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, CommandId, Partition, check_charge_point_id, check_command_id
from ocpp_contract.names import TRACEPARENT, Topics
from ocpp_contract.outcome import CommandResult
from ocpp_contract.partitioning import partition_for

log = logging.getLogger(__name__)

Priority = Literal["normal", "urgent"]

DEFAULT_DEADLINE = 60.0
"""The gateway's, for commands without one (a setting there)."""
AFTERMATH = 120.0
"""How long after its deadline a command may still end: call time-out, late window and a takeover."""
_RETRY = 0.2


class CommandClient:
    """One per process: it holds one producer and one consumer. Times in seconds.

    ``produce_timeout`` bounds the attempts to hand one command to Kafka.
    """

    def __init__(
        self,
        access: KafkaAccess,
        redis: RedisAccess | None = None,
        *,
        topics: Topics | None = None,
        produce_timeout: float = 30.0,
    ) -> None:
        self._access = access
        self._topics = topics or Topics()
        self._produce_timeout = produce_timeout
        self._redis = redis
        self._directory: Directory | None = None
        self._producer: AIOKafkaProducer | None = None
        self._results: Results | None = None
        self._results_lock = asyncio.Lock()
        # aiokafka's send() collapses under thousands of waiting tasks; one at a time may wait in it.
        self._sending = asyncio.Lock()
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises KafkaUnavailable."""
        producer = self._access.producer()
        await self._access.start(producer)
        self._resources.push_async_callback(kafka.stop, producer)
        self._producer = producer
        if self._redis is not None:
            self._directory = await self._resources.enter_async_context(Directory(self._redis))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer = self._directory = self._results = None
        await self._resources.aclose()

    async def send(
        self,
        station: str,
        type_name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        priority: Priority = "normal",
        wait_for_station: bool = True,
        reply_context: Any = None,
        command_id: str | None = None,
        traceparent: str | None = None,
    ) -> CommandId:
        """Hand a command to Kafka and return its id.

        ``timeout``: it expires when it could not be written to the station within that time (default: the gateway's 60 s).
        ``command_id``: give the same one again after ProduceUnknown, never for a new attempt.
        Raises ContractError (names the field), NotSent, ProduceUnknown.
        """
        command = _command(station, type_name, payload, timeout, priority, wait_for_station, reply_context, command_id)
        await self._produce(command, traceparent)
        return command.id

    async def send_and_wait(
        self,
        station: str,
        type_name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        priority: Priority = "normal",
        wait_for_station: bool = True,
        reply_context: Any = None,
        command_id: str | None = None,
        traceparent: str | None = None,
        patience: float | None = None,
        on_timed_out: OnTimedOut | None = None,
    ) -> CommandResult:
        """Send and return the final result, whatever the outcome is.

        ``patience``: how long to wait for it (default: the deadline and what may come after it). ``on_timed_out`` is called
        when the station did not answer in time; a final result still follows.
        Raises as `send` does, and NoResult.
        """
        command = _command(station, type_name, payload, timeout, priority, wait_for_station, reply_context, command_id)
        results = await self._shared_results()
        waits = patience if patience is not None else (timeout or DEFAULT_DEADLINE) + AFTERMATH
        give_up = asyncio.get_running_loop().time() + waits
        with results.expect(command.id, on_timed_out) as final:
            produced = asyncio.create_task(self._produce(command, traceparent))
            try:
                # A result proves that the command was sent, even when Kafka never acknowledged it.
                async with asyncio.timeout_at(give_up):
                    await asyncio.wait((produced, final), return_when=asyncio.FIRST_COMPLETED)
                    if not final.done():
                        await produced
                    return await asyncio.shield(final)
            except TimeoutError:
                return await self._told_by_store(command, waits)
            finally:
                if not produced.done():
                    produced.cancel()
                await asyncio.gather(produced, return_exceptions=True)

    async def status(self, station: str, command_id: str) -> CommandStatus:
        """How far a command has come. Raises StoreUnavailable, also without Redis access."""
        if self._directory is None:
            raise StoreUnavailable("the status of a command is kept in Redis, and this client was made without it")
        return await self._directory.status(check_charge_point_id(station), check_command_id(command_id))

    async def _told_by_store(self, command: Command, waited: float) -> CommandResult:
        if self._directory is not None:
            try:
                status = await self._directory.status(command.charge_point_id, command.id)
            except StoreUnavailable as error:
                log.warning("no result of command %s, and no status either: %s", command.id, error)
            else:
                if status.result is not None:
                    return status.result
        raise NoResult(command.id, waited)

    async def _shared_results(self) -> Results:
        async with self._results_lock:
            if self._results is None:
                if self._producer is None:
                    raise RuntimeError("use the client as `async with CommandClient(...) as client`")
                results = Results(self._access, self._topics.command_results)
                self._results = await self._resources.enter_async_context(results)
            return self._results

    async def _produce(self, command: Command, traceparent: str | None) -> None:
        """Produce, and again while the outcome is unknown and neither deadline nor patience is over."""
        raw = command.to_json()
        if len(raw) > MAX_COMMAND_BYTES:
            raise NotSent(command.id, f"it is larger than {MAX_COMMAND_BYTES} bytes")
        headers = [] if traceparent is None else [(TRACEPARENT, traceparent.encode())]
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._produce_timeout
        maybe_sent = False
        while True:
            try:
                async with asyncio.timeout_at(give_up):
                    topic, partition = await self._target(command)
                    async with self._sending:
                        delivery = await self._ready().send(
                            topic, raw, key=command.charge_point_id.encode(), partition=partition, headers=headers
                        )
                        maybe_sent = True
                    # Cancelling a delivery does not withdraw it.
                    await asyncio.shield(delivery)
                    return
            except MessageSizeTooLargeError as error:
                raise NotSent(command.id, str(error)) from error
            except (KafkaError, TimeoutError) as error:
                reason = str(error) or "no answer from Kafka"
                too_late = command.expires_at is not None and datetime.now(UTC) >= command.expires_at
                if too_late or loop.time() + _RETRY >= give_up:
                    raise (ProduceUnknown if maybe_sent else NotSent)(command.id, reason) from error
                log.info("producing command %s again: %s", command.id, reason)
                await asyncio.sleep(_RETRY)

    async def _target(self, command: Command) -> tuple[str, Partition]:
        topic = self._topics.commands_urgent if command.urgent else self._topics.commands_down
        if self._directory is not None:
            try:
                entry = await self._directory.connection(command.charge_point_id)
            except StoreUnavailable as error:
                log.warning("%s; the command takes a hop more", error)
            else:
                if entry is not None:
                    return topic, entry.partition
        partitions = await self._ready().partitions_for(topic)
        return topic, partition_for(command.charge_point_id.encode(), len(partitions))

    def _ready(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise RuntimeError("use the client as `async with CommandClient(...) as client`")
        return self._producer


def _command(
    station: str,
    type_name: str,
    payload: Mapping[str, Any] | None,
    timeout: float | None,
    priority: str,
    wait_for_station: bool,
    reply_context: Any,
    command_id: str | None,
) -> Command:
    """Checked here as the gateway will check it: a mistake is an exception at the caller, not a dead letter."""
    checked_id = CommandId(str(uuid.uuid4())) if command_id is None else check_command_id(command_id)
    charge_point_id: ChargePointId = check_charge_point_id(station)
    if timeout is not None and timeout <= 0:
        raise ContractError("timeout", "must be more than 0 seconds")
    return Command(
        id=checked_id,
        charge_point_id=charge_point_id,
        type=type_name,
        payload=check_payload(type_name, dict(payload or {}), checked_id),
        expires_at=None if timeout is None else datetime.now(UTC) + timedelta(seconds=timeout),
        priority=priority,
        wait_for_station=wait_for_station,
        reply_context=reply_context,
    )
