"""One attempt to send a command to its station: claim, check, write, wait for the answer.

Every write of every type claims first. The claim checks, in the same slot, that the directory still shows this very
connection, so a half-open old socket is not written to after the station moved. Right, deadline and socket are checked
once more synchronously before the bytes leave; a claim under which nothing was written is put back to what it replaced.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeAlias

from ocpp_contract.names import TRACEPARENT
from ocpp_contract.outcome import Outcome
from ocpp_gateway.core.command_record import CommandMemory
from ocpp_gateway.core.directory import Directory
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import (
    AssertRecord,
    CallTimedOut,
    Claim,
    ClaimCommand,
    Claimed,
    Count,
    Done,
    Late,
    MarkTimedOut,
    Moved,
    Procedure,
    PublishResult,
    PutBack,
    StoreCredential,
    Unknown,
    Wait,
    WriteCall,
)
from ocpp_gateway.core.endings import Endings
from ocpp_gateway.core.flight import Calls, Flight, PendingCall, ask, sure
from ocpp_gateway.core.handlers import Call, Invalid, Unsupported
from ocpp_gateway.core.ownership import Ownership
from ocpp_gateway.core.password_change import new_password
from ocpp_gateway.core.runs import Runs
from ocpp_gateway.core.sockets import Socket
from ocpp_gateway.core.store_clock import US, StoreClock
from ocpp_gateway.core.turns import Turns


class Again(Enum):
    """The attempt ended without an outcome."""

    SOON = auto()
    """After a short pause: the store did not answer, somebody else's claim stands, the entry is not mine."""
    NEXT = auto()
    """At once, wherever the station is now."""
    HELD_BACK = auto()
    """The station's boot state forbids this CALL; the mailbox holds it back on this connection."""


Attempt: TypeAlias = Done | Again


class Writing:
    """Attempts. The caller holds the command id (single flight) and the station's slot."""

    def __init__(
        self,
        settings: DownlinkSettings,
        ownership: Ownership,
        directory: Directory,
        clock: StoreClock,
        runs: Runs,
        memory: CommandMemory,
        endings: Endings,
        turns: Turns,
        calls: Calls,
    ) -> None:
        self._settings = settings
        self._ownership = ownership
        self._directory = directory
        self._clock = clock
        self._runs = runs
        self._memory = memory
        self._endings = endings
        self._turns = turns
        self._calls = calls

    def attempt(self, flight: Flight, socket: Socket) -> Procedure[Attempt]:
        """One claim and at most one write."""
        try:
            call = self._calls.encode(flight.command, socket.version)
        except Unsupported as refusal:
            ended = yield from self._endings.end_unwritten(flight, Outcome.UNSUPPORTED, refusal.reason)
            return ended or Again.SOON
        except (Invalid, KeyError, TypeError, ValueError, AttributeError, IndexError) as refusal:
            # Also what a row of the version table stumbles over: one odd payload must not stay without an outcome.
            reason = str(refusal) if isinstance(refusal, Invalid) else f"cannot be made a CALL: {refusal!r}"
            ended = yield from self._endings.end_unwritten(flight, Outcome.INVALID, reason)
            return ended or Again.SOON
        if not self._calls.may_call(socket.connection, call):
            flight.held_back = (socket.connection, socket.boot_changes)
            return Again.HELD_BACK
        password = new_password(call)
        if password is not None:
            # First the registry, then the station: one that accepts and whose answer is lost must still get in.
            try:
                refused = yield from ask(flight, StoreCredential(flight.key.charge_point_id, password))
            except Unknown:
                return Again.SOON
            if refused is not None:
                ended = yield from self._endings.end_unwritten(flight, Outcome.INVALID, refused)
                return ended or Again.SOON
        claim = yield from self._claim(flight, socket)
        if not isinstance(claim, Claim):
            return claim
        if not self.may_write(flight, socket):
            return (yield from self._put_back(flight, claim))
        pending = PendingCall()
        socket.calls[flight.key.command_id] = pending
        try:
            age = self._clock.time_us(flight.now) / US - flight.source.timestamp_ms / 1_000
            written = yield from ask(
                flight, WriteCall(socket.connection, flight.key.command_id, call.action, call.payload, age)
            )
            if not written:
                return (yield from self._put_back(flight, claim))
            self._memory.wrote(flight.key, flight.now + self._endings.ttl(flight))
            yield from ask(flight, Count("commands_written", (flight.source.lane.value,)))
            return (yield from self._wait_for_answer(flight, socket, call, claim, pending))
        finally:
            if socket.calls.get(flight.key.command_id) is pending:
                del socket.calls[flight.key.command_id]

    def may_write(self, flight: Flight, socket: Socket) -> bool:
        """Asked right before the write, nothing runs in between: right of the tenure that the record was read in,
        deadline, socket."""
        return (
            self._ownership.has_right(flight.tenure, flight.now)
            and not self._endings.past_deadline(flight)
            and socket.open
        )

    # ------------------------------------------------------------------------------------------------------ claim
    def _claim(self, flight: Flight, socket: Socket) -> Procedure[Claim | Attempt]:
        """The claim that now stands in my name, or how the attempt ends without one."""
        if self._runs.quiet(flight.now):
            return Again.SOON  # a loss was noticed since this turn began: no new claim before everybody asserted
        losses = self._runs.losses
        not_after = self._clock.time_us(flight.now) + int(self._settings.claim_window * US)
        try:
            reply = yield from ask(
                flight,
                ClaimCommand(
                    flight.key.charge_point_id,
                    flight.key.command_id,
                    self._ownership.incarnation,
                    socket.epoch,
                    flight.replaceable,
                    not_after,
                    self._endings.ttl(flight),
                    0 if flight.repeatable else self._settings.claim_replicas,
                ),
            )
        except Unknown:
            return Again.SOON  # perhaps claimed: then the next attempt meets its own claim
        if isinstance(reply, Moved):
            self._directory.check(socket, flight.now)
            return Again.SOON
        if isinstance(reply, Late):
            return Again.SOON
        if isinstance(reply, Done):
            return reply
        if isinstance(reply, Claim):
            return (yield from self._met(flight, reply))
        assert isinstance(reply, Claimed)
        claim = reply.claim
        self._endings.remember(flight, claim)
        if losses != self._runs.losses:
            # Redis lost data between sending and now: the claim may be gone, and somebody may claim after us.
            stored = yield from sure(
                flight,
                AssertRecord(flight.key.charge_point_id, flight.key.command_id, claim, self._endings.ttl(flight)),
                self._settings.retry_interval,
            )
            if isinstance(stored, Done):
                return stored
            if not _same(stored, claim):
                return (yield from self._met(flight, stored))
        return claim

    def _met(self, flight: Flight, stored: Claim) -> Procedure[Attempt]:
        ended = yield from self._endings.meet(flight, stored)
        if ended is not None:
            return ended
        return Again.NEXT if flight.replaceable is not None and _same(flight.replaceable, stored) else Again.SOON

    def _put_back(self, flight: Flight, claim: Claim) -> Procedure[Attempt]:
        """Nothing was written under this claim: what it replaced counts again. Back to nothing would make Expired legal
        for a command that an earlier claim wrote."""
        yield from ask(flight, Count("claims_put_back"))
        previous = flight.replaceable
        yield from sure(
            flight,
            PutBack(flight.key.charge_point_id, flight.key.command_id, claim, previous),
            self._settings.retry_interval,
        )
        self._memory.forget_claim(flight.key)
        if previous is not None and previous.incarnation == self._ownership.incarnation:
            self._endings.remember(flight, previous)
        return Again.SOON

    # ----------------------------------------------------------------------------------------------------- answer
    def _wait_for_answer(
        self, flight: Flight, socket: Socket, call: Call, claim: Claim, pending: PendingCall
    ) -> Procedure[Attempt]:
        written_at = flight.now
        yield from ask(flight, Wait(pending.signal, written_at + self._settings.call_timeout))
        if pending.answer is None and not pending.socket_closed:
            yield from self._timed_out(flight, socket, claim, pending)
            late = flight.now + self._settings.late_window
            while pending.answer is None and not pending.socket_closed and flight.now < late:
                yield from ask(flight, Wait(pending.signal, late))
        if pending.answer is not None:
            report = self._calls.report(flight.command, socket.version, call, pending.answer)
            result = self._endings.result(flight, report.outcome, report.reason, report.status, report.payload)
            stored = yield from self._endings.finish(flight, result)
            assert isinstance(stored, Done)  # an answer is legal from every state
            return stored
        if pending.socket_closed and self._may_send_again(flight):
            flight.replaceable = claim
            return Again.NEXT
        reason = "the socket closed before the answer" if pending.socket_closed else "no answer within the late window"
        return (yield from self._endings.end_uncertain(flight, reason))

    def _may_send_again(self, flight: Flight) -> bool:
        """Only after socket loss, never on the same socket; and only who may deliver at all."""
        return (
            flight.repeatable
            and self._ownership.has_right(flight.tenure, flight.now)
            and not self._endings.past_deadline(flight)
        )

    def _timed_out(self, flight: Flight, socket: Socket, claim: Claim, pending: PendingCall) -> Procedure[None]:
        """Reported, not terminal: the next CALL may go out, a late answer still counts."""
        yield from ask(flight, CallTimedOut(socket.connection, flight.key.command_id))
        self._turns.release_slot(flight)
        marked = Claim(claim.incarnation, claim.epoch, claim.since_us, self._clock.time_us(flight.now))
        self._endings.remember(flight, marked)
        yield from sure(
            flight,
            MarkTimedOut(flight.key.charge_point_id, flight.key.command_id, claim),
            self._settings.retry_interval,
        )
        if pending.answer is None:
            result = self._endings.result(flight, Outcome.TIMED_OUT, "no answer yet")
            yield from sure(
                flight, PublishResult(result, flight.source.header(TRACEPARENT)), self._settings.retry_interval
            )
            yield from ask(flight, Count("command_outcomes", (Outcome.TIMED_OUT.value,)))


def _same(one: Claim, other: Claim) -> bool:
    """Whether the store's compare-and-set would take one for the other."""
    return (one.incarnation, one.epoch, one.since_us) == (other.incarnation, other.epoch, other.since_us)
