"""One reader of ``command-results`` for all requests of a process: every result finds the task that waits for it.

A consumer per request would need seconds to find its partitions and would miss a result that is faster than that; this
one is positioned before the first command leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from ocpp_client.kafka import KafkaAccess
from ocpp_client.topic_reader import Start, TopicReader
from ocpp_contract.errors import ContractError
from ocpp_contract.header_names import check_header_names
from ocpp_contract.ids import CommandId
from ocpp_contract.outcome import CommandResult

log = logging.getLogger(__name__)

OnTimedOut = Callable[[CommandResult], None]


class Expected:
    """A command whose final result somebody waits for."""

    def __init__(self, on_timed_out: OnTimedOut | None) -> None:
        self.final: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._on_timed_out = on_timed_out
        self._timed_out = False

    def report(self, result: CommandResult) -> None:
        """Copies of a report change nothing."""
        if result.final:
            if not self.final.done():
                self.final.set_result(result)
        elif not self._timed_out and not self.final.done():
            self._timed_out = True
            if self._on_timed_out is not None:
                self._on_timed_out(result)


class Results:
    """``async with``, then `expect` before the command is sent."""

    def __init__(self, access: KafkaAccess, topic: str) -> None:
        self._reader = TopicReader(access, topic, Start.END)
        self._expected: dict[CommandId, list[Expected]] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Results of commands sent from now on are seen. Raises KafkaUnavailable."""
        await self._reader.__aenter__()
        self._task = asyncio.create_task(self._read(), name="command results")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._reader.__aexit__(kind, error, trace)

    @contextlib.contextmanager
    def expect(
        self, command_id: CommandId, on_timed_out: OnTimedOut | None = None
    ) -> Iterator[asyncio.Future[CommandResult]]:
        """``with results.expect(id) as final:`` the future of the final result."""
        expected = Expected(on_timed_out)
        self._expected.setdefault(command_id, []).append(expected)
        try:
            yield expected.final
        finally:
            waiting = self._expected[command_id]
            waiting.remove(expected)
            if not waiting:
                del self._expected[command_id]
            expected.final.cancel()

    async def _read(self) -> None:
        async for batch in self._reader.batches():
            for record in batch:
                if record.value is not None:
                    self._take(record.value, record.headers)

    def _take(self, value: bytes, headers: Sequence[tuple[str, bytes | None]]) -> None:
        try:
            check_header_names(headers)
            result = CommandResult.from_json(value)
        except ContractError as error:
            # Written by a newer gateway, or by nobody of ours: not a reason to stop hearing the others.
            log.warning("a record of %s is no result: %s", self._reader.topic, error)
            return
        for expected in self._expected.get(result.command_id, ()):
            expected.report(result)
