"""The election in a thread of its own, with an event loop and a connection that nobody else uses.

Many resources that change at once keep the main event loop busy for seconds at a stretch. A renewal of the lease that waited behind them
would come too late: the operator with the most to do would lose the lease for that, the next one would begin with the same work,
and lose it as well. A thread waits for the interpreter for milliseconds.

The main loop sees what it saw before: `leading`, `lost`, and a guard that reads what the thread knows. One that hangs for good keeps the
lease, but /livez hangs with it, and the process is restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from ocpp_operator.adapters.connection import Connection
from ocpp_operator.adapters.election import LeaderElection
from ocpp_operator.adapters.lookups import LookupLoop

log = logging.getLogger(__name__)


class ElectionApart:
    """Use it as `async with`: it begins to try there, and gives the lease back at the end. `connect` and `candidate` are called in
    the thread."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], candidate: Callable[[Connection], LeaderElection]
    ) -> None:
        self._connect, self._candidate = connect, candidate
        self._election: LeaderElection | None = None
        self._failure: BaseException | None = None
        self._begun = asyncio.Event()
        self._stop = asyncio.Event()
        """Of the thread's loop."""
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)
        self.leading = asyncio.Event()
        self.lost = asyncio.Event()
        """Also set when the election ended by a defect: nobody renews, so the process has to leave."""

    async def __aenter__(self) -> Self:
        """Raises what keeps it from beginning (NoCluster)."""
        self._main = asyncio.get_running_loop()
        self._thread.start()
        await self._begun.wait()
        if self._failure is not None:
            raise self._failure
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed: it ended by a defect
            self._apart.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join)

    def leads(self) -> bool:
        """Whether this replica may write, now."""
        return self._election is not None and self._election.leads()

    def check(self) -> None:
        """The guard of every outside write: raises NotLeader."""
        assert self._election is not None, "the guard is asked before the election began"
        self._election.check()

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=LookupLoop) as runner:
                runner.run(self._elect())
        except Exception as failure:
            self._failure = failure
            log.error("the election ended by an error", exc_info=failure)
        finally:
            self._tell(self._begun.set)
            self._tell(self.lost.set)

    async def _elect(self) -> None:
        self._apart = asyncio.get_running_loop()
        async with await self._connect() as connection:
            self._election = election = self._candidate(connection)
            self._tell(self._begun.set)
            electing = asyncio.create_task(election.run(), name="election")
            announcing = asyncio.create_task(self._announce(election), name="leading")
            stopping = asyncio.create_task(self._stop.wait(), name="stop")
            try:
                await asyncio.wait((electing, stopping), return_when=asyncio.FIRST_COMPLETED)
                self._tell(self.lost.set)
                # Until then writes of ours may be under way.
                await stopping
            finally:
                for task in (electing, announcing, stopping):
                    task.cancel()
                await asyncio.wait((electing, announcing, stopping))
                await election.resign()
            if not electing.cancelled():
                electing.result()

    async def _announce(self, election: LeaderElection) -> None:
        await election.leading.wait()
        self._tell(self.leading.set)

    def _tell(self, news: Callable[[], None]) -> None:
        self._main.call_soon_threadsafe(news)
