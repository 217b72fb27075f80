"""Latency from produce to hand-over and idle CPU of the command consumer: `python -m benchmarks.bench_commands`.

One pod that owns all partitions of both lanes, the worst case: a fetch request names every partition. Latency is measured
within this process, from the call of the producer to `deliver`, at a steady rate of commands for random partitions.
"""

import argparse
import asyncio
import random
import time

import uvloop

from ocpp_contract.ids import Partition
from ocpp_gateway.adapters.commands import CommandConsumer
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import KafkaConnection
from ocpp_gateway.core.effects import Lane, SourceRecord
from tests.testbed.kafka import KafkaServer, create_topics


async def measure(partitions: int, fetch_max_wait: float, records: int, rate: float) -> tuple[float, ...]:
    """Idle CPU in ms per second; CPU in us per command; p50 and p99 latency in ms."""
    latencies: list[float] = []
    everything = asyncio.Event()

    def deliver(record: SourceRecord) -> None:
        latencies.append(time.monotonic() - float(record.value or b"0"))
        if len(latencies) == records:
            everything.set()

    async with KafkaServer() as kafka:
        topics = {Lane.NORMAL: "commands-down", Lane.URGENT: "commands-urgent"}
        await create_topics(kafka.bootstrap, dict.fromkeys(topics.values(), partitions))
        connection = KafkaConnection((kafka.bootstrap,))
        producer = EventProducer(connection)
        producer.start(topics.values())
        consumer = CommandConsumer(connection, topics, "bench", deliver, fetch_max_wait=fetch_max_wait)
        consumer.start()
        for number in range(partitions):
            consumer.start_fetch(Partition(number), dict.fromkeys(Lane, 0))
        await asyncio.gather(consumer.partition_count(), producer.ready(*topics.values()))
        await asyncio.sleep(2)
        began = time.process_time()
        await asyncio.sleep(3)
        idle = (time.process_time() - began) / 3 * 1e3
        chance = random.Random(1)
        sends = []
        began = time.process_time()
        due = time.monotonic()
        for _ in range(records):
            due += 1 / rate
            await asyncio.sleep(due - time.monotonic())
            value = b"%.6f" % time.monotonic()
            where = chance.randrange(partitions)
            sends.append(asyncio.create_task(producer.produce(topics[Lane.NORMAL], b"CP", value, partition=where)))
        await everything.wait()
        used = (time.process_time() - began) / records * 1e6
        await asyncio.gather(*sends)
        await consumer.stop()
        await producer.stop()
    latencies.sort()
    return idle, used, latencies[records // 2] * 1e3, latencies[records * 99 // 100] * 1e3


async def main(records: int, rate: float) -> None:
    print(
        "| partitions of this pod | fetch_max_wait ms | idle ms/s | us per command (produced and read) | p50 ms | p99 ms |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for partitions in (16, 43, 128):
        for wait in (0.1, 0.5):
            idle, used, p50, p99 = await measure(partitions, wait, records, rate)
            print(f"| {partitions} | {wait * 1000:g} | {idle:.1f} | {used:.0f} | {p50:.1f} | {p99:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=100.0, help="commands per second")
    options = parser.parse_args()
    uvloop.run(main(options.records, options.rate))
