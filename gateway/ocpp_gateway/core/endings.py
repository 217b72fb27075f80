"""How a command gets its one outcome: recorded first, and what the store then holds is published.

done is set-if-absent and answers with the stored record, so of two pods that end the same command only one outcome
exists. Outcomes that say "never written" are legal only while nobody ever claimed it.
"""

from __future__ import annotations

from typing import Any

from ocpp_contract.commands import Command
from ocpp_contract.ids import PodName
from ocpp_contract.names import TRACEPARENT
from ocpp_contract.outcome import CommandResult, Outcome
from ocpp_contract.times import format_time, from_us
from ocpp_gateway.core.command_record import CommandMemory, Meeting, Observation, Owner, age_of, meet
from ocpp_gateway.core.directory import Directory
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import (
    AssertRecord,
    Claim,
    CommandRecord,
    Count,
    DeadLetter,
    Done,
    Procedure,
    PublishResult,
    RecordDone,
    Sleep,
    Unknown,
)
from ocpp_gateway.core.flight import Flight, ask, sure
from ocpp_gateway.core.observer import Observer
from ocpp_gateway.core.ownership import Ownership
from ocpp_gateway.core.runs import Runs
from ocpp_gateway.core.store_clock import US, StoreClock


class Endings:
    """Recording, meeting claims, publishing."""

    def __init__(
        self,
        settings: DownlinkSettings,
        pod: PodName,
        ownership: Ownership,
        observer: Observer,
        directory: Directory,
        clock: StoreClock,
        runs: Runs,
        memory: CommandMemory,
    ) -> None:
        self._settings = settings
        self._pod = pod
        self._ownership = ownership
        self._observer = observer
        self._directory = directory
        self._clock = clock
        self._runs = runs
        self._memory = memory

    # -------------------------------------------------------------------------------------------------- results
    def result(
        self,
        flight: Flight,
        outcome: Outcome,
        reason: str | None = None,
        status: str | None = None,
        payload: dict[str, Any] | None = None,
    ) -> CommandResult:
        command: Command = flight.command
        return CommandResult(
            command_id=command.id,
            charge_point_id=command.charge_point_id,
            type=command.type,
            outcome=outcome,
            pod=self._pod,
            at=format_time(from_us(self._clock.time_us(flight.now))),
            reason="; ".join(text for text in (reason, flight.reason) if text) or None,
            status=status,
            payload=payload,
            reply_context=command.reply_context,
        )

    def ttl(self, flight: Flight) -> float:
        """Life of the command's record from now on."""
        left = (flight.deadline_us - self._clock.time_us(flight.now)) / US
        return max(0.0, left) + self._settings.record_ttl

    def remember(self, flight: Flight, record: CommandRecord) -> None:
        self._memory.remember(flight.key, record, flight.now + self.ttl(flight))

    def past_deadline(self, flight: Flight) -> bool:
        """By Redis time as this pod knows it."""
        return self._clock.time_us(flight.now) >= flight.deadline_us

    # ------------------------------------------------------------------------------------------------ recording
    def finish(self, flight: Flight, result: CommandResult) -> Procedure[CommandRecord]:
        """Set done if there is none, whatever it takes; what is stored then. Never across a data loss: others must be
        able to assert first what they know."""
        while True:
            yield from self.wait_quiet(flight)
            try:
                stored: CommandRecord = yield from ask(
                    flight,
                    RecordDone(
                        flight.key.charge_point_id,
                        flight.key.command_id,
                        result,
                        result.outcome.only_from_none,
                        self.ttl(flight),
                    ),
                )
            except Unknown:
                yield from ask(flight, Sleep(flight.now + self._settings.retry_interval))
                continue
            if isinstance(stored, Done):
                self.remember(flight, stored)
            return stored

    def wait_quiet(self, flight: Flight) -> Procedure[None]:
        """Until the quiet after a data loss is over."""
        while self._runs.quiet(flight.now):
            until = min(self._runs.quiet_until, flight.now + self._settings.look_again)
            yield from ask(flight, Sleep(until))

    def end_unwritten(self, flight: Flight, outcome: Outcome, reason: str | None = None) -> Procedure[Done | None]:
        """End a command that this pod has not written. If somebody claimed it meanwhile, the claim decides; None: look
        again."""
        record = yield from self.finish(flight, self.result(flight, outcome, reason))
        if isinstance(record, Done):
            return record
        return (yield from self.meet(flight, record))

    # ---------------------------------------------------------------------------------------------- meeting claims
    def meet(self, flight: Flight, claim: Claim) -> Procedure[Done | None]:
        """A claim stands in the way. Done: it ended. None: look again, perhaps with `flight.replaceable` set."""
        mine = claim.incarnation == self._ownership.incarnation
        owner = Owner.LIVES
        if not mine:
            try:
                owner, flight.now = yield from self._observer.look_at(claim.incarnation, flight.now)
            except Unknown as unknown:
                flight.now = unknown.now
                return None
        socket = self._directory.current(flight.key.charge_point_id)
        seen = Observation(
            mine=mine,
            written=self._memory.was_written(flight.key),
            owner=owner,
            age=age_of(claim, self._clock.time_us(flight.now)),
            repeatable=flight.repeatable,
            my_epoch=None if socket is None else socket.epoch,
            past_deadline=self.past_deadline(flight),
        )
        meeting = meet(claim, seen, self._settings)
        yield from ask(flight, Count("claims_met", (meeting.name.lower(),)))
        if meeting is Meeting.REPLACE:
            flight.replaceable = claim
            return None
        if meeting is Meeting.LOOK_AGAIN:
            return None
        return (yield from self.end_uncertain(flight, "it may have been written by a pod that did not report its end"))

    def end_uncertain(self, flight: Flight, reason: str) -> Procedure[Done]:
        record = yield from self.finish(flight, self.result(flight, Outcome.UNCERTAIN, reason))
        assert isinstance(record, Done)  # legal from every state
        return record

    # ----------------------------------------------------------------------------------------------- publishing
    def publish(self, flight: Flight, done: Done) -> Procedure[None]:
        """Until Kafka acknowledged it: finished means acknowledged. Where the dead-letter topic is due too, both."""
        if not self._ownership.has_right(flight.tenure, flight.now):
            # The lease lapsed meanwhile: another owner may have ended the command. What is stored now counts.
            stored = yield from sure(
                flight,
                AssertRecord(flight.key.charge_point_id, flight.key.command_id, done, self.ttl(flight)),
                self._settings.retry_interval,
            )
            if isinstance(stored, Done):
                done = stored
        self.remember(flight, done)
        yield from sure(
            flight, PublishResult(done.result, flight.source.header(TRACEPARENT)), self._settings.retry_interval
        )
        yield from ask(flight, Count("command_outcomes", (done.result.outcome.value,)))
        if done.result.outcome.dead_letter:
            reason = f"{done.result.outcome.value}: {done.result.reason or 'deadline passed'}"
            yield from sure(flight, DeadLetter(flight.source, reason), self._settings.retry_interval)
