"""Noticing data loss, the quiet after it, and what may be concluded from absence."""

from __future__ import annotations

from ocpp_gateway.core.effects import RunMarked
from ocpp_gateway.core.runs import Absences, Runs
from ocpp_gateway.core.store_clock import US

LEASE, SETTLE = 15.0, 1.0


def test_the_first_run_of_a_shard_is_new_and_the_same_one_is_not() -> None:
    runs = Runs(LEASE, SETTLE)
    assert not runs.knows("a")
    assert runs.seen("a", "run-1")
    assert runs.knows("a")
    assert not runs.seen("a", "run-1")
    assert runs.seen("a", "run-2")
    assert runs.seen("b", "run-3")


def test_quiet_as_long_as_nobody_knows_since_when_the_run_runs() -> None:
    runs = Runs(LEASE, SETTLE)
    runs.seen("a", "run-1")
    assert runs.quiet(1e9)
    runs.marked("run-1", RunMarked(0, int(LEASE * US)), 1e9)
    assert not runs.quiet(1e9)


def test_quiet_lasts_one_lease_from_when_anybody_first_saw_the_run() -> None:
    runs = Runs(LEASE, SETTLE)
    runs.seen("a", "run-1")
    runs.marked("run-1", RunMarked(100 * US, 104 * US), 50.0)
    assert runs.quiet(60.9)
    assert not runs.quiet(61.0)


def test_a_run_that_ended_before_it_was_marked_keeps_nobody_quiet() -> None:
    runs = Runs(LEASE, SETTLE)
    runs.seen("a", "run-1")
    runs.seen("a", "run-2")
    assert not runs.is_current("run-1")
    runs.abandon("run-1")
    runs.marked("run-2", RunMarked(0, 1_000 * US), 5.0)
    assert not runs.quiet(5.0)


def test_a_loss_counts_keeps_quiet_and_settles() -> None:
    runs = Runs(LEASE, SETTLE)
    runs.lost(10.0)
    assert runs.losses == 1
    assert runs.quiet(24.9)
    assert not runs.quiet(25.0)
    assert runs.settling(10.9)
    assert not runs.settling(11.0)


def test_absent_for_a_full_lease_only_by_looks_close_together() -> None:
    absences = Absences(LEASE, 5.0)
    assert not any(absences.absent("x", at, at) for at in (0.0, 5.0, 10.0, 14.9))
    assert absences.absent("x", 15.0, 15.0)


def test_a_gap_in_the_looks_begins_anew_because_nobody_could_come_back_meanwhile() -> None:
    absences = Absences(LEASE, 5.0)
    absences.absent("x", 0.0, 0.0)
    assert not absences.absent("x", 16.0, 16.0)
    assert not absences.absent("x", 20.0, 20.0)


def test_the_first_look_counts_from_its_reply_and_the_last_from_its_sending() -> None:
    absences = Absences(10.0, 5.0)
    absences.absent("x", 0.0, 2.0)
    absences.absent("x", 6.0, 6.0)
    assert not absences.absent("x", 11.0, 12.5)
    assert absences.absent("x", 12.5, 12.5)


def test_presence_and_data_loss_forget_what_was_seen() -> None:
    absences = Absences(LEASE, 5.0)
    for forget in (lambda: absences.present("x"), absences.forget_all):
        for at in (0.0, 5.0, 10.0):
            absences.absent("x", at, at)
        forget()
        assert not absences.absent("x", 15.0, 15.0)
        absences.forget_all()


def test_what_nobody_looks_at_any_more_is_forgotten() -> None:
    absences = Absences(LEASE, 5.0)
    for number in range(2_000):
        absences.absent(number, float(number), float(number))
    assert len(absences._seen) < 1_100
