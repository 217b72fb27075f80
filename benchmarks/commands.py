"""A backend and its stations in one load process: how long a command takes from the produce call to its frame.

    python -m benchmarks.commands      (orders as in `benchmarks.stations`, plus `command`)

Both ends on one clock. The backend does what `docs` tell backends to do: one GET of `conn:<id>`, one produce with acks=all to
the partition named there; the GET is before the clock starts, since backends keep that answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import redis.asyncio
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.stations import Load, Refused, Station, obey, quantiles, text_frame
from ocpp_contract.names import Keys, Topics

_DEADLINE = 30.0


class Commanded(Load):
    """Stations that accept every command at once."""

    def __init__(self) -> None:
        super().__init__()
        self._arrived: dict[str, float] = {}

    def on_call(self, station: Station, text: bytes) -> None:
        now = time.monotonic()
        _, message_id, _, _ = orjson.loads(text)
        if message_id in self._arrived:
            self.fail(f"{station.name}: command {message_id} came twice")
        self._arrived[message_id] = now
        station.transport.write(text_frame(orjson.dumps([3, message_id, {"status": "Accepted"}])))

    async def command(self, kafka: str, store: str, count: int, rate: float) -> dict[str, Any]:
        """`count` RequestStartTransaction, `rate` a second, station after station."""
        partitions = await self._mailboxes(store)
        topics = Topics()
        produced: dict[str, float] = {}
        sending = []
        self._arrived.clear()
        async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer, _results(kafka) as results:
            await producer.partitions_for(topics.commands_down)
            began = time.monotonic()
            for number in range(count):
                wait = began + number / rate - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                station = self.stations[number % len(self.stations)].name
                command_id = str(uuid.uuid4())
                value = orjson.dumps(
                    {
                        "id": command_id,
                        "chargePointId": station,
                        "type": "RequestStartTransaction",
                        "payload": {"idToken": {"idToken": "BENCH", "type": "Central"}, "evseId": 1},
                    }
                )
                produced[command_id] = time.monotonic()
                sending.append(
                    await producer.send(
                        topics.commands_down, value, key=station.encode(), partition=partitions[station]
                    )
                )
            await asyncio.gather(*sending)
            outcomes = await _outcomes(results, set(produced))
        if outcomes != {"Accepted": count}:
            raise Refused(f"outcomes: {outcomes}")
        return {"messages": count, **quantiles([self._arrived[each] - at for each, at in produced.items()])}

    async def _mailboxes(self, store: str) -> dict[str, int]:
        keys = Keys()
        async with redis.asyncio.from_url(store) as client:
            entries = await client.mget([keys.conn(station.name) for station in self.stations])
        return {
            station.name: orjson.loads(entry)["partition"]
            for station, entry in zip(self.stations, entries, strict=True)
        }


@contextlib.asynccontextmanager
async def _results(kafka: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that stands at the end of the results topic."""
    topic = Topics().command_results
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="latest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.unsubscribe()
        consumer.assign(partitions)
        for where, end in (await consumer.end_offsets(partitions)).items():
            consumer.seek(where, end)
        yield consumer
    finally:
        await consumer.stop()


async def _outcomes(results: AIOKafkaConsumer, waiting: set[str]) -> dict[str, int]:
    """How many of these commands ended how, once all did."""
    found: dict[str, int] = {}
    async with asyncio.timeout(_DEADLINE):
        while waiting:
            for records in (await results.getmany(timeout_ms=200)).values():
                for record in records:
                    result = orjson.loads(record.value)
                    if result["final"] and result["commandId"] in waiting:
                        waiting.discard(result["commandId"])
                        found[result["outcome"]] = found.get(result["outcome"], 0) + 1
    return found


async def main() -> None:
    load = Commanded()
    await obey(load, {"command": load.command})


if __name__ == "__main__":
    uvloop.run(main())
