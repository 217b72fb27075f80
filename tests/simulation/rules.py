"""Every rule of the protocol that can be taken out, and how: by replacing one small function of core, or of the store.

Nothing in production code knows of this. `test_rules.py` shows for each rule that a directed run fails without it, and
for many of them that random schedules notice, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from ocpp_gateway.core import (
    command_record,
    delivery,
    directory,
    endings,
    flight,
    observer,
    ownership,
    runs,
    store_clock,
    tenures,
    watermark,
    writing,
)
from ocpp_gateway.core import (
    effects as e,
)
from tests.simulation import store, world

Patches = list[Any]


@dataclass(frozen=True)
class Rule:
    """`without` takes the rule out; `test` names a directed run that then fails."""

    name: str
    without: Callable[[], Patches]
    test: str


def _method(owner: type, name: str, replacement: Any) -> Any:
    return patch.object(owner, name, replacement)


@contextmanager
def without(rule: Rule) -> Iterator[None]:
    patches = rule.without()
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()


# ------------------------------------------------------------------------------------------------------------- claims


def _claim_before_write() -> Patches:
    def claim(self: writing.Writing, flight: Any, socket: Any) -> Any:
        yield from ()
        return e.Claim(self._ownership.incarnation, socket.epoch, self._clock.time_us(flight.now))

    return [_method(writing.Writing, "_claim", claim)]


def _claim_checks_epoch() -> Patches:
    original = store.Store._ClaimCommand

    def claim(self: store.Store, r: e.ClaimCommand) -> Any:
        with patch.object(store.Store, "entry", lambda *_: _Anything(r.epoch)):
            return original(self, r)

    return [_method(store.Store, "_ClaimCommand", claim)]


@dataclass
class _Anything:
    epoch: int


def _claim_not_after() -> Patches:
    original = store.Store._ClaimCommand
    return [_method(store.Store, "_ClaimCommand", lambda self, r: original(self, replace(r, not_after_us=1 << 60)))]


def _claim_is_compared() -> Patches:
    def claim(self: store.Store, r: e.ClaimCommand) -> Any:
        stored = self.record(r.charge_point_id, r.command_id)
        return original(self, replace(r, expected=stored if isinstance(stored, e.Claim) else None))

    original = store.Store._ClaimCommand
    return [_method(store.Store, "_ClaimCommand", claim)]


def _put_back() -> Patches:
    def uncertain(self: writing.Writing, flight: Any, claim: e.Claim) -> Any:
        yield from ()
        flight.replaceable = None
        return writing.Again.SOON

    return [_method(writing.Writing, "_put_back", uncertain)]


def _put_back_to_previous() -> Patches:
    original = store.Store._PutBack
    return [_method(store.Store, "_PutBack", lambda self, r: original(self, replace(r, previous=None)))]


def _put_back_compares() -> Patches:
    def put_back(self: store.Store, r: e.PutBack) -> Any:
        self._put(("cmd", r.charge_point_id, r.command_id), None)
        return True

    return [_method(store.Store, "_PutBack", put_back)]


def _dead_unsafe_is_uncertain() -> Patches:
    original = command_record.meet

    def meet(claim: Any, seen: Any, settings: Any) -> Any:
        return original(claim, seen if seen.mine else seen._replace(repeatable=True), settings)

    return [patch.object(endings, "meet", meet)]


def _living_claim_waits() -> Patches:
    original = command_record.meet

    def meet(claim: Any, seen: Any, settings: Any) -> Any:
        return original(claim, seen._replace(owner=command_record.Owner.DEAD), settings)

    return [patch.object(endings, "meet", meet)]


def _stale_claim_is_dead() -> Patches:
    return [patch.object(command_record, "is_stale", lambda age, settings: False)]


def _recheck() -> Patches:
    """A claim whose reply came after a loss was noticed is not asserted again."""

    class Still(runs.Runs):
        @property
        def losses(self) -> int:
            return 0

        @losses.setter
        def losses(self, value: int) -> None:
            pass

    original = writing.Writing._claim

    def claim(self: writing.Writing, flight: Any, socket: Any) -> Any:
        kept, self._runs = self._runs, Still(0.0, 0.0)
        try:
            return (yield from original(self, flight, socket))
        finally:
            self._runs = kept

    return [_method(writing.Writing, "_claim", claim)]


def _resend_after_socket_loss_only() -> Patches:
    original = writing.Writing._wait_for_answer

    def wait(self: writing.Writing, flight: Any, socket: Any, call: Any, claim: Any, pending: Any) -> Any:
        pending.socket_closed = pending.socket_closed or flight.repeatable
        return (yield from original(self, flight, socket, call, claim, pending))

    return [_method(writing.Writing, "_wait_for_answer", wait)]


# ------------------------------------------------------------------------------------------------------------ outcomes


def _done_set_if_absent() -> Patches:
    def done(self: store.Store, r: e.RecordDone) -> Any:
        stored = self.record(r.charge_point_id, r.command_id)
        if isinstance(stored, e.Claim) and r.only_from_none:
            return stored
        self._put_for(("cmd", r.charge_point_id, r.command_id), e.Done(r.result), r.ttl)
        return e.Done(r.result)

    return [_method(store.Store, "_RecordDone", done)]


def _stored_is_published() -> Patches:
    original = endings.Endings.finish

    def finish(self: endings.Endings, flight: Any, result: Any) -> Any:
        stored = yield from original(self, flight, result)
        return e.Done(result) if isinstance(stored, e.Done) else stored

    return [_method(endings.Endings, "finish", finish)]


def _stored_before_published() -> Patches:
    original = endings.Endings.finish

    def finish(self: endings.Endings, flight_: Any, result: Any) -> Any:
        yield from flight.sure(flight_, e.PublishResult(result), 1.0)
        return (yield from original(self, flight_, result))

    return [_method(endings.Endings, "finish", finish)]


def _only_from_none() -> Patches:
    original = store.Store._RecordDone
    return [_method(store.Store, "_RecordDone", lambda self, r: original(self, replace(r, only_from_none=False)))]


def _memory_first() -> Patches:
    return [_method(command_record.CommandMemory, "recall", lambda self, key: None)]


def _single_flight() -> Patches:
    class Nobody(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            return None

        def __contains__(self, key: object) -> bool:
            return False

    original = delivery.Delivery.__init__

    def init(self: delivery.Delivery, *args: Any) -> None:
        original(self, *args)
        self._at_work = Nobody()

    return [_method(delivery.Delivery, "__init__", init)]


def _reread_after_lapse() -> Patches:
    original = endings.Endings.publish

    def publish(self: endings.Endings, flight: Any, done: Any) -> Any:
        with patch.object(ownership.Ownership, "has_right", lambda *_: True):
            procedure = original(self, flight, done)
            effect = next(procedure)
        while True:
            try:
                effect = procedure.send((yield effect))
            except e.Unknown as unknown:
                effect = procedure.throw(unknown)
            except StopIteration:
                return

    return [_method(endings.Endings, "publish", publish)]


# ----------------------------------------------------------------------------------------------------------- data loss


def _reassert_records() -> Patches:
    return [_method(command_record.CommandMemory, "all", lambda self: iter(()))]


def _reassert_entries() -> Patches:
    return [_method(directory.Directory, "refresh_all", lambda self, now: None)]


def _quiet() -> Patches:
    return [_method(runs.Runs, "quiet", lambda self, now: False)]


def _bound() -> Patches:
    """Requests and replies of an older run count; the new one is noticed with the next request after."""

    def serve(self: world.World, op: world.Op) -> Any:
        return original(self, replace_run(op, self.store.run))

    def replace_run(op: world.Op, run: str) -> world.Op:
        op.run = run
        return op

    def answer(self: world.World, op: world.Op) -> None:
        assert op.process is not None
        late = op.process.run != self.store.run
        op.run = op.process.run or ""
        original_answer(self, op)
        if late and op.process.alive:
            self.connect_store(op.process)

    original, original_answer = world.World._serve, world.World.answer
    return [_method(world.World, "_serve", serve), _method(world.World, "answer", answer)]


def _settle() -> Patches:
    return [_method(runs.Runs, "settling", lambda self, now: False)]


# ---------------------------------------------------------------------------------------------------------- partitions


def _take_only_when_over() -> Patches:
    original = store.Store._Take

    def take(self: store.Store, r: e.Take) -> Any:
        row = self.keys.get(("partition", r.partition))
        if row is not None:
            self.keys["partition", r.partition] = replace(row, incarnation=None)
        return original(self, r)

    return [_method(store.Store, "_Take", take)]


def _absent_waits() -> Patches:
    return [_method(runs.Absences, "absent", lambda self, thing, sent, received: True)]


def _right_before_write() -> Patches:
    def may_write(self: writing.Writing, flight: Any, socket: Any) -> bool:
        return not self._endings.past_deadline(flight) and socket.open

    return [_method(writing.Writing, "may_write", may_write)]


def _deadline_before_write() -> Patches:
    def may_write(self: writing.Writing, flight: Any, socket: Any) -> bool:
        return self._ownership.has_right(flight.tenure, flight.now) and socket.open

    return [_method(writing.Writing, "may_write", may_write)]


def _right_counts_from_sending() -> Patches:
    """From the receipt of the reply instead."""

    def renewed(self: ownership.Ownership, tenure: Any, sent: float, now: float) -> bool:
        return original(self, tenure, now, now)

    original = ownership.Ownership.renewed
    return [_method(ownership.Ownership, "renewed", renewed)]


def _margin() -> Patches:
    return [_method(ownership.Ownership, "granted", lambda self, sent: sent + self.settings.lease + 1.0)]


def _lapsed_is_taken_anew() -> Patches:
    def renewed(self: ownership.Ownership, tenure: Any, sent: float, now: float) -> bool:
        tenure.right_until = max(tenure.right_until, self.granted(sent))
        return True

    return [
        _method(ownership.Ownership, "renewed", renewed),
        _method(ownership.Ownership, "lapsed", lambda self, now: []),
    ]


def _right_ends_before_release() -> Patches:
    def release(self: tenures.Tenures, tenure: Any, now: float) -> Any:
        yield from self._give_back(tenure)
        self._ownership.end(tenure, now)
        self._tenants.ended(tenure)

    return [_method(tenures.Tenures, "_release", release)]


def _release_only_own() -> Patches:
    def release(self: store.Store, partition: Any, incarnation: Any, epoch: Any) -> bool:
        row = self.keys.get(("partition", partition))
        if row is not None and row.incarnation is not None and row.incarnation.pod == incarnation.pod:
            self._put(("partition", partition), replace(row, incarnation=None, lease_until_us=0))
        return True

    return [_method(store.Store, "_release", release)]


def _incarnations() -> Patches:
    """Compare pod names only, as a design without incarnations would."""

    def renew(self: store.Store, r: e.Renew) -> Any:
        for partition, epoch in r.held:
            row = self.keys.get(("partition", partition))
            if row is not None and row.incarnation is not None and row.incarnation.pod == r.incarnation.pod:
                self.keys["partition", partition] = replace(row, incarnation=r.incarnation, epoch=epoch)
        return original_renew(self, r)

    def observe(self: endings.Endings, flight: Any, claim: e.Claim) -> Any:
        if claim.incarnation.pod == self._ownership.incarnation.pod:
            claim = replace(claim, incarnation=self._ownership.incarnation)
        return (yield from original_meet(self, flight, claim))

    def same(stored: object, claim: e.Claim) -> bool:
        return isinstance(stored, e.Claim) and (stored.incarnation.pod, stored.epoch) == (
            claim.incarnation.pod,
            claim.epoch,
        )

    original_renew, original_meet = store.Store._Renew, endings.Endings.meet
    return [
        _method(store.Store, "_Renew", renew),
        _method(endings.Endings, "meet", observe),
        patch.object(store, "same_claim", same),
    ]


def _dead_must_be_sure() -> Patches:
    """Whoever's `pod:` record is absent at one look counts as dead."""
    original = observer.Observer.look_at

    def look_at(self: observer.Observer, incarnation: Any, now: float) -> Any:
        owner, now = yield from original(self, incarnation, now)
        return (command_record.Owner.DEAD if owner is command_record.Owner.UNSURE else owner), now

    return [_method(observer.Observer, "look_at", look_at)]


# ----------------------------------------------------------------------------------------------------------- directory


def _floor() -> Patches:
    return [_method(store_clock.StoreClock, "floor_us", lambda self, now: 0)]


def _higher_epoch_wins() -> Patches:
    def refresh(self: store.Store, r: e.Refresh) -> Any:
        self._write_entry(r.charge_point_id, r.record)
        return e.RefreshState.OK

    return [_method(store.Store, "_Refresh", refresh)]


def _last() -> Patches:
    return [_method(store.Store, "_last", lambda self, station: 0)]


def _last_lives_long() -> Patches:
    def init(self: store.Store, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "last_ttl": 8.0})

    original = store.Store.__init__
    return [_method(store.Store, "__init__", init)]


def _ping() -> Patches:
    original = store.Store._Refresh
    return [_method(store.Store, "_Refresh", lambda self, r: original(self, replace(r, proven=True)))]


def _register_not_after() -> Patches:
    original = store.Store._Register
    return [_method(store.Store, "_Register", lambda self, r: original(self, replace(r, not_after_us=1 << 60)))]


def _delete_compares() -> Patches:
    def delete(self: store.Store, r: e.Delete) -> Any:
        self._put(("conn", r.charge_point_id), None)
        return True

    return [_method(store.Store, "_Delete", delete)]


# ------------------------------------------------------------------------------------------------------------- offsets


def _low_watermark() -> Patches:
    def advance(self: watermark.Watermark) -> None:
        if self._finished:
            self.low = max(self.low, max(self._finished) + 1)

    return [_method(watermark.Watermark, "_advance", advance)]


def _finished_is_acknowledged() -> Patches:
    original_append, original_publish = delivery.Delivery._append, endings.Endings.publish

    def append(self: delivery.Delivery, flight: Any, *rest: Any) -> Any:
        self._finished(flight.tenure, flight.source)
        yield from original_append(self, flight, *rest)

    def publish(self: endings.Endings, flight: Any, done: Any) -> Any:
        flight.tenure.progress[flight.source.lane].watermark.finish(flight.source.offset)
        yield from original_publish(self, flight, done)

    return [_method(delivery.Delivery, "_append", append), _method(endings.Endings, "publish", publish)]


def _commit_again() -> Patches:
    return [patch.object(world, "SETTINGS", replace(world.SETTINGS, recommit_interval=1e9))]


RULES: tuple[Rule, ...] = (
    Rule(
        "every write is claimed first", _claim_before_write, "test_timed_out_is_reported_and_a_late_answer_still_counts"
    ),
    Rule(
        "the claim checks the connection's epoch",
        _claim_checks_epoch,
        "test_nothing_is_written_for_a_socket_that_the_station_has_left",
    ),
    Rule(
        "a claim does nothing after its time", _claim_not_after, "test_a_claim_that_arrives_after_its_time_does_nothing"
    ),
    Rule(
        "a claim replaces only what was met", _claim_is_compared, "test_a_claim_of_ones_own_former_life_is_dead_at_once"
    ),
    Rule(
        "a claim under which nothing was written is put back",
        _put_back,
        "test_the_deadline_is_asked_again_right_before_the_write",
    ),
    Rule(
        "put back to what it replaced", _put_back_to_previous, "test_putting_back_restores_the_claim_that_was_replaced"
    ),
    Rule("putting back compares", _put_back_compares, "test_putting_back_restores_the_claim_that_was_replaced"),
    Rule(
        "a dead claim of an unsafe type is Uncertain",
        _dead_unsafe_is_uncertain,
        "test_a_claim_of_ones_own_former_life_is_dead_at_once",
    ),
    Rule(
        "a claim of a living pod is waited for",
        _living_claim_waits,
        "test_a_claim_older_than_any_call_is_dead_though_its_pod_lives",
    ),
    Rule(
        "a claim older than any CALL counts as dead",
        _stale_claim_is_dead,
        "test_a_claim_older_than_any_call_is_dead_though_its_pod_lives",
    ),
    Rule(
        "a claim answered after a loss is asserted again",
        _recheck,
        "test_a_claim_answered_after_a_loss_was_noticed_is_asserted_before_the_write",
    ),
    Rule(
        "done is set only where none is",
        _done_set_if_absent,
        "test_done_once_is_done_the_stored_outcome_is_what_is_published",
    ),
    Rule(
        "what is stored is published",
        _stored_is_published,
        "test_done_once_is_done_the_stored_outcome_is_what_is_published",
    ),
    Rule("stored before published", _stored_before_published, "test_two_copies_of_one_id_wait_for_each_other"),
    Rule(
        "outcomes that say never written are legal only from none",
        _only_from_none,
        "test_putting_back_restores_the_claim_that_was_replaced",
    ),
    Rule("own memory before the store", _memory_first, "test_a_pod_asks_its_own_memory_before_a_store_that_forgot"),
    Rule(
        "one command id once at a time",
        _single_flight,
        "test_the_deadline_of_a_copy_does_not_end_what_the_other_copy_has_under_way",
    ),
    Rule(
        "re-read after a lapse",
        _reread_after_lapse,
        "test_an_outcome_is_published_only_after_a_look_when_the_lease_has_lapsed",
    ),
    Rule(
        "command records are asserted again after a loss",
        _reassert_records,
        "test_an_own_record_older_than_written_is_noticed_without_another_run",
    ),
    Rule(
        "entries are asserted again after a loss",
        _reassert_entries,
        "test_after_a_restart_empty_everything_of_ones_own_is_said_again_and_nothing_else_is_done",
    ),
    Rule(
        "quiet for one lease after a loss",
        _quiet,
        "test_the_quiet_lasts_one_lease_from_the_marker_for_a_pod_just_started_too",
    ),
    Rule("a connection belongs to one run", _bound, "test_a_request_to_a_server_that_is_gone_counts_as_unknown"),
    Rule("no registration right after a loss", _settle, "test_right_after_a_loss_no_station_is_registered"),
    Rule("take only when over or released", _take_only_when_over, "test_a_take_whose_reply_was_lost_is_waited_out"),
    Rule("absent waits a lease", _absent_waits, "test_an_absent_one_that_was_owned_is_taken_only_after_a_full_lease"),
    Rule(
        "the right is checked right before the write",
        _right_before_write,
        "test_a_claim_whose_right_is_over_is_put_back_and_the_next_owner_delivers",
    ),
    Rule(
        "the deadline is checked right before the write",
        _deadline_before_write,
        "test_the_deadline_is_asked_again_right_before_the_write",
    ),
    Rule(
        "the right counts from before the renewal",
        _right_counts_from_sending,
        "test_the_right_counts_from_before_the_renewal_was_sent",
    ),
    Rule(
        "the right is shorter than the lease",
        _margin,
        "test_an_outcome_is_published_only_after_a_look_when_the_lease_has_lapsed",
    ),
    Rule(
        "a lapsed tenure is taken anew",
        _lapsed_is_taken_anew,
        "test_a_lapse_while_redis_is_silent_is_noticed_without_it",
    ),
    Rule(
        "the right ends before the release",
        _right_ends_before_release,
        "test_the_right_ends_before_the_release_is_sent",
    ),
    Rule(
        "release only the own tenure",
        _release_only_own,
        "test_a_release_that_arrives_late_does_not_hurt_a_later_tenure",
    ),
    Rule("owners are incarnations", _incarnations, "test_a_claim_of_ones_own_former_life_is_dead_at_once"),
    Rule("dead only for sure", _dead_must_be_sure, "test_one_look_at_an_absent_pod_record_proves_no_death"),
    Rule("epochs have a floor", _floor, "test_no_epoch_goes_back_to_a_slower_clock"),
    Rule("a higher epoch wins", _higher_epoch_wins, "test_a_newer_connection_closes_the_older_one_here_and_elsewhere"),
    Rule("the last epoch is remembered", _last, "test_an_epoch_that_was_forgotten_is_known_from_last"),
    Rule(
        "the last epoch is remembered for long",
        _last_lives_long,
        "test_the_last_epoch_is_known_long_after_the_entry_is_gone",
    ),
    Rule(
        "only a socket that answered a ping is asserted again",
        _ping,
        "test_a_lost_entry_is_written_again_only_by_a_socket_that_answers",
    ),
    Rule(
        "a registration does nothing after its time",
        _register_not_after,
        "test_a_registration_that_arrives_after_its_time_does_nothing",
    ),
    Rule(
        "entries are deleted by comparison",
        _delete_compares,
        "test_only_the_own_entry_is_deleted",
    ),
    Rule("the low watermark is committed", _low_watermark, "test_a_station_that_is_away_does_not_pin_the_log_for_ever"),
    Rule(
        "finished means acknowledged",
        _finished_is_acknowledged,
        "test_a_forward_is_finished_when_it_is_acknowledged_not_before",
    ),
    Rule(
        "unchanged offsets are committed again",
        _commit_again,
        "test_an_unchanged_position_is_committed_again_from_time_to_time",
    ),
    Rule(
        "safe types are sent again only after socket loss",
        _resend_after_socket_loss_only,
        "test_when_the_late_window_passes_it_is_uncertain_and_never_written_again",
    ),
)
