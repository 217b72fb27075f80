"""What is measured, one function per figure. Every function gets a server and returns rows of plain numbers.

CPU is user + system time of the server process, all threads, divided by messages. Memory is the growth of its PSS per socket
on a fresh process, so that no memory freed by an earlier load is filled first.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass

from benchmarks import proc
from benchmarks.generators import Generator, generator
from benchmarks.servers import GATEWAY, PASSWORD, Backends, Server, running

_prefixes = (f"B{number}-" for number in itertools.count(1))
_SETTLE = 1.5
_OPEN_RATE = 500.0
_OPEN_STATIONS = 1_000
_WARM_UP = 2_000


@dataclass(frozen=True, slots=True)
class Cpu:
    """Microseconds of server CPU per message, and what else was seen."""

    microseconds: float
    messages: int
    per_second: float
    busy: float
    """Share of one core that the server used."""
    kernel: float
    """Microseconds of the first figure that were system time."""
    p50: float
    p99: float
    """Milliseconds from CALL to CALLRESULT at the station, load process included."""


async def saturated(server: Server, action: str, stations: int, messages: int) -> Cpu:
    """Closed loop: `stations` with one CALL under way each."""
    async with generator() as load:
        await load.order("connect", url=server.url, prefix=next(_prefixes), count=stations)
        await load.order("saturate", action=action, messages=max(_WARM_UP, 2 * stations))
        return await _cpu(server, load, "saturate", action=action, messages=messages)


async def open_loop(server: Server, action: str, messages: int) -> Cpu:
    """500 messages a second over 1,000 stations."""
    async with generator() as load:
        await load.order("connect", url=server.url, prefix=next(_prefixes), count=_OPEN_STATIONS)
        await load.order("pour", action=action, rate=_OPEN_RATE, seconds=2)
        return await _cpu(server, load, "pour", action=action, rate=_OPEN_RATE, seconds=messages / _OPEN_RATE)


async def _cpu(server: Server, load: Generator, do: str, **order: object) -> Cpu:
    before = proc.cpu(server.pid)
    figures = await load.order(do, **order)
    after = proc.cpu(server.pid)
    messages, seconds = figures["messages"], figures["seconds"]
    used = after.total - before.total
    return Cpu(
        microseconds=used / messages * 1e6,
        messages=messages,
        per_second=messages / seconds,
        busy=used / seconds,
        kernel=(after.system - before.system) / messages * 1e6,
        p50=figures["p50"],
        p99=figures["p99"],
    )


async def background(server: Server, seconds: float) -> float:
    """Share of a core that the server uses with 1,000 silent stations: leases, polls, pings."""
    async with generator() as load:
        await load.order("connect", url=server.url, prefix=next(_prefixes), count=_OPEN_STATIONS)
        await asyncio.sleep(_SETTLE)
        before = proc.cpu(server.pid).total
        await asyncio.sleep(seconds)
        return (proc.cpu(server.pid).total - before) / seconds


async def idle_memory(name: str, around: Backends, stations: int, *, tls: bool) -> float:
    """KiB per connection that has booted and then says nothing, on a fresh process."""
    async with running(name, around) as server, generator() as load:
        await connect(load, server, around, 200, tls=tls)
        await asyncio.sleep(_SETTLE)
        before = proc.pss_bytes(server.pid)
        await connect(load, server, around, stations, tls=tls)
        await asyncio.sleep(_SETTLE)
        return (proc.pss_bytes(server.pid) - before) / stations / 1024


async def connect(load: Generator, server: Server, around: Backends, count: int, *, tls: bool) -> None:
    """Open sockets; over TLS by the names that are registered with a password."""
    if tls:
        ca = str(around.certificates.ca)
        await load.order("connect", url=server.tls_url, prefix="TLS", count=count, ca=ca, password=PASSWORD)
    else:
        await load.order("connect", url=server.url, prefix=next(_prefixes), count=count)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the produce call of a backend to the CALL's frame at the station."""

    commands: int
    p50: float
    p99: float
    longest: float


async def command_latency(server: Server, around: Backends, commands: int, *, loaded: bool) -> Latency:
    """50 commands a second over 100 stations; `loaded`: while 1,000 others send 500 MeterValues a second."""
    async with contextlib.AsyncExitStack() as stack:
        load = await stack.enter_async_context(generator("benchmarks.commands"))
        await load.order("connect", url=server.url, prefix=next(_prefixes), count=100)
        order = {"kafka": around.kafka, "store": around.redis, "rate": 50.0}
        await load.order("command", count=100, **order)
        pouring = None
        if loaded:
            others = await stack.enter_async_context(generator())
            await others.order("connect", url=server.url, prefix=next(_prefixes), count=_OPEN_STATIONS)
            seconds = commands / 50.0
            pouring = asyncio.create_task(others.order("pour", action="MeterValues", rate=_OPEN_RATE, seconds=seconds))
        figures = await load.order("command", count=commands, **order)
        if pouring is not None:
            await pouring
        return Latency(commands, figures["p50"], figures["p99"], figures["longest"])


@dataclass(frozen=True, slots=True)
class Crowd:
    """Very many connections in one process."""

    connections: int
    seconds: float
    """From the first SYN to the last answered BootNotification's upgrade, all load processes together."""
    cpu_per_connection: float
    """Milliseconds: accept, upgrade, registration, boot, its events."""
    rss: float
    """MiB of the process with all of them connected."""
    per_connection: float
    """KiB of PSS."""
    heartbeat_p99: float
    """Milliseconds at 500 Heartbeats a second over all of them."""


async def crowd(around: Backends, connections: int) -> Crowd:
    """`connections` in a fresh process, from several load processes (a process may open 20,000 files on many systems)."""
    loads = -(-connections // 5_000)
    share = connections // loads
    async with running(GATEWAY, around) as server, contextlib.AsyncExitStack() as stack:
        generators = [await stack.enter_async_context(generator()) for _ in range(loads)]
        await asyncio.sleep(_SETTLE)
        memory, cpu = proc.pss_bytes(server.pid), proc.cpu(server.pid).total
        figures = await asyncio.gather(
            *(load.order("connect", url=server.url, prefix=next(_prefixes), count=share) for load in generators)
        )
        connected = sum(figure["connected"] for figure in figures)
        used = proc.cpu(server.pid).total - cpu
        await asyncio.sleep(_SETTLE)
        held = proc.pss_bytes(server.pid) - memory
        rss = proc.rss_bytes(server.pid)
        laps = await asyncio.gather(
            *(load.order("pour", action="Heartbeat", rate=_OPEN_RATE / loads, seconds=20) for load in generators)
        )
        return Crowd(
            connected,
            max(figure["seconds"] for figure in figures),
            used / connected * 1e3,
            rss / 2**20,
            held / connected / 1024,
            max(lap["p99"] for lap in laps),
        )
