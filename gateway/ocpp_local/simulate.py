"""`chargegateway simulate`: charge points for a gateway that runs."""

from __future__ import annotations

import asyncio
import random
from typing import Annotated

import typer

from ocpp_client.cli.running import UsageError, find_running
from ocpp_contract.names import SUBPROTOCOLS
from ocpp_local.processes import run
from ocpp_local.station_versions import station
from ocpp_local.stations import Station

RAMP = 50.0
"""Stations that come up per second: a person who starts 1,000 does not want a reconnect storm."""


MIXED = "mixed"


def simulate(
    stations: Annotated[int, typer.Option(min=1, max=5_000, help="How many.")] = 1,
    version: Annotated[str, typer.Option(metavar="V", help="1.6, 2.0.1, 2.1, or mixed: all three in turn.")] = MIXED,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="ws://HOST:PORT/ of a gateway; a running `up` by default.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Ids are PREFIX-0001, PREFIX-0002, ...")] = "SIM",
    sessions: Annotated[bool, typer.Option(help="Charge by themselves now and then.")] = True,
    meter_interval: Annotated[float, typer.Option(min=0.1, help="Seconds between meter values.")] = 10.0,
) -> None:
    """Connect simulated charge points until Ctrl-C. They charge now and then, and obey remote commands.

    \b
    Examples:
      chargegateway simulate --stations 3
      chargegateway simulate --stations 100 --version 1.6 --url ws://127.0.0.1:9000/
      chargegateway simulate --no-sessions                    one that waits for a remote start
    """
    running = None if url else find_running(None)
    if url is None and running is None:
        raise UsageError("which gateway? start `chargegateway up` first, or name one with --url ws://HOST:PORT/")
    target = url or (running.station_url if running else "")
    if not target.startswith(("ws://", "wss://")):
        raise UsageError(f"--url {target!r}: write ws://HOST:PORT/ or wss://HOST:PORT/")
    target = target if target.endswith("/") else target + "/"
    spoken = SUBPROTOCOLS if version == MIXED else (f"ocpp{version.removeprefix('ocpp')}",)
    if not set(spoken) <= set(SUBPROTOCOLS):
        raise UsageError(f"--version {version!r}: write 1.6, 2.0.1, 2.1 or mixed")
    fleet = [
        station(f"{prefix}-{n + 1:04}", target, spoken[n % len(spoken)], meter_interval=meter_interval)
        for n in range(stations)
    ]
    typer.echo(f"{stations} stations ({version}) connect to {target}; Ctrl-C ends them")
    raise typer.Exit(run(_simulate(fleet, sessions)))


async def _simulate(fleet: list[Station], sessions: bool) -> int:
    async with asyncio.TaskGroup() as group:
        group.create_task(_report(fleet))
        for one in fleet:
            group.create_task(one.run())
            if sessions:
                group.create_task(_charge_now_and_then(one))
            await asyncio.sleep(1 / RAMP)
    return 0


async def _charge_now_and_then(one: Station) -> None:
    while True:
        await asyncio.sleep(random.uniform(3, 20))
        if one.booted and one.begin(f"TAG-{random.randrange(100):02}"):
            await asyncio.sleep(random.uniform(30, 90))
            one.end()


async def _report(fleet: list[Station]) -> None:
    """One line whenever the figures differ."""
    last = ""
    while True:
        await asyncio.sleep(1.0)
        charging = sum(one.session is not None for one in fleet)
        online = sum(one.online for one in fleet)
        owing = sum(one.owing for one in fleet)
        commands = sum(len(one.ledger.executed) for one in fleet)
        line = f"{online} of {len(fleet)} online, {charging} charging, {owing} messages unanswered, {commands} commands obeyed"
        if line != last:
            typer.echo(line)
            last = line
