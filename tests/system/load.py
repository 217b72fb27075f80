"""Stations and a plain backend that load a running system, whoever runs it, and write down all that happens.

    load = Load(Reach(kafka, redis_url, partitions, dial))
    await load.remember_ends()
    stations = load.add_stations(6)

Stations are PyPI `ocpp`; they dial whatever `Reach.dial` says and reconnect for ever. The backend is what the contract promises to
anybody: one GET and one produce per command, topics read with a plain consumer. What the stations see on their sockets and what Kafka
recorded becomes a `History`, judged by `checker.judge`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio
import websockets
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result

from ocpp_contract.command_types import Redelivery
from ocpp_contract.commands import COMMAND_TYPES
from ocpp_contract.ids import ChargePointId
from ocpp_contract.names import Keys, Topics
from ocpp_contract.partitioning import partition_for
from tests.system.checker import Frame, History, Sent, judge


@dataclass(frozen=True, slots=True)
class Reach:
    """Where stations and backends find a system."""

    kafka: str
    redis: str
    """URL."""
    partitions: int
    dial: Callable[[str], str | None]
    """URL that this station dials next, without its id; None: nobody is there to be dialled."""
    topics: Topics = field(default_factory=Topics)
    keys: Keys = field(default_factory=lambda: Keys(""))


class Recording:
    """A connection as PyPI `ocpp` wants one, that writes down every frame at the station's end."""

    def __init__(self, socket: websockets.ClientConnection, station: str, number: int, load: Load) -> None:
        self._socket = socket
        self._station = station
        self._number = number
        self._load = load

    async def send(self, text: str) -> None:
        self._load.note(self._station, self._number, True, text)
        await self._socket.send(text)

    async def recv(self) -> str:
        text = str(await self._socket.recv())
        self._load.note(self._station, self._number, False, text)
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


class Load:
    """See module. `close` it."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.history = History()
        self.connected: dict[str, str] = {}
        """Station -> URL it is connected to now."""
        self.ended: Counter[str] = Counter()
        """Sockets of each station that ended after it had booted."""
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
        self.redis = redis.asyncio.from_url(reach.redis, socket_timeout=1)
        self._random = random.Random(7)

    @property
    def _read(self) -> tuple[str, str]:
        return self.reach.topics.events_up, self.reach.topics.command_results

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
            url = self.prefer.get(name) or self.reach.dial(name)
            if url is None:
                await asyncio.sleep(0.1)
                continue
            with contextlib.suppress(OSError, websockets.WebSocketException, TimeoutError):
                async with websockets.connect(
                    url + name,
                    subprotocols=[websockets.Subprotocol("ocpp1.6")],
                    open_timeout=3,
                    ping_interval=2,
                    ping_timeout=4,
                ) as socket:
                    await self._talk(name, url, socket)
            if self.connected.pop(name, None) is not None:
                self.ended[name] += 1
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
        await self.hang_up(station)

    async def hang_up(self, station: str) -> None:
        """Without a word; it dials again."""
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
        topics = self.reach.topics
        lane = topics.commands_urgent if more.get("priority") == "urgent" else topics.commands_down
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
                            bootstrap_servers=self.reach.kafka,
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
            entry = await self.redis.get(self.reach.keys.conn(ChargePointId(station)))
            if entry is not None:
                return int(json.loads(entry)["partition"])
        return partition_for(station.encode(), self.reach.partitions)

    async def load(self, stations: list[str], seconds: float, pause: float = 0.08) -> None:
        """Commands for random stations, mixed types and lanes, for a while."""
        end = asyncio.get_running_loop().time() + seconds
        await self.load_while(lambda: asyncio.get_running_loop().time() < end, stations, pause)

    async def load_while(self, goes_on: Callable[[], bool], stations: list[str], pause: float = 0.08) -> None:
        """The same for as long as `goes_on` says. Not to be cancelled: a command may be half produced."""
        kinds = ("RequestStartTransaction", "RequestStartTransaction", "DataTransfer", "GetVariables")
        while goes_on():
            more = {"priority": "urgent"} if self._random.random() < 0.2 else {}
            await self.send(self._random.choice(stations), self._random.choice(kinds), **more)
            await asyncio.sleep(pause)

    async def serves(self, stations: Sequence[str], seconds: float = 30) -> None:
        """One more command for each station: wait until each of them has accepted its own."""
        async with self._consumer() as consumer:
            topic = self.reach.topics.command_results
            consumer.assign([TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()])
            await consumer.seek_to_end()
            for where in consumer.assignment():
                await consumer.position(where)
            waiting = {await self.send(station, "DataTransfer"): station for station in stations}
            refused: list[str] = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while waiting:
                        for records in (await consumer.getmany(timeout_ms=100)).values():
                            for value in (json.loads(record.value) for record in records):
                                if value["final"] and waiting.pop(value["commandId"], None):
                                    refused += [f"{value}"] if value["outcome"] != "Accepted" else []
        assert not waiting, f"no outcome within {seconds:.0f} s for {sorted(waiting.values())}"
        assert not refused, refused

    # -------------------------------------------------------------------------------------------------------- history

    async def remember_ends(self) -> None:
        """What stands in the topics before the test is none of its history."""
        async with self._consumer() as consumer:
            partitions = [
                TopicPartition(topic, p) for topic in self._read for p in consumer.partitions_for_topic(topic) or ()
            ]
            self._starts = dict(await consumer.end_offsets(partitions))

    @contextlib.asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            *self._read, bootstrap_servers=self.reach.kafka, auto_offset_reset="earliest", group_id=None
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
                                if record.topic == self.reach.topics.command_results and value["final"]:
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
        if record.topic == self.reach.topics.command_results:
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
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            # Again and again: `wait_for` of Python 3.11, which `ocpp` calls with, forgets one that comes together with the answer.
            _, running = await asyncio.wait(running, timeout=0.5)
        self._tasks.clear()

    async def close(self) -> None:
        await self._stop_stations()
        if self._producer is not None:
            await self._producer.stop()
        await self.redis.aclose()
