"""The operator's port over real HTTP, and what its metrics page says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from ocpp_operator.adapters.admin import AdminServer
from ocpp_operator.adapters.metrics import Metrics


class Process:
    def __init__(self) -> None:
        self.unhealthy: str | None = None
        self.unready: str | None = None
        self.metrics = Metrics()


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
async def url(process: Process) -> AsyncIterator[str]:
    server = AdminServer("127.0.0.1", 0, lambda: process.unhealthy, lambda: process.unready, process.metrics.page)
    await server.start()
    yield f"http://127.0.0.1:{server.port}"
    await server.stop()


async def get(url: str) -> tuple[int, str]:
    async with ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_health_says_why_not(process: Process, url: str) -> None:
    assert await get(f"{url}/livez") == (200, "ok\n")
    assert await get(f"{url}/readyz") == (200, "ok\n")
    process.unhealthy, process.unready = "no pass ended for 211 s", "starting"
    assert await get(f"{url}/livez") == (503, "no pass ended for 211 s\n")
    assert await get(f"{url}/readyz") == (503, "starting\n")


async def test_the_page_shows_what_was_counted(process: Process, url: str) -> None:
    metrics = process.metrics
    metrics.request("apply", "deployments", "200")
    metrics.error("ApiUnavailable")
    metrics.passed(0.02, "done")
    metrics.moved("gone", 3)
    metrics.wrote("Deployment", "drift")
    metrics.swept(1_000, 7, 0.2)
    metrics.leader(lambda: True)
    metrics.unowned(lambda: 4)
    metrics.resources({("Ready", "True"): 2, ("Ready", "False"): 1})
    metrics.resources({("Ready", "True"): 3})

    status, page = await get(f"{url}/metrics")
    assert status == 200
    lines = set(page.splitlines())
    assert lines >= {
        'chargegateway_operator_api_requests_total{code="200",resource="deployments",verb="apply"} 1.0',
        'chargegateway_operator_errors_total{kind="ApiUnavailable"} 1.0',
        'chargegateway_operator_reconcile_seconds_count{outcome="done"} 1.0',
        'chargegateway_operator_partition_moves_total{cause="gone"} 3.0',
        'chargegateway_operator_writes_total{object="Deployment",reason="drift"} 1.0',
        'chargegateway_operator_swept_entries_total{outcome="removed"} 7.0',
        "chargegateway_operator_sweep_seconds_count 1.0",
        "chargegateway_operator_leader 1.0",
        "chargegateway_operator_partitions_unowned 4.0",
        'chargegateway_operator_resources{condition="Ready",status="True"} 3.0',
    }
    assert 'status="False"' not in page, "a condition that no resource has any more is not shown as it was"


async def test_two_operators_of_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.error("X")
    assert b'kind="X"' not in other.page()
