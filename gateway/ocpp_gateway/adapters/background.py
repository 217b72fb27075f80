"""Work that goes on beside everything else and that nobody waits for, such as the removal of an entry.

In the pod's task group a mistake in one of these would end the pod, and one that waits for a server that is away would
hold up its end. Here a mistake is logged and counted, and `finish` bounds the wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """`failed(name)` is called for each piece of work that ended by a mistake."""

    def __init__(self, tasks: asyncio.TaskGroup, failed: Callable[[str], None]) -> None:
        self._tasks = tasks
        self._failed = failed
        self._running: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """`name` is a label of the metrics page: never a station."""
        task = self._tasks.create_task(self._guarded(name, work), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def finish(self, timeout: float) -> None:
        """Let what runs come to its end, at most `timeout` seconds; then cancel it."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout)
            for task in late:
                task.cancel()

    async def _guarded(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # whatever it is, it concerns this work alone
            log.exception("%s failed", name)
            self._failed(name)
