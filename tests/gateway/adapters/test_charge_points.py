"""An open socket against the `websockets` client, the PyPI `ocpp` client, and peers that break the rules."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from ocpp.routing import on
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call, call_result
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from ocpp_gateway.adapters.transport import SocketOptions
from tests.gateway.adapters.raw_peer import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawPeer, frame, raw_peer, upgrade
from tests.gateway.adapters.station_port import StationPort, station_port


@pytest.fixture
async def port() -> AsyncIterator[StationPort]:
    async with station_port() as opened:
        yield opened


@pytest.fixture
async def peer(port: StationPort) -> AsyncIterator[RawPeer]:
    async with raw_peer(port.address) as opened:
        await opened.open()
        yield opened


def station(port: StationPort, **options: object) -> connect:
    return connect(f"{port.url}/ocpp/CP1", subprotocols=["ocpp1.6"], **options)


async def closed_with(connection: ClientConnection) -> int:
    await asyncio.wait_for(connection.wait_closed(), 5)
    assert connection.close_code is not None
    return connection.close_code


# ------------------------------------------------------------------------------------------------------------ good peers


async def test_texts_of_every_length_come_in_and_the_answers_go_out(port: StationPort) -> None:
    async with station(port, max_size=None) as connection:
        assert connection.subprotocol == "ocpp1.6"
        for text in ["", "x", "é" * 62, "y" * 125, "y" * 126, "z" * 65_535, "z" * 65_536, "w" * 262_144]:
            await connection.send(text)
            assert await connection.recv() == text


async def test_a_fragmented_message_arrives_whole(port: StationPort) -> None:
    async with station(port) as connection:
        await connection.send(["[2,", '"1",', '"Heartbeat",{}]'])
        assert await connection.recv() == '[2,"1","Heartbeat",{}]'
        await connection.send("plain again")
        assert await connection.recv() == "plain again"


async def test_a_ping_between_fragments_is_answered_and_the_message_still_whole(peer: RawPeer) -> None:
    peer.send(
        frame(TEXT, b"one ", fin=False) + frame(PING, b"!") + frame(CONT, b"mess", fin=False) + frame(CONT, b"age")
    )
    assert {await peer.frame(), await peer.frame()} == {(PONG, b"!"), (TEXT, b"one message")}


async def test_many_frames_in_one_packet_and_one_frame_in_many_packets(port: StationPort, peer: RawPeer) -> None:
    peer.send(b"".join(frame(TEXT, str(number).encode()) for number in range(500)))
    assert [await peer.frame() for _ in range(500)] == [(TEXT, str(number).encode()) for number in range(500)]
    message = "ä" * 100
    for byte in frame(TEXT, message.encode()):
        peer.send(bytes([byte]))
        await peer.writer.drain()
        await asyncio.sleep(0)
    assert await peer.frame() == (TEXT, message.encode())


async def test_frames_behind_the_request_wait_for_the_101(port: StationPort) -> None:
    async with raw_peer(port.address) as peer:
        peer.send(upgrade() + frame(PING, b"early") + frame(TEXT, b"bird"))
        status, _, _ = await peer.response()
        assert status == 101
        assert [await peer.frame(), await peer.frame()] == [(PONG, b"early"), (TEXT, b"bird")]


async def test_pings_of_the_station_are_answered(port: StationPort) -> None:
    async with station(port) as connection:
        await asyncio.wait_for(await connection.ping(b"here?"), 5)
        await asyncio.wait_for(await connection.ping(b""), 5)


async def test_the_station_closes(port: StationPort) -> None:
    async with station(port) as connection:
        session = await port.session()
        await connection.close(1000, "done")
        assert await asyncio.wait_for(session.closed, 5) == (1000, "done")
        assert connection.close_code == 1000
    assert not port.listeners.sockets


async def test_we_close_and_the_station_sees_why(port: StationPort) -> None:
    async with station(port) as connection:
        session = await port.session()
        session.socket.close(1012, "service restart")
        assert not session.socket.is_open
        assert not session.socket.send_text("too late")
        assert await closed_with(connection) == 1012
        assert await asyncio.wait_for(session.closed, 5) == (1012, "service restart")


async def test_a_long_reason_is_cut_at_a_character(port: StationPort) -> None:
    async with station(port) as connection:
        (await port.session()).socket.close(1008, "ü" * 100)
        assert await closed_with(connection) == 1008
        assert connection.close_reason == "ü" * 61


async def test_the_pypi_ocpp_client_talks_through_it(port: StationPort) -> None:
    class Station(ChargePoint16):
        @on("Reset")
        def on_reset(self, type: str) -> call_result.Reset:
            return call_result.Reset("Accepted")

    async with station(port) as connection:
        session = await port.session()
        session.echo = False
        charge_point = Station("CP1", connection)
        running = asyncio.create_task(charge_point.start())
        heartbeat = asyncio.create_task(charge_point.call(call.Heartbeat()))
        await asyncio.wait_for(session.arrived.wait(), 5)
        kind, message_id, action, payload = json.loads(session.texts[0])
        assert (kind, action, payload) == (2, "Heartbeat", {})
        session.socket.send_text(json.dumps([3, message_id, {"currentTime": "2026-11-22T10:00:00Z"}]))
        assert (await asyncio.wait_for(heartbeat, 5)).current_time == "2026-11-22T10:00:00Z"
        session.arrived.clear()
        session.socket.send_text('[2,"7","Reset",{"type":"Soft"}]')
        await asyncio.wait_for(session.arrived.wait(), 5)
        assert json.loads(session.texts[1]) == [3, "7", {"status": "Accepted"}]
        running.cancel()


# ------------------------------------------------------------------------------------------------------- broken messages

BROKEN = {
    "no UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "half a character": (frame(TEXT, "ä".encode()[:1]), 1007),
    "no UTF-8 across fragments": (frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"x"), 1007),
    "binary": (frame(BINARY, b"[2]"), 1003),
    "binary in fragments": (frame(BINARY, b"[2]", fin=False), 1003),
    "not masked": (frame(TEXT, b"[2]", mask=False), 1002),
    "not masked and empty": (frame(TEXT, b"", mask=False), 1002),
    "reserved bit without extension": (frame(TEXT, b"[2]", reserved=0x40), 1002),
    "unknown opcode": (frame(0x3, b""), 1002),
    "continuation of nothing": (frame(CONT, b"x"), 1002),
    "new message within a message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "ping in fragments": (frame(PING, b"a", fin=False), 1002),
    "long ping": (frame(PING, b"a" * 126), 1002),
    "long pong": (frame(PONG, b"a" * 126), 1002),
    "close with one byte": (frame(CLOSE, b"\x03"), 1002),
    "close with a forbidden code": (frame(CLOSE, b"\x03\xee"), 1002),
    "close whose reason is no UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "longer than allowed": (frame(TEXT, b"x" * 262_145)[:20], 1009),
    "2^63 bytes announced": (b"\x81\xff\x7f" + b"\xff" * 7 + b"abcd", 1009),
    "fragments that sum up": (
        b"".join(frame(TEXT if not n else CONT, b"x" * 65_000, fin=False) for n in range(5)),
        1009,
    ),
}


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_frame_ends_this_socket_with_the_right_code(
    port: StationPort, peer: RawPeer, data: bytes, code: int
) -> None:
    session = await port.session()
    peer.send(data)
    assert await peer.close_code() == code
    assert await peer.ended() == b""
    peer.writer.close()
    assert (await asyncio.wait_for(session.closed, 5))[0] == code
    assert session.texts == []
    assert port.counted["frame_refused", str(code)] == 1
    async with station(port) as neighbour:
        await neighbour.send("fine")
        assert await neighbour.recv() == "fine"


async def test_nothing_after_a_broken_frame_is_read(port: StationPort, peer: RawPeer) -> None:
    session = await port.session()
    peer.send(frame(TEXT, b"before") + frame(TEXT, b"\xff") + frame(TEXT, b"after") + frame(PING, b"?"))
    assert await peer.frame() == (TEXT, b"before")
    assert await peer.frame() == (CLOSE, (1007).to_bytes(2, "big") + b"invalid start byte at position 0")
    assert await peer.ended() == b""
    assert session.texts == ["before"]


async def test_a_session_that_fails_closes_only_its_own_socket(port: StationPort) -> None:
    async with station(port) as connection, station(port) as neighbour:

        def explode(text: str) -> None:
            raise RuntimeError("bug")

        port.sessions[0].on_text = explode  # type: ignore[method-assign]
        await connection.send("x")
        assert await closed_with(connection) == 1011
        await neighbour.send("y")
        assert await neighbour.recv() == "y"


async def test_a_peer_that_vanishes_is_closed_with_1006(port: StationPort, peer: RawPeer) -> None:
    session = await port.session()
    peer.writer.transport.abort()
    assert (await asyncio.wait_for(session.closed, 5))[0] == 1006


async def test_a_peer_that_ends_its_stream_without_closing_is_1006(port: StationPort, peer: RawPeer) -> None:
    session = await port.session()
    peer.writer.write_eof()
    assert (await asyncio.wait_for(session.closed, 5))[0] == 1006


# ----------------------------------------------------------------------------------------------------------- compression


async def test_deflate_is_granted_to_those_who_ask_without_context_takeover(port: StationPort) -> None:
    async with raw_peer(port.address) as asking, raw_peer(port.address) as plain:
        headers = await asking.open("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
        assert "server_no_context_takeover" in headers["sec-websocket-extensions"]
        assert "client_no_context_takeover" in headers["sec-websocket-extensions"]
        assert "sec-websocket-extensions" not in await plain.open()


async def test_compressed_messages_both_ways(port: StationPort) -> None:
    async with station(port) as connection:
        assert connection.protocol.extensions
        for text in ["", "x", "[2]" * 1_000, "é" * 70_000]:
            await connection.send(text)
            assert await connection.recv() == text
        await connection.send(["fragment ", "by ", "fragment"])
        assert await connection.recv() == "fragment by fragment"


async def test_a_bomb_is_refused_before_it_is_unpacked(port: StationPort) -> None:
    factory = ClientPerMessageDeflateFactory(client_max_window_bits=True)
    async with station(port, extensions=[factory], compression=None) as connection:
        await connection.send("0" * 50_000_000)
        assert await closed_with(connection) == 1009


async def test_an_idle_socket_keeps_no_parser(port: StationPort) -> None:
    async with station(port) as connection:
        socket = (await port.session()).socket
        await connection.send(["a", "b"])
        assert await connection.recv() == "ab"
        assert socket._ws is None
        assert socket._buffer is None
        assert socket._fragments is None


# --------------------------------------------------------------------------------------------------------- back-pressure


async def test_a_paused_session_hears_nothing_and_loses_nothing(port: StationPort, peer: RawPeer) -> None:
    session = await port.session()
    session.echo = False
    original = session.on_text

    def pause_at_three(text: str) -> None:
        original(text)
        if len(session.texts) == 3:
            session.socket.pause_reading()

    session.on_text = pause_at_three  # type: ignore[method-assign]
    peer.send(b"".join(frame(TEXT, str(number).encode()) for number in range(10)) + frame(PING, b"now"))
    while len(session.texts) < 3:
        session.arrived.clear()
        await asyncio.wait_for(session.arrived.wait(), 5)
    with pytest.raises(TimeoutError):
        await peer.frame(timeout=0.2)  # the ping stands behind the messages: not answered either
    assert session.texts == ["0", "1", "2"]
    session.socket.resume_reading()
    assert await peer.frame() == (PONG, b"now")
    assert session.texts == [str(number) for number in range(10)]


async def test_a_paused_socket_can_be_closed(port: StationPort) -> None:
    async with station(port) as connection:
        session = await port.session()
        session.socket.pause_reading()
        await connection.send("unread")
        session.socket.close(1013, "try again later")
        assert await closed_with(connection) == 1013
        assert (await asyncio.wait_for(session.closed, 5))[0] == 1013
        assert session.texts == []


async def test_a_flood_is_slowed_down_and_nothing_of_it_is_lost() -> None:
    options = SocketOptions(messages_per_second=200, message_burst=20, ping_interval=0)
    async with station_port(options) as port, raw_peer(port.address) as peer:
        await peer.open()
        started = asyncio.get_running_loop().time()
        peer.send(b"".join(frame(TEXT, str(number).encode()) for number in range(200)))
        assert [(await peer.frame())[1] for _ in range(200)] == [str(number).encode() for number in range(200)]
        assert asyncio.get_running_loop().time() - started >= (200 - 20) / 200 * 0.8
        assert port.counted["station_throttled", ""] > 0


async def test_a_peer_that_never_reads_is_cut_off_and_its_memory_with_it() -> None:
    options = SocketOptions(write_timeout=0.5, ping_interval=0)
    async with station_port(options) as port, raw_peer(port.address) as peer:
        await peer.open()
        peer.writer.transport.pause_reading()
        session = await port.session()
        while not session.writing_paused:
            assert session.socket.send_text("x" * 10_000)
        assert await asyncio.wait_for(session.closed, 5) == (1006, "write-timeout")
        assert port.counted["socket_aborted", "write-timeout"] == 1


async def test_pings_of_a_peer_that_never_reads_do_not_fill_the_memory() -> None:
    options = SocketOptions(messages_per_second=1e6, message_burst=1_000_000, write_timeout=1.0, ping_interval=0)
    async with station_port(options) as port, raw_peer(port.address) as peer:
        await peer.open()
        session = await port.session()
        peer.writer.transport.pause_reading()
        burst = frame(PING, b"x" * 125) * 1_000
        largest = 0
        with contextlib.suppress(TimeoutError):  # until nothing is taken from it any more
            while True:
                peer.send(burst)
                await asyncio.wait_for(peer.writer.drain(), 0.3)
                largest = max(largest, session.socket._transport.get_write_buffer_size())
        assert session.writing_paused[-1]
        assert largest < 1_000_000
        assert (await asyncio.wait_for(session.closed, 5))[1] == "write-timeout"


@pytest.mark.parametrize(
    "data", [frame(PING, b"?"), frame(PONG, b"!"), frame(CONT, b"", fin=False)], ids=["ping", "pong", "continuation"]
)
async def test_frames_of_every_kind_count_against_the_rate(data: bytes) -> None:
    options = SocketOptions(messages_per_second=10, message_burst=20, ping_interval=0)
    async with station_port(options) as port, raw_peer(port.address) as peer:
        await peer.open()
        session = await port.session()
        peer.send(frame(TEXT, b"", fin=False) + data * 200 + frame(CONT, b"whole"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.arrived.wait(), 0.5)
        assert port.counted["station_throttled", ""] == 1


async def test_a_peer_that_ends_its_stream_is_not_written_to_any_more(port: StationPort, peer: RawPeer) -> None:
    session = await port.session()
    peer.writer.write_eof()
    await asyncio.wait_for(session.closed, 5)
    assert not session.socket.is_open
    assert not session.socket.send_text("x")
    assert not session.socket.ping()


async def test_a_peer_that_reads_slowly_is_kept() -> None:
    options = SocketOptions(write_timeout=1.0, ping_interval=0)
    async with station_port(options) as port, raw_peer(port.address) as peer:
        await peer.open()
        session = await port.session()
        sent = 0
        while not session.writing_paused:
            session.socket.send_text("x" * 10_000)
            sent += 1
        for _ in range(sent):
            assert len((await peer.frame())[1]) == 10_000
        assert session.writing_paused == [True, False]
        assert session.socket.is_open


# ------------------------------------------------------------------------------------------------------------- keepalive

FAST = SocketOptions(ping_interval=0.3, missed_pings=3, write_timeout=5.0)


async def test_a_silent_peer_is_cut_after_three_misses() -> None:
    async with station_port(FAST) as port, raw_peer(port.address) as peer:
        await peer.open()
        session = await port.session()
        assert await asyncio.wait_for(session.closed, 10) == (1006, "ping-timeout")
        received = await peer.ended()
        assert received.count(b"\x89\x04") == 3


async def test_a_station_that_we_do_not_read_is_not_blamed_for_its_silence() -> None:
    async with station_port(FAST) as port, station(port) as connection:
        session = await port.session()
        session.socket.pause_reading()
        await asyncio.sleep(2.5)  # five misses, if its pongs were missed
        assert session.socket.is_open
        session.socket.resume_reading()
        await connection.send("still here")
        assert await asyncio.wait_for(connection.recv(), 5) == "still here"


async def test_any_frame_counts_as_life() -> None:
    async with station_port(FAST) as port, raw_peer(port.address) as peer:
        await peer.open()
        session = await port.session()
        session.echo = False
        pings = 0
        while pings < 8:
            opcode, _ = await peer.frame()
            assert opcode == PING
            pings += 1
            peer.send(frame(TEXT, b"alive, though I never pong"))
        assert session.socket.is_open
        assert session.socket.proven_at < 0


async def test_a_station_that_pongs_lives_and_has_proved_it() -> None:
    async with station_port(FAST) as port, station(port) as connection:
        session = await port.session()
        before = port.shared.clock()
        proven = asyncio.Event()
        assert session.socket.proven_at < before
        assert session.socket.ping(proven.set)
        await asyncio.wait_for(proven.wait(), 5)
        assert session.socket.proven_at >= before
        del connection


async def test_an_unsolicited_pong_proves_nothing(port: StationPort, peer: RawPeer) -> None:
    session = await port.session()
    for payload in (b"", b"\x00\x00\x00\x01", b"\x00\x00\x00\x00", b"else"):
        peer.send(frame(PONG, payload))
    peer.send(frame(PING, b"done"))
    assert await peer.frame() == (PONG, b"done")
    assert session.socket.proven_at < 0


async def test_a_later_pong_answers_earlier_pings(port: StationPort, peer: RawPeer) -> None:
    session = await port.session()
    answered: list[int] = []
    for number in (1, 2, 3):
        session.socket.ping(lambda number=number: answered.append(number))  # type: ignore[misc]
    pings = [await peer.frame() for _ in range(3)]
    peer.send(frame(PONG, pings[1][1]) + frame(PING, b"x"))
    assert await peer.frame() == (PONG, b"x")
    assert answered == [1, 2]
    assert session.socket.proven_at < 0, "the third ping is not answered yet"
    peer.send(frame(PONG, pings[2][1]) + frame(PING, b"y"))
    assert await peer.frame() == (PONG, b"y")
    assert answered == [1, 2, 3]
    assert session.socket.proven_at > 0


async def test_pings_can_be_switched_off_for_a_station() -> None:
    async with station_port(FAST, keepalive=False) as port, raw_peer(port.address) as peer:
        await peer.open()
        with pytest.raises(TimeoutError):
            await peer.frame(timeout=1.5)
        assert (await port.session()).socket.is_open


async def test_a_peer_that_ignores_our_close_is_cut() -> None:
    async with station_port(SocketOptions(close_timeout=0.5)) as port, raw_peer(port.address) as peer:
        await peer.open()
        session = await port.session()
        session.socket.close(1012, "restart")
        assert await peer.frame() == (CLOSE, (1012).to_bytes(2, "big") + b"restart")
        assert await asyncio.wait_for(session.closed, 5) == (1012, "restart")
        assert port.counted["socket_aborted", "close-timeout"] == 1
