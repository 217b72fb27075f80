"""Five real minutes without Kafka, with the settings as shipped: `python -m tests.system.long_outage [seconds]`.

Too long for the test run, which has the same fault scaled down (`test_kafka_away_for_a_while`). Prints what happened when, and
ends with 1 if the checker finds a violation in the recorded history.
"""

from __future__ import annotations

import asyncio
import sys
import time

from ocpp_gateway import settings as shipped
from tests.system.rig import Rig, running
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisServer

STATIONS = 20
# The rig shortens these; here they are as shipped. Drains and reconnections stay quick, they are not what is looked at.
AS_SHIPPED = {
    "OWNERSHIP__LEASE": "15s",
    "OWNERSHIP__RENEW_INTERVAL": "5s",
    "OWNERSHIP__MARGIN": "3s",
    "OWNERSHIP__ENTRY_REFRESH": "300s",
    "OWNERSHIP__ENTRY_TTL": "900s",
    "OCPP__CALL_TIMEOUT": "30s",
    "OCPP__PING_INTERVAL": "25s",
    "COMMANDS__LATE_WINDOW": "60s",
    "COMMANDS__DEFAULT_DEADLINE": "60s",
    "KAFKA__REQUEST_TIMEOUT": "5s",
    "UPLINK__HOLD": f"{shipped.Uplink().hold:g}s",
    "UPLINK__CLOSE": f"{shipped.Uplink().close:g}s",
}


async def outage(seconds: float) -> int:
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {text}", flush=True)

    async def watch(rig: Rig) -> None:
        before = -1
        while True:
            if len(rig.connected) != before:
                before = len(rig.connected)
                say(f"{before} of {STATIONS} stations connected")
            await asyncio.sleep(0.5)

    with KafkaServer() as kafka, RedisServer() as redis:
        async with running(kafka.bootstrap, f"redis://127.0.0.1:{redis.port}", **AS_SHIPPED) as rig:
            stations = rig.add_stations(STATIONS)
            watching = asyncio.create_task(watch(rig))
            await rig.until(lambda: len(rig.connected) == STATIONS, 60, "all stations connected")
            await rig.load(stations, 5)
            say(f"{len(rig.history.commands)} commands sent; Kafka stops")
            await kafka.stop_async()
            await asyncio.sleep(seconds)  # the fault itself
            say("Kafka starts")
            await kafka.start_async()
            say("Kafka answers")
            await rig.until(lambda: len(rig.connected) == STATIONS, 120, "all stations are back")
            say("all stations are back, no gateway was restarted")
            await rig.load(stations, 5)
            watching.cancel()
            counts = await rig.judged(120)
            say(f"{len(rig.history.commands)} commands ended: {counts}; {len(rig.history.events)} events; no violation")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(outage(float(sys.argv[1]) if len(sys.argv) > 1 else 300.0)))
