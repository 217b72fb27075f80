"""The records behind the scripts that have no type elsewhere: `partition:`, `pod:`, `:cmd:`, `:boot` and `claim`, as JSON text.

`conn:` is `ocpp_contract.connection.ConnectionRecord`. The scripts write the partition and claim records themselves and
tell a done record by its first field, so the order of the fields here is part of the agreement.
"""

from __future__ import annotations

from dataclasses import dataclass

from ocpp_contract import decoding
from ocpp_contract.assignment import format_cpuset, parse_cpuset
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Incarnation, Partition
from ocpp_contract.outcome import CommandResult, CommandState
from ocpp_contract.times import parse_time


@dataclass(frozen=True, slots=True)
class PartitionRecord:
    """`partition:<n>`. ``incarnation`` None: released. ``run`` is the server process under which it was last written."""

    incarnation: Incarnation | None
    epoch: int
    lease_until_us: int
    run: str

    @classmethod
    def from_json(cls, raw: bytes | str) -> PartitionRecord:
        """Raises ContractError."""
        fields = decoding.decode_object(raw)
        holder = decoding.optional_text(fields, "incarnation")
        return cls(
            incarnation=None if holder is None else Incarnation.parse(holder),
            epoch=decoding.integer(fields, "epoch"),
            lease_until_us=decoding.integer(fields, "leaseUntil"),
            run=decoding.optional_text(fields, "run") or "",
        )


@dataclass(frozen=True, slots=True)
class PodRecord:
    """`pod:<pod>`, renewed with the leases and gone one lease after the process. It informs, no right hangs on it."""

    incarnation: Incarnation
    generation: int
    partitions: frozenset[Partition]
    connections: int
    draining: bool

    def to_json(self) -> bytes:
        return decoding.encode(
            {
                "incarnation": str(self.incarnation),
                "generation": self.generation,
                "partitions": format_cpuset(self.partitions),
                "connections": self.connections,
                "draining": self.draining,
            }
        )

    @classmethod
    def from_json(cls, raw: bytes | str) -> PodRecord:
        """Raises ContractError."""
        fields = decoding.decode_object(raw)
        return cls(
            incarnation=Incarnation.parse(decoding.text(fields, "incarnation")),
            generation=decoding.integer(fields, "generation"),
            partitions=parse_cpuset(decoding.text(fields, "partitions")),
            connections=decoding.integer(fields, "connections"),
            draining=decoding.boolean(fields, "draining"),
        )


@dataclass(frozen=True, slots=True)
class ClaimedRecord:
    """`claimed`: somebody is about to write, or wrote, the command to the socket of that connection epoch."""

    incarnation: Incarnation
    epoch: int
    since_us: int
    timed_out_at_us: int | None = None

    def to_json(self) -> bytes:
        return decoding.encode(
            {
                "state": "claimed",
                "incarnation": str(self.incarnation),
                "epoch": self.epoch,
                "since": self.since_us,
                "timedOutAt": self.timed_out_at_us,
            }
        )

    @property
    def command_state(self) -> CommandState:
        return CommandState.SENT if self.timed_out_at_us is None else CommandState.TIMED_OUT


@dataclass(frozen=True, slots=True)
class DoneRecord:
    """`done`: the whole result; never changes again."""

    result: CommandResult

    def to_json(self) -> bytes:
        return b'{"state":"done","result":' + self.result.to_json() + b"}"

    @property
    def command_state(self) -> CommandState:
        return CommandState(self.result.outcome.value)


def parse_command_record(raw: bytes | str) -> ClaimedRecord | DoneRecord:
    """What stands in `{conn:<id>}:cmd:<command id>`; raises ContractError."""
    # A result's payload may nest as deep as a station's frame does, and stands one level deeper here.
    fields = decoding.decode_object(raw, max_depth=251)
    match decoding.text(fields, "state"):
        case "claimed":
            return ClaimedRecord(
                incarnation=Incarnation.parse(decoding.text(fields, "incarnation")),
                epoch=decoding.integer(fields, "epoch"),
                since_us=decoding.integer(fields, "since"),
                timed_out_at_us=decoding.integer(fields, "timedOutAt") if "timedOutAt" in fields else None,
            )
        case "done" if isinstance(fields.get("result"), dict):
            return DoneRecord(CommandResult.from_fields(fields["result"]))
        case state:
            raise ContractError("state", f"is no state of a command: {state}")


def command_state(raw: bytes | str | None) -> CommandState:
    """What ``status(charge point id, command id)`` tells about the stored record; raises ContractError."""
    return CommandState.NOT_SENT if raw is None else parse_command_record(raw).command_state


@dataclass(frozen=True, slots=True)
class BootRecord:
    """`:boot`: the answer to the last BootNotification. Missing counts as accepted. ``at`` RFC 3339, ``interval`` seconds."""

    status: str
    interval: int
    at: str

    def to_json(self) -> bytes:
        return decoding.encode({"status": self.status, "interval": self.interval, "at": self.at})

    @classmethod
    def from_json(cls, raw: bytes | str) -> BootRecord:
        """Raises ContractError."""
        fields = decoding.decode_object(raw)
        return cls(
            status=decoding.text(fields, "status"),
            interval=decoding.integer(fields, "interval"),
            at=decoding.text(fields, "at"),
        )


@dataclass(frozen=True, slots=True)
class StoreClaim:
    """`claim`: the resource whose keys these are, so that a second one on the same store and prefix sees whose.

    ``created_at`` is the resource's creationTimestamp, RFC 3339; ``lease_until_us`` is in the store's time.
    """

    uid: str
    namespace: str
    name: str
    created_at: str
    lease_until_us: int = 0

    def to_json(self) -> bytes:
        return decoding.encode(
            {
                "uid": self.uid,
                "namespace": self.namespace,
                "name": self.name,
                "createdAt": self.created_at,
                "leaseUntil": self.lease_until_us,
            }
        )

    @classmethod
    def from_json(cls, raw: bytes | str) -> StoreClaim:
        """Raises ContractError."""
        fields = decoding.decode_object(raw)
        created_at = decoding.text(fields, "createdAt")
        parse_time(created_at, "createdAt")
        return cls(
            uid=decoding.text(fields, "uid"),
            namespace=decoding.text(fields, "namespace"),
            name=decoding.text(fields, "name"),
            created_at=created_at,
            lease_until_us=decoding.integer(fields, "leaseUntil"),
        )
