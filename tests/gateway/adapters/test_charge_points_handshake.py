"""The opening handshake: what is accepted, what is refused, and peers that never finish it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest
import websockets
from websockets.asyncio.client import connect

from ocpp_gateway.adapters.answers import Accept, AcceptAndClose, Answer, Refuse
from ocpp_gateway.adapters.listeners import HandshakeOptions, Listeners
from ocpp_gateway.adapters.station_ports import ListenerOptions
from ocpp_gateway.adapters.transport import Shared, SocketOptions
from ocpp_gateway.core.admission import Handshake
from tests.gateway.adapters.raw_peer import CLOSE, TEXT, frame, raw_peer, upgrade
from tests.gateway.adapters.station_port import EchoSession, StationPort, station_port


@pytest.fixture
async def port() -> AsyncIterator[StationPort]:
    async with station_port() as opened:
        yield opened


async def test_admission_sees_the_handshake_as_it_was_sent(port: StationPort) -> None:
    target = "ws://gateway.example/ocpp//CP%201/?x=1"
    async with raw_peer(port.address) as peer:
        peer.send(
            upgrade(
                target,
                "Sec-WebSocket-Protocol: OCPP2.0.1, ocpp1.6",
                "Sec-WebSocket-Protocol: other",
                "Authorization: Basic Q1A6",
                "User-Agent: box/1",
                without=["Sec-WebSocket-Protocol"],
            )
        )
        status, headers, _ = await peer.response()
    assert (status, headers["sec-websocket-protocol"]) == (101, "OCPP2.0.1")
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    seen = (await port.session()).handshake
    assert seen.target == target
    assert seen.subprotocols == ("OCPP2.0.1", "ocpp1.6", "other")
    assert (seen.authorization, seen.user_agent, seen.peer) == ("Basic Q1A6", "box/1", "127.0.0.1")
    assert (seen.listener.name, seen.listener.tls) == ("test", False)
    assert len(seen.connection) == 16


async def test_a_refusal_can_be_read_by_the_station() -> None:
    answer = Refuse(503, "come back later", (("Retry-After", "17"),))
    async with station_port(admit=lambda _: answer) as port:
        async with raw_peer(port.address) as peer:
            peer.send(upgrade() + frame(TEXT, b"impatient"))
            status, headers, body = await peer.response()
            assert (status, headers["retry-after"], body) == (503, "17", b"come back later\n")
            assert await peer.ended() == b""
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(f"{port.url}/CP1")
        assert refused.value.response.status_code == 503
        assert port.sessions == []


async def test_completed_without_a_version_and_closed() -> None:
    answer = AcceptAndClose(1002, "no common subprotocol")
    async with station_port(admit=lambda _: answer) as port, raw_peer(port.address) as peer:
        headers = await peer.open()
        assert "sec-websocket-protocol" not in headers
        assert await peer.frame() == (CLOSE, (1002).to_bytes(2, "big") + b"no common subprotocol")


MALFORMED = {
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", None),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", None),
    "bare line feeds": (upgrade().replace(b"\r\n", b"\n"), None),
    "a raw space in the target": (upgrade("/ocpp/CP 1"), None),
    "a target outside ASCII": (upgrade("/ocpp/S\xe4ule"), None),
    "a body": (upgrade("/CP1", "Content-Length: 5"), None),
    "HTTP/1.0": (upgrade(line="GET /CP1 HTTP/1.0"), 505),
    "POST": (upgrade(line="POST /CP1 HTTP/1.1"), 405),
    "no upgrade": (upgrade(without=["Upgrade"]), 426),
    "no key": (upgrade(without=["Sec-WebSocket-Key"]), 400),
    "an old version": (upgrade("/CP1", "Sec-WebSocket-Version: 8", without=["Sec-WebSocket-Version"]), 400),
    "an empty protocol header": (upgrade("/CP1", "Sec-WebSocket-Protocol: ", without=["Sec-WebSocket-Protocol"]), 400),
    "a target without end": (b"GET /" + b"x" * 20_000, 414),
    "headers without end": (b"GET /CP1 HTTP/1.1\r\n" + b"X: y\r\n" * 200, 431),
    "long headers": (b"GET /CP1 HTTP/1.1\r\n" + b"".join(b"X%d: " % n + b"y" * 4_000 + b"\r\n" for n in range(6)), 431),
}


@pytest.mark.parametrize(("data", "status"), MALFORMED.values(), ids=MALFORMED)
async def test_what_websockets_refuses_is_counted_and_logged_with_the_peer(
    port: StationPort, caplog: pytest.LogCaptureFixture, data: bytes, status: int | None
) -> None:
    caplog.set_level(logging.WARNING)
    async with raw_peer(port.address) as peer:
        sockname = "{}:{}".format(*peer.writer.get_extra_info("sockname"))
        peer.send(data)
        if status is None:
            assert await peer.ended() == b""
        else:
            assert (await peer.response())[0] == status
            assert await peer.ended() == b""
    assert port.counted["handshake_failed", "malformed"] == 1
    assert [record.peer for record in caplog.records if "refused by websockets" in record.message] == [sockname]
    assert port.sessions == []


async def test_a_slow_handshake_is_cut() -> None:
    async with station_port(handshakes=HandshakeOptions(timeout=0.5)) as port:
        async with raw_peer(port.address) as silent, raw_peer(port.address) as slow:
            slow.send(upgrade()[:-30])
            assert await asyncio.gather(silent.ended(), slow.ended()) == [b"", b""]
        assert port.counted["handshake_failed", "timeout"] == 2
        assert port.listeners.handshakes == 0


async def test_slow_handshakes_make_room_for_honest_ones() -> None:
    options = HandshakeOptions(timeout=4.0, max_pending=2)
    async with (
        station_port(handshakes=options) as port,
        raw_peer(port.address) as oldest,
        raw_peer(port.address) as younger,
    ):
        # Before the deadline of the silent ones: half of their time is enough when others wait.
        async with connect(f"{port.url}/CP1", subprotocols=["ocpp1.6"], open_timeout=3.2) as station:
            await station.send("here")
            assert await station.recv() == "here"
        assert await oldest.ended(0.5) == b"", "it had to go"
        assert port.counted["handshake_failed", "cut"] == 1, "nobody else waited"
        younger.send(upgrade())
        assert (await younger.response())[0] == 101


async def test_a_peer_that_leaves_while_it_is_judged_is_undone() -> None:
    judged, may_answer, undone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def admit(handshake: Handshake, peer_gone: Callable[[], bool]) -> Answer:
        judged.set()
        await may_answer.wait()
        return Accept("ocpp1.6", lambda _: pytest.fail("opened a dead socket"), abandoned=undone.set)

    shared = Shared(SocketOptions(), lambda *_: None)
    listeners = Listeners([ListenerOptions("p", "127.0.0.1", 0, frozenset({0}))], HandshakeOptions(), shared, admit)
    await listeners.start()
    async with raw_peer(listeners.addresses["p"]) as peer:
        peer.send(upgrade())
        await asyncio.wait_for(judged.wait(), 5)
        peer.writer.transport.abort()
        await asyncio.sleep(0.05)
        may_answer.set()
        await asyncio.wait_for(undone.wait(), 5)
    await listeners.close()


async def test_an_admission_that_fails_answers_500_and_harms_nobody(port: StationPort) -> None:
    async def broken(handshake: Handshake, peer_gone: Callable[[], bool]) -> Answer:
        raise RuntimeError("bug")

    working = port.listeners._admit
    port.listeners._admit = broken
    async with raw_peer(port.address) as peer:
        peer.send(upgrade())
        assert (await peer.response())[0] == 500
    port.listeners._admit = working
    async with connect(f"{port.url}/CP1", subprotocols=["ocpp1.6"]) as station:
        await station.send("fine")
        assert await station.recv() == "fine"
    assert port.counted["handshake_failed", "error"] == 1


async def test_a_session_that_cannot_be_made_is_undone() -> None:
    undone = asyncio.Event()

    def fail(socket: object) -> EchoSession:
        raise RuntimeError("bug")

    answer = Accept("ocpp1.6", fail, abandoned=undone.set)
    async with station_port(admit=lambda _: answer) as port, raw_peer(port.address) as peer:
        await peer.open()
        assert await peer.ended() == b""
        await asyncio.wait_for(undone.wait(), 5)
        assert not port.listeners.sockets


async def test_a_talkative_peer_is_not_read_without_end_while_it_waits() -> None:
    may_answer = asyncio.Event()
    sessions: list[EchoSession] = []
    handshakes: list[Handshake] = []

    def open_session(socket: object) -> EchoSession:
        sessions.append(EchoSession(socket, handshakes[0], echo=False))  # type: ignore[arg-type]
        return sessions[0]

    async def admit(handshake: Handshake, peer_gone: Callable[[], bool]) -> Answer:
        handshakes.append(handshake)
        await may_answer.wait()
        return Accept("ocpp1.6", open_session)

    shared = Shared(SocketOptions(messages_per_second=1e6, message_burst=1_000_000), lambda *_: None)
    listeners = Listeners([ListenerOptions("p", "127.0.0.1", 0, frozenset({0}))], HandshakeOptions(), shared, admit)
    await listeners.start()
    async with raw_peer(listeners.addresses["p"]) as peer:
        message = frame(TEXT, b"x" * 10_000)
        peer.send(upgrade() + message * 2_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.writer.drain(), 0.5)
        may_answer.set()
        await asyncio.wait_for(peer.writer.drain(), 5)
        while len(sessions[0].texts) < 2_000:
            sessions[0].arrived.clear()
            await asyncio.wait_for(sessions[0].arrived.wait(), 5)
    await listeners.close()


async def test_two_gateways_share_one_port_and_a_closed_one_takes_no_more() -> None:
    async def admit(handshake: Handshake, peer_gone: Callable[[], bool]) -> Answer:
        return Accept("ocpp1.6", lambda socket: EchoSession(socket, handshake))

    def gateway(number: int) -> Listeners:
        shared = Shared(SocketOptions(), lambda *_: None)
        listener = ListenerOptions("shared", "127.0.0.1", number, frozenset({0}), reuse_port=True)
        return Listeners([listener], HandshakeOptions(), shared, admit)

    first = gateway(0)
    await first.start()
    address = first.addresses["shared"]
    second = gateway(address[1])
    await second.start()
    stations = [
        await connect(f"ws://127.0.0.1:{address[1]}/CP{number}", subprotocols=["ocpp1.6"]) for number in range(40)
    ]
    assert len(first.sockets) + len(second.sockets) == 40
    assert first.sockets
    assert second.sockets
    first.stop_accepting()
    before = len(first.sockets)
    stations += [
        await connect(f"ws://127.0.0.1:{address[1]}/X{number}", subprotocols=["ocpp1.6"]) for number in range(10)
    ]
    assert len(first.sockets) == before, "draining: open sockets stay, new ones go elsewhere"
    for station in stations:
        await station.send("still here")
        assert await station.recv() == "still here"
    for station in stations:
        await station.close()
    await asyncio.gather(first.close(), second.close())


async def test_a_port_that_is_taken_is_named(port: StationPort) -> None:
    host, number = port.address
    listeners = Listeners(
        [ListenerOptions("again", host, number, frozenset({0}))], HandshakeOptions(), port.shared, port.listeners._admit
    )
    with pytest.raises(OSError, match=f"listener again, {host}:{number}"):
        await listeners.start()
