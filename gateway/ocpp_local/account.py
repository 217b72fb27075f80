"""The account of the demo: what was asked and what the stations did, against what the topics say.

Pure. Both sides are counted independently: commands and their results from the topics, executions and answered messages from the
stations' own ledgers. It balances when

- every command ended in exactly one final outcome (repeated reports of the same outcome are copies, as promised);
- a command that must never be written twice was executed at most once, exactly once where the outcome says that the station
  answered, and not at all where the outcome says that it was never written;
- every transaction message that a station saw answered is one event (copies carry the same id);
- no transaction message was refused or is still unanswered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ocpp_contract.outcome import CommandResult, Outcome

ANSWERED = frozenset({Outcome.ACCEPTED, Outcome.REJECTED, Outcome.CALL_ERROR})


@dataclass(frozen=True, slots=True)
class Sent:
    """One command that was produced. `marker` is what the stations' ledgers show of it; None: it may be repeated, uncounted."""

    id: str
    charge_point_id: str
    type: str
    at: float
    marker: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """One record of `command-results`, as it was read at `seen`."""

    ce_id: str
    result: CommandResult
    seen: float


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """One record of `ocpp-events-up`."""

    ce_id: str
    type: str
    charge_point_id: str
    message_id: str | None


@dataclass(slots=True)
class Account:
    """Fed while the demo runs, judged at its end."""

    sent: dict[str, Sent] = field(default_factory=dict)
    reports: dict[str, list[Report]] = field(default_factory=dict)
    events: list[SeenEvent] = field(default_factory=list)

    def command(self, sent: Sent) -> None:
        """A command is about to be produced."""
        self.sent[sent.id] = sent

    def report(self, report: Report) -> None:
        """A result was read."""
        self.reports.setdefault(report.result.command_id, []).append(report)

    def final(self, command_id: str) -> Report | None:
        """The first final report of a command."""
        return next((report for report in self.reports.get(command_id, ()) if report.result.final), None)

    def open_commands(self) -> list[Sent]:
        """Commands without a final outcome."""
        return [sent for sent in self.sent.values() if self.final(sent.id) is None]

    def outcomes(self) -> Counter[str]:
        """How the commands ended."""
        return Counter(
            report.result.outcome.value for command_id in self.sent if (report := self.final(command_id)) is not None
        )

    def copies(self) -> int:
        """Repeated reports: same id, same content."""
        finals = [[report for report in reports if report.result.final] for reports in self.reports.values()]
        return sum(len(reports) - 1 for reports in finals if reports)

    def latencies(self, before: float) -> list[float]:
        """Seconds from producing to the outcome, of answered commands sent before `before`; sorted."""
        found = []
        for sent in self.sent.values():
            report = self.final(sent.id)
            if report is not None and sent.at < before and report.result.outcome in ANSWERED:
                found.append(report.seen - sent.at)
        return sorted(found)

    def imbalances(
        self,
        executed: Iterable[str],
        answered: Mapping[str, Mapping[str, str]],
        refused: Mapping[str, Mapping[str, str]],
        owing: Mapping[str, int],
    ) -> list[str]:
        """Every way in which it does not balance, for people; empty: it balances.

        `executed`: markers that the stations saw, repetitions included. `answered`, `refused`: per station, message id -> what.
        `owing`: per station, how many transaction messages are unanswered.
        """
        return [
            *self._of_commands(Counter(executed)),
            *self._of_messages(answered),
            *(
                f"{station}: {what} was refused: {reason}"
                for station, messages in refused.items()
                for what, reason in messages.items()
            ),
            *(
                f"{station}: {count} transaction messages are still unanswered"
                for station, count in owing.items()
                if count
            ),
        ]

    def _of_commands(self, executions: Counter[str]) -> Iterable[str]:
        for sent in self.sent.values():
            name = f"{sent.type} {sent.id} to {sent.charge_point_id}"
            finals = {
                (report.ce_id, report.result.to_json())
                for report in self.reports.get(sent.id, ())
                if report.result.final
            }
            if not finals:
                yield f"{name}: no final outcome"
                continue
            if len(finals) > 1:
                outcomes = sorted(report.result.outcome for report in self.reports[sent.id] if report.result.final)
                yield f"{name}: {len(finals)} different final outcomes: {', '.join(outcomes)}"
                continue
            if sent.marker is not None:
                yield from self._of_executions(name, sent, executions[sent.marker])
        for command_id in self.reports.keys() - self.sent.keys():
            yield f"a result for {command_id}, which nobody sent"

    def _of_executions(self, name: str, sent: Sent, times: int) -> Iterable[str]:
        report = self.final(sent.id)
        assert report is not None
        outcome = report.result.outcome
        if times > 1:
            yield f"{name}: executed {times} times, outcome {outcome}"
        elif outcome in ANSWERED and times == 0:
            yield f"{name}: outcome {outcome}, and the station never saw it"
        elif outcome.only_from_none and times:
            yield f"{name}: outcome {outcome}, and the station executed it"

    def _of_messages(self, answered: Mapping[str, Mapping[str, str]]) -> Iterable[str]:
        events: dict[tuple[str, str], set[str]] = {}
        for event in self.events:
            if event.message_id is not None:
                events.setdefault((event.charge_point_id, event.message_id), set()).add(event.ce_id)
        for station, messages in answered.items():
            for message_id, action in messages.items():
                ids = events.get((station, message_id), set())
                if not ids:
                    yield f"{station}: {action} {message_id} was answered, and its event is missing"
                elif len(ids) > 1:
                    yield f"{station}: {action} {message_id} became {len(ids)} different events"
