"""One system for all examples: two gateways on the run's Apache Kafka and a Redis of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from ocpp_local.system import System, Wanted
from tests.conftest import running
from tests.examples.station import Station, connected
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisServer


@dataclass(frozen=True, slots=True)
class Ended:
    """What a program said and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Site:
    """A running system, and a folder to run programs in that reach it through the two variables of the page."""

    system: System
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": self.system.kafka, "REDIS_URL": self.system.redis}

    async def start(self, program: str, text: str, *arguments: str) -> asyncio.subprocess.Process:
        """Start a Python program of the page."""
        file = self.folder / program
        file.write_text(text, encoding="utf-8")
        return await self.execute(sys.executable, "-W", "error", str(file), *arguments)

    async def execute(self, *command: str, **environment: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=self.environment | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def ended(self, process: asyncio.subprocess.Process, seconds: float = 60) -> Ended:
        """Wait for the end; a program that does not end is killed and fails the test."""
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
            raise AssertionError(f"still running after {seconds} s:\n{out.decode()}\n{err.decode()}") from None
        return Ended(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis whose keys are the system's alone."""
    yield from running(request, RedisServer)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(kafka: KafkaServer, store: RedisServer) -> AsyncIterator[System]:
    async with System.started(Wanted(pods=2, partitions=8, kafka=kafka.bootstrap, redis=store.url)) as started:
        yield started


@pytest.fixture
def site(system: System, tmp_path: Path) -> Site:
    return Site(system, tmp_path)


@pytest_asyncio.fixture(loop_scope="module")
async def station(system: System) -> AsyncIterator[Station]:
    async with connected(system.station_url) as there:
        yield there
