"""Redis as core sees it: the scripts of `ocpp_contract.scripts`, in Python, with the same meanings.

`Store.execute(request)` answers one store request at once and atomically. Time is set from outside. `fail_over` and
`restart_empty` lose data and begin another run. `tests/gateway/adapters` holds the same requests against the Lua scripts
on a real Redis, so that what the simulation proves is true of what ships.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition
from ocpp_gateway.core import effects as e

US = 1_000_000
LAST_TTL = 500.0


@dataclass(frozen=True)
class PartitionRow:
    incarnation: Incarnation | None
    epoch: int
    lease_until_us: int
    run: str


@dataclass(frozen=True)
class Expiring:
    value: Any
    until_us: int


@dataclass
class Store:
    """All keys in one dictionary; every write keeps the state before it, for failovers that lose the last writes."""

    lease: float = 15.0
    entry_ttl: float = 900.0
    last_ttl: float = 86_400.0
    now: float = 0.0
    skew: float = 0.0
    run: str = "run-1"
    keys: dict[Any, Any] = field(default_factory=dict)
    _steps: int = 0
    _history: deque[dict[Any, Any]] = field(default_factory=lambda: deque(maxlen=4))

    # ---------------------------------------------------------------------------------------------------- time, keys
    @property
    def time_us(self) -> int:
        """TIME: strictly growing within one run, as microseconds of a real server practically are."""
        return int((self.now + self.skew) * US) + self._steps

    def _put(self, key: Any, value: Any) -> None:
        self._history.append(dict(self.keys))
        if value is None:
            self.keys.pop(key, None)
        else:
            self.keys[key] = value

    def _put_for(self, key: Any, value: Any, ttl: float) -> None:
        self._put(key, Expiring(value, self.time_us + int(ttl * US)))

    def _live(self, key: Any) -> Any:
        row = self.keys.get(key)
        return row.value if row is not None and row.until_us > self.time_us else None

    # -------------------------------------------------------------------------------------------------------- faults
    def restart_empty(self, run: str) -> None:
        self.keys = {}
        self._history.clear()
        self.run = run

    def fail_over(self, run: str, lost_writes: int, skew: float) -> None:
        if self._history:
            self.keys = dict(self._history[-min(len(self._history), lost_writes)])
        self._history.clear()
        self.run, self.skew = run, skew

    # ------------------------------------------------------------------------------------------------------- requests
    def execute(self, request: e.StoreRequest) -> Any:
        """The reply that `core.effects` names for the request."""
        self._steps += 1
        return getattr(self, "_" + type(request).__name__)(request)

    def _Batch(self, r: e.Batch) -> Any:
        return tuple(self.execute(request) for request in r.requests)

    def _Take(self, r: e.Take) -> Any:
        key, now = ("partition", r.partition), self.time_us
        row: PartitionRow | None = self.keys.get(key)
        if row is None or row.run != self.run:
            if not r.absent_ok:
                return e.AbsentPartition()
        elif row.incarnation is not None and row.lease_until_us > now:
            earlier_self = row.incarnation != r.incarnation and row.incarnation.same_container(r.incarnation)
            if not earlier_self:
                return e.Refused(row.incarnation, row.lease_until_us)
        epoch = max((row.epoch if row else 0) + 1, now, r.floor_us)
        self._put(key, PartitionRow(r.incarnation, epoch, now + int(self.lease * US), self.run))
        return e.Taken(epoch)

    def _IsAbsent(self, r: e.IsAbsent) -> Any:
        row: PartitionRow | None = self.keys.get(("partition", r.partition))
        return row is None or row.run != self.run

    def _Renew(self, r: e.Renew) -> Any:
        self._put_for(("pod", r.incarnation.pod), r.incarnation, self.lease)
        states = []
        for partition, epoch in r.held:
            row: PartitionRow | None = self.keys.get(("partition", partition))
            if row is None:
                states.append(e.RenewedPartition(e.RenewState.ABSENT, 0))
            elif row.incarnation == r.incarnation and row.epoch == epoch:
                held = replace(row, lease_until_us=self.time_us + int(self.lease * US), run=self.run)
                self._put(("partition", partition), held)
                states.append(e.RenewedPartition(e.RenewState.HELD, epoch))
            elif row.run != self.run and row.epoch < epoch:
                states.append(e.RenewedPartition(e.RenewState.ABSENT, row.epoch))
            else:
                states.append(e.RenewedPartition(e.RenewState.LOST, row.epoch))
        return e.Renewed(self.time_us, tuple(states))

    def _Restore(self, r: e.Restore) -> Any:
        key = ("partition", r.partition)
        row: PartitionRow | None = self.keys.get(key)
        mine = PartitionRow(r.incarnation, r.epoch, self.time_us + int(self.lease * US), self.run)
        own = row is not None and (row.incarnation, row.epoch) == (r.incarnation, r.epoch)
        if row is None or own or (row.run != self.run and row.epoch < r.epoch):
            self._put(key, mine)  # also over an own record: the caller counts a new right from this request
            return e.RenewState.HELD
        return e.RenewState.LOST

    def _Release(self, r: e.Release) -> Any:
        return self._release(r.partition, r.incarnation, r.epoch)

    def release_dead(self, partition: Partition, incarnation: Incarnation) -> bool:
        """The operator saw this very incarnation terminated."""
        return self._release(partition, incarnation, None)

    def _release(self, partition: Partition, incarnation: Incarnation, epoch: int | None) -> bool:
        key = ("partition", partition)
        row: PartitionRow | None = self.keys.get(key)
        if row is None or row.incarnation != incarnation or (epoch is not None and row.epoch != epoch):
            return False
        self._put(key, replace(row, incarnation=None, lease_until_us=0))
        return True

    def _GetPods(self, r: e.GetPods) -> Any:
        return tuple(self._live(("pod", pod)) for pod in r.pods)

    # ------------------------------------------------------------------------------------------------------ directory
    def entry(self, station: ChargePointId) -> ConnectionRecord | None:
        entry: ConnectionRecord | None = self._live(("conn", station))
        return entry

    def _last(self, station: ChargePointId) -> int:
        return self._live(("last", station)) or 0

    def _write_entry(self, station: ChargePointId, record: ConnectionRecord) -> None:
        self._put_for(("conn", station), record, self.entry_ttl)
        self._put_for(("last", station), max(record.epoch, self._last(station)), self.last_ttl)

    def _Register(self, r: e.Register) -> Any:
        if self.time_us > r.not_after_us:
            return e.Late()
        stored = self.entry(r.charge_point_id)
        epoch = max((stored.epoch if stored else 0) + 1, self._last(r.charge_point_id) + 1, self.time_us, r.floor_us)
        record = ConnectionRecord(
            r.incarnation.pod, r.incarnation, r.partition, epoch, r.connection, r.version, r.since
        )
        self._write_entry(r.charge_point_id, record)
        return e.Registered(epoch)

    def _Refresh(self, r: e.Refresh) -> Any:
        stored, mine = self.entry(r.charge_point_id), r.record.epoch
        if max(stored.epoch if stored else 0, self._last(r.charge_point_id)) > mine:
            return e.RefreshState.LOST
        if stored is not None and stored.epoch == mine and stored.connection != r.record.connection:
            return e.RefreshState.LOST
        if (stored is None or stored.epoch < mine) and not r.proven:
            return e.RefreshState.UNPROVEN
        self._write_entry(r.charge_point_id, r.record)
        return e.RefreshState.OK

    def _Delete(self, r: e.Delete) -> Any:
        stored = self.entry(r.charge_point_id)
        if stored is None or (stored.epoch != r.epoch and stored.connection != r.connection):
            return False
        last = max(stored.epoch, self._last(r.charge_point_id))
        self._put(("conn", r.charge_point_id), None)
        self._put_for(("last", r.charge_point_id), last, self.last_ttl)
        return True

    def _GetConn(self, r: e.GetConn) -> Any:
        return tuple(self.entry(station) for station in r.charge_point_ids)

    # ------------------------------------------------------------------------------------------------------- commands
    def record(self, station: ChargePointId, command: CommandId) -> e.CommandRecord | None:
        found: e.CommandRecord | None = self._live(("cmd", station, command))
        return found

    def _ClaimCommand(self, r: e.ClaimCommand) -> Any:
        if self.time_us > r.not_after_us:
            return e.Late()
        entry = self.entry(r.charge_point_id)
        if entry is None or entry.epoch != r.epoch:
            return e.Moved()
        stored = self.record(r.charge_point_id, r.command_id)
        if stored is not None and not (r.expected is not None and same_claim(stored, r.expected)):
            return stored
        claim = e.Claim(r.incarnation, r.epoch, self.time_us)
        self._put_for(("cmd", r.charge_point_id, r.command_id), claim, r.ttl)
        return e.Claimed(claim)

    def _PutBack(self, r: e.PutBack) -> Any:
        if not same_claim(self.record(r.charge_point_id, r.command_id), r.claim):
            return False
        key = ("cmd", r.charge_point_id, r.command_id)
        self._put(key, None if r.previous is None else Expiring(r.previous, self.keys[key].until_us))
        return True

    def _RecordDone(self, r: e.RecordDone) -> Any:
        stored = self.record(r.charge_point_id, r.command_id)
        if stored is not None and (r.only_from_none or isinstance(stored, e.Done)):
            return stored
        done = e.Done(r.result)
        self._put_for(("cmd", r.charge_point_id, r.command_id), done, r.ttl)
        return done

    def _AssertRecord(self, r: e.AssertRecord) -> Any:
        stored = self.record(r.charge_point_id, r.command_id)
        if stored is not None and (isinstance(stored, e.Done) or isinstance(r.record, e.Claim)):
            return stored
        self._put_for(("cmd", r.charge_point_id, r.command_id), r.record, r.ttl)
        return r.record

    def _MarkTimedOut(self, r: e.MarkTimedOut) -> Any:
        stored = self.record(r.charge_point_id, r.command_id)
        if not isinstance(stored, e.Claim) or not same_claim(stored, r.claim):
            return False
        if stored.timed_out_at_us is None:
            key = ("cmd", r.charge_point_id, r.command_id)
            marked = replace(stored, timed_out_at_us=self.time_us)
            self._put(key, Expiring(marked, self.keys[key].until_us))
        return True

    def _MarkRun(self, r: e.MarkRun) -> Any:
        key = ("run", r.run_id)
        if key not in self.keys:
            self._put(key, self.time_us)
        return e.RunMarked(self.keys[key], self.time_us)


def same_claim(stored: object, claim: e.Claim) -> bool:
    """The compare of the scripts: `timedOutAt` does not make it another claim."""
    return isinstance(stored, e.Claim) and (
        (stored.incarnation, stored.epoch, stored.since_us) == (claim.incarnation, claim.epoch, claim.since_us)
    )
