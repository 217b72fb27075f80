"""A command, as it stands on ``commands-down`` and ``commands-urgent``: bytes in, checked value out.

Whatever the bytes are, decoding ends in a `Command` or an `InvalidCommand`; the latter keeps what could still be read,
so that a backend hears of its broken command. The payload is checked here once, in version-neutral form.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from ocpp_contract import decoding
from ocpp_contract.command_types import COMMAND_TYPES, CommandType, Redelivery, is_positive
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, CommandId, check_charge_point_id, check_command_id
from ocpp_contract.outcome import Outcome
from ocpp_contract.times import format_time, parse_time, to_us
from ocpp_contract.validation import first_error

__all__ = [
    "COMMAND_TYPES",
    "MAX_COMMAND_BYTES",
    "PRIORITIES",
    "Command",
    "CommandType",
    "InvalidCommand",
    "Redelivery",
    "check_payload",
    "decode_command",
    "derived_request_id",
    "is_positive",
    "repeat_is_safe",
]

MAX_COMMAND_BYTES: Final = 262_144
PRIORITIES: Final = ("normal", "urgent")


class InvalidCommand(ContractError):
    """Bytes that are no acceptable command; carries what could be read of it, for the report.

    ``outcome`` is Invalid, or Unsupported for a type that no version knows.
    """

    def __init__(
        self,
        field: str,
        reason: str,
        *,
        outcome: Outcome = Outcome.INVALID,
        command_id: CommandId | None = None,
        charge_point_id: ChargePointId | None = None,
        type_name: str = "",
        reply_context: Any = None,
    ) -> None:
        super().__init__(field, reason)
        self.outcome = outcome
        self.command_id = command_id
        self.charge_point_id = charge_point_id
        self.type = type_name
        self.reply_context = reply_context


@dataclass(frozen=True, slots=True)
class Command:
    """One command. ``payload`` fits the model of its type; ``reply_context`` comes back in every result untouched."""

    id: CommandId
    charge_point_id: ChargePointId
    type: str
    payload: dict[str, Any]
    expires_at: datetime | None = None
    priority: str = "normal"
    wait_for_station: bool = True
    reply_context: Any = None

    @property
    def expires_at_us(self) -> int | None:
        """Microseconds since the epoch: comparable with Redis TIME."""
        return None if self.expires_at is None else to_us(self.expires_at)

    @property
    def urgent(self) -> bool:
        return self.priority == "urgent"

    def to_json(self) -> bytes:
        return decoding.encode(
            {
                "id": self.id,
                "chargePointId": self.charge_point_id,
                "type": self.type,
                "payload": self.payload,
                "expiresAt": None if self.expires_at is None else format_time(self.expires_at),
                "priority": self.priority,
                "waitForStation": self.wait_for_station,
                "replyContext": self.reply_context,
            }
        )


def decode_command(raw: bytes) -> Command:
    """Raises InvalidCommand, and nothing else, for every byte string that is no acceptable command."""
    try:
        fields = decoding.decode_object(raw, MAX_COMMAND_BYTES)
    except ContractError as error:
        raise InvalidCommand(error.field, error.reason) from None
    try:
        return _command(fields)
    except ContractError as error:
        raise _with_what_was_readable(error, fields) from None


def _command(fields: dict[str, Any]) -> Command:
    command_id = check_command_id(decoding.text(fields, "id"))
    charge_point_id = check_charge_point_id(decoding.text(fields, "chargePointId"))
    type_name = decoding.text(fields, "type")
    expires_at = fields.get("expiresAt")
    return Command(
        id=command_id,
        charge_point_id=charge_point_id,
        type=type_name,
        payload=check_payload(type_name, fields.get("payload"), command_id),
        expires_at=None if expires_at is None else parse_time(expires_at, "expiresAt"),
        priority=decoding.one_of(fields, "priority", PRIORITIES, default="normal"),
        wait_for_station=decoding.boolean(fields, "waitForStation", default=True),
        reply_context=fields.get("replyContext"),
    )


def check_payload(type_name: str, payload: object, command_id: CommandId) -> dict[str, Any]:
    """The payload of a command in normal form: known fields only, defaults filled in, request id derived if absent.

    Raises InvalidCommand with outcome Unsupported for an unknown type, ContractError naming the field otherwise.
    """
    entry = COMMAND_TYPES.get(type_name)
    if entry is None:
        raise InvalidCommand("type", f"{type_name[:50]!r} is no command type", outcome=Outcome.UNSUPPORTED)
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise ContractError("payload", "must be an object")
    try:
        checked = entry.payload.model_validate(payload).model_dump(exclude_none=True)
    except ValidationError as error:
        raise first_error(error).under("payload") from None
    if entry.numbered is not None and entry.numbered not in checked:
        checked[entry.numbered] = derived_request_id(command_id)
    return checked


def derived_request_id(command_id: CommandId) -> int:
    """The requestId or remoteStartId of a command that names none: 31 bits of the command id, never 0.

    Derived and not drawn, so that every repeat of the command carries the same.
    """
    return UUID(command_id).int & 0x7FFFFFFF or 1


def repeat_is_safe(command: Command) -> bool:
    """Whether this command may be written again after its answer was lost.

    The conditional types hold for every record of ours: the repeat is byte-identical (GetLog and UpdateFirmware with the
    same requestId, which is derived where the backend names none), and a second RequestStopTransaction cannot stop
    anything else; that its Rejected then means success is told by the TransactionEnded event.
    """
    match COMMAND_TYPES[command.type].redelivery:
        case Redelivery.SAFE:
            return True
        case Redelivery.NEVER:
            return False
        case Redelivery.CONDITIONAL:
            return command.type != "GetLog" or "requestId" in command.payload


def _with_what_was_readable(error: ContractError, fields: Mapping[str, Any]) -> InvalidCommand:
    command_id = charge_point_id = None
    with suppress(ContractError):
        command_id = check_command_id(fields.get("id"))
    with suppress(ContractError):
        charge_point_id = check_charge_point_id(fields.get("chargePointId"))
    type_name = fields.get("type")
    return InvalidCommand(
        error.field,
        error.reason,
        outcome=error.outcome if isinstance(error, InvalidCommand) else Outcome.INVALID,
        command_id=command_id,
        charge_point_id=charge_point_id,
        type_name=type_name[:50] if isinstance(type_name, str) else "",
        reply_context=fields.get("replyContext"),
    )
