"""Partitions, entries and data loss, rule by rule: directed runs of the shipped core."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest

from ocpp_contract.commit_metadata import encode_metadata
from ocpp_contract.outcome import Outcome
from ocpp_gateway.core import effects as e
from tests.simulation.story import P0, P1, S1, S2, Story, command
from tests.simulation.world import SETTINGS

LEASE, RIGHT = 6, 5


def lease_of(story: Story, partition: int = 0) -> object:
    return story.store.keys["partition", partition].incarnation


# ---------------------------------------------------------------------------------------------------------------- taking


def test_the_position_of_both_lanes_is_committed_before_anything_is_fetched() -> None:
    story = Story()
    assert story.order_of(e.Take, e.Commit, e.StartFetch)[-3:] == ["Commit", "Commit", "StartFetch"]
    assert story.offset(lane=e.Lane.NORMAL) == story.offset(lane=e.Lane.URGENT) == 0


def test_a_partition_that_nobody_ever_owned_is_taken_at_once() -> None:
    assert Story("A").held_by("A") == {P0}


def test_an_absent_one_that_was_owned_is_taken_only_after_a_full_lease() -> None:
    story = Story("A", "B")
    story.crash(story.pod("A"))
    del story.store.keys["partition", P0]
    story.assign(B={P0, P1})
    story.passes(LEASE - 1)
    assert story.held_by("B") == {P1}
    story.passes(2)
    assert story.held_by("B") == {P0, P1}


def test_who_held_it_restores_an_absent_one_and_goes_on() -> None:
    story = Story("A", "B")
    epoch = story.tenure("A").epoch
    del story.store.keys["partition", P0]
    story.assign(A={P0}, B={P0, P1})
    story.passes(10)
    assert story.held_by("B") == {P1}
    assert story.tenure("A").epoch == epoch


def lapse_and_lose_data(story: Story, kind: str) -> None:
    """Redis is silent until every right has run out, and comes back as another run."""
    for _ in range(RIGHT + 1):
        story.hold_all()
        story.tick()
        story.go()
        for op in [op for op in story.ops if op.is_store and op.task]:
            story.time_out(op)
    assert not any(process.pod.ownership.owned for process in story.processes.values())
    story.ops.clear()
    story.lose_data(kind, 1, 0.0)
    story.let_go()


@pytest.mark.parametrize("kind", ["empty", "failover"])
def test_leases_that_ran_out_before_a_data_loss_cost_the_quiet_and_no_second_lease(kind: str) -> None:
    story = Story("A", "B")
    lapse_and_lose_data(story, kind)
    while not story.pod("A").pod.runs.quiet(story.now):
        story.passes(1)  # until it has noticed
    noticed = story.now
    while story.pod("A").pod.runs.quiet(story.now):
        assert story.held_by("A") == story.held_by("B") == set()
        story.passes(1)
    assert story.now >= noticed + LEASE
    story.passes(2)
    assert (story.held_by("A"), story.held_by("B")) == ({P0}, {P1})


def test_what_is_restored_in_the_quiet_was_not_absent() -> None:
    story = Story("A", "B")
    epoch = story.tenure("A").epoch
    story.assign(A={P0}, B={P0, P1})
    story.hold(e.Renew, process="A")
    story.lose_data("empty", 0, 0.0)
    story.passes(2)  # B watches
    story.let_go()
    story.passes(3 * LEASE)
    assert (story.held_by("A"), story.tenure("A").epoch) == ({P0}, epoch)
    assert story.held_by("B") == {P1}


def test_what_was_seen_absent_before_another_loss_is_watched_anew() -> None:
    story = Story("A", "B")
    lapse_and_lose_data(story, "empty")
    story.passes(LEASE - 1)
    story.lose_data("empty", 0, 0.0)
    story.passes(1)
    lost = story.now
    while story.held_by("A") == set():
        story.passes(1)
    assert story.now >= lost + LEASE


def test_a_take_whose_reply_was_lost_is_waited_out() -> None:
    story = Story()
    story.assign()
    story.hold(e.Take)
    story.assign(A={P0})
    take = story.in_flight(e.Take)
    story.effect(take)
    story.time_out(take)
    story.let_go()
    story.passes(LEASE - 1)
    assert story.held_by("A") == set()
    story.passes(2)
    assert story.held_by("A") == {P0}


def test_a_partition_of_another_resource_is_not_consumed_and_given_back() -> None:
    story = Story("A", "B")
    story.assign(A=set(), B={P1})
    story.committed[P0, e.Lane.URGENT] = (0, encode_metadata("another-resource", 0, set()))
    story.assign(A={P0}, B={P1})
    story.passes(2)
    assert story.held_by("A") == set()
    assert story.pod("A").fetching == {}
    assert lease_of(story) is None
    assert any("another resource" in note.message for note in story.notes)
    assert not story.pod("A").pod.ready(story.now)


def test_a_partition_that_the_operator_commits_anew_is_served_seconds_later() -> None:
    story = Story(settings=replace(SETTINGS, foreign_backoff=60.0))
    story.crash(story.pod("A"))
    story.committed[P0, e.Lane.URGENT] = (0, encode_metadata("its-predecessor", 0, set()))
    story.start("A")
    story.passes(2)
    assert story.held_by("A") == set()
    story.committed[P0, e.Lane.URGENT] = (0, encode_metadata("resource-1", 0, set()))
    story.passes(3)
    assert story.held_by("A") == {P0}


def test_an_assignment_makes_the_pod_look_at_a_foreign_partition_at_once() -> None:
    story = Story(settings=replace(SETTINGS, foreign_backoff_first=60.0, foreign_backoff=60.0))
    story.crash(story.pod("A"))
    story.committed[P0, e.Lane.NORMAL] = (0, encode_metadata("its-predecessor", 0, set()))
    story.start("A")
    story.passes(5)
    story.committed[P0, e.Lane.NORMAL] = (0, encode_metadata("resource-1", 0, set()))
    story.passes(5)
    assert story.held_by("A") == set()
    story.assign(A={P0})
    assert story.held_by("A") == {P0}


def test_a_successor_does_not_read_again_what_the_metadata_names() -> None:
    story, away, other = Story("A", "B"), command(1, expires_in=39), command(2, station=S2)
    story.connect(S2, "A")
    story.send(away, other)
    story.passes(1)
    story.forget_so_far()
    story.assign(B={P0, P1})
    story.passes(2)
    assert story.outcomes(other) == []
    assert story.offset() == 0
    story.connect(S1, "B")
    story.passes(1)
    assert story.outcomes(away) == [Outcome.ACCEPTED]
    assert story.offset() == 2


def test_nothing_is_taken_before_redis_time_is_known() -> None:
    story = Story()
    story.crash(story.pod("A"))
    story.hold(e.Renew)
    story.hold(e.MarkRun)
    story.start("A")
    story.go()
    assert story.held_by("A") == set()
    story.let_go()
    story.passes(LEASE + 1)
    assert story.held_by("A") == {P0}


# ---------------------------------------------------------------------------------------------------------------- the right


def test_the_right_counts_from_before_the_renewal_was_sent() -> None:
    story = Story()
    story.hold(e.Renew)
    story.passes(2)
    renewal = story.in_flight(e.Renew)
    sent = story.now
    story.effect(renewal)
    story.tick()
    story.answer(renewal)
    assert story.tenure("A").right_until == sent + RIGHT


def test_a_tenure_that_lapsed_is_given_back_and_taken_anew() -> None:
    story = Story()
    first = story.tenure("A")
    story.hold(e.Renew)
    story.passes(RIGHT + 1)
    assert story.held_by("A") == {P0}  # nobody looked yet: the right itself is asked before every write
    assert not story.pod("A").pod.ownership.has_right(first, story.now)
    story.let_go()
    story.passes(2)
    assert first.gone
    assert story.tenure("A").epoch > first.epoch
    assert first.epoch in [release.epoch for release in story.seen(e.Release)]


def test_a_lapse_while_redis_is_silent_is_noticed_without_it() -> None:
    story = Story()
    for _ in range(RIGHT + 1):
        story.hold_all()
        story.tick()
        story.go()
        for op in [op for op in story.ops if isinstance(op.effect, e.Renew) and op.task]:
            story.time_out(op)
    assert story.held_by("A") == set()
    assert story.pod("A").fetching == {}


def test_another_takes_over_when_the_lease_is_over_not_before() -> None:
    story = Story("A", "B")
    story.assign(A={P0}, B={P0, P1})
    story.pod("A").frozen = True
    renewed_until = story.store.keys["partition", P0].lease_until_us / 1e6
    while story.held_by("B") == {P1}:
        assert story.now <= renewed_until + 1
        story.passes(1)
    assert story.now > renewed_until - 0.01
    story.pod("A").frozen = False
    story.passes(1)
    assert story.held_by("A") == set()


def test_a_later_life_of_the_same_container_need_not_wait() -> None:
    story = Story("A", "B")
    story.crash(story.pod("A"))
    story.start("A")
    story.passes(1)
    assert story.held_by("A") == {P0}


# ---------------------------------------------------------------------------------------------------------- the pod record


def written_records(story: Story, process: str = "A.1") -> list[tuple[int, set[int]]]:
    """Generation and partitions in each pod record sent so far."""
    return [
        (request.generation, {held.partition for held in request.held})
        for who, request in story.sent
        if isinstance(request, e.Renew) and who == process
    ]


def test_an_applied_generation_is_in_the_record_at_once_and_so_is_what_it_names_once_held() -> None:
    story = Story("A", partitions=2)
    story.passes(1)
    story.forget_so_far()
    story.hold(e.Take)
    story.assign(A={P0, P1})
    assert written_records(story) == [(1, {P0})]
    story.let_go()
    assert written_records(story) == [(1, {P0}), (1, {P0, P1})]


def test_what_was_given_up_is_in_the_record_at_once() -> None:
    story = Story("A", "B")
    story.passes(1)
    story.forget_so_far()
    story.assign(B={P0, P1})
    assert written_records(story) == [(1, {P0}), (1, set())]


def test_a_burst_of_generations_is_one_record_under_way_and_one_behind_it() -> None:
    story = Story("A", partitions=2)
    story.passes(1)
    story.forget_so_far()
    story.hold(e.Renew)
    for number in range(6):
        story.assign(A={P0, P1} if number % 2 else {P0})
    assert written_records(story) == [(1, {P0})]
    story.let_go()
    assert written_records(story) == [(1, {P0}), (6, {P0, P1})]


# ------------------------------------------------------------------------------------------------------------------ losing


def test_losing_a_partition_goes_in_order() -> None:
    story = Story("A", "B")
    story.assign(A={P0, P1})
    story.passes(2)
    for number in range(6):
        story.connect(f"S{number}", "A")  # type: ignore[arg-type]
    away = command(1, station="S9", expires_in=30)  # type: ignore[arg-type]
    story.send(away)
    partitions = {socket.partition for socket in story.pod("A").pod.directory.sockets.values()}
    assert partitions == {P0, P1}
    epochs = {station: story.store.entry(station).epoch for station in story.lines}  # type: ignore[union-attr]
    story.forget_so_far()
    story.assign(A={P1}, B={P0})
    order = story.order_of(e.Batch, e.StopFetch, e.Commit, e.Release, process="A.1")
    assert order[0] == "Batch"
    assert order.index("StopFetch") < order.index("Release")
    assert order[order.index("StopFetch") :][-1] == "Release" or "Commit" not in order[order.index("Release") :]
    for station, epoch in epochs.items():
        entry = story.store.entry(station)
        assert entry is not None
        assert (entry.partition, entry.epoch) == (P1, epoch)
    story.passes(2)
    assert story.held_by("B") == {P0}
    assert story.outcomes(away) == []


def test_the_right_ends_before_the_release_is_sent() -> None:
    story = Story("A", "B")
    tenure = story.tenure("A")
    story.hold(e.Release)
    story.assign(B={P0, P1})
    story.in_flight(e.Release)
    assert not story.pod("A").pod.ownership.has_right(tenure, story.now)


def test_a_release_that_arrives_late_does_not_hurt_a_later_tenure() -> None:
    story = Story("A", "B")
    story.hold(e.Release)
    story.assign(B={P1})
    release = story.in_flight(e.Release)
    for _ in range(3):
        story.time_out(story.in_flight(e.Release))
        story.passes(1)
    story.assign(A={P0}, B={P1})
    story.passes(LEASE)
    tenure = story.tenure("A")
    story.effect(release)
    assert lease_of(story) == story.pod("A").incarnation
    assert story.store.keys["partition", P0].epoch == tenure.epoch


def test_an_open_call_stays_with_the_pod_that_claimed_it() -> None:
    story, order = Story("A", "B"), command(expires_in=30)
    story.assign(A={P0, P1})
    story.passes(2)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.assign(A={P1}, B={P0})
    story.passes(1)
    assert story.held_by("B") == {P0}
    story.station_answers(0)
    story.go()
    assert story.outcomes(order)[0] is Outcome.ACCEPTED
    assert [commit.partition for commit in story.seen(e.Commit, "A.1") if commit.offset > 0] == []
    story.obliging = True
    story.passes(3)
    assert story.written(order) == 1
    assert set(story.outcomes(order)) == {Outcome.ACCEPTED}
    assert story.offset() == 1


def test_parked_commands_are_left_to_the_next_owner() -> None:
    story, order = Story("A", "B"), command(expires_in=20)
    story.send(order)
    story.assign(B={P0, P1})
    assert story.pod("A").pod.turns.mailboxes == {}
    assert story.pod("A").pod.turns.parked == 0
    story.connect(S1, "B")
    story.passes(2)
    assert story.outcomes(order) == [Outcome.ACCEPTED]


def test_without_any_partition_sockets_stay_for_a_while_and_are_then_closed_at_the_drain_rate() -> None:
    story = Story("A", "B", settings=replace(SETTINGS, lonely_close=5.0, closes_per_second=1.0))
    story.connect(S1, "A")
    story.connect(S2, "A")
    entry = story.store.entry(S1)
    story.assign(B={P0, P1})
    assert not story.pod("A").pod.ready(story.now)
    assert story.store.entry(S1) == entry
    story.passes(4)
    assert story.seen(e.CloseSocket, "A.1") == []
    story.passes(1)
    assert [close.connection for close in story.seen(e.CloseSocket, "A.1")] == ["socket-2"]
    story.passes(1)
    assert [close.connection for close in story.seen(e.CloseSocket, "A.1")] == ["socket-2", "socket-1"]


# ----------------------------------------------------------------------------------------------------------------- offsets


def test_an_unchanged_position_is_committed_again_from_time_to_time() -> None:
    story = Story()
    story.passes(2)
    story.forget_so_far()
    story.committed[P0, e.Lane.NORMAL] = (0, "an older commit that landed late")
    story.passes(5)
    assert {commit.lane for commit in story.seen(e.Commit)} == {e.Lane.NORMAL, e.Lane.URGENT}
    assert story.committed[P0, e.Lane.NORMAL][1] == "1;resource-1;"


def test_a_commit_whose_outcome_is_unknown_is_repeated() -> None:
    story, order = Story(), command(wait=False)
    story.hold(e.Commit)
    story.send(order)
    story.passes(1)
    story.time_out(story.in_flight(e.Commit))
    story.let_go()
    story.passes(1)
    assert story.offset() == 1


# --------------------------------------------------------------------------------------------------------------- directory


def test_a_registration_without_a_reply_is_refused_and_undone() -> None:
    story = Story()
    story.hold(e.Register)
    story.dial(S1, story.pod("A"))
    story.go()
    register = story.in_flight(e.Register)
    story.effect(register)
    story.time_out(register)
    story.let_go()
    assert S1 not in story.lines
    assert story.store.entry(S1) is None
    assert [x.connection for x in story.seen(e.Delete)] == ["socket-1"]


def test_a_registration_that_arrives_after_its_time_does_nothing() -> None:
    story = Story()
    story.obliging = False
    story.connect(S1, "A")
    before = story.store.entry(S1)
    story.hold(e.Register)
    story.dial(S1, story.pod("A"))
    story.go()
    register = story.in_flight(e.Register)
    story.time_out(register)
    story.tick()
    story.tick()
    story.effect(register)
    assert story.store.entry(S1) == before


def test_a_newer_connection_closes_the_older_one_here_and_elsewhere() -> None:
    story = Story("A", "B")
    story.obliging = False
    story.connect(S1, "A")
    story.connect(S1, "A")
    assert [close.connection for close in story.seen(e.CloseSocket)] == ["socket-1"]
    story.connect(S1, "B")
    story.passes(5)  # the next refresh of the old entry
    assert [close.connection for close in story.seen(e.CloseSocket)] == ["socket-1", "socket-2"]
    entry = story.store.entry(S1)
    assert entry is not None
    assert entry.connection == "socket-3"


def test_of_two_crossing_handshakes_the_later_epoch_stays() -> None:
    story = Story()
    story.hold(e.Register, about="socket-1")
    story.dial(S1, story.pod("A"))
    story.go()
    first = story.in_flight(e.Register)
    story.effect(first)
    story.connect(S1, "A")
    story.answer(first)
    story.go()
    current = story.pod("A").pod.directory.current(S1)
    assert current is not None
    assert current.connection == "socket-2"
    entry = story.store.entry(S1)
    assert entry is not None
    assert entry.connection == "socket-2"


def test_only_the_own_entry_is_deleted() -> None:
    story = Story("A", "B")
    story.obliging = False
    story.connect(S1, "A")
    story.connect(S1, "B")
    story.notice(story.half_open[0])
    story.go()
    entry = story.store.entry(S1)
    assert entry is not None
    assert entry.connection == "socket-2"


def test_a_lost_entry_is_written_again_only_by_a_socket_that_answers() -> None:
    story = Story()
    story.obliging = False
    story.connect(S1, "A")
    story.connect(S2, "A")
    story.hang_up(S2)  # half-open: the pod does not know
    before = story.store.entry(S1)
    for station in (S1, S2):
        del story.store.keys["conn", station]
    story.passes(6)
    assert story.store.entry(S1) == before
    assert story.store.entry(S2) is None
    assert [close.connection for close in story.seen(e.CloseSocket)] == ["socket-2"]


def test_an_epoch_that_was_forgotten_is_known_from_last() -> None:
    story = Story("A", "B")
    story.obliging = False
    story.connect(S1, "A")
    story.connect(S1, "B")
    story.answers_ping = lambda connection: True  # type: ignore[method-assign]  # two boxes with one identity
    del story.store.keys["conn", S1]
    story.passes(6)
    entry = story.store.entry(S1)
    assert entry is not None
    assert entry.connection == "socket-2"
    assert [close.connection for close in story.seen(e.CloseSocket)] == ["socket-1"]


def test_the_last_epoch_is_known_long_after_the_entry_is_gone() -> None:
    story = Story("A", "B")
    story.obliging = False
    story.connect(S1, "A")
    story.pod("A").frozen = True
    story.connect(S1, "B")
    story.hang_up(S1)
    story.notice(story.half_open[-1])
    story.passes(25)
    story.answers_ping = lambda connection: True  # type: ignore[method-assign]
    story.pod("A").frozen = False
    story.passes(5)
    assert story.store.entry(S1) is None
    assert [close.connection for close in story.seen(e.CloseSocket)] == ["socket-1"]


def test_the_partition_of_a_station_is_kept_while_it_is_owned() -> None:
    story = Story("A", "B")
    story.connect(S1, "A")
    story.assign(A={P0, P1})
    story.passes(8)
    assert story.store.entry(S1).partition == P0  # type: ignore[union-attr]


def test_no_handshake_is_answered_without_a_partition() -> None:
    story = Story("A", "B")
    story.assign(B={P0, P1})
    story.connect(S1, "A")
    assert S1 not in story.lines
    assert story.seen(e.Register) == []


# ------------------------------------------------------------------------------------------------------- when Redis lost data


def test_after_a_restart_empty_everything_of_ones_own_is_said_again_and_nothing_else_is_done() -> None:
    story = Story("A", "B")
    story.connect(S1, "A")
    done, open_ = command(1), command(2, expires_in=35)
    story.send(done)
    story.obliging = False
    story.send(open_)
    records = {order: story.stored(order) for order in (done, open_)}
    entry, tenure = story.store.entry(S1), story.tenure("A")
    story.lose_data("empty", 0, 0.0)
    story.forget_so_far()
    story.passes(2)
    assert {order: story.stored(order) for order in (done, open_)} == records
    assert story.store.entry(S1) == entry
    assert story.store.keys["partition", P0].epoch == tenure.epoch
    late = command(3)
    story.send(late)
    story.passes(1)
    assert story.seen(e.ClaimCommand) == []
    assert story.seen(e.Take) == []


def test_the_quiet_lasts_one_lease_from_the_marker_for_a_pod_just_started_too() -> None:
    story = Story("A", "B")
    story.lose_data("empty", 0, 0.0)
    story.passes(2)
    story.crash(story.pod("B"))
    story.start("B")
    marked = story.store.keys["run", "run-2"] / 1e6
    while story.now < marked + LEASE - 0.01:
        story.go()
        assert story.held_by("B") == set()
        story.tick()
    story.passes(LEASE + 2)  # its own partition stands absent: a full lease from now
    assert story.held_by("B") == {P1}


def test_an_own_record_older_than_written_is_noticed_without_another_run() -> None:
    story, order = Story("A", "B"), command(expires_in=35)
    story.connect(S1, "A")
    story.send(order)
    stored = story.stored(order)
    row = story.store.keys["partition", P0]
    story.store.keys["partition", P0] = replace(row, incarnation=None, epoch=row.epoch - 1)
    del story.store.keys["cmd", S1, order.id]
    story.forget_so_far()
    story.passes(2)
    assert story.counts["redis_data_losses",] == 1
    assert story.stored(order) == stored
    story.passes(2)
    assert story.seen(e.Take, "A.1") == []


def test_a_claim_answered_after_a_loss_was_noticed_is_asserted_before_the_write() -> None:
    story, order = Story(), command(expires_in=35)
    story.connect(S1, "A")
    story.hold(e.ClaimCommand)
    story.send(order)
    claim = story.in_flight(e.ClaimCommand)
    story.effect(claim)
    del story.store.keys["cmd", S1, order.id]
    row = story.store.keys["partition", P0]
    del story.store.keys["partition", P0]
    story.passes(2)
    assert story.counts["redis_data_losses",] == 1
    assert story.store.keys["partition", P0].epoch == row.epoch
    story.forget_so_far()
    story.answer(claim)
    story._held.clear()
    story.go()
    assert story.order_of(e.AssertRecord, e.WriteCall)[:2] == ["AssertRecord", "WriteCall"]


def test_a_request_to_a_server_that_is_gone_counts_as_unknown() -> None:
    story, order = Story(), command(expires_in=35)
    story.connect(S1, "A")
    story.hold(e.ClaimCommand)
    story.send(order)
    claim = story.in_flight(e.ClaimCommand)
    story.lose_data("failover", 1, 0.0)
    story.effect(claim)
    assert story.stored(order) is None
    story.answer(claim)
    story.go()
    assert story.written(order) == 0
    assert story.pod("A").pod.runs.quiet(story.now)


def test_right_after_a_loss_no_station_is_registered() -> None:
    story = Story()
    story.lose_data("empty", 0, 0.0)
    story.passes(2)
    noticed = story.now
    story.pod("A").pod.runs.lost(noticed)
    story.connect(S1, "A")
    assert S1 not in story.lines
    story.passes(1)
    story.connect(S1, "A")
    assert S1 in story.lines


def test_no_epoch_goes_back_to_a_slower_clock() -> None:
    story = Story("A", "B")
    story.connect(S1, "A")
    before = story.store.entry(S1)
    assert before is not None
    story.lose_data("failover", 4, -30.0)
    story.store.keys = {key: row for key, row in story.store.keys.items() if key[0] not in ("conn", "last")}
    story.hold(e.Batch, process="A")
    story.passes(4)
    story.connect(S1, "B")
    after = story.store.entry(S1)
    assert after is not None
    assert after.epoch > before.epoch


# ------------------------------------------------------------------------------------------------------------------- drain


def test_a_drain_closes_its_stations_then_gives_its_partitions_to_the_successors() -> None:
    story, order = Story("A", "B"), command(expires_in=30)
    story.connect(S1, "A")
    story.connect(S2, "A")
    story.obliging = False
    story.send(order)
    pod = story.pod("A").pod
    story.generation += 1
    story.wish = {"A": {P0}, "B": {P0, P1}}
    story.tell(story.pod("B"))
    story.spawn(story.pod("A"), "drain", pod.drain(story.now))
    story.go()
    assert not pod.ready(story.now)
    story.passes(2)
    # deliveries go on, and S1 is closed only after its open CALL
    assert [close.connection for close in story.seen(e.CloseSocket)] == ["socket-2"]
    story.station_answers(0)
    story.passes(2)
    assert story.outcomes(order) == [Outcome.ACCEPTED]
    assert [close.connection for close in story.seen(e.CloseSocket)] == ["socket-2", "socket-1"]
    story.hold(e.Commit, process="A")  # leaving takes a while
    story.passes(2)
    assert P0 in pod.ownership.wish  # its annotation stays as it is, and it takes nothing back
    assert pod.ownership.owned == {}
    assert story.held_by("B") == {P0, P1}
    story.let_go()
    story.passes(2)
    assert "A" not in story.processes
    assert story.offset() == 1


def test_a_drain_that_is_forced_still_reports_what_was_open() -> None:
    story, order = Story("A", settings=replace(SETTINGS, force_after=3.0)), command(expires_in=30)
    story.connect(S1, "A")
    story.obliging = False
    story.send(order)
    story.spawn(story.pod("A"), "drain", story.pod("A").pod.drain(story.now))
    story.passes(2)
    assert story.seen(e.CloseSocket) == []
    story.hold(e.PublishResult)
    story.passes(2)
    assert [close.connection for close in story.seen(e.CloseSocket)] == ["socket-1"]
    assert story.held_by("A") == set()
    assert "drain" in [task.name for task in story.tasks]
    story.let_go()
    story.passes(1)
    assert story.outcomes(order)[-1] is Outcome.UNCERTAIN
    assert "drain" not in [task.name for task in story.tasks]


def test_a_drain_does_not_wait_for_ever_for_servers_that_are_gone() -> None:
    story = Story("A", settings=replace(SETTINGS, force_after=2.0))
    story.spawn(story.pod("A"), "drain", story.pod("A").pod.drain(story.now))
    story.hold_all()
    story.passes(2 + LEASE + 1)
    assert "drain" not in [task.name for task in story.tasks]


def test_while_draining_no_new_station_is_registered() -> None:
    story = Story()
    story.spawn(story.pod("A"), "drain", story.pod("A").pod.drain(story.now))
    story.go()
    story.connect(S1, "A")
    assert story.seen(e.Register) == []


def test_a_partition_lost_during_a_registration_is_not_published_for_long() -> None:
    story = Story("A", "B")
    story.assign(A={P0, P1})
    story.passes(2)
    story.hold(e.Register)
    story.dial(S1, story.pod("A"))
    story.go()
    register = story.in_flight(e.Register)
    story.effect(register)
    chosen = register.effect.partition
    kept = P1 if chosen == P0 else P0
    story.assign(A={kept}, B={chosen})
    assert story.held_by("A") == {kept}
    story.answer(register)
    story.let_go()
    story.passes(1)
    entry = story.store.entry(S1)
    assert entry is not None
    assert (entry.connection, entry.partition) == ("socket-1", kept)


def test_a_refresh_asked_for_while_one_is_under_way_is_not_forgotten() -> None:
    story = Story()
    story.connect(S1, "A")
    story.hold(e.Batch)
    story.passes(5)
    (batch,) = [op for op in story.ops if isinstance(op.effect, e.Batch)]
    story.effect(batch)
    pod = story.pod("A").pod
    socket = pod.directory.current(S1)
    assert socket is not None
    pod.directory.check(socket, story.now)
    story.answer(batch)
    story.forget_so_far()
    story.let_go()
    assert len(story.seen(e.Batch)) == 1


def test_with_very_many_parked_stations_each_is_looked_up_less_often() -> None:
    story = Story(settings=replace(SETTINGS, poll_most=2, default_deadline=30.0))
    for number in range(5):
        story.send(command(number + 1, station=f"CP{number}"))  # type: ignore[arg-type]
    story.forget_so_far()
    story.passes(5)
    looks = [look.charge_point_ids for look in story.seen(e.GetConn)]
    assert all(len(stations) == 2 for stations in looks)
    assert sorted(station for stations in looks for station in stations) == sorted([f"CP{n}" for n in range(5)] * 2)


def test_no_right_to_deliver_hangs_on_the_pod_record() -> None:
    story, order = Story("A", "B"), command(expires_in=30)
    story.connect(S1, "A")
    for _ in range(8):
        story.store.keys.pop(("pod", "A"), None)
        story.passes(1)
    story.store.keys.pop(("pod", "A"), None)
    story.send(order)
    assert story.outcomes(order) == [Outcome.ACCEPTED]
    assert story.held_by("A") == {P0}


def test_one_record_that_cannot_be_asserted_does_not_keep_the_others_back() -> None:
    story, first, second = Story(settings=replace(SETTINGS, assert_batch=1)), command(1), command(2)
    story.connect(S1, "A")
    story.send(first, second)
    done = story.stored(first)
    story.lose_data("empty", 0, 0.0)
    assert_record = story.store._AssertRecord

    def one_shard_is_away(request: e.AssertRecord) -> object:
        away = request.command_id == second.id and story.now < 105
        return e.Unknown(story.now) if away else assert_record(request)

    with patch.object(story.store, "_AssertRecord", one_shard_is_away):
        story.passes(2)
        assert story.stored(first) == done
        assert story.stored(second) is None
        story.passes(6)
    assert isinstance(story.stored(second), e.Done)
    told = [batch.requests[0] for batch in story.seen(e.Batch) if isinstance(batch.requests[0], e.AssertRecord)]
    assert [request.command_id for request in told].count(first.id) == 1


def test_while_the_coordinator_is_away_a_round_of_commits_costs_one_time_out() -> None:
    story = Story("A", partitions=2)
    story.assign(A={P0, P1})
    story.passes(2)
    story.send(command(1, wait=False), partition=P0)
    story.send(command(2, wait=False), partition=P1)
    story.hold(e.Commit)
    story.forget_so_far()
    story.passes(1)
    first = story.in_flight(e.Commit)
    story.time_out(first)
    story.go()
    assert [op for op in story.ops if isinstance(op.effect, e.Commit) and op.task] == []
    story.passes(1)
    second = story.in_flight(e.Commit)
    assert second.effect.partition != first.effect.partition
    story.time_out(second)
    story.let_go()
    story.passes(3)
    assert (story.offset(P0), story.offset(P1)) == (1, 1)
