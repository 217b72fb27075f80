"""`chargegateway up`: the whole system on this machine, staying up, for stations and backends of one's own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ocpp_client.cli.running import default_state_file
from ocpp_local.processes import LocalError, run
from ocpp_local.system import System, Wanted, write_private
from ocpp_operator.core.plan import Planned


def up(
    pods: Annotated[int, typer.Option(min=1, max=64, help="Gateway processes.")] = 2,
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A Kafka of your own instead of the embedded one.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="A Redis of your own, redis://HOST:PORT; embedded otherwise.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write how to reach everything to this JSON file.")
    ] = None,
    partitions: Annotated[int, typer.Option(min=1, max=1024, help="Mailbox partitions of new command topics.")] = 16,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The station port; 0 takes a free one.")] = 0,
) -> None:
    """Run the whole system on this machine until Ctrl-C: broker, store, gateways.

    \b
    Examples:
      chargegateway up                                   two gateways, embedded broker and store
      chargegateway up --pods 3 --port 9000              stations connect to ws://127.0.0.1:9000/<id>
      chargegateway up --kafka 127.0.0.1:9092 --redis redis://127.0.0.1:6379
    \b
    Then, in another terminal (no flags are needed, they find the running system):
      chargegateway simulate --stations 3
      chargegateway events --follow
      chargegateway send SIM-0001 RequestStartTransaction '{"idToken": {"idToken": "ABC", "type": "Central"}, "evseId": 1}'

    Unknown stations are accepted and every decision is Accept: for development only.
    """
    wanted = Wanted(pods=pods, kafka=kafka, redis=redis, partitions=partitions, station_port=port)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs each attempt of a retry as an error
    try:
        code = run(_up(wanted, state))
    except LocalError as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        typer.echo(f"chargegateway up: {error}{notes}", err=True)
        code = 1
    raise typer.Exit(code)


async def _up(wanted: Wanted, extra: Path | None) -> int:
    files = [default_state_file(), *([extra.absolute()] if extra else [])]
    changed = asyncio.Event()
    wanted = replace(wanted, on_plan=lambda planned: typer.echo(_plan_line(planned)), on_change=changed.set)
    state = ""
    try:
        async with System.started(wanted, say=typer.echo) as system:
            _introduce(system)
            while True:
                changed.clear()
                state = system.state_text()
                for file in files:
                    write_private(file, state)
                await changed.wait()
                for failure in system.pods.failures:
                    typer.echo(failure, err=True)
                system.pods.failures.clear()
    finally:
        for file in files:
            with contextlib.suppress(OSError):
                if file.read_text(encoding="utf-8") == state:  # not that of another `up`, started since
                    file.unlink()
        typer.echo("stopped")


def _plan_line(planned: Planned) -> str:
    return f"plan {planned.plan.generation}: {planned.reason}"


def _introduce(system: System) -> None:
    typer.echo("")
    typer.echo(f"stations   {system.station_url}<station id>      ocpp1.6, ocpp2.0.1, ocpp2.1; any id is accepted")
    for pod in system.present():
        typer.echo(f"           {pod.station_url}<station id>      {pod.name} alone, admin port {pod.admin_url}")
    typer.echo(f"kafka      {system.kafka}")
    typer.echo(f"redis      {system.redis}")
    typer.echo(f"logs       {system.folder}")
    typer.echo("")
    typer.echo("ready; Ctrl-C stops everything")
