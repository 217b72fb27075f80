"""The elector, step by step: who may lead, from when, until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ocpp_operator.core.election import Elector, Lease, Leave, Read, Stored, Timing, Wait, Write

TIMING = Timing(duration=15, renew_deadline=10, retry=2)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def held(by: str, version: str = "1", duration: int = 15) -> Stored:
    return Stored(Lease(by, duration, NOON, NOON), version)


def leader(now: float = 0.0) -> Elector:
    """`a`, which has just created the Lease: sent and acknowledged at `now`."""
    elector = Elector("a", TIMING)
    elector.found(None, now)
    step = elector.step(now, NOON)
    assert isinstance(step, Write)
    elector.stored(Stored(step.lease, "1"), now, now)
    return elector


def test_it_looks_before_it_writes() -> None:
    assert Elector("a", TIMING).step(0, NOON) == Read()


def test_a_lease_that_was_never_there_is_created_at_once() -> None:
    elector = Elector("a", TIMING)
    elector.found(None, 5)
    assert elector.step(5, NOON) == Write(Lease("a", 15, NOON, NOON), None)


def test_a_released_lease_is_taken_at_once() -> None:
    elector = Elector("a", TIMING)
    elector.found(held("", "7"), 5)
    step = elector.step(5, NOON)
    assert isinstance(step, Write)
    assert (step.lease.holder, step.lease.transitions, step.version) == ("a", 1, "7")


@pytest.mark.parametrize(
    ("silence", "taken"),
    [(0, False), (14.9, False), (15, True)],
    ids=["at first sight", "nearly", "after the duration"],
)
def test_a_silent_holder_is_followed_after_the_duration_it_promised(silence: float, taken: bool) -> None:
    elector = Elector("b", TIMING)
    elector.found(held("a"), 100)
    assert isinstance(elector.step(100, NOON), Wait)
    elector.found(held("a"), 100 + silence)
    assert isinstance(elector.step(100 + silence, NOON), Write) is taken


def test_the_duration_that_counts_is_the_holders() -> None:
    """During a change of the setting both values are about."""
    elector = Elector("b", TIMING)
    elector.found(held("a", duration=60), 0)
    elector.found(held("a", duration=60), 59)
    assert isinstance(elector.step(59, NOON), Wait)
    elector.found(held("a", duration=60), 60)
    assert isinstance(elector.step(60, NOON), Write)


def test_every_change_of_the_lease_begins_the_silence_anew() -> None:
    elector = Elector("b", TIMING)
    elector.found(held("a", "1"), 0)
    elector.found(held("a", "2"), 14)
    elector.found(held("a", "2"), 28)
    assert isinstance(elector.step(28, NOON), Wait)
    elector.found(held("a", "2"), 29)
    assert isinstance(elector.step(29, NOON), Write)


def test_what_the_holders_clock_says_means_nothing() -> None:
    elector = Elector("b", TIMING)
    ancient = NOON - timedelta(days=9_000)
    elector.found(Stored(Lease("a", 15, ancient, ancient), "1"), 0)
    assert isinstance(elector.step(0, NOON), Wait)


def test_the_right_counts_from_before_the_request_was_sent() -> None:
    elector = Elector("a", TIMING)
    elector.found(None, 0)
    step = elector.step(0, NOON)
    assert isinstance(step, Write)
    elector.stored(Stored(step.lease, "1"), sent=0, now=4)
    assert elector.leads(9.9)
    assert not elector.leads(10)


def test_an_acknowledgement_that_comes_too_late_gives_no_right() -> None:
    elector = Elector("a", TIMING)
    elector.found(None, 0)
    step = elector.step(0, NOON)
    assert isinstance(step, Write)
    elector.stored(Stored(step.lease, "1"), sent=0, now=10)
    assert not elector.leads(10)
    assert isinstance(elector.step(10, NOON), Write), "it holds the lease and renews it"


def test_a_leader_renews_in_time_and_the_time_it_writes_always_grows() -> None:
    elector = leader()
    assert elector.step(0, NOON) == Wait(2)
    step = elector.step(2, NOON - timedelta(hours=1))
    assert isinstance(step, Write)
    assert step.lease.renewed == NOON + timedelta(microseconds=1)
    assert (step.lease.acquired, step.lease.transitions, step.version) == (NOON, 0, "1")


def test_a_right_that_lapsed_is_not_resumed() -> None:
    elector = leader()
    step = elector.step(2, NOON)
    assert isinstance(step, Write)
    elector.stored(Stored(step.lease, "2"), sent=9, now=10.5)
    assert not elector.leads(10.5), "from 10 on it did not lead, and somebody was told so"
    assert elector.step(11, NOON) == Leave("the lease could not be renewed for 10 s")


def test_a_leader_without_answers_tries_again_until_its_right_ends() -> None:
    elector = leader()
    elector.failed(5)
    assert elector.step(6, NOON) == Wait(7)
    elector.failed(9.5)
    assert elector.step(9.5, NOON) == Wait(10), "not longer than the right lasts"
    assert isinstance(elector.step(10, NOON), Leave)


def test_a_renewal_that_was_done_unseen_is_found_out() -> None:
    elector = leader()
    elector.failed(3)
    assert isinstance(elector.step(5, NOON), Write)
    elector.refused(5)
    assert elector.step(5, NOON) == Read()
    elector.found(held("a", "2"), 5)
    step = elector.step(5, NOON)
    assert isinstance(step, Write)
    assert step.version == "2"


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (held("b", "9"), "the lease is held by b"),
        (held("", "9"), "the lease is held by nobody"),
        (None, "the lease is held by nobody"),
    ],
    ids=["taken", "emptied by hand", "deleted"],
)
def test_a_leader_that_finds_the_lease_no_longer_its_own_leaves(there: Stored | None, reason: str) -> None:
    elector = leader()
    elector.refused(3)
    elector.found(there, 3)
    assert not elector.leads(3)
    assert elector.step(3, NOON) == Leave(reason)


def test_a_lease_that_vanished_is_waited_out() -> None:
    """Its holder may not have noticed yet."""
    elector = Elector("b", TIMING)
    elector.found(held("a"), 0)
    elector.found(None, 5)
    assert isinstance(elector.step(5, NOON), Wait)
    elector.found(None, 19.9)
    assert isinstance(elector.step(19.9, NOON), Wait)
    elector.found(None, 20)
    assert elector.step(20, NOON) == Write(Lease("b", 15, NOON, NOON), None)


def test_whoever_was_slower_looks_at_once() -> None:
    elector = Elector("b", TIMING)
    elector.found(None, 0)
    elector.refused(0)
    assert elector.step(0, NOON) == Read()


def test_resigning_ends_the_right_before_the_farewell_is_made() -> None:
    elector = leader()
    elector.resign()
    assert not elector.leads(0)
    farewell = elector.farewell(NOON)
    assert farewell is not None
    assert (farewell.lease.holder, farewell.version) == ("", "1")
    assert elector.step(1, NOON) == Leave("resigned")


def test_who_does_not_hold_the_lease_has_nothing_to_release() -> None:
    elector = Elector("b", TIMING)
    elector.found(held("a"), 0)
    elector.resign()
    assert elector.farewell(NOON) is None


@pytest.mark.parametrize("timing", [(15, 15, 2), (15, 10, 10), (15, 10, 0), (9, 10, 2)])
def test_times_that_would_let_two_lead_are_refused(timing: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="retry < renew_deadline < duration must hold"):
        Timing(*timing)


def test_a_fraction_of_a_second_is_promised_in_full() -> None:
    elector = Elector("a", Timing(duration=1.2, renew_deadline=1.1, retry=0.2))
    elector.found(None, 0)
    step = elector.step(0, NOON)
    assert isinstance(step, Write)
    assert step.lease.duration == 2


def test_only_a_right_that_ran_out_unseen_is_told_apart_from_one_that_was_taken() -> None:
    """Then the others wait for a silence that they have not seen, and its holder goes on trying to release the Lease."""
    lapsed, taken = leader(), leader()
    assert isinstance(lapsed.step(TIMING.renew_deadline, NOON), Leave)
    taken.found(held("b"), 3)
    assert (lapsed.lapsed, taken.lapsed) == (True, False)
    assert lapsed.farewell(NOON) is not None
    assert taken.farewell(NOON) is None


def test_a_right_that_is_given_up_by_another_thread_is_asked_for_once() -> None:
    class Resigning(Elector):
        """Gives its right up as soon as somebody has looked at it."""

        asked = 0

        def __getattribute__(self, name: str) -> object:
            value = super().__getattribute__(name)
            if name == "leads_until" and value is not None:
                self.asked += 1
                self.leads_until = None
            return value

    elector = Resigning("a", TIMING)
    elector.leads_until = 10.0
    assert elector.leads(5.0)
    assert not elector.leads(5.0)
    assert elector.asked == 1
