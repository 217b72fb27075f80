"""An event loop that looks names up apart: a few at a time, each name once, and never in the way of the process's end.

The C library looks a name up in a thread of ours and cannot be stopped: a name server that is silent costs 10 s and more (resolv.conf:
5 s a try, twice, for each search domain). Whoever asked gave up long before (Redis: 1 s) and asks again in the next pass. asyncio
uses the default executor for that, which has few threads: some resources with dead names would keep all of them busy, names that are
fine would be looked up too late, and the process would wait for every dead one before it ends.

So whoever asks for a name that is being looked up shares the answer, and each dead name costs one thread at most. Threads are daemons.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

AT_ONCE: Final = 32
"""Lookups at the same time: so many dead names have to be there before one that is fine has to wait for one of them."""

Question: TypeAlias = tuple[Any, ...]
Answer: TypeAlias = list[tuple[Any, ...]]


class LookupLoop(asyncio.SelectorEventLoop):
    """Use it as `loop_factory` of an `asyncio.Runner`."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[Question, asyncio.Task[Answer]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """As socket.getaddrinfo. Who gives up ends nobody else's lookup, nor gives its place away before it is over."""
        question = (host, port, family, type, proto, flags)
        lookup = self._lookups.get(question)
        if lookup is None:
            lookup = self._lookups[question] = self.create_task(self._look_up(question), name=f"look up {host}")
            lookup.add_done_callback(partial(self._answered, question))
        return await asyncio.shield(lookup)

    def _answered(self, question: Question, lookup: asyncio.Task[Answer]) -> None:
        del self._lookups[question]
        if not lookup.cancelled():
            lookup.exception()  # perhaps nobody waits for it any more

    async def _look_up(self, question: Question) -> Answer:
        async with self._places:
            answer: asyncio.Future[Answer] = self.create_future()
            threading.Thread(
                target=self._ask, args=(question, answer), name=f"look up {question[0]}", daemon=True
            ).start()
            return await answer

    def _ask(self, question: Question, answer: asyncio.Future[Answer]) -> None:
        """In a thread of its own."""
        tell: Callable[[], None]
        try:
            tell = partial(_set, answer, answer.set_result, socket.getaddrinfo(*question))
        except Exception as error:  # gaierror, or a name that is none (UnicodeError)
            tell = partial(_set, answer, answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self.call_soon_threadsafe(tell)


def _set(answer: asyncio.Future[Answer], give: Callable[[Any], None], what: object) -> None:
    if not answer.done():  # cancelled: the loop is about to end
        give(what)
