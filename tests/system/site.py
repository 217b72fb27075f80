"""A running system that many tests share: gateways as processes, topics of its own, and a backend that reads everything.

    async with running_site(kafka.bootstrap, redis.url, pods=2, OCPP__CALL_TIMEOUT="1s") as site: ...

There is no operator: the site writes the assignment files itself, so a test says which pod holds what. Every record that
the gateways write is kept in `site.records`, and every wait looks at those, so that "never" means "not until a later record
of the same partition was there".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis, RedisCluster

from ocpp_client import kafka as kafka_client
from ocpp_client.fetched_records import lenient
from ocpp_client.status import Directory, RedisAccess
from ocpp_contract.assignment import Assignment, format_annotations_file
from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, Partition
from ocpp_contract.names import Keys, Topics
from ocpp_contract.partitioning import partition_for
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import PartitionRecord
from ocpp_local.pods import Pod, Pods, Surroundings
from ocpp_local.processes import Children, ReservedPorts
from tests.gateway.adapters.odd_records import OddRecord, odd_batch, produce_batch
from tests.system.rig import QUICK
from tests.testbed.kafka import create_topics

PARTITIONS = 8
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in Kafka. `topic` is the field name in `Topics`: events_up, command_results, ..."""

    topic: str
    where: str
    """topic/partition/offset, as `cg-source` has it."""
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    def json(self) -> Any:
        return json.loads(self.value or b"null")


class Site:
    """See module. Made by `running_site`."""

    def __init__(self, pods: Pods, children: Children, kafka: str, topics: Topics, redis: RedisAccess) -> None:
        self._pods = pods
        self._children = children
        self.kafka = kafka
        self.topics = topics
        self.redis = redis
        self.records: list[Record] = []
        self.directory = Directory(redis)
        self.store: Any = (RedisCluster if redis.cluster else Redis).from_url(redis.url, decode_responses=True)
        self._names = {getattr(topics, name): name for name in Topics.__slots__}
        self._generations = itertools.count(1)
        self._news = asyncio.Condition()
        self._http = aiohttp.ClientSession()
        self._producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
        self._consumer = lenient(
            AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", fetch_max_wait_ms=50)
        )
        self._reading: asyncio.Task[None] | None = None

    # --------------------------------------------------------------------------------------------------------- pods

    @property
    def pods(self) -> list[Pod]:
        """In the order of their slots."""
        return sorted(self._pods.present.values(), key=lambda pod: pod.slot)

    def assign(self, pod: Pod, partitions: Iterable[int], generation: int | None = None) -> int:
        """Tell a pod what to hold, as the kubelet shows an annotation; returns the generation."""
        number = next(self._generations) if generation is None else generation
        wish = Assignment(number, frozenset(map(Partition, partitions)))
        self.write_assignment(pod, format_annotations_file(wish.to_annotations()).encode())
        return number

    @staticmethod
    def write_assignment(pod: Pod, content: bytes) -> None:
        """Whole and at once."""
        fresh = pod.annotations_file.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(pod.annotations_file)

    async def applied(self, pod: Pod, generation: int) -> None:
        """Until the pod itself says that it follows that assignment."""

        async def says_so() -> bool:
            record = await self.store.get(f"pod:{pod.name}")
            return record is not None and json.loads(record)["generation"] >= generation

        await until(says_so, f"{pod.name} applies assignment {generation}")

    def share_out(self) -> None:
        """All partitions in equal parts."""
        pods = self.pods
        for place, pod in enumerate(pods):
            self.assign(pod, range(place, PARTITIONS, len(pods)))

    async def add_pod(self, slot: int) -> Pod:
        """Another pod in the place of one that is gone; it holds nothing yet."""
        return await self._pods.start(slot)

    async def ready(self) -> None:
        await self._pods.wait_ready()

    async def restart_in_place(self, pod: Pod) -> None:
        await self._pods.restart_in_place(pod)

    async def pod_of(self, station: str) -> Pod:
        """The pod that the directory names for a station."""
        entry = await self.entry(station)
        assert entry is not None, f"{station} has no entry"
        return self._pods.present[entry.pod]

    async def entry(self, station: str) -> ConnectionRecord | None:
        return await self.directory.connection(ChargePointId(station))

    async def bury(self, pod: Pod) -> None:
        """Release what a pod that is gone held, as the operator does: nobody waits for its leases then."""
        keys = Keys()
        for number in map(Partition, range(PARTITIONS)):
            text = await self.store.get(keys.partition(number))
            holder = None if text is None else PartitionRecord.from_json(text).incarnation
            if holder is not None and holder.pod == pod.name:
                call = calls.release_dead(keys, number, holder)
                await self.store.eval(call.script.text, len(call.keys), *call.keys, *call.args)

    # ------------------------------------------------------------------------------------------------------ metrics

    async def metric(self, name: str, *labels: str, pod: Pod | None = None) -> float:
        """Sum over the pods (or of one) of `chargegateway_<name>` with these label values, in order; missing: 0."""
        total = 0.0
        for each in self.pods if pod is None else [pod]:
            async with self._http.get(f"{each.admin_url}/metrics") as response:
                page = await response.text()
            for family in text_string_to_metric_families(page):
                for sample in family.samples:
                    same = sample.name in (f"chargegateway_{name}", f"chargegateway_{name}_total")
                    if same and all(wanted in sample.labels.values() for wanted in labels):
                        total += sample.value
        return total

    @contextlib.asynccontextmanager
    async def counted(self, name: str, *labels: str, at_least: float = 1) -> AsyncIterator[None]:
        """What happens inside must be counted there within a few seconds."""
        before = await self.metric(name, *labels)

        async def grown() -> bool:
            return await self.metric(name, *labels) >= before + at_least

        yield
        await until(grown, f"{name}{labels} counted {at_least:g} times")

    async def alive(self, pod: Pod) -> bool:
        async with self._http.get(f"{pod.admin_url}/livez") as response:
            return response.status == 200

    # ------------------------------------------------------------------------------------------------------ backend

    async def send(
        self,
        station: str,
        type_name: str,
        payload: dict[str, Any] | None = None,
        *,
        lane: str = "commands_down",
        partition: int | None = None,
        headers: Headers = (),
        command_id: str | None = None,
        **fields: Any,
    ) -> str:
        """One GET, one produce; the command's id."""
        command = {
            "id": command_id or str(uuid.uuid4()),
            "chargePointId": station,
            "type": type_name,
            "payload": payload or {},
            **fields,
        }
        if partition is None:
            entry = await self.entry(station)
            partition = partition_for(station.encode(), PARTITIONS) if entry is None else entry.partition
        value = json.dumps(command).encode()
        await self.produce(value, key=station.encode(), partition=partition, lane=lane, headers=headers)
        return str(command["id"])

    async def produce(
        self,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        lane: str = "commands_down",
        headers: Headers = (),
    ) -> str:
        """Any bytes; where they stand now, as `cg-source` would say it."""
        topic = getattr(self.topics, lane)
        done = await self._producer.send_and_wait(topic, value, key=key, partition=partition, headers=list(headers))
        return f"{topic}/{done.partition}/{done.offset}"

    async def produce_odd(
        self, records: Sequence[OddRecord], codec: str, partition: int, lane: str = "commands_down"
    ) -> list[str]:
        """One batch made by hand, header names of any bytes; where its records stand."""
        topic = getattr(self.topics, lane)
        first = await produce_batch(self.kafka, topic, partition, odd_batch(records, codec))
        return [f"{topic}/{partition}/{first + number}" for number in range(len(records))]

    def results(self, command_id: str) -> list[Record]:
        """Every record on command-results about one command, in order."""
        return [
            record
            for record in self.records
            if record.topic == "command_results" and record.json()["commandId"] == command_id
        ]

    async def final(self, command_id: str, seconds: float = 15) -> dict[str, Any]:
        """The final result."""
        record = await self.record(
            lambda each: (
                each.topic == "command_results" and each.json()["commandId"] == command_id and each.json()["final"]
            ),
            f"the final outcome of {command_id}",
            seconds,
        )
        return dict(record.json())

    async def outcome(self, command_id: str, seconds: float = 15) -> str:
        return str((await self.final(command_id, seconds))["outcome"])

    async def dead_letter(self, where: str, seconds: float = 10) -> Record:
        """The dead letter of the record that stood there."""
        return await self.record(
            lambda each: each.topic == "commands_dlq" and each.headers.get("cg-source") == where.encode(),
            f"a dead letter of {where}",
            seconds,
        )

    def events(self, station: str, name: str | None = None) -> list[dict[str, Any]]:
        """A station's events so far, each with `type`, its short name."""
        found = []
        for record in self.records:
            if record.topic == "events_up" and record.headers.get("ce_subject") == station.encode():
                short = record.headers["ce_type"].decode().removeprefix("io.chargegateway.").removesuffix(".v1")
                if name in (None, short):
                    found.append({**record.json(), "type": short, "ce_id": record.headers["ce_id"].decode()})
        return found

    async def event(self, station: str, name: str, seconds: float = 10, **match: Any) -> dict[str, Any]:
        """The first event of that name whose data holds `match`."""

        def fits(event: dict[str, Any]) -> bool:
            return all(event["data"].get(key) == value for key, value in match.items())

        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [event for event in self.events(station, name) if fits(event)]
            return bool(found)

        await self._wait(there, f"{name} of {station} with {match}", seconds)
        return found[0]

    async def record(self, fits: Callable[[Record], bool], what: str, seconds: float = 10) -> Record:
        found: list[Record] = []
        seen = 0

        def there() -> bool:
            nonlocal seen
            found.extend(record for record in self.records[seen:] if fits(record))
            seen = len(self.records)
            return bool(found)

        await self._wait(there, what, seconds)
        return found[0]

    async def _wait(self, there: Callable[[], bool], what: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(there)
        except TimeoutError:
            assert self._reading is not None
            if self._reading.done():
                self._reading.result()
            raise AssertionError(f"not within {seconds:g} s: {what}") from None

    # --------------------------------------------------------------------------------------------------------- life

    async def _open(self) -> None:
        await self._producer.start()
        await self._consumer.start()
        counts = dict.fromkeys(self._names, PARTITIONS)
        self._consumer.assign([TopicPartition(name, part) for name, count in counts.items() for part in range(count)])
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=100)
            fresh = [
                Record(
                    self._names[where.topic],
                    f"{where.topic}/{where.partition}/{record.offset}",
                    record.key,
                    record.value,
                    dict(record.headers),
                )
                for where, records in batches.items()
                for record in records
            ]
            if fresh:
                async with self._news:
                    self.records += fresh
                    self._news.notify_all()

    async def _close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
        await kafka_client.stop(self._consumer)
        await kafka_client.stop(self._producer)
        await self._http.close()
        await self.directory.__aexit__(None, None, None)
        await self.store.aclose()


async def until(condition: Callable[[], Any], what: str, seconds: float = 8) -> None:
    """Wait for an asynchronous condition."""
    try:
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None


@contextlib.asynccontextmanager
async def running_site(
    kafka: str, redis: RedisAccess, pods: int = 2, own_topics: Topics | None = None, **settings: str
) -> AsyncIterator[Site]:
    """`pods` ready gateways that share all partitions equally, on topics that nobody else uses."""
    suffix = secrets.token_hex(4)
    topics = own_topics or Topics(*(f"{getattr(Topics(), name)}-{suffix}" for name in Topics.__slots__))
    await create_topics(
        kafka,
        {getattr(topics, name): PARTITIONS for name in Topics.__slots__},
        {"message.timestamp.type": "LogAppendTime"},
    )
    folder = Path(tempfile.mkdtemp(prefix="chargegateway-site-"))
    ports = ReservedPorts()
    token_file = folder / "token"
    token_file.write_text(secrets.token_urlsafe(24))
    named = {f"TOPICS__{name.upper()}": getattr(topics, name) for name in Topics.__slots__}
    surroundings = Surroundings(
        folder=folder,
        kafka=kafka,
        redis=redis.url,
        resource_uid=str(uuid.uuid4()),
        station_port=ports.take(),
        token_file=token_file,
        settings={**QUICK, **named, "KAFKA__CONSUMER_GROUP": f"commands-{suffix}", **settings},
    )
    started = False
    try:
        async with Children(folder) as children:
            born = Pods(children, surroundings, ports, lambda: None, replace_after=None)
            site = Site(born, children, kafka, topics, redis)
            try:
                for _ in range(pods):
                    await born.start()
                site.share_out()
                await site._open()
                await born.wait_ready()
                started = True
                yield site
            finally:
                born.stop_watching()
                await site._close()
                await asyncio.gather(*(pod.child.stop() for pod in born.present.values()))
    except BaseException as error:
        error.add_note(f"logs are in {folder}")
        raise
    finally:
        ports.close()
    if started:
        _no_mistakes_of_ours(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _no_mistakes_of_ours(folder: Path) -> None:
    """Whatever the tests did to the gateways: none of them may have met an exception that nobody expected."""
    for log in sorted(folder.glob("*.log")):
        text = log.read_text(encoding="utf-8", errors="replace")
        at = text.find("Traceback (most recent call last)")
        assert at < 0, f"{log}:\n{text[max(0, at - 300) : at + 3000]}"
