"""`chargegateway stations`: who is connected, and where."""

from __future__ import annotations

import orjson
import typer

from ocpp_client.cli import tables
from ocpp_client.cli.access import JsonOption, RedisOption, StateOption, System, carry_out, system
from ocpp_client.status import Directory
from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId


def stations(as_json: JsonOption = False, redis: RedisOption = None, state: StateOption = None) -> None:
    """List the charge points that are connected now: their version, the gateway that holds them, their mailbox partition.

    \b
    Examples:
      chargegateway stations
      chargegateway stations --json | jq -r .id
    """
    found = carry_out(_stations(system(None, redis, state)))
    if as_json:
        for station, record in found:
            typer.echo(orjson.dumps({"id": station} | orjson.loads(record.to_json())).decode())
    elif not found:
        typer.echo("no charge point is connected")
    else:
        rows = [(station, one.version, one.pod, str(one.partition), one.since) for station, one in found]
        typer.echo(tables.columns([("STATION", "VERSION", "GATEWAY", "PARTITION", "SINCE"), *rows], indent=""))


async def _stations(target: System) -> list[tuple[ChargePointId, ConnectionRecord]]:
    async with Directory(target.redis) as directory:
        return sorted([entry async for entry in directory.connections()], key=lambda entry: entry[0])
