"""`chargegateway status`: how far a command has come."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from ocpp_client.cli.access import JsonOption, RedisOption, StateOption, System, carry_out, system
from ocpp_client.cli.running import UsageError
from ocpp_client.cli.send import describe
from ocpp_client.status import CommandStatus, Directory
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import check_charge_point_id, check_command_id
from ocpp_contract.outcome import CommandState

MEANING = {
    CommandState.NOT_SENT: "NotSent: queued, waiting for its charge point, or never produced",
    CommandState.SENT: "Sent: written to the charge point, which has not answered yet",
    CommandState.TIMED_OUT: "TimedOut: no answer in time; a late one still counts for a while",
}


def status(
    station: Annotated[str, typer.Argument(metavar="STATION", help="Id of the charge point.")],
    command_id: Annotated[str, typer.Argument(metavar="COMMAND-ID", help="As `send` printed it.")],
    as_json: JsonOption = False,
    redis: RedisOption = None,
    state: StateOption = None,
) -> None:
    """Tell how far a command has come, or how it ended.

    \b
    Example:
      chargegateway status CP1 3f1c2d5e-8f5c-4a57-9c33-0c7f1f0f4a11
    """
    found = carry_out(_status(system(None, redis, state), station, command_id))
    if as_json:
        result = None if found.result is None else orjson.loads(found.result.to_json())
        typer.echo(orjson.dumps({"state": found.state.value, "result": result}).decode())
    else:
        typer.echo(describe(found.result) if found.result else MEANING[found.state])


async def _status(target: System, station: str, command_id: str) -> CommandStatus:
    try:
        checked = check_charge_point_id(station), check_command_id(command_id)
    except ContractError as error:
        raise UsageError(str(error)) from None
    async with Directory(target.redis) as directory:
        return await directory.status(*checked)
