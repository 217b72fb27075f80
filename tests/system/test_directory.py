"""A station on two pods at once, as after a broken link: the newest socket wins and nothing of it is wiped."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import websockets

from tests.system.rig import Rig, running
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


async def entry(rig: Rig, station: str) -> dict[str, Any] | None:
    found = await rig.redis.get(f"conn:{station}")
    return None if found is None else json.loads(found)


async def test_the_newest_socket_wins_and_only_its_end_is_offline(
    kafka: KafkaServer, private_redis: RedisServer
) -> None:
    async with running(kafka.bootstrap, f"redis://127.0.0.1:{private_redis.port}") as rig:
        first, second = (pod.station_url for pod in rig.system.present())
        station = "CP-two-sockets"
        subprotocols = [websockets.Subprotocol("ocpp1.6")]
        async with (
            websockets.connect(first + station, subprotocols=subprotocols) as old,
            websockets.connect(second + station, subprotocols=subprotocols) as new,
        ):
            await asyncio.wait_for(old.wait_closed(), 20)  # its pod finds a higher epoch at the next refresh
            assert old.close_code == 4001
            held = await entry(rig, station)
            assert held is not None
            assert held["pod"] == rig.system.present()[1].name
            await new.send(json.dumps([2, "m1", "Heartbeat", {}]))
            assert json.loads(await asyncio.wait_for(new.recv(), 5))[:2] == [3, "m1"]
        await rig.until_true(lambda: gone(rig, station), 10, "the entry is deleted")
        await rig.outcomes(1)
        told = [(e["ce_type"], e["epoch"]) for e in rig.history.events if e["chargePointId"] == station]
        epochs = sorted({epoch for _, epoch in told})
        assert told.count(("DeviceOffline", epochs[0])) == 0, "the entry was the other pod's by then"
        assert sorted(told) == [("DeviceOffline", epochs[1]), ("DeviceOnline", epochs[0]), ("DeviceOnline", epochs[1])]


async def gone(rig: Rig, station: str) -> bool:
    return await entry(rig, station) is None
