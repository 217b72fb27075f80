"""From a Kafka record to a command with a deadline, or to the reason why it is none.

Whatever stands in a record, it ends somewhere: bytes that are no command go to the dead-letter topic, and where they at
least name a command id and a charge point, the backend gets its outcome too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ocpp_contract.commands import Command, InvalidCommand, decode_command
from ocpp_contract.errors import ContractError
from ocpp_contract.header_names import check_header_names
from ocpp_contract.ids import ChargePointId, CommandId
from ocpp_contract.names import DEADLINE, ENTRY_EPOCH, HOP, MAX_HOP
from ocpp_contract.outcome import Outcome
from ocpp_contract.times import format_time, from_us, parse_time, to_us
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import SourceRecord
from ocpp_gateway.core.routing import Travelled
from ocpp_gateway.core.store_clock import US


@dataclass(frozen=True, slots=True)
class Readable:
    """A command, when it ends, and how it came here."""

    command: Command
    deadline_us: int
    cut: bool
    """The backend asked for a later deadline than the maximum."""
    travelled: Travelled


@dataclass(frozen=True, slots=True)
class Unreadable:
    """No command. With an id and a station it still has an outcome."""

    reason: str
    outcome: Outcome
    """Invalid, or Unsupported for a type that no version knows."""
    command_id: CommandId | None = None
    charge_point_id: ChargePointId | None = None
    type: str = ""
    reply_context: Any = None


def read(source: SourceRecord, settings: DownlinkSettings) -> Readable | Unreadable:
    """The value decides, whatever the Kafka key says; headers carry hop, deadline and entry epoch."""
    try:
        command = decode_command(source.value or b"")
    except InvalidCommand as error:
        return Unreadable(
            str(error), error.outcome, error.command_id, error.charge_point_id, error.type, error.reply_context
        )
    try:
        check_header_names(source.headers)  # one of ours may be meant by it
        travelled = Travelled(hop_of(source), entry_epoch_of(source))
        deadline_us, cut = deadline_of(source, command, settings)
    except ContractError as error:
        return Unreadable(
            str(error), Outcome.INVALID, command.id, command.charge_point_id, command.type, command.reply_context
        )
    return Readable(command, deadline_us, cut, travelled)


def hop_of(source: SourceRecord) -> int:
    """`cg-hop`: absent is 0, outside 0..3 is refused."""
    raw = source.header(HOP)
    if raw is None:
        return 0
    if raw.isdigit() and len(raw) == 1 and int(raw) <= MAX_HOP:
        return int(raw)
    raise ContractError(HOP, f"must be 0..{MAX_HOP}")


def entry_epoch_of(source: SourceRecord) -> int | None:
    raw = source.header(ENTRY_EPOCH)
    if raw is None:
        return None
    if raw.isdigit() and len(raw) <= 20:
        return int(raw)
    raise ContractError(ENTRY_EPOCH, "must be the epoch of a connection")


def deadline_of(source: SourceRecord, command: Command, settings: DownlinkSettings) -> tuple[int, bool]:
    """(deadline, whether it was cut), counted from the first record's LogAppendTime; a forwarded copy has a later one
    and carries the first deadline in `cg-deadline`."""
    appended_us = source.timestamp_ms * 1_000
    latest = appended_us + int(settings.max_deadline * US)
    raw = source.header(DEADLINE)
    if raw is not None:
        try:
            carried = to_us(parse_time(raw.decode(), DEADLINE))
        except UnicodeDecodeError:
            raise ContractError(DEADLINE, "must be an RFC 3339 time") from None
        asked = command.expires_at_us
        return min(carried, latest), asked is not None and asked // 1_000 > carried // 1_000
    wanted = command.expires_at_us
    if wanted is None:
        return min(appended_us + int(settings.default_deadline * US), latest), False
    return min(wanted, latest), wanted > latest


def onward_headers(source: SourceRecord, deadline_us: int, travelled: Travelled) -> tuple[tuple[str, bytes], ...]:
    """Headers of a forwarded or re-appended copy: ours are set anew, all others travel on."""
    kept = tuple(header for header in source.headers if header[0] not in (HOP, DEADLINE, ENTRY_EPOCH))
    ours = [(HOP, str(travelled.hop).encode()), (DEADLINE, format_time(from_us(deadline_us)).encode())]
    if travelled.entry_epoch is not None:
        ours.append((ENTRY_EPOCH, str(travelled.entry_epoch).encode()))
    return (*kept, *ours)
