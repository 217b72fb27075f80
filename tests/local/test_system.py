"""The whole system as `demo` and `up` start it: restarts in place, freezes, and what cannot be started."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ocpp_local.account import Account
from ocpp_local.backend import Backend
from ocpp_local.processes import LocalError
from ocpp_local.station_versions import station
from ocpp_local.system import System, Wanted
from ocpp_operator.core.plan import Pace

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

LEASE = 4.0
SETTINGS = {"OWNERSHIP__LEASE": "4s", "OWNERSHIP__RENEW_INTERVAL": "1s", "OWNERSHIP__MARGIN": "1s"}


@asynccontextmanager
async def running(pods: int) -> AsyncIterator[tuple[System, Backend]]:
    wanted = Wanted(
        pods=pods, partitions=8, replace_after=None, settings=SETTINGS, pace=Pace(silence=LEASE, quiet=1.0, ceiling=5.0)
    )
    async with (
        System.started(wanted) as system,
        Backend(system.kafka, system.redis, system.partitions, Account()) as backend,
    ):
        yield system, backend


async def until_owned(system: System, backend: Backend, allowed: Callable[[str], bool], patience: float) -> float:
    """Until every partition is owned by an allowed pod; how long it took."""
    began = time.monotonic()
    async with asyncio.timeout(patience):
        while True:
            owners = await backend.owners()
            if len(owners) == system.partitions and all(map(allowed, owners.values())):
                return time.monotonic() - began
            await asyncio.sleep(0.05)


async def test_a_container_that_restarts_keeps_its_pod_and_its_partitions() -> None:
    async with running(pods=2) as (system, backend):
        first, second = system.present()
        before = await backend.owners()
        plan = system.plane.plan
        await system.pods.restart_in_place(first)
        await system.pods.wait_ready()
        await until_owned(system, backend, lambda pod: pod in (first.name, second.name), 20)
        assert await backend.owners() == before
        assert system.plane.plan.seats == plan.seats, "nobody else was bothered"


async def test_a_frozen_gateway_loses_its_partitions_after_its_lease_and_comes_back_as_nobody() -> None:
    async with running(pods=2) as (system, backend):
        first, second = system.present()
        one = station("CP1", second.station_url, "ocpp1.6")
        talking = asyncio.create_task(one.run())
        first.send(signal.SIGSTOP)
        took = await until_owned(system, backend, lambda pod: pod == second.name, 30)
        # Its record lives a lease, and must have been seen absent for another one.
        assert took < 2 * LEASE + 3 + 5
        command = await backend.send("CP1", "ClearCache", {}, deadline=20)
        assert await backend.until(lambda: backend.account.final(command) is not None, 20)
        first.send(signal.SIGCONT)
        await until_owned(system, backend, lambda pod: pod in (first.name, second.name), 20)
        await system.pods.wait_ready()
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def test_a_gateway_that_cannot_start_is_shown_with_its_last_words() -> None:
    wanted = Wanted(pods=1, settings={"OWNERSHIP__LEASE": "1s"})
    with pytest.raises(LocalError, match=r"gateway-1 ended with \d+:\n(.|\n)*must fit into the lease"):
        async with System.started(wanted):
            pass


async def test_without_its_broker_the_system_ends() -> None:
    async def lives() -> None:
        async with running(pods=1) as (system, _):
            (broker,) = [child for child in system.children.running() if child.name == "broker"]
            broker.send(signal.SIGKILL)
            await asyncio.sleep(60)

    with pytest.raises(LocalError, match="the broker ended with -9"):
        await lives()
