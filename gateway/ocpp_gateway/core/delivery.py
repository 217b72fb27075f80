"""The life of every command record in this pod, from the log to its end.

Each record is flown by one procedure: it looks at what is true now - quiet, another copy at work, a known outcome, the
deadline, the station's turn, a route - acts, and otherwise waits for its `wake` signal. Nothing here polls per command:
a station's mailbox wakes whose turn it is, `parking` wakes whom the directory shows elsewhere, the deadline is the wait's
own limit.

A pod works on one command id once at a time, endings included: two copies of one id side by side could give two outcomes.
"""

from __future__ import annotations

from itertools import count

from ocpp_contract.commands import Command, repeat_is_safe
from ocpp_contract.ids import Partition
from ocpp_contract.names import MAX_HOP
from ocpp_contract.outcome import Outcome
from ocpp_gateway.core.command_record import CommandKey, CommandMemory
from ocpp_gateway.core.directory import Directory
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import (
    Append,
    AssertRecord,
    Count,
    DeadLetter,
    Done,
    Procedure,
    Sleep,
    SourceRecord,
    Unknown,
    Wait,
)
from ocpp_gateway.core.endings import Endings
from ocpp_gateway.core.flight import Flight, ask, sure
from ocpp_gateway.core.intake import Readable, Unreadable, onward_headers, read
from ocpp_gateway.core.ownership import Ownership, Progress, Tenure
from ocpp_gateway.core.routing import EndNotConnected, Forward, Travelled
from ocpp_gateway.core.runs import Runs
from ocpp_gateway.core.sockets import Socket
from ocpp_gateway.core.store_clock import StoreClock
from ocpp_gateway.core.turns import Turns
from ocpp_gateway.core.watermark import Watermark
from ocpp_gateway.core.writing import Again, Writing


class Delivery:
    """Flights: what each record does next."""

    def __init__(
        self,
        settings: DownlinkSettings,
        ownership: Ownership,
        directory: Directory,
        clock: StoreClock,
        runs: Runs,
        memory: CommandMemory,
        endings: Endings,
        writing: Writing,
        turns: Turns,
        at_work: dict[CommandKey, Flight],
    ) -> None:
        """`at_work`: of each command the one copy that is being worked on."""
        self._settings = settings
        self._ownership = ownership
        self._directory = directory
        self._clock = clock
        self._runs = runs
        self._memory = memory
        self._endings = endings
        self._writing = writing
        self._turns = turns
        self._order = count()
        self._at_work = at_work
        self._copies: dict[CommandKey, list[Flight]] = {}

    @property
    def working(self) -> bool:
        """Whether some command's record is being changed or some CALL is open."""
        return bool(self._at_work)

    # ------------------------------------------------------------------------------------------------- the record
    def received(self, source: SourceRecord, now: float) -> Procedure[None] | None:
        """A record of the log. None: nothing to do (partition not ours any more, or finished in an earlier tenure)."""
        tenure = self._ownership.owned.get(source.partition)
        if tenure is None or tenure.leaving or not tenure.serving:
            return None
        progress = tenure.progress[source.lane]
        if source.offset < progress.watermark.position:
            # Records come in order, so this is another log: Kafka lost data, or the topic was made anew. What was finished
            # of the old one says nothing about this one ("reset earliest"); what is under way of it still ends.
            progress = tenure.progress[source.lane] = Progress(Watermark(source.offset))
        if not progress.watermark.received(source.offset):
            return None
        content = read(source, self._settings)
        flight = self._flight(source, tenure, content, now)
        self._keep_span(tenure, source)
        if flight is None:
            assert isinstance(content, Unreadable)
            return self._discard(source, progress, content)
        tenure.flights[source.lane, source.offset] = flight
        progress.under_way += 1
        return self._fly(flight, progress)

    def _flight(
        self, source: SourceRecord, tenure: Tenure, content: Readable | Unreadable, now: float
    ) -> Flight | None:
        if isinstance(content, Readable):
            command = content.command
            travelled, deadline_us = content.travelled, content.deadline_us
            repeatable = repeat_is_safe(command)
            refused = None
            reason = f"deadline cut to the maximum of {self._settings.max_deadline:g} s" if content.cut else None
        elif content.command_id is not None and content.charge_point_id is not None:
            # Not to be sent, but somebody waits for its outcome.
            command = Command(
                content.command_id, content.charge_point_id, content.type, {}, reply_context=content.reply_context
            )
            travelled, deadline_us, repeatable = Travelled(0, None), source.timestamp_ms * 1_000, False
            refused, reason = (content.outcome, content.reason), None
        else:
            return None
        return Flight(
            source=source,
            tenure=tenure,
            command=command,
            key=CommandKey(command.charge_point_id, command.id),
            deadline_us=deadline_us,
            travelled=travelled,
            repeatable=repeatable,
            order=next(self._order),
            received_at=now,
            now=now,
            refused=refused,
            reason=reason,
        )

    def _discard(self, source: SourceRecord, progress: Progress, content: Unreadable) -> Procedure[None]:
        """Bytes that are no command at all: nobody to tell, so only the dead-letter topic."""
        yield Count("commands_unreadable")
        yield from until_known(DeadLetter(source, f"{content.outcome.value}: {content.reason}"), self._settings)
        self._finished(progress, source)

    def _fly(self, flight: Flight, progress: Progress) -> Procedure[None]:
        """`progress`: of the log that the record was read from."""
        place, flights = (flight.source.lane, flight.source.offset), flight.tenure.flights
        try:
            if (yield from self._life(flight)):
                self._finished(progress, flight.source)
        finally:
            if flights.get(place) is flight:
                del flights[place]
            progress.under_way -= 1
            self._turns.step_aside(flight)
            self._end_work(flight)

    def _finished(self, progress: Progress, source: SourceRecord) -> None:
        """Its end was acknowledged by Kafka. In a tenure that is over this commits nothing."""
        progress.watermark.finish(source.offset)

    # --------------------------------------------------------------------------------------------------- its life
    def _life(self, flight: Flight) -> Procedure[bool]:
        """True: finished. False: left for the next owner of the partition."""
        while not flight.abandoned:
            if self._runs.quiet(flight.now):
                yield from self._endings.wait_quiet(flight)
            elif (other := self._at_work.get(flight.key)) is not None and other is not flight:
                yield from self._wait_for_copy(flight)
            elif (step := self._due_work(flight)) is not None:
                self._at_work[flight.key] = flight
                done = yield from step
                if done is not None:
                    yield from self._endings.publish(flight, done)
                    return True
                self._end_work(flight)
            elif flight.reappend:
                if (yield from self._append(flight, flight.source.partition, flight.travelled)):
                    return True
            elif isinstance(flight.route, Forward):
                route = flight.route
                if (yield from self._append(flight, route.partition, Travelled(route.hop, route.entry_epoch))):
                    yield from ask(flight, Count("commands_forwarded"))
                    return True
            else:
                yield from self._wait_turn(flight)
        return False

    def _due_work(self, flight: Flight) -> Procedure[Done | None] | None:
        """What has to be done about its command record now, under single flight; None: nothing yet."""
        known = self._memory.recall(flight.key)
        if isinstance(known, Done):
            return self._repeat(flight, known)
        if flight.refused is not None:
            return self._end(flight, *flight.refused)
        if self._endings.past_deadline(flight):
            last_hop = flight.travelled.hop >= MAX_HOP
            return self._end(flight, Outcome.MISROUTED if last_hop else Outcome.EXPIRED, "deadline passed")
        if self._directory.current(flight.key.charge_point_id) is not None:
            flight.route = None
        if flight.socket is not None:
            return self._turn(flight, flight.socket)
        if isinstance(flight.route, EndNotConnected):
            return self._end(flight, Outcome.NOT_CONNECTED, "the station is not connected")
        if not flight.reappend and flight.route is None and not self._turns.join(flight):
            return self._end(flight, Outcome.BUSY, "too many commands wait")
        return None

    def _repeat(self, flight: Flight, known: Done) -> Procedure[Done]:
        """This pod ended it before: its own memory comes before the store's, and the store is told again."""
        stored = yield from sure(
            flight,
            AssertRecord(flight.key.charge_point_id, flight.key.command_id, known, self._endings.ttl(flight)),
            self._settings.retry_interval,
        )
        return stored if isinstance(stored, Done) else known

    def _end(self, flight: Flight, outcome: Outcome, reason: str) -> Procedure[Done | None]:
        self._turns.step_aside(flight)
        done = yield from self._endings.end_unwritten(flight, outcome, reason)
        if done is None:
            flight.route = None
            yield from self._pause(flight)
        return done

    def _turn(self, flight: Flight, socket: Socket) -> Procedure[Done | None]:
        """The station's slot is ours: one attempt."""
        if not self._directory.is_current(socket):
            self._turns.step_aside(flight)
            return None
        attempt = yield from self._writing.attempt(flight, socket)
        if isinstance(attempt, Done):
            return attempt
        self._turns.step_aside(flight)
        if attempt is Again.SOON:
            yield from self._pause(flight)
        return None

    def _append(self, flight: Flight, partition: Partition, travelled: Travelled) -> Procedure[bool]:
        """A copy that stands for this record: once acknowledged, this one is finished. Unknown: again, copies are
        harmless because the command record is one. False: Kafka will never take the copy (its headers made it too large),
        so the command ends here; pinned for ever it would hold back the watermark."""
        self._turns.step_aside(flight)
        copy = Append(
            flight.source.lane,
            partition,
            flight.source.key,
            flight.source.value or b"",
            onward_headers(flight.source, flight.deadline_us, travelled),
        )
        impossible = yield from sure(flight, copy, self._settings.retry_interval)
        if impossible is not None:
            flight.refused = Outcome.INVALID, f"cannot be passed on: {impossible}"
        return impossible is None

    # ----------------------------------------------------------------------------------------------- whose turn it is
    def _wait_turn(self, flight: Flight) -> Procedure[None]:
        if flight.socket is not None or flight.route is not None or flight.reappend or flight.abandoned:
            return
        # A little later than the deadline: what a float makes of microseconds may fall short of it.
        yield from ask(flight, Wait(flight.wake, self._clock.when(flight.deadline_us) + 0.001))

    def _end_work(self, flight: Flight) -> None:
        """Another copy of the command, if there is one, may go on; so may the station's mailbox."""
        if self._at_work.get(flight.key) is flight:
            del self._at_work[flight.key]
            for copy in self._copies.pop(flight.key, ()):
                copy.wake.fire()
            self._turns.next_turn(flight.key.charge_point_id)

    def _wait_for_copy(self, flight: Flight) -> Procedure[None]:
        self._turns.step_aside(flight)
        self._copies.setdefault(flight.key, []).append(flight)
        yield from ask(flight, Wait(flight.wake))

    def _pause(self, flight: Flight) -> Procedure[None]:
        """Look again a little later; only being abandoned ends it early."""
        flight.wake.consume()  # it was our turn that was announced, and we had it
        if not flight.abandoned:
            yield from ask(flight, Wait(flight.wake, flight.now + self._settings.look_again))

    # ------------------------------------------------------------------------------------------- what others tell us
    def forget(self, tenure: Tenure) -> None:
        """The partition goes to another owner, who reads again what is unfinished. Open CALLs stay."""
        for flight in list(tenure.flights.values()):
            flight.abandoned = True
            if flight.socket is None:
                self._turns.step_aside(flight)
            flight.wake.fire()

    def _keep_span(self, tenure: Tenure, source: SourceRecord) -> None:
        """When the watermark lags too far behind, the oldest commands that only wait are appended again - unless so many
        wait that the span is mostly theirs: appending them would only make them the next to be appended."""
        watermark = tenure.progress[source.lane].watermark
        if watermark.span <= self._settings.span_limit:
            return
        if watermark.span <= 2 * tenure.progress[source.lane].under_way:
            return
        oldest = tenure.flights.get((source.lane, watermark.low))
        if oldest is not None and oldest.socket is None and oldest.key not in self._at_work:
            oldest.reappend = True
            oldest.wake.fire()


def until_known(effect: DeadLetter, settings: DownlinkSettings) -> Procedure[None]:
    """Repeat a produce until it is acknowledged."""
    while True:
        try:
            yield effect
            return
        except Unknown as unknown:
            yield Sleep(unknown.now + settings.retry_interval)
