"""Every rule of the protocol that can be taken out, and how: by replacing one small function of core, or of the store.

Nothing in production code knows of this. `test_rules.py` shows for each rule that the simulation notices its absence;
rules that it cannot see have table tests beside the modules, named in `NOT_SEEN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from ocpp_contract.outcome import Outcome
from ocpp_gateway.core import (
    command_record,
    delivery,
    directory,
    endings,
    flight,
    ownership,
    parking,
    pod,
    routing,
    runs,
    store_clock,
    tenures,
    watermark,
    writing,
)
from ocpp_gateway.core import (
    effects as e,
)
from tests.simulation import schedules, store, world

Patches = list[Any]


@dataclass(frozen=True)
class Rule:
    """`without` replaces what makes the rule; `found_by` is a schedule that then breaks an invariant."""

    name: str
    without: Callable[[], Patches]
    mode: str
    seed: int = 0
    invariants: str = ""


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
        flight.replaceable = None
        return writing.Again.SOON
        yield

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


def _own_written_is_uncertain() -> Patches:
    return [_method(command_record.CommandMemory, "was_written", lambda self, key: False)]


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
    original = tenures.Tenures.look_at

    def look_at(self: tenures.Tenures, incarnation: Any, now: float) -> Any:
        owner, now = yield from original(self, incarnation, now)
        return (command_record.Owner.DEAD if owner is command_record.Owner.UNSURE else owner), now

    return [_method(tenures.Tenures, "look_at", look_at)]


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
    return [_method(store.Store, "last_ttl", 8.0)]


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
    Rule("every write is claimed first", _claim_before_write, "P"),
    Rule("the claim checks the connection's epoch", _claim_checks_epoch, "P"),
    Rule("a claim does nothing after its time", _claim_not_after, "P"),
    Rule("a claim replaces only what was met", _claim_is_compared, "P"),
    Rule("a claim under which nothing was written is put back", _put_back, "P"),
    Rule("put back to what it replaced", _put_back_to_previous, "P"),
    Rule("putting back compares", _put_back_compares, "P"),
    Rule("a dead claim of an unsafe type is Uncertain", _dead_unsafe_is_uncertain, "P"),
    Rule("an own written claim of an unsafe type is Uncertain", _own_written_is_uncertain, "P"),
    Rule("a claim of a living pod is waited for", _living_claim_waits, "P"),
    Rule("a claim older than any CALL counts as dead", _stale_claim_is_dead, "P"),
    Rule("a claim answered after a loss is asserted again", _recheck, "S"),
    Rule("done is set only where none is", _done_set_if_absent, "P"),
    Rule("what is stored is published", _stored_is_published, "P"),
    Rule("stored before published", _stored_before_published, "P"),
    Rule("outcomes that say never written are legal only from none", _only_from_none, "P"),
    Rule("own memory before the store", _memory_first, "S"),
    Rule("one command id once at a time", _single_flight, "P"),
    Rule("re-read after a lapse", _reread_after_lapse, "P"),
    Rule("command records are asserted again after a loss", _reassert_records, "S"),
    Rule("entries are asserted again after a loss", _reassert_entries, "S"),
    Rule("quiet for one lease after a loss", _quiet, "S"),
    Rule("a connection belongs to one run", _bound, "S"),
    Rule("no registration right after a loss", _settle, "PS"),
    Rule("take only when over or released", _take_only_when_over, "P"),
    Rule("absent waits a lease", _absent_waits, "S"),
    Rule("the right is checked right before the write", _right_before_write, "P"),
    Rule("the deadline is checked right before the write", _deadline_before_write, "P"),
    Rule("the right counts from before the renewal", _right_counts_from_sending, "P"),
    Rule("the right is shorter than the lease", _margin, "P"),
    Rule("a lapsed tenure is taken anew", _lapsed_is_taken_anew, "P"),
    Rule("the right ends before the release", _right_ends_before_release, "P"),
    Rule("release only the own tenure", _release_only_own, "P"),
    Rule("owners are incarnations", _incarnations, "P"),
    Rule("dead only for sure", _dead_must_be_sure, "P"),
    Rule("epochs have a floor", _floor, "S"),
    Rule("a higher epoch wins", _higher_epoch_wins, "P"),
    Rule("the last epoch is remembered", _last, "P"),
    Rule("the last epoch is remembered for long", _last_lives_long, "P"),
    Rule("only a socket that answered a ping is asserted again", _ping, "S"),
    Rule("a registration does nothing after its time", _register_not_after, "P"),
    Rule("entries are deleted by comparison", _delete_compares, "P"),
    Rule("the low watermark is committed", _low_watermark, "P"),
    Rule("finished means acknowledged", _finished_is_acknowledged, "P"),
    Rule("unchanged offsets are committed again", _commit_again, "P"),
    Rule("safe types are sent again only after socket loss", _resend_after_socket_loss_only, "P"),
)
__all__ = ["RULES", "Outcome", "Rule", "parking", "pod", "routing", "schedules", "without"]
