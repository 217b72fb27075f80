"""How a command ends: outcomes, the states that ``status`` tells, and the record on ``command-results``.

Each accepted command ends in exactly one terminal outcome. TimedOut is reported but not terminal: a late answer still
upgrades it, and Uncertain ends it otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from ocpp_contract import decoding
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, CommandId, PodName

RESULT_CE_TYPE = "io.chargegateway.CommandResult.v1"


class Outcome(StrEnum):
    """What is reported about a command."""

    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    CALL_ERROR = "CallError"
    EXPIRED = "Expired"
    NOT_CONNECTED = "NotConnected"
    UNCERTAIN = "Uncertain"
    UNSUPPORTED = "Unsupported"
    INVALID = "Invalid"
    BUSY = "Busy"
    MISROUTED = "Misrouted"
    TIMED_OUT = "TimedOut"

    @property
    def final(self) -> bool:
        return self is not Outcome.TIMED_OUT

    @property
    def only_from_none(self) -> bool:
        """Legal only while nothing was ever claimed: after a claim the command may have reached the socket."""
        return self in _ONLY_FROM_NONE

    @property
    def dead_letter(self) -> bool:
        """Whether the original record goes to the dead-letter topic as well."""
        return self in _DEAD_LETTER


_ONLY_FROM_NONE = frozenset(
    {
        Outcome.EXPIRED,
        Outcome.NOT_CONNECTED,
        Outcome.UNSUPPORTED,
        Outcome.INVALID,
        Outcome.BUSY,
        Outcome.MISROUTED,
    }
)
_DEAD_LETTER = frozenset({Outcome.EXPIRED, Outcome.INVALID, Outcome.MISROUTED})


class CommandState(StrEnum):
    """What ``status(charge point id, command id)`` tells: where a command stands, or its final outcome."""

    NOT_SENT = "NotSent"
    SENT = "Sent"
    TIMED_OUT = "TimedOut"
    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    CALL_ERROR = "CallError"
    EXPIRED = "Expired"
    NOT_CONNECTED = "NotConnected"
    UNCERTAIN = "Uncertain"
    UNSUPPORTED = "Unsupported"
    INVALID = "Invalid"
    BUSY = "Busy"
    MISROUTED = "Misrouted"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """One report. ``status`` is the station's own word, ``payload`` its answer in version-neutral form, ``at`` RFC 3339.

    ``type`` is "" only where the command was too broken to tell.
    """

    command_id: CommandId
    charge_point_id: ChargePointId
    type: str
    outcome: Outcome
    pod: PodName
    at: str
    reason: str | None = None
    status: str | None = None
    payload: dict[str, Any] | None = None
    reply_context: Any = None

    @property
    def final(self) -> bool:
        return self.outcome.final

    @property
    def ce_id(self) -> str:
        """The same for every copy of the same report, also after a crash."""
        return f"{self.command_id}/{'final' if self.outcome.final else 'timed-out'}"

    def to_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "commandId": self.command_id,
            "chargePointId": self.charge_point_id,
            "type": self.type,
            "outcome": self.outcome.value,
            "final": self.outcome.final,
        }
        if self.reason is not None:
            fields["reason"] = self.reason
        if self.status is not None:
            fields["status"] = self.status
        if self.payload is not None:
            fields["payload"] = self.payload
        fields["pod"] = self.pod
        fields["at"] = self.at
        if self.reply_context is not None:
            fields["replyContext"] = self.reply_context
        return fields

    def to_json(self) -> bytes:
        return orjson.dumps(self.to_fields())

    @classmethod
    def from_json(cls, raw: bytes | str) -> CommandResult:
        """Raises ContractError."""
        # An answer may nest as deep as a station's frame does, and wraps that in one more level.
        return cls.from_fields(decoding.decode_object(raw, max_depth=250))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> CommandResult:
        outcome = Outcome(decoding.one_of(fields, "outcome", tuple(Outcome)))
        if decoding.boolean(fields, "final") is not outcome.final:
            raise ContractError("final", f"does not fit the outcome {outcome}")
        payload = fields.get("payload")
        if payload is not None and not isinstance(payload, dict):
            raise ContractError("payload", "must be an object")
        return cls(
            command_id=CommandId(decoding.text(fields, "commandId")),
            charge_point_id=ChargePointId(decoding.text(fields, "chargePointId")),
            type=decoding.text(fields, "type"),
            outcome=outcome,
            pod=PodName(decoding.text(fields, "pod")),
            at=decoding.text(fields, "at"),
            reason=decoding.optional_text(fields, "reason"),
            status=decoding.optional_text(fields, "status"),
            payload=payload,
            reply_context=fields.get("replyContext"),
        )
