"""Plays the operator: observe -> plan -> act, several times a second and at once when a pod comes or goes.

The plan is the operator's own planner. The list of pods is the list of our child processes (a process that ended is what
Kubernetes would report as a pod that is gone), the annotations are files of the Downward API's format, replaced atomically as
the kubelet does. What pods that are gone held is released by the contract's script, for exactly the dead incarnation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ocpp_contract.assignment import Assignment, format_annotations_file
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import PartitionRecord, PodRecord
from ocpp_local.pods import Pod
from ocpp_operator.core import plan as planner

log = logging.getLogger(__name__)

INTERVAL = 0.25
FIRST_PLAN_PATIENCE = 10.0


class Plane:
    """One run of the loop. `on_plan` hears of every plan that moves something."""

    def __init__(
        self,
        redis_url: str,
        partitions: int,
        pods: Callable[[], Collection[Pod]],
        first_wait_for: int,
        on_plan: Callable[[planner.Planned], None] = lambda planned: None,
        pace: planner.Pace | None = None,
    ) -> None:
        """The first plan waits a moment until `first_wait_for` pods show up, so that nothing moves right after the start."""
        # One connection: a reply and the run id it is judged by come from one server process.
        self._store = Redis.from_url(redis_url, socket_timeout=2.0, single_connection_client=True)
        self._keys = Keys()
        self._partitions = partitions
        self._pods = pods
        self._first_wait_for = first_wait_for
        self._on_plan = on_plan
        self._pace = pace or planner.Pace()
        self._plan = planner.Plan()
        self._absent: dict[PodName, float] = {}
        self._run_id = ""
        self._woken = asyncio.Event()
        self._began = time.monotonic()
        self.unowned_since: float | None = None

    @property
    def plan(self) -> planner.Plan:
        """The plan in force."""
        return self._plan

    def wake(self) -> None:
        """Look now: a pod came or went."""
        self._woken.set()

    async def run(self) -> None:
        """For ever. An outage of the store is waited out; the pods keep what they have."""
        task = asyncio.current_task()
        assert task is not None
        try:
            while (
                not task.cancelling()
            ):  # redis-py 8.1 swallows a cancellation that meets its pipeline at the wrong moment
                self._woken.clear()
                try:
                    await self.look()
                except (RedisError, OSError, TimeoutError) as error:
                    log.warning("the store does not answer: %s", error)
                    self._absent.clear()  # absence through the store's fault is nobody's death
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), INTERVAL)
        finally:
            await self.close()

    async def close(self) -> None:
        """Leave the store."""
        await self._store.aclose()

    async def look(self) -> None:
        """One pass."""
        present = {pod.name: pod for pod in self._pods()}
        now = time.monotonic()
        records, holders = await self._observe(present)
        seen = [self._seen(pod, records.get(pod.name), now) for pod in present.values()]
        if self._plan.generation == 0 and self._is_early(seen, now):
            return
        planned = planner.plan(self._plan, seen, self._partitions, now, self._pace)
        # Wishes first: a successor that asks before the release is refused and asks again; the other way round the partition
        # would lie free with nobody told to take it.
        for name, seat in planned.plan.seats.items():
            if self._plan.seats.get(name) != seat and name in present:
                _write(present[name].annotations_file, Assignment(seat.generation, seat.partitions))
        self._plan = planned.plan
        await self._release(planner.releasable(holders, seen))
        if planned.moves:
            log.info("plan %d: %s", planned.plan.generation, planned.reason)
            self._on_plan(planned)

    def _is_early(self, seen: list[planner.Pod], now: float) -> bool:
        able = sum(pod.incarnation is not None for pod in seen)
        return able < self._first_wait_for and now - self._began < FIRST_PLAN_PATIENCE

    async def _observe(
        self, present: Collection[PodName]
    ) -> tuple[dict[PodName, PodRecord], dict[Partition, Incarnation]]:
        """The `pod:` records of those present, and who holds which partition."""
        names = sorted(present)
        numbers = [Partition(number) for number in range(self._partitions)]
        async with self._store.pipeline(transaction=False) as pipe:
            pipe.info("server")
            for name in names:
                pipe.get(self._keys.pod(name))
            pipe.mget([self._keys.partition(number) for number in numbers])
            info, *texts, stored = await pipe.execute()
        if info["run_id"] != self._run_id:
            self._run_id = info["run_id"]
            self._absent.clear()  # the store may have lost data: absence counts from now
        records, holders = {}, {}
        for name, text in zip(names, texts, strict=True):
            with contextlib.suppress(ContractError):
                if text is not None:
                    records[name] = PodRecord.from_json(text)
        for number, text in zip(numbers, stored, strict=True):
            with contextlib.suppress(ContractError):
                holder = None if text is None else PartitionRecord.from_json(text).incarnation
                if holder is not None:
                    holders[number] = holder
        return records, holders

    def _seen(self, pod: Pod, record: PodRecord | None, now: float) -> planner.Pod:
        if record is not None and record.incarnation.uid != pod.uid:
            record = None  # left over from a pod of the same name in an earlier run
        if record is None:
            self._absent.setdefault(pod.name, now)
        else:
            self._absent.pop(pod.name, None)
        return planner.Pod(
            name=pod.name,
            uid=pod.uid,
            incarnation=record.incarnation if record else None,
            generation=record.generation if record else 0,
            leaving=pod.leaving or (record is not None and record.draining),
            absent_since=self._absent.get(pod.name),
        )

    async def _release(self, releasable: dict[Partition, Incarnation]) -> None:
        if not releasable:
            return
        async with self._store.pipeline(transaction=False) as pipe:
            for partition, holder in releasable.items():
                call = calls.release_dead(self._keys, partition, holder)
                pipe.eval(call.script.text, len(call.keys), *call.keys, *call.args)
            released = sum(await pipe.execute())
        log.info("released %d partitions of pods that are gone", released)


def _write(file: Path, assignment: Assignment) -> None:
    """As the kubelet does: whole and at once, so that a pod never reads half a file."""
    fresh = file.with_suffix(".new")
    fresh.write_text(format_annotations_file(assignment.to_annotations()), encoding="utf-8")
    os.replace(fresh, file)
