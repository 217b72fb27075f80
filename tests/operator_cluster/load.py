"""Stations and a backend for a resource of a `Place`: `tests.system.load` with the resource's topics and prefix, and its ready pods.

    async with under_load(place, "city") as load:
        await harm()

When the block ends the load goes on until the resource is Ready and settled again; then every station is served once more, and
the checker judges what was recorded: 0 commands lost, none that is unsafe to repeat sent twice.

Stations dial as through a Service: any pod that is ready at that moment, at random.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

from ocpp_contract.names import Keys, Topics
from tests.operator_cluster.rig import Place
from tests.system.load import Load, Reach

STATIONS = 10
_TOPICS = {
    "eventsUp": "events_up",
    "commandsDown": "commands_down",
    "commandsUrgent": "commands_urgent",
    "commandResults": "command_results",
    "commandsDlq": "commands_dlq",
    "stations": "stations",
}


class CityLoad(Load):
    """That of one resource. `preferred`: which stations are to be found at which pod while that is ready."""

    def __init__(self, place: Place, partitions: int, topics: Topics, keys: Keys) -> None:
        self.preferred: dict[str, str] = {}
        self._place = place
        self._dice = random.Random(11)
        url = f"redis://127.0.0.1:{place.redis_port}/0"
        super().__init__(Reach(place.kafka, url, partitions, self._dial, topics, keys))

    def _dial(self, station: str) -> str | None:
        ready = self._place.kubelet.ready()
        if not ready:
            return None
        pod = self.preferred.get(station)
        return self._place.kubelet.url(pod if pod in ready else self._dice.choice(ready))

    def stations_of(self, pod: str) -> int:
        """Connected to it now."""
        url = self._place.kubelet.url(pod)
        return sum(each == url for each in self.connected.values())


async def load_of(place: Place, name: str = "city") -> CityLoad:
    """For a resource whose topics are there."""
    spec = (await place.get(name))["spec"]
    named = {_TOPICS[key]: topic["name"] for key, topic in spec["kafka"]["topics"].items() if key in _TOPICS}
    load = CityLoad(place, spec["commands"]["partitions"], Topics(**named), Keys(spec["redis"]["keyPrefix"]))
    await load.remember_ends()
    return load


@contextlib.asynccontextmanager
async def under_load(
    place: Place, name: str = "city", stations: int = STATIONS, patience: float = 90.0
) -> AsyncIterator[CityLoad]:
    """See module. `patience` is how long the resource may need afterwards."""
    load = await load_of(place, name)
    try:
        names = load.add_stations(stations)
        await load.until(lambda: len(load.connected) == stations, 30, "all stations connected")
        going = True
        work = asyncio.create_task(load.load_while(lambda: going, names))
        try:
            yield load
            await settled(place, name, patience)
        finally:
            going = False
            await work
        await load.until(lambda: len(load.connected) == stations, 30, "all stations connected again")
        await load.serves(names)
        await load.judged()
    finally:
        await load.close()


async def settled(place: Place, name: str = "city", timeout: float = 90.0) -> None:
    """Ready, and nothing moves any more."""
    for kind, status in (("Progressing", "False"), ("AssignmentConverged", "True"), ("Ready", "True")):
        await place.condition(name, kind, status, timeout=timeout)
