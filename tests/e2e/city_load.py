"""Stations and a backend for the node's `city`: `tests.system.load`, dialled through the Service's cluster address.

    async with under_load(city, pods=3) as load:
        await harm()

When the block ends the load goes on until the resource is at rest again with so many pods; then every station is served once more,
and the checker judges what was recorded: 0 commands lost, none that is unsafe to repeat sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.e2e.city import NAME, City
from tests.system.load import Load, Reach

STATIONS = 16
_PAUSE = 0.12


@contextlib.asynccontextmanager
async def under_load(city: City, pods: int, seconds: float = 120) -> AsyncIterator[Load]:
    """See module. `seconds` is how long the resource may need afterwards."""
    service = await city.get(f"services/{NAME}-gateway")
    address = f"ws://{service['spec']['clusterIP']}/"
    load = Load(Reach(city.kafka.bootstrap, city.redis.url, city.partitions, lambda _: address, city.topics, city.keys))
    try:
        await load.remember_ends()
        names = load.add_stations(STATIONS)
        await load.until(lambda: len(load.connected) == STATIONS, 30, "all stations connected")
        going = True
        work = asyncio.create_task(load.load_while(lambda: going, names, _PAUSE))
        try:
            await asyncio.sleep(1.5)  # commands are under way before anything happens
            yield load
            await city.settled(pods, seconds)
        finally:
            going = False
            await work
        await load.until(lambda: len(load.connected) == STATIONS, 60, "all stations connected again")
        await load.serves(names)
        city.outcomes.update(await load.judged())
    finally:
        await load.close()
