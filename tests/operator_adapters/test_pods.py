"""The pods' internal API, asked of the gateway's own admin server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ocpp_contract.ids import ChargePointId, Partition
from ocpp_contract.internal_api import ConnectionItem
from ocpp_gateway.adapters.admin import AdminServer
from ocpp_operator.adapters.pods import PodUnreachable, connections
from tests.operator_adapters.open_sockets import closed, sockets
from tests.testbed.processes import free_port

TOKEN = "s3cret"


class Fleetless:
    """What an admin port shows: stations that come and go at a test's will."""

    def __init__(self, *stations: str) -> None:
        self.stations = set(stations)
        self.asked: list[tuple[str, int]] = []
        self.at_page: Callable[[], None] = lambda: None

    def unready(self) -> str | None:
        return None

    def unhealthy(self) -> str | None:
        return None

    def connections(self, after: str, limit: int) -> Sequence[dict[str, Any]]:
        self.asked.append((after, limit))
        page = [item(name).to_fields() for name in sorted(self.stations) if name > after][:limit]
        self.at_page()
        return page

    def start_drain(self) -> None:
        raise AssertionError("nobody asked for that")

    async def trace(self, charge_point_id: str) -> AsyncGenerator[bytes, None]:
        yield charge_point_id.encode()


def item(name: str) -> ConnectionItem:
    return ConnectionItem(ChargePointId(name), 1763800000123456 + len(name), f"c-{name}", Partition(len(name)))


Serve = Callable[..., Awaitable[int]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """`port = await serve(pod)`; `host=` for another address."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    async with AsyncExitStack() as stack:

        async def start(pod: Fleetless, host: str = "127.0.0.1") -> int:
            server = AdminServer(host, 0, token, pod, lambda: b"")
            await server.start()
            stack.push_async_callback(server.stop)
            return server.port

        yield start


async def test_the_list_is_complete_in_pages(serve: Serve) -> None:
    pod = Fleetless("a", "b", "c d", "é&x=1", "z")
    port = await serve(pod)
    assert await connections("127.0.0.1", TOKEN, port=port, page=2) == tuple(map(item, sorted(pod.stations)))
    assert pod.asked == [("", 2), ("b", 2), ("z", 2)]


@pytest.mark.parametrize("count", [0, 1, 4])
async def test_a_last_page_may_be_full_or_empty(serve: Serve, count: int) -> None:
    pod = Fleetless(*(f"CP{number}" for number in range(count)))
    port = await serve(pod)
    assert len(await connections("127.0.0.1", f"{TOKEN}\n", port=port, page=4)) == count


async def test_who_stays_is_in_the_list_whoever_comes_and_goes_meanwhile(serve: Serve) -> None:
    pod = Fleetless("b", "d", "f", "h")
    port = await serve(pod)

    def change() -> None:
        pod.stations ^= {"a", "d", "g"}
        pod.at_page = lambda: None

    pod.at_page = change
    found = [each.id for each in await connections("127.0.0.1", TOKEN, port=port, page=2)]
    assert found == ["b", "d", "f", "g", "h"]


@pytest.mark.parametrize("address", ["::1", "[::1]"])
async def test_ipv6_addresses_get_their_brackets(serve: Serve, address: str) -> None:
    port = await serve(Fleetless("a"), host="::1")
    assert await connections(address, TOKEN, port=port) == (item("a"),)


async def test_a_wrong_token_is_said(serve: Serve) -> None:
    port = await serve(Fleetless("a"))
    with pytest.raises(PodUnreachable, match=r"pod at 127\.0\.0\.1: it refuses our token"):
        await connections("127.0.0.1", "other", port=port)


@pytest.mark.parametrize("token", ["", "two\nlines", "caf\u00e9\u4e2d"])
async def test_what_is_no_token_reaches_nothing(serve: Serve, token: str) -> None:
    port = await serve(Fleetless("a"))
    with pytest.raises(PodUnreachable):
        await connections("127.0.0.1", token, port=port)


# --- pods that are no pods --------------------------------------------------------------------------------------------


async def test_nobody_there_is_said() -> None:
    before = sockets()
    with pytest.raises(PodUnreachable, match=r"pod at 127\.0\.0\.1: no connection: .+"):
        await connections("127.0.0.1", TOKEN, port=free_port())
    await closed(before)


@pytest.mark.parametrize("address", ["", "no address", "300.1.1.1", "a/b"])
async def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(PodUnreachable):
        await connections(address, TOKEN, port=1, timeout=5.0)


async def test_silence_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = sockets()
        with pytest.raises(PodUnreachable, match=r"no answer within 0\.2s"):
            await connections("127.0.0.1", TOKEN, port=silent.getsockname()[1], timeout=0.2)
        await closed(before)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def strange() -> AsyncIterator[Callable[[Handler], Awaitable[int]]]:
    """`port = await strange(handler)`: somebody else at a pod's address."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler) -> int:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "0.0.0.0", 0).start()  # every 127.0.0.x is one more pod
            return int(runner.addresses[0][1])

        yield start


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "<html>", "its answer is not the contract's: is not JSON"),
        (200, "{}", "must be a list of objects"),
        (200, '[{"id": "a"}]', r"\[0\]\.epoch: is missing"),
        (200, '[{"id":"b","epoch":1,"connection":"c","partition":0},{"id":"a","epoch":1,"connection":"c","partition":0}]',
         "not in order"),
        (200, '[{"id":"","epoch":1,"connection":"c","partition":0}]', "not in order"),
        (200, " " * (8 * 1024 * 1024 + 1), "is larger than"),
        (404, "nothing here", "it answers 404 nothing here"),
        (503, "", "it answers 503$"),
        (302, "", "it answers 302$"),
    ],
)  # fmt: skip
async def test_somebody_else_at_that_address_is_no_pod(
    strange: Callable[[Handler], Awaitable[int]], status: int, body: str, words: str
) -> None:
    paths = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"} if status == 302 else {})

    port = await strange(answer)
    with pytest.raises(PodUnreachable, match=words):
        await connections("127.0.0.1", TOKEN, port=port)
    assert paths == ["/internal/v1/connections"]


async def test_a_list_without_end_is_given_up(strange: Callable[[Handler], Awaitable[int]]) -> None:
    """It answers the same page whatever is asked for."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response([item("a").to_fields()])

    port = await strange(answer)
    with pytest.raises(PodUnreachable, match="not in order"):
        await connections("127.0.0.1", TOKEN, port=port, page=1)


async def test_the_callers_own_time_out_is_no_pods_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connections("127.0.0.1", TOKEN, port=silent.getsockname()[1])
