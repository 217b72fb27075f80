"""A resource's Redis as the operator needs it: who lives, who holds what, whose keys these are, which entries are stale.

What is decided here: nothing. `core.plan` says what may be released, `core.sweep` which entries are stale, `core.claims`
who may have the store; what changes a record is a script of the contract, which checks it again in the same step. Every
write may be repeated. Everything raises StoreUnavailable, and nothing else of its own.

Before each write the `guard` is asked, which raises when this operator is no longer the leader.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from redis.exceptions import ResponseError

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import PartitionRecord, PodRecord, StoreClaim
from ocpp_operator.adapters import cleaning
from ocpp_operator.adapters.cleaning import Cleaned
from ocpp_operator.adapters.entries import Entries, ListPods, Swept
from ocpp_operator.adapters.key_walk import Pace
from ocpp_operator.adapters.redis_access import Fault, RedisAccess, StoreUnavailable
from ocpp_operator.adapters.redis_masters import (
    Command,
    Master,
    Masters,
    Reply,
    is_of_another_type,
    microseconds,
    readable,
)
from ocpp_operator.core import claims
from ocpp_operator.core.claims import SeenClaim
from ocpp_operator.core.sweep import Entry, Progress

_N = TypeVar("_N", PodName, Partition)
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class StoreView:
    """One look; everything of one master was answered by one server process."""

    records: Mapping[PodName, PodRecord]
    holders: Mapping[Partition, PartitionRecord]
    claim: SeenClaim | None
    runs: frozenset[str]
    """Of all masters. Another set than before: the store may have lost data, and absence counts from now."""
    time_us: int
    """The store's time. Of several masters the slowest clock: a lease that is over by it is over everywhere."""
    unreadable: int
    """Records that are none of this release's; they were left out."""


class Directory:
    """Connections are made when they are needed; `close` it."""

    def __init__(
        self,
        access: RedisAccess,
        key_prefix: str = "",
        pace: Pace | None = None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.keys = Keys(key_prefix)
        self._masters = Masters(access)
        self._pace = pace or Pace()
        self._guard = guard
        self._entries = Entries(self._masters, self.keys, self._pace, guard)

    async def close(self) -> None:
        await self._masters.close()

    async def observe(self, pod_names: Collection[PodName], partitions: int) -> StoreView:
        """The records of those pods, who holds which partition, whose store it is, and which runs these are."""
        names = sorted(pod_names)
        numbers = [Partition(number) for number in range(partitions)]
        keys = [*map(self.keys.pod, names), *map(self.keys.partition, numbers), self.keys.claim]
        try:
            values, runs, time_us = await self._look(keys)
        except _Moved:  # slots went elsewhere since the layout was read
            self._masters.forget()
            try:
                values, runs, time_us = await self._look(keys)
            except _Moved as moved:
                raise moved.explained from None
        records = _decoded(names, values, PodRecord.from_json)
        holders = _decoded(numbers, values[len(names) :], PartitionRecord.from_json)
        claim = None if values[-1] is None else SeenClaim(None, None)
        if isinstance(values[-1], bytes):
            claim = SeenClaim.read(values[-1])
        there = sum(value is not None for value in values[:-1])
        return StoreView(records, holders, claim, runs, time_us, there - len(records) - len(holders))

    async def release(self, releasable: Mapping[Partition, Incarnation]) -> int:
        """Release what exactly these incarnations hold, which are known to be gone (`core.plan.releasable`). How many did;
        after a reply that was lost it may be fewer than were released."""
        self._guard()
        dead = [calls.release_dead(self.keys, partition, holder) for partition, holder in releasable.items()]
        return sum(await self._masters.run(dead))

    async def claim(self, mine: StoreClaim, seen: SeenClaim | None) -> bool:
        """Write the claim over exactly what `core.claims.judge_store` judged. False: something else stands there by now."""
        self._guard()
        text = None if seen is None else seen.text
        [(taken, _)] = await self._masters.run([calls.claim_store(self.keys, mine, text, claims.LEASE_US)])
        return bool(taken)

    async def clean(self, uid: str, limit: float, *, leave: bool = True) -> Cleaned:
        """Delete the keys of a resource that was deleted, for about `limit` seconds, and its claim last (not without `leave`).
        What is not finished then goes on with the next call.

        Only for whoever holds the claim: the younger of two on one prefix, or one whose claim a data loss took, deletes
        nothing (what it had is either the other's by now, or lost). Call it when the pods are gone: living ones write
        their records again.
        """
        return await cleaning.clean(self._masters, self.keys, self._pace, self._guard, uid, limit, leave)

    async def sweep(
        self,
        list_pods: ListPods,
        collect: Collection[Incarnation] = (),
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> Swept:
        """Delete the entries of processes that are gone; only for whoever holds the claim, since the pods of another
        resource on these keys are in no list of ours.

        `collect`: hand the entries of these processes out, to be compared with the pods' own lists (`core.sweep.compare`).
        They are kept in memory, so: a few pods per pass. What `list_pods` raises ends the pass.
        """
        return await self._entries.sweep(list_pods, collect, report)

    async def sweep_pods(
        self, gone: Collection[Incarnation], report: Callable[[Progress], None] = lambda progress: None
    ) -> Progress:
        """Delete the entries of these processes, which are known to be gone; everything else stays."""
        return await self._entries.sweep_pods(gone, report)

    async def remove(self, stale: Sequence[Entry]) -> int:
        """Delete these if they are still the same (`core.sweep.compare`). How many were."""
        return await self._entries.remove(stale)

    async def _look(self, keys: Sequence[str]) -> tuple[list[Reply], frozenset[str], int]:
        """Values (or the error of a key of another type), runs and time. Raises _Moved."""
        values: list[Reply] = [None] * len(keys)
        runs, times = set(), []
        places = await self._masters.by_master(keys)
        for master in await self._masters.all():
            indices = places.get(master, [])
            asked: list[Command] = [("INFO", "server", "replication"), ("TIME",), *(("GET", keys[i]) for i in indices)]
            info, time, *found = await self._masters.exchange(master, asked)
            runs.add(_run(readable(master, info), master))
            times.append(microseconds(readable(master, time)))
            for index, value in zip(indices, found, strict=True):
                if isinstance(value, ResponseError) and not is_of_another_type(value):
                    raise _Moved(master.refusal(value))
                values[index] = value
        return values, frozenset(runs), min(times)


class _Moved(Exception):
    """A key is not where the layout says, or may not be read."""

    def __init__(self, explained: StoreUnavailable) -> None:
        super().__init__(str(explained))
        self.explained = explained


def _decoded(names: Sequence[_N], values: Sequence[Reply], decode: Callable[[bytes], _R]) -> dict[_N, _R]:
    """Those that are there and readable; values beyond the names belong to others."""
    found = {}
    for name, value in zip(names, values, strict=False):
        try:
            if isinstance(value, bytes):
                found[name] = decode(value)
        except ContractError:
            continue
    return found


def _run(info: bytes, master: Master) -> str:
    """Which run this is: another one may have lost data. A replica that was promoted is another run of its process."""
    fields = dict(line.split(":", 1) for line in info.decode("utf-8", "replace").split("\r\n") if ":" in line)
    if fields.get("role") != "master":
        message = f"Redis at {master.address} is a replica: give the address of the master"
        raise StoreUnavailable(Fault.NOT_WRITABLE, message)
    promoted = fields.get("master_replid2", "0").strip("0") != ""
    return fields.get("run_id", "") + (f".{fields['master_replid'][:8]}" if promoted else "")
