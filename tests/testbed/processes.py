"""A server as a child process: started, asked whether it is ready, paused, killed, stopped - always by its own pid.

A child dies with its parent even when the parent is SIGKILLed (Linux: PR_SET_PDEATHSIG, set by `die_with_parent.py`
just before it becomes the server). The kernel ties that to the *thread* that started the child, so `spawn` belongs on
the main thread, never in `asyncio.to_thread`.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Self

_WRAPPER = str(Path(__file__).with_name("die_with_parent.py"))
_ASK_EVERY = 0.05


class NotReady(Exception):
    """A server ended or did not answer in time. The text holds the end of its log."""


def free_port() -> int:
    """A TCP port on loopback that nobody uses, below the kernel's ephemeral range.

    A server that is stopped and started again comes back on its port; an ephemeral one may have become the local end
    of somebody's connection meanwhile.
    """
    while True:
        port = random.randint(15_000, 31_999)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


class ServerProcess:
    """One server: subclasses say how it is started (`command`) and how it is asked (`answers`).

    Usable as a synchronous and as an asynchronous context manager. `folder` holds its data and its log; it is removed
    at `close()` unless `keep_logs` was set (fixtures set it after a failure) or the server never became ready.
    """

    name = "server"
    start_timeout = 60.0
    stop_signal = signal.SIGTERM
    stop_timeout = 10.0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"chargegateway-{self.name}-"))
        self.log = self.folder / f"{self.name}.log"
        self.keep_logs = False
        self.child: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {}

    def answers(self) -> bool:
        """Ask the server itself; may raise OSError while it is not up. Takes a second at most."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self.child is not None, f"{self.name} is not running"
        return self.child.pid

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    # --- life ---------------------------------------------------------------------------------------------------

    def spawn(self) -> None:
        """Start the process and return at once. Call it on the main thread (see the module's story)."""
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-IS", _WRAPPER, str(os.getpid()), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                start_new_session=True,  # Ctrl-C is for pytest, which then stops us in order
            )

    def start(self) -> None:
        """Start and wait until the server answers."""
        self.spawn()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the spawned server answers; raises NotReady."""
        deadline = time.monotonic() + self.start_timeout
        while not self._asked(deadline):
            time.sleep(_ASK_EVERY)

    async def start_async(self) -> None:
        """`start` without blocking the event loop."""
        self.spawn()
        deadline = time.monotonic() + self.start_timeout
        while not await asyncio.to_thread(self._asked, deadline):  # noqa: ASYNC110 - another process answers
            await asyncio.sleep(_ASK_EVERY)

    def stop(self) -> None:
        """Ask the server to end (then make it), wait until it has. Its data stays."""
        if self.child is None:
            return
        if self.running:
            self.child.send_signal(signal.SIGCONT)
            self.child.send_signal(self.stop_signal)
        try:
            self.child.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child = None

    async def stop_async(self) -> None:
        await asyncio.to_thread(self.stop)

    def kill(self) -> None:
        """SIGKILL: no farewell to anybody. Its data stays as it is on the disk."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers, as with a black-holed host. It has stopped when this returns."""
        os.kill(self.pid, signal.SIGSTOP)
        # The signal stops each thread when it next leaves the kernel; on a busy machine one may answer for a while yet.
        deadline = time.monotonic() + self.start_timeout
        while not all(state in "Tt" for state in _states(self.pid)):
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} does not stop on SIGSTOP")
            time.sleep(0.002)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def forget_data(self) -> None:
        """Remove what the stopped server kept, so that it starts empty."""
        raise NotImplementedError

    def restart_empty(self) -> None:
        """Kill it and start it again on the same port with nothing in it."""
        self.kill()
        self.forget_data()
        self.start()

    async def restart_empty_async(self) -> None:
        self.kill()
        self.forget_data()
        await self.start_async()

    def close(self) -> None:
        """Stop for good and remove the folder (see `keep_logs`)."""
        self.stop()
        if not self.keep_logs:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start_async()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    # --- readiness ----------------------------------------------------------------------------------------------

    def _asked(self, deadline: float) -> bool:
        """True when the server answered; raises NotReady when it ended or the deadline passed."""
        assert self.child is not None
        with contextlib.suppress(OSError):
            if self.answers():
                return True
        if (code := self.child.poll()) is not None:
            self._give_up(f"ended with {code} while starting")
        if time.monotonic() > deadline:
            self._give_up(f"did not answer within {self.start_timeout:.0f} s")
        return False

    def _give_up(self, what: str) -> NoReturn:
        self.keep_logs = True
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
        raise NotReady(f"{self.name} {what}; its log {self.log} ends with:\n{tail}")


def _states(pid: int) -> list[str]:
    """The states of a process's threads (`R`unning, `S`leeping, s`T`opped, ...)."""
    states = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
    return states
