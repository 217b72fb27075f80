"""What a version table is made of: one row per message, both ways.

A version (`ocpp16`, `ocpp201`, `ocpp21`) is a table, not a class hierarchy. The session looks a station's message up in
`Version.uplink` and a backend's command in `Version.downlink`; the rows hold plain functions from dict to dict. Rows do
no validation of the OCPP side: the session checks every payload against the official schemas before a row sees it, and
checks what a row made before it is sent.

Uplink, in the order in which the session uses a row:

1. `natural_key` and `occurred_at` give the event its identity and time;
2. `asks` / `decision` say whether a backend decides (then `context.decision` holds its answer, a response of
   `ocpp_contract.decisions`; None means: nobody was asked, accept by default);
3. `data` makes the event's `data`;
4. `answer` makes the CALLRESULT payload (sent after Kafka acknowledged the event).

With validation `KeepTransactions` or `Lenient` a row may meet a payload that breaks the schema. `data` may then raise
KeyError, TypeError, ValueError, AttributeError or IndexError: the session publishes `OcppMessageReceived` with the raw
payload instead. `answer` must not depend on fields that `Uplink.identifying` does not promise.

Downlink: `call` turns the unified command into an action and payload of this version; `outcome` turns the station's
CALLRESULT into the unified status and payload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

JsonObject = dict[str, Any]


class Unsupported(Exception):
    """This version cannot express the command (outcome `Unsupported`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Invalid(Exception):
    """The command's payload cannot be turned into this version's CALL (outcome `Invalid`)."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class UplinkContext(NamedTuple):
    """What a row may need beside the payload. A NamedTuple: made once per message on the hot path."""

    charge_point_id: str
    received_at: str
    """RFC 3339, milliseconds, Z: also the `currentTime` of answers."""
    heartbeat_interval: int
    """Seconds, the default for BootNotification answers."""
    decision: Mapping[str, Any] | None = None
    """The backend's decision in the JSON form of `ocpp_contract.decisions`; None = accept by default."""
    transaction_id: int | None = None
    """1.6 StartTransaction only: the id to answer (ours, or the one the backend decided)."""

    def transaction_ref(self, transaction_id: str | int) -> str:
        """The 128-bit reference of a transaction: 32 hex digits, the same on every pod and in all its events."""
        return transaction_ref(self.charge_point_id, transaction_id)


def transaction_ref(charge_point_id: str, transaction_id: str | int) -> str:
    """Derived from station and transaction id alone, because that is all a MeterValues after a reconnect carries."""
    return blake2b(f"{charge_point_id}\n{transaction_id}".encode(), digest_size=16, person=b"cg-txref").hexdigest()


class DownlinkContext(NamedTuple):
    charge_point_id: str
    command_id: str


class Call(NamedTuple):
    """A CALL of the negotiated version, before its schema check."""

    action: str
    payload: JsonObject


class Answered(NamedTuple):
    """A station's CALLRESULT in unified terms. `status` None: the response has none (then it counts as accepted)."""

    status: str | None
    payload: JsonObject


def _nothing(payload: JsonObject) -> None:
    return None


def _empty(payload: JsonObject, context: UplinkContext) -> JsonObject:
    return {}


@dataclass(frozen=True, slots=True)
class Uplink:
    """One message that a station may send."""

    action: str
    event: str | None
    """Short event type (`MeterValues`, not the full ce_type); None: answered and counted, not published (Heartbeat)."""
    data: Callable[[JsonObject, UplinkContext], JsonObject]
    answer: Callable[[JsonObject, UplinkContext], JsonObject] = _empty
    constant_answer: bool = True
    """The answer is always `{}`. Set to False whenever `answer` is given; the session sends a precomputed frame."""
    decision: str | None = None
    """Kind of decision, a name of `ocpp_contract.decisions`; None: no backend is asked."""
    asks: Callable[[JsonObject], bool] | None = None
    """Whether this very message needs the decision (a TransactionEvent without idToken does not); None: always."""
    transaction: bool = False
    """Protected by KeepTransactions: answered and published even when it breaks the schema."""
    identifying: tuple[str, ...] = ()
    """Dotted paths that must be present for KeepTransactions, e.g. ("transactionInfo.transactionId", "seqNo")."""
    natural_key: Callable[[JsonObject], tuple[str | int, ...] | None] = _nothing
    """What makes the message itself again when it is retried under a new message id; None: it has no such key."""
    occurred_at: Callable[[JsonObject], str | None] = _nothing
    """The station's own time of the message exactly as sent; None: the payload has no time of its own."""
    remembered: bool = False
    """The whole answer is kept in `:tx:` (1.6 StartTransaction, whose answer carries an id that we made)."""
    ends: Callable[[JsonObject], str | int | None] = _nothing
    """The transaction id that this message ends, where ids are ours (1.6 StopTransaction): a later StartTransaction with
    the same natural key is then a new transaction and no retry."""
    event_of: Callable[[JsonObject], str] | None = None
    """For rows with more than one event (TransactionEvent): the short type by payload; `event` is then a default."""
    misspelt_unit: bytes | None = None
    """A wrong spelling, as it stands in the frame, that the row takes for the right one: counted as a quirk."""
    unanswered: bool = False
    """2.1 NotifyPeriodicEventStream: comes as SEND, which is never answered. (A station that CALLs it gets `{}`.)"""


@dataclass(frozen=True, slots=True)
class Downlink:
    """One unified command type in this version. A type without a row is Unsupported."""

    type: str
    call: Callable[[JsonObject, DownlinkContext], Call]
    """Unified payload -> CALL; raises Unsupported or Invalid."""
    outcome: Callable[[JsonObject, Call, JsonObject], Answered]
    """(unified payload, the CALL that was sent, the station's response payload) -> status and unified payload."""


@dataclass(frozen=True, slots=True)
class Version:
    """Everything that differs between 1.6, 2.0.1 and 2.1."""

    subprotocol: str
    """`ocpp1.6`, `ocpp2.0.1`, `ocpp2.1`."""
    schemas: str
    """Folder of the official schemas in the PyPI package `ocpp`: `v16`, `v201`, `v21`."""
    uplink: Mapping[str, Uplink]
    """By action. Every message the version lets a station send has a row."""
    downlink: Mapping[str, Downlink]
    """By unified command type."""
    calls: frozenset[str]
    """Every action that a CSMS may send in this version (what `OcppCall` may name)."""
    not_while_pending: frozenset[str] = frozenset()
    """Actions of ours that the specification forbids while BootNotification was answered Pending."""
    trigger_actions: Mapping[str, str] = field(default_factory=dict)
    """TriggerMessage's requestedMessage -> action of the station, where they differ."""
    reports: Mapping[str, str] = field(default_factory=dict)
    """Our CALL -> the station's message that it asks for (GetBaseReport -> NotifyReport): may come while Pending as well."""
    exact_numbers: bool = False
    """Measured values are JSON numbers (2.x): frames with a sampledValue are parsed so that the text is kept.
    Rows then find `ocpp_gateway.core.frames.DecimalText` values (a float with `.text`) in such payloads."""
    sends: bool = False
    """SEND (6) and CALLRESULTERROR (5) exist (2.1)."""
