"""The program `chargegateway` as a person starts it: a process of its own, its lines in a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-c", "from ocpp_client.cli import main; main()"]
PATIENCE = 60.0


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the person's own: another `up` on this machine must not be found, nor ours by it."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CHARGEGATEWAY_", "KAFKA_", "REDIS_"))
    }
    return kept | {"XDG_RUNTIME_DIR": str(folder)}


def run(folder: Path, *arguments: str, patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    return subprocess.run(
        [*PROGRAM, *arguments], env=environment(folder), capture_output=True, text=True, timeout=patience, check=False
    )


class Started:
    """One that goes on running."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self.output = output

    @property
    def text(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"it ended while waiting for {what}:\n{self.text}"
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n{self.text}"
            time.sleep(0.05)

    def until_it_says(self, words: str) -> None:
        self.until(lambda: words in self.text, words)

    def descendants(self) -> list[int]:
        return descendants(self.process.pid)

    def ends(self, number: signal.Signals | None = None) -> int:
        """Send a signal and wait; its exit code."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Started]:
    """Start, and make sure that it is gone afterwards."""
    output = folder / f"{arguments[0]}.out"
    with output.open("wb") as lines:
        process = subprocess.Popen([*PROGRAM, *arguments], env=environment(folder), stdout=lines, stderr=lines)
    try:
        yield Started(process, output)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def descendants(pid: int) -> list[int]:
    """Children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """A zombie is dead: whoever reaps it may take a while."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def state(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text())
    assert isinstance(found, dict)
    return found
