"""The life of a command, rule by rule: directed runs of the shipped core, each of which fails without its rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from ocpp_contract.outcome import Outcome
from ocpp_gateway.core import effects as e
from ocpp_gateway.core.flight import CallError, Report
from ocpp_gateway.core.handlers import Call, Invalid, Unsupported
from tests.simulation.story import P0, P1, S1, S2, Story, command
from tests.simulation.world import SETTINGS, Sessions

ACCEPTED, EXPIRED, UNCERTAIN, TIMED_OUT = Outcome.ACCEPTED, Outcome.EXPIRED, Outcome.UNCERTAIN, Outcome.TIMED_OUT


# --------------------------------------------------------------------------------------------------------- the happy path


def test_claimed_written_answered_recorded_published_committed_in_this_order() -> None:
    story, order = Story(), command()
    story.connect(S1, "A")
    story.forget_so_far()
    story.send(order)
    story.passes(2)
    assert story.order_of(e.ClaimCommand, e.WriteCall, e.RecordDone, e.PublishResult) == [
        "ClaimCommand", "WriteCall", "RecordDone", "PublishResult",
    ]  # fmt: skip
    assert story.outcomes(order) == [ACCEPTED]
    assert story.offset() == 1
    result = story.results[0]
    assert (result.status, result.payload, result.final, result.pod) == ("Accepted", {"n": 1}, True, "A")


def test_the_same_id_again_gets_the_same_record_again_and_is_not_written() -> None:
    story, order = Story(), command()
    story.connect(S1, "A")
    story.send(order)
    story.send(order)
    assert story.written(order) == 1
    assert story.results[0] == story.results[1]


def test_a_pod_asks_its_own_memory_before_a_store_that_forgot() -> None:
    story, order = Story(), command()
    story.connect(S1, "A")
    story.send(order)
    del story.store.keys["cmd", S1, order.id]
    story.send(order)
    assert story.written(order) == 1
    assert story.results[0] == story.results[1]
    assert isinstance(story.stored(order), e.Done)


def test_two_copies_of_one_id_wait_for_each_other() -> None:
    story, order = Story(), command()
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.send(order)
    claims = story.seen(e.ClaimCommand)
    story.passes(1)
    assert story.seen(e.ClaimCommand) == claims
    story.obliging = True
    story.passes(1)
    assert story.outcomes(order) == [ACCEPTED, ACCEPTED]
    story.passes(1)
    assert story.offset() == 2


# ------------------------------------------------------------------------------------------------- order and back-pressure


def test_one_call_at_a_time_urgent_first_then_in_order() -> None:
    story = Story()
    story.connect(S1, "A")
    story.obliging = False
    first, second, third, urgent = command(1), command(2), command(3), command(4, urgent=True)
    story.send(first, second, third, urgent)
    assert [call.command_id for call in story.seen(e.WriteCall)] == [first.id]
    story.obliging = True
    story.go()
    written = [call.command_id for call in story.seen(e.WriteCall)]
    assert written == [first.id, urgent.id, second.id, third.id]


def test_a_silent_station_does_not_hold_up_its_neighbours() -> None:
    story = Story()
    story.connect(S1, "A")
    story.connect(S2, "A")
    story.obliging = False
    silent, other = command(1), command(2, station=S2)
    story.send(silent, other)
    story.pending = [pending for pending in story.pending if pending[0].station == S2]
    story.station_answers(0)
    story.passes(1)
    assert story.outcomes(other) == [ACCEPTED]
    assert story.outcomes(silent) == []
    assert story.offset() == 0


def test_more_than_the_mailbox_holds_is_busy() -> None:
    story = Story(settings=replace(SETTINGS, mailbox_size=2))
    story.connect(S1, "A")
    story.obliging = False
    orders = [command(number) for number in range(1, 5)]
    story.send(*orders)
    assert [story.outcomes(order) for order in orders] == [[], [], [], [Outcome.BUSY]]


def test_more_parked_than_the_pod_bears_is_busy() -> None:
    story = Story(settings=replace(SETTINGS, max_parked=2))
    orders = [command(1), command(2, station=S2), command(3)]
    story.send(*orders)
    assert [story.outcomes(order) for order in orders] == [[], [], [Outcome.BUSY]]
    story.connect(S1, "A")
    assert story.outcomes(orders[0]) == [ACCEPTED]
    assert story.pod("A").pod.turns.parked == 1


def test_more_bytes_parked_than_the_pod_bears_is_busy() -> None:
    """Whoever leaves, however, gives its bytes back: to its station, to another pod, by its deadline."""
    orders = [command(1), command(2, station=S2), command(3), command(4)]
    one = len(orders[0].value(Story().now)) + 8
    story = Story(settings=replace(SETTINGS, max_parked_bytes=2 * one + one // 2))
    turns = story.pod("A").pod.turns
    story.send(*orders[:3])
    assert [story.outcomes(order) for order in orders[:3]] == [[], [], [Outcome.BUSY]]
    held = turns.parked_bytes
    assert one < held <= 2 * one + one // 2
    story.connect(S1, "A")
    assert story.outcomes(orders[0]) == [ACCEPTED]
    assert (turns.parked, turns.parked_bytes * 2) == (1, held)
    story.send(orders[3])
    assert story.outcomes(orders[3]) == [ACCEPTED], "who is here needs no parking"
    story.passes(SETTINGS.max_deadline)
    assert story.outcomes(orders[1]) == [Outcome.EXPIRED]
    assert (turns.parked, turns.parked_bytes) == (0, 0)


# ------------------------------------------------------------------------------------------------------ refused, not sent


class Picky(Sessions):
    """Knows no such type, or finds a fault in it."""

    refusal: Exception = Unsupported("not in this version")
    allowed = True

    def encode(self, command: Any, version: str) -> Call:
        raise self.refusal


@pytest.mark.parametrize(
    ("refusal", "outcome", "letters"),
    [(Unsupported("no such message"), Outcome.UNSUPPORTED, 0), (Invalid("evse", "missing"), Outcome.INVALID, 1)],
)
def test_what_the_version_cannot_say_is_refused_before_any_claim(
    refusal: Exception, outcome: Outcome, letters: int
) -> None:
    story, order = Story(sessions=Picky), command()
    story.pod("A").sessions.refusal = refusal  # type: ignore[attr-defined]
    story.connect(S1, "A")
    story.send(order)
    assert story.outcomes(order) == [outcome]
    assert story.seen(e.ClaimCommand) == []
    assert len(story.seen(e.DeadLetter)) == letters
    story.passes(1)
    assert story.offset() == 1


class Booting(Sessions):
    """A station that waits for its backend's decision."""

    allowed = False

    def may_call(self, connection: str, call: Call) -> bool:
        return self.allowed


def test_what_the_boot_state_forbids_waits_for_its_change() -> None:
    story, order = Story(sessions=Booting), command()
    story.connect(S1, "A")
    story.send(order)
    story.passes(2)
    assert story.seen(e.ClaimCommand) == []
    sessions = story.pod("A").sessions
    assert isinstance(sessions, Booting)
    sessions.allowed = True
    story.pod("A").pod.boot_changed("socket-1")
    story.go()
    assert story.outcomes(order) == [ACCEPTED]


def test_bytes_that_are_no_command_go_to_the_dead_letter_topic_and_are_passed() -> None:
    story = Story()
    story.put(b"\xff\xfe no json")
    story.passes(1)
    (letter,) = story.seen(e.DeadLetter)
    assert letter.source.value == b"\xff\xfe no json"
    assert letter.reason.startswith("Invalid")
    assert story.results == []
    assert story.offset() == 1


def test_a_broken_command_with_an_id_gets_its_outcome_too() -> None:
    story, order = Story(), command()
    broken = orjson.dumps({"id": order.id, "chargePointId": S1, "type": "Reset", "payload": {"type": 5}})
    story.put(broken)
    story.passes(1)
    assert story.outcomes(order) == [Outcome.INVALID]
    assert "payload" in (story.results[0].reason or "")
    assert len(story.seen(e.DeadLetter)) == 1
    assert story.offset() == 1


@pytest.mark.parametrize("hop", [b"4", b"-1", b"x", b""])
def test_a_hop_that_nobody_can_have_made_is_invalid(hop: bytes) -> None:
    story, order = Story(), command()
    story.orders[order.id] = order
    story.put(order.value(story.now), headers=[("cg-hop", hop)])
    assert story.outcomes(order) == [Outcome.INVALID]


class Passwords(Sessions):
    """Every command is a new password."""

    def encode(self, command: Any, version: str) -> Call:
        return Call("ChangeConfiguration", {"key": "AuthorizationKey", "value": "c0ffee"})


def test_a_new_password_is_stored_before_the_claim_and_the_call() -> None:
    story, order = Story(sessions=Passwords), command()
    story.connect(S1, "A")
    story.send(order)
    assert story.order_of(e.StoreCredential, e.ClaimCommand, e.WriteCall) == [
        "StoreCredential", "ClaimCommand", "WriteCall",
    ]  # fmt: skip
    assert story.outcomes(order) == [ACCEPTED]


def test_a_turn_that_a_data_loss_overtook_claims_nothing_before_the_quiet_is_over() -> None:
    story, order = Story(sessions=Passwords), command(expires_in=30)
    story.connect(S1, "A")
    story.hold(e.StoreCredential)
    story.send(order)
    story.lose_data("empty", 0, 0.0)
    story.passes(2)
    assert story.pod("A").pod.runs.quiet(story.now)
    story.let_go()
    story.passes(1)
    assert story.seen(e.ClaimCommand) == []
    story.passes(8)
    assert story.outcomes(order) == [ACCEPTED]


# -------------------------------------------------------------------------------------------------------------- deadlines


def test_nobody_comes_expired_and_to_the_dead_letter_topic() -> None:
    story, order = Story(), command()
    story.send(order)
    story.passes(7)
    assert story.outcomes(order) == []
    story.passes(2)
    assert story.outcomes(order) == [EXPIRED]
    assert len(story.seen(e.DeadLetter)) == 1
    story.passes(1)
    assert story.offset() == 1


def test_a_station_that_returns_in_time_gets_what_waited_in_order() -> None:
    story, first, second = Story(), command(1), command(2)
    story.send(first, second)
    story.passes(5)
    story.connect(S1, "A")
    assert [call.command_id for call in story.seen(e.WriteCall)] == [first.id, second.id]


def test_who_does_not_wait_for_the_station_hears_at_once() -> None:
    story, order = Story(), command(wait=False)
    story.send(order)
    assert story.outcomes(order) == [Outcome.NOT_CONNECTED]


def test_a_deadline_beyond_the_maximum_is_cut_and_the_result_says_so() -> None:
    story, order = Story(), command(expires_in=100)
    story.send(order)
    story.passes(39)
    assert story.outcomes(order) == []
    story.passes(2)
    assert story.outcomes(order) == [EXPIRED]
    assert "maximum of 40 s" in (story.results[0].reason or "")


def test_the_deadline_is_asked_again_right_before_the_write() -> None:
    story, order = Story(), command(expires_in=3)
    story.connect(S1, "A")
    story.hold(e.ClaimCommand)
    story.send(order)
    claim = story.in_flight(e.ClaimCommand)
    story.effect(claim)
    story.passes(4)
    story.answer(claim)
    story.let_go()
    assert story.written(order) == 0
    story.passes(2)
    assert story.outcomes(order) == [EXPIRED]


# ----------------------------------------------------------------------------------------------------------- late answers


def test_timed_out_is_reported_and_a_late_answer_still_counts() -> None:
    story, order = Story(), command()
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.passes(3)
    assert story.outcomes(order) == [TIMED_OUT]
    record = story.stored(order)
    assert isinstance(record, e.Claim)
    assert record.timed_out_at_us is not None
    story.passes(1)
    story.station_answers(0)
    story.go()
    assert story.outcomes(order) == [TIMED_OUT, ACCEPTED]


def test_when_the_late_window_passes_it_is_uncertain_and_never_written_again() -> None:
    story, order = Story(), command(safe=True, expires_in=30)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.passes(6)
    assert story.outcomes(order) == [TIMED_OUT, UNCERTAIN]
    assert story.written(order) == 1


def test_after_timed_out_the_next_call_goes_out() -> None:
    story, first, second = Story(), command(1), command(2)
    story.connect(S1, "A")
    story.obliging = False
    story.send(first, second)
    story.passes(2)
    assert story.written(second) == 0
    story.passes(1)
    assert story.written(second) == 1
    # the late answer of the first is not taken for the second's
    story.station_answers(0)
    story.go()
    assert story.outcomes(first) == [TIMED_OUT, ACCEPTED]
    assert story.outcomes(second) == []


class Refusing(Sessions):
    def report(self, command: Any, version: str, call: Call, answer: Any) -> Report:
        assert isinstance(answer, CallError)
        return Report(Outcome.CALL_ERROR, None, None, f"{answer.code}: {answer.description}")


def test_a_call_error_is_the_outcome() -> None:
    story, order = Story(sessions=Refusing), command()
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    line, command_id, _ = story.pending.pop()
    assert line.process.pod.answer_received(line.connection, command_id, CallError("NotSupported", "no", {}))
    story.go()
    assert story.outcomes(order) == [Outcome.CALL_ERROR]
    assert story.results[0].reason == "NotSupported: no"
    assert not line.process.pod.answer_received(line.connection, command_id, CallError("NotSupported", "no", {}))


# -------------------------------------------------------------------------------------------------------- the socket closes


def test_an_unsafe_command_whose_socket_closes_is_uncertain() -> None:
    story, order = Story(), command(expires_in=30)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.hang_up(S1)
    story.notice(story.half_open[0])
    story.go()
    assert story.outcomes(order) == [UNCERTAIN]
    story.connect(S1, "A")
    assert story.written(order) == 1


def test_a_safe_command_whose_socket_closes_is_sent_again_on_the_next() -> None:
    story, order = Story(), command(safe=True, expires_in=30)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.hang_up(S1)
    story.notice(story.half_open[0])
    story.passes(1)
    assert story.written(order) == 1
    story.obliging = True
    story.connect(S1, "A")
    assert story.written(order) == 2
    assert story.outcomes(order) == [ACCEPTED]


def test_a_safe_command_follows_its_station_to_another_pod_without_waiting_for_the_old_socket() -> None:
    story, order = Story("A", "B"), command(safe=True, expires_in=30)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.connect(S1, "B")  # A has not noticed
    story.send(order, partition=P1)  # the backend asks again, at the new mailbox
    story.go()
    assert story.written(order) == 2
    while story.pending:
        story.station_answers(0)
    story.go()
    assert story.outcomes(order) == [ACCEPTED]


def test_an_unsafe_command_waits_for_the_pod_that_claimed_it() -> None:
    story, order = Story("A", "B"), command(expires_in=30)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.connect(S1, "B")
    story.send(order, partition=P1)
    story.passes(1)
    assert story.written(order) == 1
    assert story.outcomes(order) == []
    story.passes(5)
    assert story.outcomes(order)[-1] is UNCERTAIN
    assert story.written(order) == 1


# ------------------------------------------------------------------------------------------------------------------ claims


def test_nothing_is_written_for_a_socket_that_the_station_has_left() -> None:
    story, order = Story("A", "B"), command(expires_in=30)
    story.connect(S1, "A")
    story.obliging = False
    story.connect(S1, "B")
    story.send(order)
    story.passes(3)
    assert story.seen(e.ClaimCommand, "A.1") != []
    (call,) = story.seen(e.WriteCall)
    assert call.connection == "socket-2"


def test_a_claim_whose_right_is_over_is_put_back_and_the_next_owner_delivers() -> None:
    story, order = Story("A", "B"), command(expires_in=39)
    story.connect(S1, "A")
    story.hold(e.ClaimCommand, process="A")
    story.send(order)
    claim = story.in_flight(e.ClaimCommand)
    story.effect(claim)
    story.pod("A").frozen = True
    story.passes(5)
    story.pod("A").frozen = False
    story.answer(claim)
    assert story.written(order) == 0
    story.let_go()
    assert story.stored(order) is None
    story.passes(8)
    assert story.outcomes(order) == [ACCEPTED]


def test_putting_back_restores_the_claim_that_was_replaced() -> None:
    story, order = Story(), command(safe=True, expires_in=10)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.hang_up(S1)
    story.notice(story.half_open[0])
    story.go()
    before = story.stored(order)
    assert isinstance(before, e.Claim)
    story.hold(e.ClaimCommand)
    story.connect(S1, "A")
    claim = story.in_flight(e.ClaimCommand)
    story.effect(claim)
    story.hang_up(S1)
    story.notice(story.half_open[0])
    story.answer(claim)
    story.let_go()
    assert story.stored(order) == before
    story.passes(12)
    assert story.outcomes(order) == [UNCERTAIN]  # never Expired: it was written once


def test_a_claim_whose_reply_was_lost_is_met_as_ones_own_and_gone_on_with() -> None:
    story, order = Story(), command(expires_in=30)
    story.connect(S1, "A")
    story.hold(e.ClaimCommand)
    story.send(order)
    claim = story.in_flight(e.ClaimCommand)
    story.effect(claim)
    story.time_out(claim)
    story.let_go()
    story.passes(2)
    assert story.written(order) == 1
    assert story.outcomes(order) == [ACCEPTED]


def test_a_claim_that_arrives_after_its_time_does_nothing() -> None:
    story, order = Story(), command(expires_in=30)
    story.connect(S1, "A")
    story.hold(e.ClaimCommand)
    story.send(order)
    claim = story.in_flight(e.ClaimCommand)
    story.time_out(claim)
    story.passes(2)
    story.effect(claim)
    assert story.stored(order) is None


def test_only_claims_of_what_is_never_sent_twice_wait_for_replicas() -> None:
    story = Story("A", settings=replace(SETTINGS, claim_replicas=2))
    story.connect(S1, "A")
    story.send(command(1), command(2, safe=True))
    assert [claim.replicas for claim in story.seen(e.ClaimCommand)] == [2, 0]


def test_a_claim_of_ones_own_former_life_is_dead_at_once() -> None:
    story, order = Story("A"), command(expires_in=39)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.crash(story.pod("A"))
    story.start("A")
    story.passes(3)
    assert story.written(order) == 1
    story.connect(S1, "A")
    story.passes(1)
    assert story.outcomes(order) == [UNCERTAIN]


def test_an_outcome_is_published_only_after_a_look_when_the_lease_has_lapsed() -> None:
    story, order = Story("A", "B"), command(expires_in=30)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.hold(e.RecordDone, process="A")
    story.station_answers(0)
    story.go()
    done = story.in_flight(e.RecordDone)
    story.effect(done)
    story.pod("A").frozen = True
    story.passes(6)
    story.pod("A").frozen = False
    story.forget_so_far()
    story.answer(done)
    story.let_go()
    kinds = story.order_of(e.AssertRecord, e.PublishResult, process="A.1")
    assert kinds[:2] == ["AssertRecord", "PublishResult"]
    assert set(story.outcomes(order)) == {ACCEPTED}


def test_done_once_is_done_the_stored_outcome_is_what_is_published() -> None:
    story, order = Story(), command(expires_in=30)
    story.connect(S1, "A")
    story.hold(e.RecordDone)
    story.send(order)
    other = e.RecordDone(
        S1, order.id, replace(story.in_flight(e.RecordDone).effect.result, outcome=UNCERTAIN), False, 9.0
    )
    story.store.execute(other)
    story.let_go()
    assert story.outcomes(order) == [UNCERTAIN]


def test_the_deadline_of_a_copy_does_not_end_what_the_other_copy_has_under_way() -> None:
    story, order = Story(), command(expires_in=2)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.send(order)
    story.passes(4)
    assert story.outcomes(order) == [TIMED_OUT]
    story.station_answers(0)
    story.passes(1)
    assert story.outcomes(order) == [TIMED_OUT, ACCEPTED, ACCEPTED]


def claimed_by(story: Story, order: Any, name: str) -> e.Claim:
    """Somebody's claim, as if from long ago: nothing in that pod knows of it any more."""
    claim = e.Claim(story.pod(name).incarnation, 1, story.store.time_us)
    story.store._put_for(("cmd", order.station, order.id), claim, 500.0)
    return claim


def test_a_claim_older_than_any_call_is_dead_though_its_pod_lives() -> None:
    story, order = Story("A", "B"), command(expires_in=39)
    claimed_by(story, order, "B")
    story.connect(S1, "A")
    story.send(order)
    story.passes(10)
    assert story.outcomes(order) == []
    story.passes(3)
    assert story.outcomes(order) == [UNCERTAIN]
    assert story.written(order) == 0


def test_one_look_at_an_absent_pod_record_proves_no_death() -> None:
    story, order = Story("A", "B"), command(expires_in=39)
    claimed_by(story, order, "B")
    story.connect(S1, "A")
    del story.store.keys["pod", "B"]
    story.send(order)
    story.passes(1)
    assert story.outcomes(order) == []
    story.crash(story.pod("B"))
    story.passes(4)
    assert story.outcomes(order) == []
    story.passes(2)
    assert story.outcomes(order) == [UNCERTAIN]


def test_a_safe_command_claimed_by_a_dead_pod_is_claimed_anew() -> None:
    story, order = Story("A", "B"), command(safe=True, expires_in=39)
    claimed_by(story, order, "B")
    story.crash(story.pod("B"))
    story.connect(S1, "A")
    story.send(order)
    story.passes(14)
    assert story.outcomes(order) == [ACCEPTED]


# --------------------------------------------------------------------------------------------------------------- forwarding


def header(record: e.SourceRecord, name: str) -> str | None:
    raw = record.header(name)
    return None if raw is None else raw.decode()


def test_a_command_for_a_station_elsewhere_travels_once_with_its_deadline() -> None:
    story, order = Story("A", "B"), command(expires_in=30)
    story.connect(S1, "B")
    story.send(order)
    story.passes(1)
    (copy,) = story.log[P1, e.Lane.NORMAL]
    epoch = story.store.entry(S1).epoch  # type: ignore[union-attr]
    assert (header(copy, "cg-hop"), header(copy, "cg-entry-epoch")) == ("1", str(epoch))
    assert header(copy, "cg-deadline") == "1970-01-01T00:02:10.000Z"
    assert copy.value == story.log[P0, e.Lane.NORMAL][0].value
    assert story.outcomes(order) == [ACCEPTED]
    assert (story.offset(P0), story.offset(P1)) == (1, 1)


def test_urgent_commands_stay_in_their_lane() -> None:
    story, order = Story("A", "B"), command(urgent=True)
    story.connect(S1, "B")
    story.send(order)
    assert len(story.log[P1, e.Lane.URGENT]) == 1
    assert story.outcomes(order) == [ACCEPTED]


def test_nothing_is_forwarded_to_a_pod_that_does_not_live() -> None:
    story, order = Story("A", "B"), command(expires_in=20)
    story.connect(S1, "B")
    story.crash(story.pod("B"))
    story.passes(7)
    story.send(order)
    story.passes(2)
    assert story.seen(e.Append) == []


def test_the_deadline_that_travelled_counts_not_the_copy_s_own_time() -> None:
    story, order = Story(), command()
    story.orders[order.id] = order
    story.put(order.value(story.now), headers=[("cg-hop", b"1"), ("cg-deadline", b"1970-01-01T00:01:43.000Z")])
    story.passes(4)
    assert story.outcomes(order) == [EXPIRED]


def test_at_the_last_hop_it_waits_for_another_entry_and_ends_as_misrouted() -> None:
    story, order = Story("A", "B"), command(expires_in=8)
    story.connect(S1, "B")
    story.orders[order.id] = order
    story.put(order.value(story.now), headers=[("cg-hop", b"3")])
    story.passes(6)
    assert story.seen(e.Append) == []
    story.passes(4)
    assert story.outcomes(order) == [Outcome.MISROUTED]
    assert len(story.seen(e.DeadLetter)) == 1


def test_at_the_last_hop_it_is_forwarded_once_the_entry_changed() -> None:
    story, order = Story("A", "B"), command(expires_in=20)
    story.connect(S1, "B")
    story.orders[order.id] = order
    story.put(order.value(story.now), headers=[("cg-hop", b"3")])
    story.passes(3)
    story.connect(S1, "B")
    story.passes(2)
    (copy,) = story.seen(e.Append)
    assert dict(copy.headers)["cg-hop"] == b"3"
    assert story.outcomes(order) == [ACCEPTED]


def test_at_the_last_hop_it_is_forwarded_at_most_so_often() -> None:
    """The entry did change since the forward that brought it here, and might change again and again."""
    story, order = Story("A", "B", settings=replace(SETTINGS, hop_interval=5)), command(expires_in=30)
    story.connect(S1, "B")
    story.orders[order.id] = order
    story.put(order.value(story.now), headers=[("cg-hop", b"3"), ("cg-entry-epoch", b"1")])
    story.passes(3)
    assert story.seen(e.Append) == []
    story.passes(5)
    assert len(story.seen(e.Append)) == 1
    assert story.outcomes(order) == [ACCEPTED]


def test_a_forward_is_finished_when_it_is_acknowledged_not_before() -> None:
    story, order = Story("A", "B"), command(expires_in=20)
    story.connect(S1, "B")
    story.hold(e.Append)
    story.send(order)
    story.passes(2)
    assert story.offset(P0) == 0
    story.time_out(story.in_flight(e.Append))
    story.let_go()
    story.passes(2)
    assert story.offset(P0) == 1
    assert len(story.log[P1, e.Lane.NORMAL]) == 2  # unknown means again; copies are harmless
    assert story.written(order) == 1


class Full(Story):
    """Kafka takes no copy of a command: too large with the headers that a copy has."""

    def _serve(self, op: Any) -> Any:
        if not isinstance(op.effect, e.Append):
            return super()._serve(op)
        self.effects.append((self.label(op.process), op.effect))
        return "too large"


def test_a_command_that_can_never_be_forwarded_ends_and_holds_nothing_back() -> None:
    story, order = Full("A", "B"), command(expires_in=20)
    story.connect(S1, "B")
    story.send(order)
    story.passes(2)
    assert story.outcomes(order) == [Outcome.INVALID]
    assert "too large" in (story.results[0].reason or "")
    assert len(story.seen(e.Append)) == 1
    assert story.offset(P0) == 1


def test_a_result_is_finished_when_it_is_acknowledged_not_before() -> None:
    story, order = Story(), command()
    story.connect(S1, "A")
    story.hold(e.PublishResult)
    story.send(order)
    story.passes(2)
    assert story.offset() == 0
    story.let_go()
    story.passes(1)
    assert story.offset() == 1


def test_where_the_dead_letter_topic_is_due_too_both_must_be_acknowledged() -> None:
    story, order = Story(), command()
    story.hold(e.DeadLetter)
    story.send(order)
    story.passes(10)
    assert story.outcomes(order) == [EXPIRED]
    assert story.offset() == 0
    story.let_go()
    story.passes(1)
    assert story.offset() == 1


def test_a_station_that_is_away_does_not_pin_the_log_for_ever() -> None:
    story = Story(settings=replace(SETTINGS, span_limit=5, mailbox_size=2))
    waiting = command(1, expires_in=30)
    story.send(waiting)
    story.connect(S2, "A")
    for number in range(2, 9):
        story.send(command(number, station=S2))
    story.passes(1)
    (again,) = (record for record in story.log[P0, e.Lane.NORMAL] if record.headers)
    assert header(again, "cg-hop") == "0"
    assert header(again, "cg-deadline") == "1970-01-01T00:02:10.000Z"
    assert story.offset() == again.offset
    story.connect(S1, "A")
    story.passes(1)
    assert story.outcomes(waiting) == [ACCEPTED]


def test_when_almost_everything_waits_nothing_is_appended_again_and_again() -> None:
    story = Story(settings=replace(SETTINGS, span_limit=3))
    for number in range(1, 11):
        story.send(command(number, expires_in=30))
    story.passes(3)
    assert story.seen(e.Append) == []
    story.connect(S1, "A")
    story.passes(1)
    assert story.offset() == 10


def test_a_log_that_begins_anew_is_read_from_its_beginning() -> None:
    """Kafka lost the topic: the committed offset lies beyond the log, and the reader goes back to the earliest record."""
    story, waiting, fresh = Story(), command(8, station=S2, expires_in=20), command(9)
    story.connect(S1, "A")
    story.send(command(1), waiting, command(2), command(3))
    story.passes(2)
    assert story.offset() == 1
    story.log[P0, e.Lane.NORMAL].clear()
    story.pod("A").fetching[P0, e.Lane.NORMAL] = 0
    story.obliging = False
    story.send(fresh)
    story.passes(1)
    assert story.offset() == 0  # what was finished of the log that is gone says nothing about this one
    story.connect(S2, "A")
    story.obliging = True
    story.go()
    story.passes(1)
    assert story.outcomes(waiting) == story.outcomes(fresh) == [ACCEPTED]
    assert story.offset() == 1
