"""The demo from outside: it balances, it fails loudly, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.local import program
from tests.local.program import is_alive

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]


def test_the_account_balances(tmp_path: Path) -> None:
    done = program.run(tmp_path, "demo", "--for", "25s", patience=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The account balances" in done.stdout
    assert "SIGKILL to gateway-" in done.stdout
    assert "partitions are owned again" in done.stdout


def test_without_its_broker_it_fails_and_says_so(tmp_path: Path) -> None:
    with program.started(tmp_path, "demo", "--for", "25s") as demo:
        demo.until_it_says("are charging; meter values flow")
        children = demo.descendants()
        (broker,) = [pid for pid in children if "tansu" in program.command_line(pid)]
        os.kill(broker, signal.SIGKILL)
        assert demo.ends() == 1
        assert "The demo failed" in demo.text
        assert "Traceback" not in demo.text
        assert [pid for pid in children if is_alive(pid)] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_stops_everything(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with program.started(tmp_path, "demo") as demo:
        demo.until_it_says("charge points are online")
        children = demo.descendants()
        assert len(children) == 4
        assert demo.ends(number) == code
        assert [pid for pid in children if is_alive(pid)] == []
        assert demo.text.endswith("interrupted; everything is stopped\n")


def test_killed_it_takes_everything_with_it(tmp_path: Path) -> None:
    with program.started(tmp_path, "demo") as demo:
        demo.until_it_says("mailbox partitions")
        demo.until(lambda: len(demo.descendants()) == 4, "two gateways")
        children = demo.descendants()
        demo.ends(signal.SIGKILL)
        fds = []
        for pid in children:
            try:
                fds.append(os.pidfd_open(pid))
            except ProcessLookupError:
                continue
        import select

        for fd in fds:
            assert select.select([fd], [], [], 10)[0], "a child outlived its parent"
            os.close(fd)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--for", "3s"), "--for '3s'"), (("--for", "long"), "--for 'long'"), (("--broker", "rabbit"), "rabbit"), (("--pods", "0"), "--pods")],
)  # fmt: skip
def test_nonsense_is_wrong_usage(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = program.run(tmp_path, "demo", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
