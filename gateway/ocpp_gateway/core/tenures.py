"""The procedures of ownership: renew, take, restore, lose, release. State is in `ownership.py`.

Two loops run as long as the pod does: `renewals` keeps every lease with one pipeline and learns Redis time from it,
`placement` compares the wish with what is held. Each partition is taken and lost by a procedure of its own, so that one
slow partition delays no other.
"""

from __future__ import annotations

from typing import Protocol

from ocpp_contract.commit_metadata import decode_metadata
from ocpp_contract.ids import Partition
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import (
    AbsentPartition,
    Batch,
    Count,
    FetchCommitted,
    HeldPartition,
    IsAbsent,
    Lane,
    LanePosition,
    Note,
    Procedure,
    Release,
    Renew,
    Renewed,
    RenewState,
    Restore,
    Sleep,
    Spawn,
    StartFetch,
    StopFetch,
    Take,
    Taken,
    Unknown,
    Wait,
)
from ocpp_gateway.core.foreign_mailboxes import ForeignMailboxes
from ocpp_gateway.core.observer import Observer
from ocpp_gateway.core.offsets import Offsets
from ocpp_gateway.core.ownership import Ownership, Progress, Tenure
from ocpp_gateway.core.runs import Absences, Runs
from ocpp_gateway.core.store_clock import StoreClock
from ocpp_gateway.core.watermark import Watermark


class Tenants(Protocol):
    """What hangs on a partition: stations published under it, commands read from it."""

    def leave(self, tenure: Tenure, now: float) -> Procedure[None]:
        """Publish the stations of the partition under another one, as far as there is one."""
        ...

    def forget(self, tenure: Tenure) -> None:
        """Forget parked and queued commands of the tenure: the next owner reads them."""
        ...

    def ended(self, tenure: Tenure) -> None:
        """The tenure is over: its stations need another partition."""
        ...

    def data_lost(self, now: float) -> Procedure[None]:
        """Assert again what this pod knows."""
        ...

    def connections(self) -> int: ...

    def draining(self) -> bool: ...


class Tenures:
    """Everything a pod does to hold its partitions."""

    def __init__(
        self,
        settings: DownlinkSettings,
        resource_uid: str,
        ownership: Ownership,
        clock: StoreClock,
        runs: Runs,
        observer: Observer,
        offsets: Offsets,
        tenants: Tenants,
    ) -> None:
        self._settings = settings
        self._resource_uid = resource_uid
        self._ownership = ownership
        self._clock = clock
        self._runs = runs
        self._observer = observer
        self._offsets = offsets
        self._tenants = tenants
        self._absences = Absences(settings.lease, settings.renew_interval)
        self._taking: set[Partition] = set()
        self._watching = False
        self._foreign = ForeignMailboxes(settings.foreign_backoff_first, settings.foreign_backoff)
        self.stopping = False
        """The pod is about to exit: nothing is taken any more."""

    # ------------------------------------------------------------------------------------------------- renewals
    def renewals(self, now: float) -> Procedure[None]:
        """Every renew_interval, and at once when the pod record has news: one pipeline for that record, TIME and all leases.

        The operator waits for the record (AssignmentConverged, reminders), so an applied generation is not left to the next
        tick. What is new while a round is under way makes one round more, however much it is.
        """
        while True:
            sent = now
            ok, now = yield from self.renew(now)
            pause = self._settings.renew_interval if ok else self._settings.retry_interval
            now, _ = yield Wait(self._ownership.news, sent + pause)

    def renew(self, now: float) -> Procedure[tuple[bool, float]]:
        """One round. True when Redis answered."""
        ownership = self._ownership
        ownership.news.consume()  # this round carries it
        sent, held = now, list(ownership.owned.values())
        request = Renew(
            ownership.incarnation,
            tuple(HeldPartition(tenure.partition, tenure.epoch) for tenure in held),
            ownership.generation,
            self._tenants.connections(),
            self._tenants.draining(),
        )
        try:
            now, reply = yield request
        except Unknown as unknown:
            now = unknown.now
            yield Count("renewals", ("unknown",))
            yield from self._drop_lapsed(now)
            return False, now
        assert isinstance(reply, Renewed)
        self._clock.learn(reply.time_us, now)
        forgotten = False
        for tenure, state in zip(held, reply.partitions, strict=True):
            if not ownership.is_current(tenure) or state.state is RenewState.UNKNOWN:
                continue  # where the outcome is unknown the right runs on, and lapses by itself
            if state.state is RenewState.HELD:
                if not ownership.renewed(tenure, sent, now):
                    yield from self._drop(tenure, now, "lapsed")
            elif state.state is RenewState.ABSENT and ownership.has_right(tenure, now):
                forgotten = True
                yield Spawn(f"restore {tenure.partition}", self._restore(tenure, now))
            else:
                forgotten = forgotten or state.stored_epoch < tenure.epoch
                yield from self._drop(tenure, now, "lost")
        yield from self._drop_lapsed(now)
        if forgotten:
            # An own record is gone, or older than it was written: Redis lost data without our seeing another run.
            yield from self.data_loss(now)
        yield Count("renewals", ("ok",))
        return True, now

    def _drop_lapsed(self, now: float) -> Procedure[None]:
        for tenure in self._ownership.lapsed(now):
            yield from self._drop(tenure, now, "lapsed")

    def data_loss(self, now: float) -> Procedure[None]:
        """Quiet, and everything that this pod knows is said again."""
        self._runs.lost(now)
        self._absences.forget_all()
        self._observer.data_lost()
        yield Count("redis_data_losses")
        yield Note("warning", "Redis lost data: asserting own records again, no takes and claims for one lease")
        yield Spawn("assert own records", self._tenants.data_lost(now))

    def _restore(self, tenure: Tenure, now: float) -> Procedure[None]:
        """The record is absent and we held it: only its holder may write it again, and only while its right lasts."""
        if not self._ownership.has_right(tenure, now):
            return
        sent = now
        try:
            now, state = yield Restore(tenure.partition, self._ownership.incarnation, tenure.epoch)
        except Unknown:
            return  # the next renewal shows
        if not self._ownership.is_current(tenure):
            return
        if state is not RenewState.HELD or not self._ownership.renewed(tenure, sent, now):
            yield from self._drop(tenure, now, "lost")

    def _drop(self, tenure: Tenure, now: float, why: str) -> Procedure[None]:
        """Lost or lapsed: the right is over already, so nothing is committed or released."""
        if not self._ownership.is_current(tenure):
            return  # ended meanwhile; a later tenure of the same partition must not be touched
        self._ownership.end(tenure, now)
        yield StopFetch(tenure.partition)
        self._tenants.forget(tenure)
        self._tenants.ended(tenure)
        if why == "lapsed":
            # The lease may still run in our name: give it back, so that the partition can be taken anew at once.
            yield Spawn(f"release {tenure.partition}", self._give_back(tenure))
        yield Count("partitions_ended", (why,))
        yield Note("warning", f"partition {why}", {"partition": tenure.partition, "epoch": tenure.epoch})

    # ------------------------------------------------------------------------------------------------ placement
    def placement(self, now: float) -> Procedure[None]:
        """Take what the wish names, give up what it does not."""
        while True:
            if not self.stopping:
                yield from self.place(now)
            now, _ = yield Wait(self._ownership.wish_changed, now + self._settings.placement_interval)

    def place(self, now: float) -> Procedure[None]:
        """One comparison of wish and possession."""
        for tenure in self._ownership.to_give_up():
            tenure.leaving = True
            yield Spawn(f"lose {tenure.partition}", self.lose(tenure, now))
        wanted = self._ownership.to_take()
        if self._runs.quiet(now) or not self._clock.known:
            if wanted and not self._watching:
                self._watching = True
                yield Spawn("watch absent partitions", self._watch(tuple(wanted), now))
            return
        for partition in wanted:
            if partition not in self._taking and self._foreign.due(partition, self._ownership.generation, now):
                self._taking.add(partition)
                yield Spawn(f"take {partition}", self._take_guarded(partition, now))

    def _watch(self, partitions: tuple[Partition, ...], now: float) -> Procedure[None]:
        """Look which of them stand absent while nothing may be taken.

        After an outage in which leases ran out nobody holds anything that he could restore, so every partition has to be seen
        absent for a full lease. That watch need not begin when the quiet ends: in the quiet, too, whoever has the right writes
        his record again at his next renewal, within the lease that both last. What was asked of a run that is gone proves
        nothing about the present one.
        """
        sent, losses = now, self._runs.losses
        try:
            now, looks = yield Batch(tuple(IsAbsent(partition) for partition in partitions))
        except Unknown:
            return
        finally:
            self._watching = False
        if losses != self._runs.losses:
            return
        for partition, absent in zip(partitions, looks, strict=True):
            if absent is True:
                self._absences.absent(partition, sent, now)
            elif absent is False:
                self._absences.present(partition)

    def _take_guarded(self, partition: Partition, now: float) -> Procedure[None]:
        try:
            yield from self.take(partition, now)
        except Unknown:
            pass  # the store refuses us until a take that did happen has run out: that is the lease we have to wait
        finally:
            self._taking.discard(partition)

    def take(self, partition: Partition, now: float) -> Procedure[None]:
        """Ask for the partition; once ours, commit the position first and only then fetch."""
        runs, losses = self._runs, self._runs.losses
        if runs.quiet(now):
            return
        sent = now
        now, reply = yield Take(partition, self._ownership.incarnation, self._clock.floor_us(now), absent_ok=False)
        if isinstance(reply, AbsentPartition):
            if losses != runs.losses:
                return
            absent_long_enough = self._absences.absent(partition, sent, now)
            if not absent_long_enough and not (yield from self._never_owned(partition)):
                return
            if losses != runs.losses or runs.quiet(now):
                return  # seen absent by the run that is gone: that proves nothing about this one
            sent = now
            now, reply = yield Take(partition, self._ownership.incarnation, self._clock.floor_us(now), absent_ok=True)
        else:
            self._absences.present(partition)
        if not isinstance(reply, Taken):
            return
        self._absences.present(partition)
        tenure = Tenure(partition, reply.epoch, self._ownership.granted(sent))
        self._ownership.took(tenure)
        yield Count("partitions_taken")
        yield from self._begin(tenure, now)

    def _never_owned(self, partition: Partition) -> Procedure[bool]:
        """Every owner commits its position before it delivers anything: no committed offset, no owner ever."""
        _, positions = yield FetchCommitted(partition)
        return all(position.committed is None for position in positions.values())

    def _begin(self, tenure: Tenure, now: float) -> Procedure[None]:
        positions: dict[Lane, LanePosition] = {}
        while True:
            if not self._ownership.has_right(tenure, now):
                return (yield from self._drop(tenure, now, "lapsed"))
            try:
                now, positions = yield FetchCommitted(tenure.partition)
                break
            except Unknown as unknown:
                now = (yield Sleep(unknown.now + self._settings.retry_interval)).now
        for lane, position in positions.items():
            low = max(position.committed or 0, position.beginning)
            known = decode_metadata(position.metadata, low)
            if known is not None and known.resource_uid != self._resource_uid:
                lasting = self._foreign.refused(tenure.partition, self._ownership.generation, now)
                yield Count("partitions_foreign")
                yield Note(
                    "error" if lasting else "warning",
                    "partition belongs to another resource (commit metadata): not consumed. Two resources must not share "
                    "command topics and group id",
                    {"partition": tenure.partition, "resource": known.resource_uid},
                )
                return (yield from self._release(tenure, now))
            same_base = known is not None and position.committed == low
            finished = known.finished if known is not None and same_base else frozenset()
            tenure.progress[lane] = Progress(Watermark(low, finished))
        self._foreign.ours(tenure.partition)
        committed = False
        while not committed:
            committed, now = yield from self._offsets.commit(tenure, now, force=True)
            if not self._ownership.has_right(tenure, now):
                return (yield from self._drop(tenure, now, "lapsed"))
            if not committed:
                now = (yield Sleep(now + self._settings.retry_interval)).now
        if tenure.gone or tenure.leaving:
            return None
        tenure.serving = True
        offsets = {lane: progress.watermark.low for lane, progress in tenure.progress.items()}
        yield StartFetch(tenure.partition, offsets)
        yield Note("info", "partition taken", {"partition": tenure.partition, "epoch": tenure.epoch})
        return None

    # --------------------------------------------------------------------------------------------------- losing
    def lose(self, tenure: Tenure, now: float) -> Procedure[None]:
        """Give up in order: stations elsewhere, no more records, forget, commit, end the right, release."""
        tenure.leaving = True
        yield from self._tenants.leave(tenure, now)
        if not self._ownership.is_current(tenure):
            return
        tenure.serving = False
        yield StopFetch(tenure.partition)
        self._tenants.forget(tenure)
        now = yield from self._now()
        _, now = yield from self._offsets.commit(tenure, now, force=False)
        if self._ownership.is_current(tenure):
            yield from self._release(tenure, now)

    def _release(self, tenure: Tenure, now: float) -> Procedure[None]:
        self._ownership.end(tenure, now)  # before the request leaves: the next owner may have the right at once
        self._tenants.ended(tenure)
        yield Count("partitions_ended", ("released",))
        yield from self._give_back(tenure)

    def _give_back(self, tenure: Tenure) -> Procedure[None]:
        """Only our own incarnation and epoch: a repeat, or a late one, can hurt nobody."""
        for _ in range(3):
            try:
                yield Release(tenure.partition, self._ownership.incarnation, tenure.epoch)
            except Unknown as unknown:
                yield Sleep(unknown.now + self._settings.retry_interval)
            else:
                return  # otherwise the lease runs out by itself

    def _now(self) -> Procedure[float]:
        return (yield Sleep(0.0)).now
