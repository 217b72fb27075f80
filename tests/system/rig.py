"""A whole system under test: gateways as processes on real Kafka and Redis, stations from PyPI `ocpp`, a plain backend.

The backend is what the contract promises to anybody: one GET and one produce per command, topics read with a plain consumer.
What the stations see on their sockets and what Kafka recorded becomes a `History`, judged by `checker.judge`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import redis.asyncio
import websockets
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result

from ocpp_contract.command_types import Redelivery
from ocpp_contract.commands import COMMAND_TYPES
from ocpp_contract.partitioning import partition_for
from ocpp_local.system import System, Wanted
from tests.system.checker import Frame, History, Sent, judge

# Everything that takes its time in production takes less here; the relations between the times stay.
QUICK = {
    "OWNERSHIP__LEASE": "5s",
    "OWNERSHIP__RENEW_INTERVAL": "1500ms",
    "OWNERSHIP__MARGIN": "1s",
    "OWNERSHIP__ENTRY_REFRESH": "5s",
    "OWNERSHIP__ENTRY_TTL": "60s",
    "OCPP__CALL_TIMEOUT": "4s",
    "OCPP__PING_INTERVAL": "2s",
    "COMMANDS__LATE_WINDOW": "4s",
    "COMMANDS__DEFAULT_DEADLINE": "25s",
    "KAFKA__REQUEST_TIMEOUT": "2s",
    "UPLINK__HOLD": "2s",
    "UPLINK__CLOSE": "4s",
    "LIMITS__CONNECTS_PER_MINUTE": "600",
    "LOG__FORMAT": "text",
}
TOPICS = ("ocpp-events-up", "command-results")


class Recording:
    """A connection as PyPI `ocpp` wants one, that writes down every frame at the station's end."""

    def __init__(self, socket: websockets.ClientConnection, station: str, number: int, rig: Rig) -> None:
        self._socket = socket
        self._station = station
        self._number = number
        self._rig = rig

    async def send(self, text: str) -> None:
        self._rig.note(self._station, self._number, True, text)
        await self._socket.send(text)

    async def recv(self) -> str:
        text = str(await self._socket.recv())
        self._rig.note(self._station, self._number, False, text)
        return text


class Station16(ChargePoint):
    """Answers commands, after `think` seconds."""

    think = 0.02

    @on("RemoteStartTransaction")
    async def on_remote_start(self, id_tag: str, **_: Any) -> call_result.RemoteStartTransaction:
        await asyncio.sleep(self.think)
        return call_result.RemoteStartTransaction(status="Accepted")

    @on("DataTransfer")
    async def on_data_transfer(self, vendor_id: str, **_: Any) -> call_result.DataTransfer:
        await asyncio.sleep(self.think)
        return call_result.DataTransfer(status="Accepted")

    @on("TriggerMessage")
    async def on_trigger(self, requested_message: str, **_: Any) -> call_result.TriggerMessage:
        return call_result.TriggerMessage(status="NotImplemented")

    @on("GetConfiguration")
    async def on_get_configuration(self, key: list[str] | None = None, **_: Any) -> call_result.GetConfiguration:
        known = [{"key": name, "readonly": False, "value": "1"} for name in key or ()]
        return call_result.GetConfiguration(configuration_key=known)


class Rig:
    """See module. Made by `running`."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.history = History()
        self.connected: dict[str, str] = {}
        """Station -> URL it is connected to now."""
        self.prefer: dict[str, str] = {}
        """Station -> URL to dial instead of the shared one."""
        self.think = 0.02
        self.trouble: list[str] = []
        self._orders = itertools.count()
        self._connections = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._starts: dict[TopicPartition, int] = {}
        self._sockets: dict[str, websockets.ClientConnection] = {}
        self._producer: AIOKafkaProducer | None = None
        self.redis = redis.asyncio.from_url(system.redis, socket_timeout=1)
        self._random = random.Random(7)

    def note(self, station: str, connection: int, sent: bool, text: str) -> None:
        self.history.frames.append(Frame(next(self._orders), station, connection, sent, text))

    # ------------------------------------------------------------------------------------------------------- stations

    def add_stations(self, count: int) -> list[str]:
        names = [f"CP-{uuid.uuid4().hex[:8]}" for _ in range(count)]
        for name in names:
            self._spawn(self._station(name))
        return names

    async def _station(self, name: str) -> None:
        """Connect, boot, report values, reconnect: for ever."""
        while True:
            url = self.prefer.get(name, self.system.station_url)
            with contextlib.suppress(OSError, websockets.WebSocketException, TimeoutError):
                async with websockets.connect(
                    url + name,
                    subprotocols=[websockets.Subprotocol("ocpp1.6")],
                    open_timeout=3,
                    ping_interval=2,
                    ping_timeout=4,
                ) as socket:
                    await self._talk(name, url, socket)
            self.connected.pop(name, None)
            self._sockets.pop(name, None)
            await asyncio.sleep(self._random.uniform(0.1, 0.4))

    async def _talk(self, name: str, url: str, socket: websockets.ClientConnection) -> None:
        point = Station16(name, Recording(socket, name, next(self._connections), self), response_timeout=15)
        point.think = self.think
        listening = asyncio.create_task(point.start())
        try:
            await point.call(call.BootNotification(charge_point_model="rig", charge_point_vendor="tests"))
            self.connected[name] = url
            self._sockets[name] = socket
            for number in itertools.count():
                value = {"timestamp": "2026-11-22T10:00:00Z", "sampledValue": [{"value": f"{number}.10"}]}
                await point.call(call.MeterValues(connector_id=1, meter_value=[value]))
                await asyncio.wait((listening,), timeout=0.3)
                if listening.done():
                    return
        finally:
            listening.cancel()
            await asyncio.wait((listening,))
            if not listening.cancelled():
                listening.exception()

    async def move(self, station: str, url: str) -> None:
        """The station hangs up without a word and dials `url`."""
        self.prefer[station] = url
        if station in self._sockets:
            self._sockets[station].transport.abort()

    async def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a condition of the test's own view."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    assert not self.trouble, self.trouble
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s: {what}") from None

    async def until_true(self, condition: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
        """The same for a condition that must be asked for."""
        try:
            async with asyncio.timeout(seconds):
                while not await condition():  # noqa: ASYNC110 - what is waited for happens in other processes
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s: {what}") from None

    # -------------------------------------------------------------------------------------------------------- backend

    async def send(self, station: str, type_name: str = "RequestStartTransaction", **more: Any) -> str:
        """One GET, one produce. Repeated with the same id until Kafka acknowledged it."""
        command_id = str(uuid.uuid4())
        mark = f"M{uuid.uuid4().hex[:14]}"
        payload: dict[str, Any]
        if type_name == "RequestStartTransaction":
            payload = {"idToken": {"idToken": mark, "type": "Central"}, "evseId": 1}
        elif type_name == "DataTransfer":
            payload = {"vendorId": mark}
        else:
            payload = {"getVariableData": [{"component": {"name": "OCPP16"}, "variable": {"name": mark}}]}
        lane = "commands-urgent" if more.get("priority") == "urgent" else "commands-down"
        value = json.dumps(
            {"id": command_id, "chargePointId": station, "type": type_name, "payload": payload, **more}
        ).encode()
        safe = COMMAND_TYPES[type_name].redelivery is Redelivery.SAFE
        self.history.commands.append(Sent(command_id, station, type_name, mark, safe))
        await self._produce(lane, station, value)
        return command_id

    async def _produce(self, topic: str, station: str, value: bytes) -> None:
        while True:
            partition = await self._mailbox(station)
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(5):
                    if self._producer is None:
                        self._producer = AIOKafkaProducer(
                            bootstrap_servers=self.system.kafka,
                            acks="all",
                            request_timeout_ms=2000,
                            metadata_max_age_ms=2000,
                        )
                        await self._producer.start()
                    await self._producer.send_and_wait(topic, value, key=station.encode(), partition=partition)
                    return
            if self._producer is not None:
                broken, self._producer = self._producer, None
                with contextlib.suppress(KafkaError, TimeoutError):
                    await asyncio.wait_for(broken.stop(), 2)
            await asyncio.sleep(0.2)

    async def _mailbox(self, station: str) -> int:
        with contextlib.suppress(redis.RedisError, OSError, TimeoutError):
            entry = await self.redis.get(f"conn:{station}")
            if entry is not None:
                return int(json.loads(entry)["partition"])
        return partition_for(station.encode(), self.system.partitions)

    async def load(self, stations: list[str], seconds: float, pause: float = 0.08) -> None:
        """Commands for random stations, mixed types and lanes, for a while."""
        end = asyncio.get_running_loop().time() + seconds
        kinds = ("RequestStartTransaction", "RequestStartTransaction", "DataTransfer", "GetVariables")
        while asyncio.get_running_loop().time() < end:
            more = {"priority": "urgent"} if self._random.random() < 0.2 else {}
            await self.send(self._random.choice(stations), self._random.choice(kinds), **more)
            await asyncio.sleep(pause)

    # -------------------------------------------------------------------------------------------------------- history

    async def remember_ends(self) -> None:
        """What stands in the topics before the test is none of its history."""
        async with self._consumer() as consumer:
            partitions = [
                TopicPartition(topic, p) for topic in TOPICS for p in consumer.partitions_for_topic(topic) or ()
            ]
            self._starts = dict(await consumer.end_offsets(partitions))

    @contextlib.asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            *TOPICS, bootstrap_servers=self.system.kafka, auto_offset_reset="earliest", group_id=None
        )
        await consumer.start()
        consumer.unsubscribe()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def outcomes(self, seconds: float) -> None:
        """Read results until every command has a final one, then everything that stands in the topics."""
        waiting = {command.id for command in self.history.commands}
        async with self._consumer() as consumer:
            consumer.assign(list(self._starts))
            for where, offset in self._starts.items():
                consumer.seek(where, offset)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while waiting:
                        for records in (await consumer.getmany(timeout_ms=200)).values():
                            for record in records:
                                self._take(record)
                                value = json.loads(record.value)
                                if record.topic == "command-results" and value["final"]:
                                    waiting.discard(value["commandId"])
            await self._stop_stations()
            await asyncio.sleep(0.5)
            ends = await consumer.end_offsets(list(self._starts))
            while any([await consumer.position(where) < end for where, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self._take(record)

    def _take(self, record: Any) -> None:
        headers = {name: value.decode() for name, value in record.headers}
        value = json.loads(record.value)
        if record.topic == "command-results":
            self.history.results.append({**value, "ce_id": headers["ce_id"]})
        else:
            short = headers["ce_type"].removeprefix("io.chargegateway.").removesuffix(".v1")
            self.history.events.append({**value, "ce_id": headers["ce_id"], "ce_type": short})

    async def judged(self, seconds: float = 45) -> dict[str, int]:
        """Wait for all outcomes and judge the whole history. Returns the number of commands per outcome."""
        await self.outcomes(seconds)
        violations = [*self.trouble, *judge(self.history)]
        assert not violations, "\n".join(violations[:20])
        counts: dict[str, int] = {}
        for outcome in {r["commandId"]: r["outcome"] for r in self.history.results if r["final"]}.values():
            counts[outcome] = counts.get(outcome, 0) + 1
        return counts

    # ----------------------------------------------------------------------------------------------------------- life

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Stations run until they are cancelled: whatever else ends one is a mistake of the rig and fails the test."""
        if not task.cancelled() and task.exception() is not None:
            self.trouble.append(repr(task.exception()))

    async def _stop_stations(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()

    async def close(self) -> None:
        await self._stop_stations()
        if self._producer is not None:
            await self._producer.stop()
        await self.redis.aclose()


@contextlib.asynccontextmanager
async def running(kafka: str, redis_url: str, pods: int = 2, **settings: str) -> AsyncIterator[Rig]:
    """A started system with `pods` ready gateways."""
    wanted = Wanted(pods=pods, partitions=8, kafka=kafka, redis=redis_url, settings={**QUICK, **settings})
    async with System.started(wanted) as system:
        rig = Rig(system)
        try:
            await rig.remember_ends()
            yield rig
        finally:
            await rig.close()
