"""One task per resource, and the complete lists under them.

Watch events wake loops and nothing more; a loop that fails waits and looks again, alone. The mirror's complete lists are read before the
first loop starts (a pod that has not been seen yet would be taken for one that is gone), and again whenever the mirror
wants them: until then no loop makes a pass, since it would see ghosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Protocol

from ocpp_operator.adapters.api_errors import ClusterError
from ocpp_operator.core import kinds, names
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Key
from ocpp_operator.reconcile.surroundings import Surroundings

log = logging.getLogger(__name__)

_SETTLE = 0.5
"""Seconds between the wish for lists and the lists: the streams of all kinds end together, and one look serves all."""
_RETRY = 1.0
_TICK = 60.0


class Loop(Protocol):
    """The loop of one resource."""

    def wake(self) -> None: ...
    async def run(self) -> None:
        """Until the resource is gone and cleaned up after."""


class Supervisor:
    """Starts loops, wakes them, and keeps the mirror complete. `run` ends only by cancellation."""

    def __init__(self, around: Surroundings, watched: Collection[Kind], make: Callable[[Key], Loop]) -> None:
        self._around = around
        self._watched = tuple(watched)
        self._make = make
        self._loops: dict[Key, tuple[Loop, asyncio.Task[None]]] = {}
        self._changed = asyncio.Event()
        self.complete = asyncio.Event()
        """Set while the mirror is complete: loops wait for it before a pass."""

    def wake(self, concerned: Collection[Key]) -> None:
        """After a watch event."""
        self._around.vitals.heard()
        for key in concerned:
            self._begin(key)
        if self._around.mirror.wants_lists:
            self.complete.clear()
            self._changed.set()

    def _begin(self, key: Key) -> None:
        known = self._loops.get(key)
        if known is not None:
            known[0].wake()
        elif self.complete.is_set() and self._around.mirror.resource(key) is not None:
            loop = self._make(key)
            task = asyncio.create_task(loop.run(), name=f"resource {key}")
            self._loops[key] = loop, task
            task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        del self._loops[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the loop of %s ended by an error", key, exc_info=error)
        if not task.cancelled() and self._around.mirror.resource(key) is not None:  # made again meanwhile
            self._begin(key)

    async def run(self) -> None:
        """Keep the mirror complete for ever; stop all loops at the end."""
        try:
            while True:
                if self._around.mirror.wants_lists:
                    await self._list_all()
                self._around.vitals.passed()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK):
                        await self._changed.wait()
                self._changed.clear()
                if self._around.mirror.wants_lists:
                    await asyncio.sleep(_SETTLE)
        finally:
            await self._stop_loops()

    async def _stop_loops(self) -> None:
        self.complete.clear()  # one that ends by itself now is not begun anew
        tasks = [task for _, task in self._loops.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _list_all(self) -> None:
        while self._around.mirror.wants_lists:
            self._around.mirror.listing()
            try:
                for kind in self._watched:
                    await self._list(kind)
            except ClusterError as error:
                self._around.mirror.wants_lists = True
                log.warning("waiting for complete lists: %s", error)
                await asyncio.sleep(_RETRY)
            else:
                if self._around.mirror.wants_lists:  # a stream began anew behind a list that was read already
                    await asyncio.sleep(_SETTLE)
        self.complete.set()
        for resource in list(self._around.mirror.resources()):
            self._begin(Key(resource["metadata"]["namespace"], resource["metadata"]["name"]))

    async def _list(self, kind: Kind) -> None:
        labels = None if kind == kinds.RESOURCE else names.MANAGED_SELECTOR
        for namespace in self._around.settings.watch_namespaces or (None,):
            listing = await self._around.cluster.list(kind, namespace, labels)
            self._around.mirror.replace(kind, listing.items, listing.version, namespace)
