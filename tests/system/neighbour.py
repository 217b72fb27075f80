"""The station next door: while others misbehave, its messages are answered as ever."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

from ocpp_local.pods import Pod
from tests.system.site import Site, until
from tests.system.station import Station, boot16, connected, meter16

# Generous, since test machines are shared: an event loop blocked by one bad message takes far longer.
PATIENCE = 4.0


class Neighbour:
    """Reports a meter value some thirty times a second."""

    def __init__(self, site: Site, station: Station) -> None:
        self._site = site
        self._station = station
        self.answered = 0
        self.slowest = 0.0

    async def talk(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            await self._station.call("MeterValues", meter16(f"{self.answered}.00"))
            self.slowest = max(self.slowest, clock() - began)
            self.answered += 1
            await asyncio.sleep(0.03)

    @contextlib.asynccontextmanager
    async def undisturbed(self) -> AsyncIterator[None]:
        """Inside, answers keep coming in time, no gateway ends or restarts, and no procedure of it fails."""
        pids = [pod.child.pid for pod in self._site.pods]
        self.slowest = 0.0
        yield
        seen = self.answered

        async def goes_on() -> bool:
            return self.answered > seen + 1

        await until(goes_on, "the neighbour's answers go on")
        assert self.slowest < PATIENCE, f"the neighbour waited {self.slowest:.1f} s"
        assert [pod.child.pid for pod in self._site.pods] == pids, "a gateway ended"
        for pod in self._site.pods:
            assert await self._site.alive(pod)
        assert await self._site.metric("procedure_failures") == 0
        assert await self._site.metric("transport", "frame_refused", "1011") == 0, "a session failed"
        assert await self._site.metric("transport", "handshake_failed", "error") == 0, "an admission failed"


@contextlib.asynccontextmanager
async def talking(site: Site, pod: Pod) -> AsyncIterator[Neighbour]:
    """A neighbour on that pod."""
    async with connected(pod.station_url, f"NEXT-{secrets.token_hex(3)}") as station:
        await station.call("BootNotification", boot16())
        neighbour = Neighbour(site, station)
        task = asyncio.create_task(neighbour.talk())
        try:
            yield neighbour
        finally:
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.result()
