"""Where the server's time goes, by looking at its Python stack some hundred times a second (py-spy, from outside).

Self: the function was running, itself or C code that it called (orjson, jsonschema-rs, uvloop's write, the kernel).
Total: it was anywhere on the stack.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_FRAME = re.compile(r"(?P<function>.+) \((?P<file>.+?)(:\d+)?\)$")
_HZ = 500


class ProfilerFailed(Exception):
    """py-spy could not look into the process; the text says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One function's share of the samples, in per cent."""

    where: str
    self_share: float
    total_share: float


async def profile(pid: int, seconds: int, top: int = 16) -> list[Line]:
    """The functions in which most time was spent, most first. Raises ProfilerFailed."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise ProfilerFailed("py-spy is not installed: run `make setup`")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "stacks")
        arguments = ["--pid", str(pid), "--duration", str(seconds), "--rate", str(_HZ), "--format", "raw"]
        spy = await asyncio.create_subprocess_exec(
            program, "record", *arguments, "--output", str(output),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await spy.communicate()
        if spy.returncode:
            raise ProfilerFailed(said.decode().strip())
        return summarise(output.read_text().splitlines())[:top]


def summarise(stacks: list[str]) -> list[Line]:
    """Collapsed stacks, `outer;inner;innermost COUNT`, as shares per function."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    samples = 0
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [_where(frame) for frame in stack.split(";")]
        samples += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    return [Line(where, own[where] / samples * 100, total[where] / samples * 100) for where, _ in own.most_common()]


def _where(frame: str) -> str:
    match = _FRAME.match(frame)
    if match is None:
        return frame
    parts = Path(match["file"]).parts
    return f"{'/'.join(parts[-2:])} {match['function']}"
