"""The asyncio driver of core's procedures (ADR 0015): executes each effect, in order, and hands the reply back.

It decides nothing. Its promises are those listed in `core.effects`: the clock is read right before a procedure goes on,
local effects run without anything in between, unknown outcomes are thrown in and never repeated here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from ocpp_contract.ids import CommandId, Partition
from ocpp_gateway.adapters.clocks import boottime
from ocpp_gateway.core import effects
from ocpp_gateway.core.effects import Lane, Procedure, Resumed, Signal, Unknown

log = logging.getLogger(__name__)


class Store(Protocol):
    """Redis."""

    async def execute(self, request: Any) -> Any: ...


class CommandLog(Protocol):
    """The command topics and what is produced on behalf of commands. Every coroutine raises Unknown."""

    async def publish_result(self, effect: effects.PublishResult) -> None: ...
    async def dead_letter(self, effect: effects.DeadLetter) -> None: ...
    async def append(self, effect: effects.Append) -> str | None: ...
    async def commit(self, effect: effects.Commit) -> None: ...
    async def fetch_committed(self, partition: Partition) -> Mapping[Lane, effects.LanePosition]: ...
    def start_fetch(self, partition: Partition, offsets: Mapping[Lane, int]) -> None: ...
    def stop_fetch(self, partition: Partition) -> None: ...


class Credentials(Protocol):
    """The station registry, for password changes."""

    async def store(self, effect: effects.StoreCredential) -> str | None: ...


class Sockets(Protocol):
    """The stations connected here, by connection id."""

    def write_call(
        self, connection: str, command_id: CommandId, action: str, payload: Mapping[str, Any], age: float
    ) -> bool: ...
    def call_timed_out(self, connection: str, command_id: CommandId) -> None: ...
    def close_socket(self, connection: str, code: int, reason: str) -> None: ...
    def ping(self, connection: str, until: float) -> Awaitable[bool]: ...


class Driver:
    """Runs procedures as tasks of one group."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        store: Store,
        commands: CommandLog,
        sockets: Sockets,
        credentials: Credentials,
        count: Callable[..., None],
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._count = count
        self._running: set[asyncio.Task[None]] = set()
        self._local: dict[type, Callable[[Any], object]] = {
            effects.StartFetch: lambda e: commands.start_fetch(e.partition, e.offsets),
            effects.StopFetch: lambda e: commands.stop_fetch(e.partition),
            effects.WriteCall: lambda e: sockets.write_call(e.connection, e.command_id, e.action, e.payload, e.age),
            effects.CallTimedOut: lambda e: sockets.call_timed_out(e.connection, e.command_id),
            effects.CloseSocket: lambda e: sockets.close_socket(e.connection, e.code, e.reason),
            effects.Spawn: lambda e: self.spawn(e.name, e.procedure),
            effects.Count: lambda e: count("downlink", e.name, "/".join(e.labels), by=e.amount),
            effects.Note: _note,
        }
        self._awaited: dict[type, Callable[[Any], Awaitable[object]]] = {
            effects.PublishResult: commands.publish_result,
            effects.DeadLetter: commands.dead_letter,
            effects.Append: commands.append,
            effects.Commit: commands.commit,
            effects.StoreCredential: credentials.store,
            effects.FetchCommitted: lambda e: commands.fetch_committed(e.partition),
            effects.Sleep: lambda e: asyncio.sleep(max(0.0, e.until - self._clock())),
            effects.Wait: self._wait,
            effects.Ping: lambda e: sockets.ping(e.connection, e.until),
        }
        self._store: Callable[[Any], Awaitable[object]] = store.execute

    def spawn(self, name: str, procedure: Procedure[Any]) -> asyncio.Task[None]:
        """Run `procedure` as a task. A mistake in it is logged and counted; it ends that procedure, never the pod."""
        task = self._tasks.create_task(self._guarded(name, procedure), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def finish(self, timeout: float) -> None:
        """Let what runs come to its end, at most `timeout` seconds; then cancel it. For the end of the process: what is cut
        off here is what a crash would cut off, and the protocol bears that."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout)
            for task in late:
                task.cancel()

    async def run(self, procedure: Procedure[Any]) -> Any:
        """Run `procedure` in the caller's task and return what it returns."""
        local, awaited, clock = self._local, self._awaited, self._clock
        value: object
        try:
            effect = next(procedure)
            while True:
                kind = type(effect)
                try:
                    if (perform := local.get(kind)) is not None:
                        value = perform(effect)
                    else:
                        value = await awaited.get(kind, self._store)(effect)
                except Unknown as unknown:
                    unknown.now = clock()
                    effect = procedure.throw(unknown)
                else:
                    effect = procedure.send(Resumed(clock(), value))
        except StopIteration as end:
            return end.value
        finally:
            procedure.close()

    async def _guarded(self, name: str, procedure: Procedure[Any]) -> None:
        try:
            await self.run(procedure)
        except Unknown as unknown:
            log.error("procedure %s ended by an unknown outcome: %s", name, unknown.reason)
            self._count("procedure_failures", name.split(" ")[0])
        except Exception:  # one command's mistake must not end its neighbours; it is counted and logged whole
            log.exception("procedure %s failed", name)
            self._count("procedure_failures", name.split(" ")[0])

    async def _wait(self, wait: effects.Wait) -> bool:
        signal: Signal = wait.signal
        if not signal.fired:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake() -> None:
                if not woken.done():
                    woken.set_result(None)

            signal.subscribe(wake)
            timeout = None if wait.until is None else max(0.0, wait.until - self._clock())
            try:
                await asyncio.wait((woken,), timeout=timeout)
            finally:
                signal.subscribe(None)
        fired = signal.fired
        signal.consume()
        return fired


_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def _note(note: effects.Note) -> None:
    log.log(_LEVELS[note.level], note.message, extra=dict(note.fields))
