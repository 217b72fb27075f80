"""The admin port over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from ocpp_gateway.adapters.admin import AdminServer
from ocpp_gateway.adapters.metrics import Metrics


class Pod:
    def __init__(self) -> None:
        self.why: str | None = None
        self.drained = 0
        self.tracing = asyncio.Event()
        self.traced = asyncio.Event()

    def unready(self) -> str | None:
        return self.why

    def unhealthy(self) -> str | None:
        return None

    def connections(self, after: str, limit: int) -> Sequence[dict[str, Any]]:
        return [{"id": name} for name in ("a", "b", "c") if name > after][:limit]

    def start_drain(self) -> None:
        self.drained += 1

    async def trace(self, charge_point_id: str) -> AsyncIterator[bytes]:
        if charge_point_id == "SILENT":
            self.tracing.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.traced.set()
        for number in range(2):
            yield f'{{"id":"{charge_point_id}","n":{number}}}\n'.encode()


@pytest.fixture
def pod() -> Pod:
    return Pod()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    return file


@pytest.fixture
async def http(pod: Pod, token: Path) -> AsyncIterator[ClientSession]:
    metrics = Metrics()
    metrics.count("events_published", "MeterValues", by=3)
    metrics.gauge("connections", lambda: 7)
    server = AdminServer("127.0.0.1", 0, token, pod, metrics.page)
    await server.start()
    async with ClientSession(f"http://127.0.0.1:{server.port}") as session:
        yield session
    await server.stop()


BEARER = {"Authorization": "Bearer s3cret"}


async def test_readiness_says_why(http: ClientSession, pod: Pod) -> None:
    async with http.get("/readyz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    pod.why = "no partition held"
    async with http.get("/readyz") as response:
        assert (response.status, await response.text()) == (503, "no partition held\n")
    async with http.get("/livez") as response:
        assert response.status == 200


async def test_metrics_show_counters_and_gauges(http: ClientSession) -> None:
    async with http.get("/metrics") as response:
        page = await response.text()
    assert 'chargegateway_events_published_total{type="MeterValues"} 3.0' in page
    assert "chargegateway_connections 7.0" in page


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}])
async def test_the_internal_api_wants_its_token(http: ClientSession, pod: Pod, headers: dict[str, str]) -> None:
    for method, path in (
        ("GET", "/internal/v1/connections"),
        ("POST", "/internal/v1/drain"),
        ("GET", "/internal/v1/trace/a"),
    ):
        async with http.request(method, path, headers=headers) as response:
            assert response.status == 401
    assert pod.drained == 0


async def test_a_rotated_token_needs_no_restart(http: ClientSession, token: Path) -> None:
    token.write_text("other")
    async with http.get("/internal/v1/connections", headers=BEARER) as response:
        assert response.status == 401
    async with http.get("/internal/v1/connections", headers={"Authorization": "Bearer other"}) as response:
        assert response.status == 200


async def test_an_empty_token_file_opens_nothing(http: ClientSession, token: Path) -> None:
    token.write_text("\n")
    async with http.get("/internal/v1/connections", headers={"Authorization": "Bearer "}) as response:
        assert response.status == 401


async def test_connections_come_in_pages(http: ClientSession) -> None:
    async with http.get("/internal/v1/connections?after=a&limit=1", headers=BEARER) as response:
        assert await response.json() == [{"id": "b"}]
    async with http.get("/internal/v1/connections?limit=many", headers=BEARER) as response:
        assert response.status == 400
        assert "limit" in await response.text()


@pytest.mark.parametrize("limit", ["0", "-1", "10001", "9" * 5_000, "\u0661"])
async def test_a_limit_that_is_none_is_refused(http: ClientSession, limit: str) -> None:
    async with http.get("/internal/v1/connections", params={"limit": limit}, headers=BEARER) as response:
        assert response.status == 400


async def test_a_token_of_any_bytes_is_no_token(http: ClientSession) -> None:
    port = http._base_url.port if http._base_url else 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /internal/v1/drain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer caf\xe9\r\nContent-Length: 0\r\n\r\n"
    )
    assert b" 401 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_trace_ends_with_its_reader(http: ClientSession, pod: Pod) -> None:
    """Also where the station says nothing, so that no write could fail."""
    async with http.get("/internal/v1/trace/SILENT", headers=BEARER) as response:
        assert response.status == 200
        await asyncio.wait_for(pod.tracing.wait(), 5)
    await asyncio.wait_for(pod.traced.wait(), 5)


async def test_drain_is_ordered(http: ClientSession, pod: Pod) -> None:
    async with http.post("/internal/v1/drain", headers=BEARER) as response:
        assert response.status == 202
    assert pod.drained == 1


async def test_trace_streams_lines(http: ClientSession) -> None:
    async with http.get("/internal/v1/trace/CP1", headers=BEARER) as response:
        assert (await response.text()).splitlines() == ['{"id":"CP1","n":0}', '{"id":"CP1","n":1}']


def test_a_counter_that_nobody_declared_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Metrics().count("no_such_counter")
