"""The demo's account balances only when it should: every way of cheating it is a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ocpp_contract.ids import ChargePointId, CommandId, PodName
from ocpp_contract.outcome import CommandResult, Outcome
from ocpp_local.account import Account, Report, SeenEvent, Sent


def result(command_id: str, outcome: Outcome, at: str = "2026-11-22T10:00:00.000Z") -> CommandResult:
    return CommandResult(CommandId(command_id), ChargePointId("CP1"), "DataTransfer", outcome, PodName("gateway-1"), at)


def report(command_id: str, outcome: Outcome, **changes: str) -> Report:
    made = result(command_id, outcome, **changes)
    return Report(made.ce_id, made, 2.0)


class Books:
    """A balanced pair of books, for tests to spoil."""

    def __init__(self) -> None:
        self.account = Account()
        self.executed = ["m1"]
        self.answered = {"CP1": {"msg-1": "MeterValues"}}
        self.refused: dict[str, dict[str, str]] = {}
        self.owing = {"CP1": 0}
        self.account.command(Sent("c1", "CP1", "DataTransfer", 1.0, "m1"))
        self.account.report(report("c1", Outcome.ACCEPTED))
        self.account.events.append(SeenEvent("e1", "MeterValues", "CP1", "msg-1"))

    def imbalances(self) -> list[str]:
        return self.account.imbalances(self.executed, self.answered, self.refused, self.owing)


def test_it_balances() -> None:
    assert Books().imbalances() == []


def test_copies_of_a_report_and_of_an_event_are_no_imbalance() -> None:
    books = Books()
    books.account.report(report("c1", Outcome.ACCEPTED))
    books.account.report(report("c1", Outcome.TIMED_OUT))
    books.account.events.append(SeenEvent("e1", "MeterValues", "CP1", "msg-1"))
    assert books.imbalances() == []
    assert books.account.copies() == 1


def spoil_missing(books: Books) -> None:
    books.account.command(Sent("c2", "CP1", "DataTransfer", 1.0, None))


def spoil_only_timed_out(books: Books) -> None:
    spoil_missing(books)
    books.account.report(report("c2", Outcome.TIMED_OUT))


def spoil_two_outcomes(books: Books) -> None:
    books.account.report(report("c1", Outcome.REJECTED))


def spoil_same_outcome_other_content(books: Books) -> None:
    books.account.report(report("c1", Outcome.ACCEPTED, at="2026-11-22T10:00:09.000Z"))


def spoil_twice(books: Books) -> None:
    books.executed.append("m1")


def spoil_never(books: Books) -> None:
    books.executed.clear()


def spoil_expired_and_executed(books: Books) -> None:
    books.account.reports["c1"] = [report("c1", Outcome.EXPIRED)]


def spoil_nobody_sent(books: Books) -> None:
    books.account.report(report("c9", Outcome.ACCEPTED))


def spoil_event_missing(books: Books) -> None:
    books.account.events.clear()


def spoil_event_of_another(books: Books) -> None:
    books.account.events[0] = replace(books.account.events[0], charge_point_id="CP2")


def spoil_two_events(books: Books) -> None:
    books.account.events.append(SeenEvent("e2", "MeterValues", "CP1", "msg-1"))


def spoil_refused(books: Books) -> None:
    books.refused = {"CP1": {"msg-2": "InternalError"}}


def spoil_owing(books: Books) -> None:
    books.owing["CP1"] = 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_missing, "no final outcome"),
        (spoil_only_timed_out, "no final outcome"),
        (spoil_two_outcomes, "2 different final outcomes: Accepted, Rejected"),
        (spoil_same_outcome_other_content, "2 different final outcomes"),
        (spoil_twice, "executed 2 times"),
        (spoil_never, "the station never saw it"),
        (spoil_expired_and_executed, "outcome Expired, and the station executed it"),
        (spoil_nobody_sent, "which nobody sent"),
        (spoil_event_missing, "its event is missing"),
        (spoil_event_of_another, "its event is missing"),
        (spoil_two_events, "became 2 different events"),
        (spoil_refused, "was refused"),
        (spoil_owing, "2 transaction messages are still unanswered"),
    ],
)
def test_it_does_not_balance(spoil: Callable[[Books], None], said: str) -> None:
    books = Books()
    spoil(books)
    (line,) = books.imbalances()
    assert said in line


@pytest.mark.parametrize("executed", [[], ["m1"]])
def test_uncertain_means_once_or_not_at_all(executed: list[str]) -> None:
    books = Books()
    books.executed = executed
    books.account.reports["c1"] = [report("c1", Outcome.UNCERTAIN)]
    assert books.imbalances() == []
