"""One record of a command topic on its way through this pod, and one CALL that waits for its answer."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from ocpp_contract.commands import Command
from ocpp_contract.outcome import Outcome
from ocpp_gateway.core.command_record import CommandKey
from ocpp_gateway.core.effects import Claim, Effect, Procedure, Resumed, Signal, Sleep, SourceRecord, Unknown
from ocpp_gateway.core.handlers import Call
from ocpp_gateway.core.ownership import Tenure
from ocpp_gateway.core.routing import EndNotConnected, Forward, Travelled
from ocpp_gateway.core.sockets import Socket

T = TypeVar("T")
_RARELY = 8


# ------------------------------------------------------------------------------------------ what the station answered


@dataclass(frozen=True, slots=True)
class CallResult:
    """CALLRESULT."""

    payload: Mapping[str, Any]
    schema_errors: tuple[str, ...] = ()
    """What breaks its schema. The station did act, so the answer still counts; the result says so."""


@dataclass(frozen=True, slots=True)
class CallError:
    """CALLERROR."""

    code: str
    description: str
    details: Mapping[str, Any]


Answer: TypeAlias = CallResult | CallError


@dataclass(frozen=True, slots=True)
class Report:
    """An answer in unified terms."""

    outcome: Outcome
    """ACCEPTED, REJECTED or CALL_ERROR."""
    status: str | None = None
    payload: dict[str, Any] | None = None
    reason: str | None = None


class Calls(Protocol):
    """The version tables and the sessions, as delivery sees them: plain functions, no I/O."""

    def encode(self, command: Command, version: str) -> Call:
        """The CALL of that subprotocol. Raises handlers.Unsupported or handlers.Invalid."""
        ...

    def may_call(self, connection: str, call: Call) -> bool:
        """False while the station's boot state forbids it (Pending: some CALLs, Rejected: all)."""
        ...

    def report(self, command: Command, version: str, call: Call, answer: Answer) -> Report:
        """The station's answer as an outcome."""
        ...


class PendingCall:
    """A CALL that was written. Kept by its socket under the command id until its end is decided."""

    __slots__ = ("answer", "signal", "socket_closed")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.socket_closed = False
        self.signal = Signal()

    def answered(self, answer: Answer) -> None:
        """The first answer counts; a station that answers twice has said everything the first time."""
        if self.answer is None:
            self.answer = answer
            self.signal.fire()

    def closed(self) -> None:
        self.socket_closed = True
        self.signal.fire()


@dataclass(slots=True, eq=False)
class Flight:
    """One accepted record. Owned by the procedure that flies it; others only change what `wake` announces."""

    source: SourceRecord
    tenure: Tenure
    command: Command
    key: CommandKey
    deadline_us: int
    travelled: Travelled
    repeatable: bool
    """Sending it twice does no harm."""
    order: int
    received_at: float
    now: float
    """The moment at which the flight's procedure was last resumed."""
    refused: tuple[Outcome, str] | None = None
    """It will not be sent, whatever happens: outcome and reason."""
    reason: str | None = None
    """Said in the result whatever the outcome (a deadline that was cut)."""
    wake: Signal = field(default_factory=Signal)
    abandoned: bool = False
    """The tenure is over or ending: the next owner reads the record."""
    joined: bool = False
    """It was accepted into its station's mailbox once: it may come back whatever the mailbox holds."""
    socket: Socket | None = None
    """The station's socket, once it is this command's turn there."""
    route: Forward | EndNotConnected | None = None
    reappend: bool = False
    """Append it again, so that the watermark can pass it."""
    replaceable: Claim | None = None
    """A claim that was met and may be replaced."""
    held_back: tuple[str, int] | None = None
    """Connection, and which of its boot states, that forbids this command."""

    @property
    def urgent(self) -> bool:
        return self.command.priority == "urgent"


def ask(flight: Flight, effect: Effect) -> Generator[Effect, Resumed[Any], Any]:
    """Yield one effect and keep the flight's `now`. Raises Unknown."""
    try:
        resumed = yield effect
    except Unknown as unknown:
        flight.now = unknown.now
        raise
    flight.now = resumed.now
    return resumed.value


def sure(flight: Flight, effect: Effect, pause: float) -> Procedure[Any]:
    """Repeat what is safe to repeat until its outcome is known: soon at first, then ever more rarely, because in a long
    outage every command under way is here."""
    longest = _RARELY * pause
    while True:
        try:
            return (yield from ask(flight, effect))
        except Unknown:
            yield from ask(flight, Sleep(flight.now + pause))
            pause = min(2 * pause, longest)
