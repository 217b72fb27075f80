"""The pods' internal API of a whole gateway: a process with stations on its sockets."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
import websockets

from ocpp_contract.internal_api import DRAIN_PATH
from ocpp_local.system import System, Wanted
from ocpp_operator.adapters.pods import PodUnreachable, connections

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

STATIONS = [f"CP-{number}" for number in range(5)]


async def test_a_gateways_stations_are_listed_and_its_drain_ends_it() -> None:
    async with (
        System.started(Wanted(pods=1, partitions=4, replace_after=None)) as system,
        contextlib.AsyncExitStack() as stack,
    ):
        [pod] = system.present()
        token = system.token_file.read_text()
        assert await connections("127.0.0.1", token, port=pod.admin_port) == ()
        for name in STATIONS:
            await stack.enter_async_context(
                websockets.connect(pod.station_url + name, subprotocols=[websockets.Subprotocol("ocpp1.6")])
            )
        found = await connections("127.0.0.1", token, port=pod.admin_port, page=2)
        assert [each.id for each in found] == STATIONS
        assert all(0 <= each.partition < 4 and each.epoch > 0 and each.connection for each in found)
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token.strip()}"}) as http,
            http.post(f"http://127.0.0.1:{pod.admin_port}{DRAIN_PATH}") as answer,
        ):
            assert answer.status == 202
        assert await asyncio.wait_for(pod.child.wait(), 60) == 0
        with pytest.raises(PodUnreachable, match="no connection: "):
            await connections("127.0.0.1", token, port=pod.admin_port)
