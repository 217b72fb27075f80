"""`chargegateway dlq`: commands that could not be carried out, and sending them anew."""

from __future__ import annotations

import re
from typing import Annotated, Any

import orjson
import typer

from ocpp_client.cli import tables
from ocpp_client.cli.access import (
    JsonOption,
    KafkaOption,
    RedisOption,
    StateOption,
    System,
    carry_out,
    duration,
    system,
)
from ocpp_client.cli.running import UsageError
from ocpp_client.commands import CommandClient
from ocpp_client.topic_reader import TopicReader
from ocpp_contract.cloudevents import header
from ocpp_contract.commands import InvalidCommand, decode_command
from ocpp_contract.names import REASON, SOURCE, Topics

app = typer.Typer(
    help="""Commands that could not be carried out: their original bytes and the reason.

\b
Examples:
  chargegateway dlq list
  chargegateway dlq show 0/17
  chargegateway dlq replay 0/17 --timeout 5m
""",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

PlaceArgument = Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="As `dlq list` shows it.")]


@app.command("list")
def list_(
    station: Annotated[str | None, typer.Option(metavar="ID", help="Only of this charge point.")] = None,
    as_json: JsonOption = False,
    kafka: KafkaOption = None,
    state: StateOption = None,
) -> None:
    """List the dead letters, the oldest first."""
    letters = [_fields(record) for record in carry_out(_read(system(kafka, None, state)))]
    letters = [letter for letter in letters if station is None or letter["chargePointId"] == station]
    if as_json:
        for letter in letters:
            typer.echo(orjson.dumps(letter).decode())
    elif not letters:
        typer.echo("no dead letters")
    else:
        header_row = ("PLACE", "STATION", "TYPE", "COMMAND", "REASON")
        rows = [
            (letter["place"], letter["chargePointId"], letter["type"], letter["commandId"], letter["reason"])
            for letter in letters
        ]
        typer.echo(tables.columns([header_row, *rows], indent=""))


@app.command()
def show(place: PlaceArgument, kafka: KafkaOption = None, state: StateOption = None) -> None:
    """Show one dead letter: where it came from, why it is here, and its bytes."""
    record = carry_out(_find(system(kafka, None, state), place))
    fields = _fields(record)
    rows = [(name, fields[name]) for name in ("place", "source", "reason", "chargePointId", "type", "commandId")]
    typer.echo(tables.columns(rows, indent=""))
    typer.echo((record.value or b"").decode("utf-8", errors="backslashreplace"))


@app.command()
def replay(
    place: PlaceArgument,
    timeout: Annotated[str | None, typer.Option(metavar="60s", help="Deadline of the new attempt.")] = None,
    kafka: KafkaOption = None,
    redis: RedisOption = None,
    state: StateOption = None,
) -> None:
    """Send the command of a dead letter anew, under a new id and with a new deadline.

    A new id because an outcome is final: the old id would only get its old outcome again.
    """
    seconds = None if timeout is None else duration(timeout, "--timeout")
    command_id = carry_out(_replay(system(kafka, redis, state), place, seconds))
    typer.echo(f"sent anew as {command_id}")


async def _replay(target: System, place: str, seconds: float | None) -> str:
    record = await _find(target, place)
    try:
        command = decode_command(record.value or b"")
    except InvalidCommand as error:
        raise UsageError(f"{place} is no valid command and would only come back: {error}") from None
    async with CommandClient(target.kafka, target.redis_if_known) as client:
        return await client.send(
            command.charge_point_id,
            command.type,
            command.payload,
            timeout=seconds,
            priority="urgent" if command.urgent else "normal",
            wait_for_station=command.wait_for_station,
            reply_context=command.reply_context,
        )


async def _read(target: System) -> list[Any]:
    async with TopicReader(target.kafka, Topics().commands_dlq) as reader:
        return sorted([record async for record in reader.to_end()], key=lambda record: int(record.timestamp))


async def _find(target: System, place: str) -> Any:
    match = re.fullmatch(r"(\d+)/(\d+)", place)
    if match is None:
        raise UsageError(f"{place!r}: write PARTITION/OFFSET, as `chargegateway dlq list` shows it")
    wanted = int(match[1]), int(match[2])
    found = next((one for one in await _read(target) if (one.partition, one.offset) == wanted), None)
    if found is None:
        raise UsageError(f"there is no dead letter at {place}")
    return found


def _fields(record: Any) -> dict[str, str]:
    """What can be told of a dead letter, also of bytes that are no command at all."""
    command_id, station, type_name = "-", (record.key or b"-").decode(errors="replace"), "-"
    try:
        command = decode_command(record.value or b"")
        command_id, station, type_name = command.id, command.charge_point_id, command.type
    except InvalidCommand as error:
        command_id, type_name = error.command_id or "-", error.type or "-"
        station = error.charge_point_id or station
    return {
        "place": f"{record.partition}/{record.offset}",
        "chargePointId": station,
        "type": type_name,
        "commandId": command_id,
        "reason": header(record.headers, REASON) or "-",
        "source": header(record.headers, SOURCE) or "-",
    }
