"""Stale `conn:` entries: found and deleted, in a pass through all of them or for pods that have just died.

`core.sweep` judges, after lists and records that are younger than the entries (its three rules); here is the order of the
questions that makes them younger. What is deleted is deleted by epoch, so a station that registers meanwhile keeps its
entry, and the epoch stays in `:last`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Incarnation, PodName
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import PodRecord
from ocpp_operator.adapters.key_walk import Pace, walk
from ocpp_operator.adapters.redis_masters import Master, Masters
from ocpp_operator.core.sweep import Entry, Judgement, Pods, Progress, pattern, read_entry

_LAST_TTL_MS: Final = 86_400_000
"""As the pods keep `:last` (protocol.md, "Directory")."""

ListPods: TypeAlias = Callable[[], Awaitable[Pods]]
"""A complete list, asked of the API server when this is called: it must be younger than the entries read before."""


@dataclass(frozen=True, slots=True)
class Swept:
    """A pass that came to its end."""

    progress: Progress
    entries: Mapping[Incarnation, tuple[Entry, ...]]
    """Those of the processes asked for, for `core.sweep.compare`; possibly twice (SCAN may do that)."""
    began_us: int
    """The store's time before the first was read."""
    read_by: float
    """When the last had been read, by the event loop's clock."""


class Entries:
    """The entries of one resource. Raises StoreUnavailable."""

    def __init__(self, masters: Masters, keys: Keys, pace: Pace, guard: Callable[[], None]) -> None:
        self._masters = masters
        self._keys = keys
        self._pace = pace
        self._guard = guard

    async def sweep(
        self,
        list_pods: ListPods,
        collect: Collection[Incarnation] = (),
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> Swept:
        """See `Directory.sweep`."""
        judgement = Judgement()
        pods: Pods = ()

        async def judge(entries: Sequence[Entry]) -> None:
            nonlocal pods
            if unknown := judgement.unknown(entries):
                # Whoever stands in an earlier list is let live; that somebody is gone only a list from now on can tell.
                if any((holder.pod, holder.uid) not in pods for holder in unknown):
                    pods = await list_pods()
                judgement.settle(unknown, pods, await self._records({holder.pod for holder in unknown}))

        return await self._pass(judgement, judge, collect, report)

    async def sweep_pods(
        self, gone: Collection[Incarnation], report: Callable[[Progress], None] = lambda progress: None
    ) -> Progress:
        """See `Directory.sweep_pods`."""

        async def judged(entries: Sequence[Entry]) -> None:
            """Nothing more is to be found out."""

        return (await self._pass(Judgement(gone, only_these=True), judged, (), report)).progress

    async def remove(self, stale: Sequence[Entry]) -> int:
        """See `Directory.remove`."""
        removed = 0
        for start in range(0, len(stale), self._pace.scripts):
            some = stale[start : start + self._pace.scripts]
            self._guard()
            deletions = [calls.delete(self._keys, entry.station, _LAST_TTL_MS, entry.epoch) for entry in some]
            removed += sum(await self._masters.run(deletions))
        return removed

    async def _pass(
        self,
        judgement: Judgement,
        judge: Callable[[Sequence[Entry]], Awaitable[None]],
        collect: Collection[Incarnation],
        report: Callable[[Progress], None],
    ) -> Swept:
        progress, began_us = Progress(), 0
        collected: dict[str, list[Entry]] = {str(incarnation): [] for incarnation in collect}

        async def batch(master: Master, keys: Sequence[bytes], time_us: int) -> bool:
            nonlocal progress, began_us
            began_us = began_us or time_us
            texts = await self._masters.values(master, keys)
            found = [(key, text) for key, text in zip(keys, texts, strict=True) if text is not None]
            entries = [entry for key, text in found if (entry := self._entry(key, text)) is not None]
            await judge(entries)
            for entry in entries:
                if entry.holder in collected:
                    collected[entry.holder].append(entry)
            removed = await self.remove(judgement.stale(entries))
            progress = Progress(
                progress.scanned + len(found),
                progress.removed + removed,
                progress.unreadable + len(found) - len(entries),
                time_us,
            )
            report(progress)
            return True

        await walk(self._masters, pattern(self._keys.prefix + "conn:"), self._pace, batch)
        entries = {incarnation: tuple(collected[str(incarnation)]) for incarnation in collect}
        return Swept(progress, entries, began_us, asyncio.get_running_loop().time())

    def _entry(self, key: bytes, text: bytes) -> Entry | None:
        try:
            return read_entry(self._keys, key.decode(), text)
        except UnicodeDecodeError:
            return None

    async def _records(self, names: Collection[PodName]) -> dict[PodName, PodRecord]:
        keys = {name: self._keys.pod(name) for name in names}
        texts = await self._masters.ask([(key, ("GET", key)) for key in keys.values()])
        records = {}
        for name, text in zip(keys, texts, strict=True):
            try:
                if text is not None:
                    records[name] = PodRecord.from_json(text)
            except ContractError:  # tells nothing about anybody
                continue
        return records
