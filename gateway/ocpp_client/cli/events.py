"""`chargegateway events`: what charge points report."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from ocpp_client.cli.access import JsonOption, KafkaOption, StateOption, System, carry_out, system
from ocpp_client.cli.running import UsageError
from ocpp_client.events import EventConsumer, Received, decode
from ocpp_client.topic_reader import Start, TopicReader
from ocpp_contract.errors import ContractError
from ocpp_contract.events import EVENT_TYPES, Event
from ocpp_contract.names import Topics


def events(
    station: Annotated[str | None, typer.Option(metavar="ID", help="Only of this charge point.")] = None,
    type_name: Annotated[str | None, typer.Option("--type", metavar="T", help="Only of this type.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="New ones as they come, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    kafka: KafkaOption = None,
    state: StateOption = None,
) -> None:
    """Show what charge points reported: all that is kept, or with --follow what comes from now on.

    \b
    Examples:
      chargegateway events --follow
      chargegateway events --station SIM-0001 --type TransactionEnded
      chargegateway events --json | jq .data
    """
    if type_name is not None and type_name not in EVENT_TYPES:
        raise UsageError(f"--type {type_name!r} is no event; one of {', '.join(sorted(EVENT_TYPES))}")
    carry_out(_events(system(kafka, None, state), station, type_name, follow, as_json))


async def _events(target: System, station: str | None, type_name: str | None, follow: bool, as_json: bool) -> None:
    def is_wanted(event: Event) -> bool:
        return (station is None or event.charge_point_id == station) and (type_name is None or event.type == type_name)

    show = _json if as_json else _line
    if follow:
        async with EventConsumer(target.kafka, start=Start.END) as consumer:
            async for received in consumer:
                if is_wanted(received.event):
                    typer.echo(show(received))
    else:
        kept = []
        async with TopicReader(target.kafka, Topics().events_up) as reader:
            async for record in reader.to_end():
                try:
                    received = decode(record)
                except ContractError as error:
                    typer.echo(f"{record.topic}/{record.partition}/{record.offset}: {error}", err=True)
                    continue
                if is_wanted(received.event):
                    kept.append((record.timestamp, show(received)))
        for _, line in sorted(kept, key=lambda entry: entry[0]):  # of several partitions, each in its own order
            typer.echo(line)


def _line(received: Received) -> str:
    event = received.event
    errors = f"  schema errors: {'; '.join(event.schema_errors)}" if event.schema_errors else ""
    kind = typer.style(f"{event.type:<22}", bold=True)
    return f"{event.occurred_at:<24}  {event.charge_point_id:<12}  {kind}  {orjson.dumps(event.data).decode()}{errors}"


def _json(received: Received) -> str:
    return orjson.dumps(
        {"id": received.id, "type": received.event.type} | orjson.loads(received.event.to_json())
    ).decode()
