"""An open socket against the `websockets` client and against raw peers that do not behave."""

from __future__ import annotations

import asyncio

import pytest
import websockets
from websockets.asyncio.client import connect

from tests.gateway.adapters.station_port import StationPort, station_port


@pytest.fixture
async def port():
    async with station_port() as opened:
        yield opened


async def test_a_text_comes_in_and_the_answer_goes_out(port: StationPort) -> None:
    async with connect(f"{port.url}/CP1", subprotocols=["ocpp1.6"]) as station:
        assert station.subprotocol == "ocpp1.6"
        for text in ["", "x", "é" * 50, "y" * 126, "z" * 65_536, "w" * 200_000]:
            await station.send(text)
            assert await station.recv() == text


async def test_a_fragmented_message_arrives_whole(port: StationPort) -> None:
    async with connect(f"{port.url}/CP1", subprotocols=["ocpp1.6"]) as station:
        await station.send(["[2,", '"1",', '"Heartbeat",{}]'])
        assert await station.recv() == '[2,"1","Heartbeat",{}]'
        await station.send("plain again")
        assert await station.recv() == "plain again"


async def test_invalid_utf8_closes_with_1007(port: StationPort) -> None:
    async with connect(f"{port.url}/CP1", subprotocols=["ocpp1.6"]) as station:
        await station.send(b"\xff\xfe", text=True)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await station.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007


async def test_pings_of_the_station_are_answered(port: StationPort) -> None:
    async with connect(f"{port.url}/CP1", subprotocols=["ocpp1.6"]) as station:
        await asyncio.wait_for(await station.ping(b"here?"), 5)
