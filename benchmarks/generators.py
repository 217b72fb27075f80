"""Our end of a load process (`benchmarks.stations`, `benchmarks.commands`): orders out, figures back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any


class LoadFailed(Exception):
    """A server did not answer as it should, or the load process ended."""


class Generator:
    """One load process. Made by `generator()`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def order(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Carry out one order to its end; its figures. Raises LoadFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise LoadFailed(f"the load process ended with {await self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise LoadFailed(answer["refused"])
        return answer


@contextlib.asynccontextmanager
async def generator(module: str = "benchmarks.stations") -> AsyncIterator[Generator]:
    """A load process, ended when the block is left (it ends by itself when its stdin does)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Generator(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
