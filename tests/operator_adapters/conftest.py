"""The operator's adapters against the real API server: a connection as its administrator, and what a test counts and forbids."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from ocpp_operator.adapters.cluster import Cluster
from ocpp_operator.adapters.connection import Connection
from tests.testbed.kubernetes import KubernetesServer


@pytest.fixture
def requests() -> Counter[tuple[str, str, str]]:
    """What `connection` asked: (verb, resource, code)."""
    return Counter()


@pytest.fixture
async def connection(
    kubernetes: KubernetesServer, requests: Counter[tuple[str, str, str]]
) -> AsyncIterator[Connection]:
    def count(*request: str) -> None:
        requests[request] += 1

    async with await Connection.open(kubeconfig=kubernetes.kubeconfig, count=count) as opened:
        yield opened


@pytest.fixture
def cluster(connection: Connection) -> Cluster:
    """May write."""
    return Cluster(connection, lambda: None, "operator-0")


async def eventually(ask: Callable[[], object], timeout: float = 30.0) -> None:
    """Until `ask` answers something true."""
    deadline = time.monotonic() + timeout
    while not ask():  # what is waited for happens in other tasks and processes
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s"
        await asyncio.sleep(0.02)
