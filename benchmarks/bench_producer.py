"""CPU per record of the producer path, beside aiokafka's own producer: `python -m benchmarks.bench_producer`.

Closed loop: 200 stations, each publishes its next event when Kafka acknowledged the last ("saturated"). Open loop: 500
records/s spread over 1,000 stations, arrivals at random. CPU is that of this process (the broker is another). The rivals
take turns and the table shows minimum and median. A machine with other work on it shows higher figures for all of them.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable

import uvloop
from aiokafka import AIOKafkaProducer

from ocpp_contract.partitioning import partition_for
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import KafkaConnection
from tests.testbed.kafka import KafkaServer, create_topics

VALUE = b'{"chargePointId":"CP00001","occurredAt":"2026-11-22T10:00:00Z","data":{"values":[' + b"1" * 450 + b"]}}"
HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"0123456789abcdef0123456789abcdef"),
    ("ce_type", b"io.chargegateway.MeterValues.v1"),
    ("ce_source", b"chargegateway/default/gw-0"),
    ("ce_subject", b"CP00001"),
]
PARTITIONS = 12
Publish = Callable[[str, bytes, Callable[[], None]], None]


class Ours:
    """EventProducer, a callback per record."""

    def __init__(self, linger: float) -> None:
        self.name = f"EventProducer, linger {linger * 1000:g} ms"
        self._linger = linger

    async def start(self, bootstrap: str, topic: str) -> Publish:
        self._producer = EventProducer(KafkaConnection((bootstrap,)), linger=self._linger)
        self._producer.start([topic])
        await self._producer.ready(topic)

        def publish(topic: str, key: bytes, done: Callable[[], None]) -> None:
            self._producer.publish(topic, key, VALUE, HEADERS, lambda error: done())

        return publish

    async def stop(self) -> None:
        await self._producer.stop()


class SendBatch:
    """aiokafka's create_batch and send_batch, one flush tick for all partitions, one batch each on its way."""

    def __init__(self, linger: float) -> None:
        self.name = f"aiokafka send_batch, tick {linger * 1000:g} ms"
        self._linger = linger

    async def start(self, bootstrap: str, topic: str) -> Publish:
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=256 << 10)
        await self._producer.start()
        await self._producer.partitions_for(topic)
        self._topic = topic
        self._waiting: list[list[tuple[bytes, Callable[[], None]]]] = [[] for _ in range(PARTITIONS)]
        self._flying = [False] * PARTITIONS
        self._task = asyncio.create_task(self._ticks())

        def publish(topic: str, key: bytes, done: Callable[[], None]) -> None:
            self._waiting[partition_for(key, PARTITIONS)].append((key, done))

        return publish

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(self._linger)
            for partition in range(PARTITIONS):
                if self._waiting[partition] and not self._flying[partition]:
                    waiting, self._waiting[partition] = self._waiting[partition], []
                    batch = self._producer.create_batch()
                    for key, _ in waiting:
                        batch.append(timestamp=None, key=key, value=VALUE, headers=HEADERS)
                    self._flying[partition] = True
                    sent = await self._producer.send_batch(batch, self._topic, partition=partition)
                    sent.add_done_callback(lambda _, p=partition, w=waiting: self._done(p, w))

    def _done(self, partition: int, sent: list[tuple[bytes, Callable[[], None]]]) -> None:
        self._flying[partition] = False
        for _, done in sent:
            done()

    async def stop(self) -> None:
        self._task.cancel()
        await self._producer.stop()


class Send:
    """aiokafka's send() with linger_ms, a future per record: what most programs do."""

    def __init__(self, linger: float) -> None:
        self.name = f"aiokafka send, linger_ms {linger * 1000:g}"
        self._linger = linger

    async def start(self, bootstrap: str, topic: str) -> Publish:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=round(self._linger * 1000), max_batch_size=256 << 10
        )
        await self._producer.start()
        self._tasks: set[asyncio.Task[None]] = set()

        def publish(topic: str, key: bytes, done: Callable[[], None]) -> None:
            task = asyncio.create_task(self._send(topic, key, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return publish

    async def _send(self, topic: str, key: bytes, done: Callable[[], None]) -> None:
        sent = await self._producer.send(
            topic, VALUE, key=key, partition=partition_for(key, PARTITIONS), headers=HEADERS
        )
        await sent
        done()

    async def stop(self) -> None:
        await self._producer.stop()


Rival = Ours | SendBatch | Send


async def closed_loop(publish: Publish, topic: str, records: int, stations: int = 200) -> float:
    """CPU seconds per record, each station waiting for its acknowledgement."""
    keys = [b"CP%05d" % number for number in range(stations)]
    finished = asyncio.Event()
    left = records
    running = stations

    def next_of(key: bytes) -> None:
        nonlocal left, running
        if left:
            left -= 1
            publish(topic, key, lambda: next_of(key))
        else:
            running -= 1
            if not running:
                finished.set()

    began = time.process_time()
    for key in keys:
        next_of(key)
    await finished.wait()
    return (time.process_time() - began) / records


async def open_loop(publish: Publish, topic: str, records: int, rate: float = 500.0) -> float:
    """CPU seconds per record at `rate` records/s, less what the generator alone costs."""
    keys = [b"CP%05d" % number for number in range(1000)]
    chance = random.Random(1)

    async def arrivals(act: Callable[[bytes], None]) -> float:
        began = time.process_time()
        due = time.monotonic()
        for _ in range(records):
            due += chance.expovariate(rate)
            await asyncio.sleep(due - time.monotonic())
            act(chance.choice(keys))
        return time.process_time() - began

    alone = await arrivals(lambda key: None)
    acknowledged = asyncio.Event()
    open_records = records

    def done() -> None:
        nonlocal open_records
        open_records -= 1
        if not open_records:
            acknowledged.set()

    used = await arrivals(lambda key: publish(topic, key, done))
    await acknowledged.wait()
    return (used - alone) / records


async def measure(rounds: int, closed: int, opened: int) -> None:
    rivals: list[Rival] = [Ours(0.005), Ours(0.01), SendBatch(0.005), SendBatch(0.01), Send(0.01)]
    kinds: list[tuple[str, Callable[[Publish, str], Awaitable[float]]]] = [
        ("saturated", lambda publish, topic: closed_loop(publish, topic, closed)),
        ("500 records/s", lambda publish, topic: open_loop(publish, topic, opened)),
    ]
    figures: dict[tuple[str, str], list[float]] = {}
    async with KafkaServer() as kafka:
        await create_topics(kafka.bootstrap, {"bench": PARTITIONS})
        for number in range(rounds + 1):
            for rival in rivals:
                publish = await rival.start(kafka.bootstrap, "bench")
                for kind, run in kinds:
                    cost = await run(publish, "bench")
                    if number:  # the first round warms the broker up
                        figures.setdefault((kind, rival.name), []).append(cost * 1e6)
                await rival.stop()
    print("| load | producer | min us | median us |\n| --- | --- | --- | --- |")
    for (kind, name), costs in sorted(figures.items()):
        print(f"| {kind} | {name} | {min(costs):.1f} | {statistics.median(costs):.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--closed", type=int, default=40_000, help="records of a saturated run")
    parser.add_argument("--open", type=int, default=2_500, help="records of an open-loop run")
    options = parser.parse_args()
    uvloop.run(measure(options.rounds, options.closed, options.open))
