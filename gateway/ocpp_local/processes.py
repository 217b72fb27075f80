"""Child processes that never outlive us: started into their own session, stopped by pid, output in log files.

Their own session, because Ctrl-C in a terminal goes to the whole foreground group: the parent alone must get it, and stops its
children in order. Should the parent itself be killed, the kernel kills the children (PR_SET_PDEATHSIG, Linux).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Loaded here and not in the child: between fork and exec as little as possible may happen.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

LAST_LINES = 12


class LocalError(Exception):
    """Something on this machine is in the way; the message is one a person can act on."""


def root_cause(error: BaseException) -> BaseException:
    """What to tell a person of nested exception groups: a LocalError if there is one, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [root_cause(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, LocalError)), leaves[0])


class Child:
    """One running child process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Until it has ended."""
        return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal (SIGKILL, SIGSTOP, SIGCONT, SIGTERM); nothing happens when it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, grace: float = 5.0) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds. A stopped (SIGSTOP) child is woken so that it can hear."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        try:
            await asyncio.wait_for(self.wait(), grace)
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.wait()

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:])


class Children:
    """All children of one run. Leaving the block stops them, the youngest first, whatever happened inside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[Child] = []

    async def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start `command`; its output goes to `<name>.log` in the folder. Raises LocalError when it cannot be started."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *map(str, command),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=None if environment is None else dict(environment),
                    start_new_session=True,
                    preexec_fn=_die_with_parent(os.getpid()),
                )
            except OSError as error:
                raise LocalError(f"{name} cannot be started: {error}") from None
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def running(self) -> list[Child]:
        """Those that have not ended."""
        return [child for child in self._children if child.returncode is None]

    async def stop_all(self) -> None:
        """Stop what still runs, the youngest first: gateways before the broker and the store that they need to say goodbye."""
        while self._children:
            await self._children[-1].stop()
            self._children.pop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_all()


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    if _libc is None:
        return None
    libc = _libc

    def in_the_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between fork and prctl: nobody would tell us any more
            os._exit(1)

    return in_the_child


class ReservedPorts:
    """Ports of 127.0.0.1 that nobody else gets while we run: bound with SO_REUSEPORT and never listened on.

    A port that is only looked for may be taken before the gateway binds it; and when the gateway dies, an ephemeral connection
    of somebody else may sit on it before its replacement starts. Connections go to listening sockets only.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def take(self, port: int = 0) -> int:
        """Reserve `port`, or a free one. Raises LocalError when it is taken."""
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            reserved.bind(("127.0.0.1", port))
        except OSError as error:
            reserved.close()
            raise LocalError(f"port {port} of 127.0.0.1 is not free: {error.strerror}") from None
        self._sockets.append(reserved)
        return int(reserved.getsockname()[1])

    def close(self) -> None:
        """Give them back."""
        for reserved in self._sockets:
            reserved.close()
        self._sockets.clear()


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, for a server that cannot share one."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a command to its exit code. Ctrl-C and SIGTERM cancel it, so that its blocks clean up; 130 and 143 then.

    The second Ctrl-C does not wait: the kernel ends the children with us.
    """
    asked: list[signal.Signals] = []

    async def guarded() -> int:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            if asked:
                os._exit(128 + number)
            asked.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop, number)
        try:
            return await task
        except asyncio.CancelledError:
            if asked:
                return 128 + asked[0]
            raise

    return asyncio.run(guarded())
