"""`python -m benchmarks [PART ...]`: measure against the peers with real Kafka and real Redis, write benchmarks/RESULTS.md.

    python -m benchmarks                        all parts but the crowd, 3 rounds (about 12 minutes)
    python -m benchmarks heartbeat --quick      one part, one short round, printed and not kept
    python -m benchmarks crowd --connections 15000
    python -m benchmarks profile                where the gateway's time goes

Nothing is asserted about speed. The rivals take turns in every round, each of the table's figures is minimum and median of the
rounds. Benchmarks of single parts of the gateway: `python -m benchmarks.bench_{session,transport,producer,store}`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import uvloop

from benchmarks import measures, proc, record, report
from benchmarks.generators import LoadFailed, generator
from benchmarks.profiling import ProfilerFailed, profile
from benchmarks.servers import GATEWAY, NAMES, Backends, Server, backends, running

ACTIONS = {"heartbeat": "Heartbeat", "metervalues": "MeterValues"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    rounds: int
    messages: int
    open_messages: int
    idle: int
    commands: int
    profile_seconds: int


FULL = Size(rounds=3, messages=20_000, open_messages=10_000, idle=3_000, commands=1_000, profile_seconds=15)
QUICK = Size(rounds=1, messages=10_000, open_messages=5_000, idle=2_000, commands=300, profile_seconds=5)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@asynccontextmanager
async def all_running(around: Backends) -> AsyncIterator[dict[str, Server]]:
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(running(name, around)) for name in NAMES}


async def cpu(action: str, around: Backends, size: Size) -> dict[str, Any]:
    """CPU per message of each server: saturated over 200 and over 50 stations, and at 500 a second."""
    ways = {
        "saturated": partial(measures.saturated, action=action, stations=200, messages=size.messages),
        "saturated, 50 stations": partial(measures.saturated, action=action, stations=50, messages=size.messages),
        "500/s": partial(measures.open_loop, action=action, messages=size.open_messages),
    }
    found: dict[str, dict[str, list[Any]]] = {way: {name: [] for name in NAMES} for way in ways}
    async with all_running(around) as servers:
        for _ in range(size.rounds):
            for way, measure in ways.items():
                for name, server in servers.items():
                    figures = await measure(server)
                    found[way][name].append(asdict(figures))
                    say(f"{action}, {way}, {name}: {figures.microseconds:.0f} us, p99 {figures.p99:.1f} ms")
        silent = await measures.background(servers[GATEWAY], 10)
    return {"ways": found, "background": silent}


async def memory(around: Backends, size: Size) -> dict[str, Any]:
    """KiB per idle connection of each server, plain and TLS."""
    found: dict[str, dict[str, list[float]]] = {way: {name: [] for name in NAMES} for way in ("plain", "TLS")}
    for _ in range(min(size.rounds, 2)):
        for way in found:
            for name in NAMES:
                found[way][name].append(await measures.idle_memory(name, around, size.idle, tls=way == "TLS"))
                say(f"idle, {way}, {name}: {found[way][name][-1]:.1f} KiB")
    return {"connections": size.idle, "ways": found}


async def commands(around: Backends, size: Size) -> dict[str, Any]:
    """Latency of commands through the gateway, alone and beside an uplink of 500 a second."""
    found: dict[str, list[Any]] = {"alone": [], "with 500 MeterValues/s": []}
    async with running(GATEWAY, around) as server:
        for _ in range(size.rounds):
            for way, figures in found.items():
                latency = await measures.command_latency(server, around, size.commands, loaded=way != "alone")
                figures.append(asdict(latency))
                say(
                    f"commands, {way}: p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms, longest {latency.longest:.1f} ms"
                )
    return {"ways": found}


async def crowd(around: Backends, _: Size, connections: int) -> dict[str, Any]:
    """Very many connections in one process."""
    figures = await measures.crowd(around, connections)
    say(f"crowd: {figures}")
    return asdict(figures)


async def profiles(around: Backends, size: Size) -> dict[str, Any]:
    """Where the time goes, saturated and at 500 a second."""
    found = {}
    async with running(GATEWAY, around) as server:
        for action in ACTIONS.values():
            for way, stations in (("saturated", 200), ("500/s", 1_000)):
                async with generator() as load:
                    await measures.connect(load, server, around, stations, tls=False)
                    if way == "saturated":
                        order = partial(load.order, "saturate", action=action, messages=2_000_000)
                    else:
                        order = partial(load.order, "pour", action=action, rate=500, seconds=600)
                    # The load goes on until its process is ended.
                    under_way = asyncio.create_task(order())
                    try:
                        await asyncio.sleep(1)
                        lines = await profile(server.pid, size.profile_seconds)
                    finally:
                        under_way.cancel()
                found[f"{action}, {way}"] = [asdict(line) for line in lines]
    return found


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="heartbeat, metervalues, memory, commands, profile, crowd"
    )
    parser.add_argument("--quick", action="store_true", help="one short round, printed only")
    parser.add_argument("--rounds", type=int, help=f"default {FULL.rounds}")
    parser.add_argument("--connections", type=int, default=15_000, help="size of the crowd")
    return parser.parse_args()


async def main(arguments: argparse.Namespace) -> None:
    parts: dict[str, Callable[[Backends, Size], Any]] = {
        "heartbeat": partial(cpu, "Heartbeat"),
        "metervalues": partial(cpu, "MeterValues"),
        "memory": memory,
        "commands": commands,
        "profile": profiles,
        "crowd": partial(crowd, connections=arguments.connections),
    }
    wanted = arguments.parts or [part for part in parts if part != "crowd"]
    unknown = [part for part in wanted if part not in parts]
    if unknown:
        raise SystemExit(f"no such part: {', '.join(unknown)}; there are {', '.join(parts)}")
    size = QUICK if arguments.quick else FULL
    if arguments.rounds:
        size = Size(**{**asdict(size), "rounds": arguments.rounds})
    async with backends() as around:
        for part in wanted:
            figures = await parts[part](around, size)
            if arguments.quick:
                print(report.part(part, figures))
            else:
                record.keep(part, f"python -m benchmarks {part}", figures)
                report.write()


if __name__ == "__main__":
    # Inherited by the servers: each end of 15,000 sockets lives in one process.
    proc.open_all_files()
    try:
        uvloop.run(main(parse_arguments()))
    except (LoadFailed, ProfilerFailed) as error:
        raise SystemExit(f"benchmark failed: {error}") from None
