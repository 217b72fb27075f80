"""`chargegateway send`: one command to one charge point, and how it ended."""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any

import orjson
import typer

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
from ocpp_client.errors import KafkaUnavailable, NoResult, NotSent, ProduceUnknown
from ocpp_contract.commands import COMMAND_TYPES
from ocpp_contract.errors import ContractError
from ocpp_contract.outcome import CommandResult, Outcome

UNCERTAIN = 4
NOT_SENT = 5
EXIT_CODES = {
    Outcome.ACCEPTED: 0,
    Outcome.REJECTED: 1,
    Outcome.CALL_ERROR: 1,
    Outcome.EXPIRED: 3,
    Outcome.NOT_CONNECTED: 3,
    Outcome.UNCERTAIN: UNCERTAIN,
    Outcome.UNSUPPORTED: NOT_SENT,
    Outcome.INVALID: NOT_SENT,
    Outcome.BUSY: NOT_SENT,
    Outcome.MISROUTED: NOT_SENT,
}


def send(
    station: Annotated[str, typer.Argument(metavar="STATION", help="Id of the charge point.")],
    type_name: Annotated[str, typer.Argument(metavar="TYPE", help="Command, by its OCPP 2.x name.")],
    payload: Annotated[
        str, typer.Argument(metavar="JSON", help="Payload, version-neutral.", show_default=False)
    ] = "{}",
    timeout: Annotated[
        str | None, typer.Option(metavar="30s", help="Deadline: it expires if it cannot be written before (60 s).")
    ] = None,
    priority: Annotated[str, typer.Option(help="normal or urgent.")] = "normal",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="NotConnected at once when the charge point is away.")
    ] = False,
    as_json: JsonOption = False,
    kafka: KafkaOption = None,
    redis: RedisOption = None,
    state: StateOption = None,
) -> None:
    """Send a command to a charge point and wait for its outcome.

    \b
    Examples:
      chargegateway send CP1 TriggerMessage '{"requestedMessage": "StatusNotification"}'
      chargegateway send CP1 RequestStartTransaction '{"idToken": {"idToken": "ABC", "type": "Central"}, "evseId": 1}'
      chargegateway send CP1 Reset '{"type": "OnIdle"}' --timeout 30s --priority urgent
      chargegateway send CP1 OcppCall '{"action": "GetConfiguration", "payload": {}}'      any call of its own version
    \b
    Exit code: 0 Accepted, 1 Rejected or CallError, 2 wrong usage, 3 Expired or NotConnected, 4 Uncertain (it may have been
    carried out: look for evidence before you send it anew), 5 refused before sending.
    """
    try:
        values = json.loads(payload)
    except ValueError as error:
        raise UsageError(f"the payload is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise UsageError("the payload must be a JSON object")
    if priority not in ("normal", "urgent"):
        raise UsageError(f"--priority {priority!r}: write normal or urgent")
    seconds = None if timeout is None else duration(timeout, "--timeout")
    target = system(kafka, redis, state)
    command_id = str(uuid.uuid4())
    options: dict[str, Any] = {"timeout": seconds, "priority": priority, "wait_for_station": not no_wait}
    try:
        result = carry_out(_send(target, station, type_name, values, command_id, options))
    except ContractError as error:
        known = "" if type_name in COMMAND_TYPES else f" (known: {', '.join(sorted(COMMAND_TYPES))})"
        raise _refused(f"Invalid: {error}{known}", NOT_SENT) from None
    except (NotSent, KafkaUnavailable) as error:
        raise _refused(str(error), NOT_SENT) from None
    except (ProduceUnknown, NoResult) as error:
        raise _refused(f"{error}; ask with: chargegateway status {station} {command_id}", UNCERTAIN) from None
    typer.echo(result.to_json().decode() if as_json else describe(result))
    raise typer.Exit(EXIT_CODES[result.outcome])


def _refused(message: str, code: int) -> typer.Exit:
    typer.echo(f"chargegateway send: {message}", err=True)
    return typer.Exit(code)


async def _send(
    target: System, station: str, type_name: str, payload: dict[str, Any], command_id: str, options: dict[str, Any]
) -> CommandResult:
    def late(_: CommandResult) -> None:
        typer.echo("no answer within the call time-out; still waiting for a late one", err=True)

    async with CommandClient(target.kafka, target.redis_if_known) as client:
        return await client.send_and_wait(
            station, type_name, payload, command_id=command_id, on_timed_out=late, **options
        )


def describe(result: CommandResult) -> str:
    """A result in a few words and, where there is one, the charge point's answer."""
    words = [result.outcome.value]
    if result.reason:
        words.append(f"({result.reason})")
    if result.payload:
        words.append(orjson.dumps(result.payload).decode())
    words.append(f"[{result.command_id}]")
    return "  ".join(words)
