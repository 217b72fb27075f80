"""One task per resource, and the complete lists under them.

Watch events wake loops and nothing more; a loop that fails waits and looks again, alone. The mirror's complete lists are read before the
first loop starts (a pod that has not been seen yet would be taken for one that is gone), and again whenever the mirror
wants them: until then no loop makes a pass, since it would see ghosts.

Where single namespaces are served, one that refuses us concerns itself alone: its Role goes before everything else when a namespace
is deleted. Its loops are ended and its objects forgotten, without the word that they are gone: only the Role may have been
taken away, and what is cleaned up then would be a living gateway's. A loop that takes leave of a resource which is certainly gone goes
on, and hears of the pods by the watches that were begun before. Every few seconds the namespace is asked whether it lets us in again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from math import inf
from typing import Protocol

from ocpp_operator.adapters.api_errors import ClusterError, Forbidden
from ocpp_operator.core import kinds, names
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Key
from ocpp_operator.reconcile.surroundings import Surroundings

log = logging.getLogger(__name__)

_SETTLE = 0.5
"""Seconds between the wish for lists and the lists: the streams of all kinds end together, and one look serves all."""
_RETRY = 1.0
_REFUSED_AGAIN = 3.0
"""Seconds after which a namespace that refused us is asked again."""
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
        self._places: tuple[str | None, ...] = around.settings.watch_namespaces or (None,)
        self._refused: set[str] = set()
        """Namespaces that do not let us in."""
        self._doubted = False
        self._looked = -inf
        """When doubts were looked into last."""
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

    def doubt(self) -> None:
        """A watch does not get what it asks for: what it showed may be old, and somebody should look why."""
        self._doubted = True
        self._changed.set()

    def _begin(self, key: Key) -> None:
        known = self._loops.get(key)
        if known is not None:
            known[0].wake()
        elif key.namespace in self._refused:
            return
        elif self.complete.is_set() and self._around.mirror.resource(key) is not None:
            self._start(key)

    def _start(self, key: Key) -> None:
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
                elif self._doubted or self._refused:
                    await self._look_into_doubts()
                self._around.vitals.passed()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REFUSED_AGAIN if self._refused else _TICK):
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
            self._doubted = False
            try:
                for namespace in self._places:
                    await self._list(namespace)
            except ClusterError as error:
                self._around.mirror.wants_lists = True
                log.warning("waiting for complete lists: %s", error)
                await asyncio.sleep(_RETRY)
            else:
                if self._around.mirror.wants_lists:  # a stream began anew behind a list that was read already
                    await asyncio.sleep(_SETTLE)
        self.complete.set()
        self._begin_all()
        self._take_leave_of_those_before()

    async def _look_into_doubts(self) -> None:
        """Loops go on meanwhile: what is seen is old at worst. If nothing can be read they wait until it can."""
        refused, now = frozenset(self._refused), self._around.monotonic()
        places: tuple[str | None, ...] = tuple(refused)
        # The watches of a namespace that refuses us are in trouble all the time.
        if self._doubted and (not self._refused or now - self._looked >= _TICK):
            places, self._doubted, self._looked = self._places, False, now
        try:
            for namespace in places:
                await self._list(namespace)
        except ClusterError as error:
            log.warning("a watch has trouble, and what there is cannot be read: %s", error)
            self._around.mirror.wants_lists = True
            self.complete.clear()
            self._changed.set()
        else:
            self._begin_all()
            if refused - self._refused:
                self._take_leave_of_those_before()

    def _begin_all(self) -> None:
        for resource in list(self._around.mirror.resources()):
            self._begin(Key(resource["metadata"]["namespace"], resource["metadata"]["name"]))

    def _take_leave_of_those_before(self) -> None:
        """Resources that went while nobody was there, or whose operator ended before it had cleaned up after them."""
        for key in self._around.mirror.left_behind():
            if key not in self._loops and key.namespace not in self._refused:
                self._start(key)

    async def _list(self, namespace: str | None) -> None:
        """All kinds in one namespace, None: in all. Raises ClusterError, but not for one that refuses us among several."""
        try:
            for kind in self._watched:
                labels = None if kind == kinds.RESOURCE else names.MANAGED_SELECTOR
                listing = await self._around.cluster.list(kind, namespace, labels)
                self._around.mirror.replace(kind, listing.items, listing.version, namespace)
        except Forbidden as refusal:
            if namespace is None:
                raise
            await self._leave(namespace, refusal)
            return
        if namespace in self._refused:
            self._refused.remove(namespace)
            log.info("namespace %s is served", namespace)
        self._around.metrics.refused(len(self._refused))

    async def _leave(self, namespace: str, refusal: Forbidden) -> None:
        """See module."""
        if namespace not in self._refused:
            self._refused.add(namespace)
            log.warning("namespace %s is not served until it lets us in: %s", namespace, refusal)
        self._around.metrics.refused(len(self._refused))
        there = {key: task for key, (_, task) in self._loops.items() if key.namespace == namespace}
        leaving = {key for key in there if self._around.mirror.resource(key) is None}
        ended = [task for key, task in there.items() if key not in leaving]
        for task in ended:
            task.cancel()
        if ended:
            await asyncio.wait(ended)
        self._around.mirror.forget(namespace, leaving)
