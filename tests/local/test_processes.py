"""Children die when they should, and only then."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ocpp_local.processes import Children, LocalError, ReservedPorts

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


def is_alive(pid: int) -> bool:
    """A zombie is dead: whoever reaps it may take a while."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def until_it_says(log: Path, text: str) -> None:
    async with asyncio.timeout(10):
        while text not in log.read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)


async def test_leaving_the_block_stops_all_also_a_frozen_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="anything"):  # noqa: PT012 - the whole block is what is tested
        async with Children(tmp_path) as children:
            first = await children.start("first", SLEEPER)
            frozen = await children.start("frozen", SLEEPER)
            frozen.send(signal.SIGSTOP)
            raise RuntimeError("anything")
    assert not is_alive(first.pid)
    assert not is_alive(frozen.pid)


async def test_who_does_not_listen_is_killed(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        child = await children.start("stubborn", STUBBORN)
        await until_it_says(child.log, "up")
        await child.stop(grace=0.2)
        assert child.returncode == -signal.SIGKILL


async def test_the_end_of_its_log_is_at_hand(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        child = await children.start("failing", [sys.executable, "-c", "raise SystemExit('cannot go on')"])
        assert await child.wait() == 1
        assert child.last_words() == "cannot go on"


async def test_what_is_not_there_is_an_error_for_people(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        with pytest.raises(LocalError, match="broker cannot be started"):
            await children.start("broker", [tmp_path / "nothing"])


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_children_die_with_their_parent(tmp_path: Path) -> None:
    script = f"""
import asyncio, pathlib, sys
from ocpp_local.processes import Children
async def main():
    async with Children(pathlib.Path({str(tmp_path)!r})) as children:
        child = await children.start("child", {SLEEPER!r})
        print(child.pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    pidfd = None
    try:
        pidfd = os.pidfd_open(child)
    except ProcessLookupError:
        return
    import select

    readable, _, _ = select.select([pidfd], [], [], 10)
    os.close(pidfd)
    assert readable, "the child outlived its parent"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cleans_up_and_tells_by_its_exit_code(tmp_path: Path, number: signal.Signals) -> None:
    script = f"""
import asyncio, pathlib, sys
from ocpp_local.processes import Children, run
async def main():
    async with Children(pathlib.Path({str(tmp_path)!r})) as children:
        child = await children.start("child", {SLEEPER!r})
        print(child.pid, flush=True)
        await asyncio.sleep(600)
    return 0
sys.exit(run(main()))
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        assert parent.wait(10) == 128 + number
    assert not is_alive(child)


def test_a_reserved_port_is_ours_and_free_for_sharing() -> None:
    ports = ReservedPorts()
    port = ports.take()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.socket() as gateway:
        gateway.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        gateway.bind(("127.0.0.1", port))
        gateway.listen()
        with socket.create_connection(("127.0.0.1", port), timeout=2), gateway.accept()[0]:
            pass  # the reserving socket does not listen: every connection reaches the gateway
    ports.close()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(LocalError, match=f"port {other.getsockname()[1]}"):
            ReservedPorts().take(other.getsockname()[1])
