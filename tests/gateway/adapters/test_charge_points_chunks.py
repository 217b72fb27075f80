"""However the network cuts a station's bytes, and whatever frames they are in: the same messages come out."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.transport import Shared, SocketOptions
from tests.gateway.adapters.raw_peer import CONT, PING, PONG, TEXT, frame


class Wire:
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.reading = True
        self.ended = False

    def write(self, data: bytes) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None: ...
    def set_protocol(self, protocol: object) -> None: ...

    def abort(self) -> None:
        self.ended = True


class Listener:
    """Pauses reading after every `pause_every` messages, as a session under back-pressure does."""

    def __init__(self, socket: ChargePointSocket, pause_every: int) -> None:
        self.socket = socket
        self.pause_every = pause_every
        self.texts: list[str] = []

    def on_text(self, text: str) -> None:
        self.texts.append(text)
        if self.pause_every and len(self.texts) % self.pause_every == 0:
            self.socket.pause_reading()

    def on_closed(self, code: int, reason: str) -> None: ...
    def on_write_paused(self) -> None: ...
    def on_write_resumed(self) -> None: ...


def opened(pause_every: int = 0) -> tuple[ChargePointSocket, Wire, Listener]:
    wire = Wire()
    shared = Shared(SocketOptions(messages_per_second=1e9, message_burst=10**9, ping_interval=0), lambda *_: None)
    socket = ChargePointSocket(shared, "peer", [])
    listener = Listener(socket, pause_every)
    socket.open(cast(asyncio.Transport, wire), lambda _: listener, b"")
    return socket, wire, listener


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(marks) if start < end]


def in_frames(text: str, pieces: int) -> bytes:
    """A message as one frame or as several, with a control frame in between."""
    data = text.encode()
    if pieces <= 1:
        return frame(TEXT, data)
    step = len(data) // pieces + 1
    parts = [data[start : start + step] for start in range(0, len(data) or 1, step)]
    frames = [
        frame(CONT if index else TEXT, part, fin=index == len(parts) - 1) + frame(PONG, b"not asked for")
        for index, part in enumerate(parts)
    ]
    return b"".join(frames)


messages = st.lists(st.tuples(st.text(max_size=200), st.integers(1, 4)), max_size=12)


@given(messages, st.lists(st.integers(0, 10_000), max_size=12))
def test_any_cut_gives_the_same_messages(sent: list[tuple[str, int]], places: list[int]) -> None:
    socket, wire, listener = opened()
    for chunk in cut(b"".join(in_frames(text, pieces) for text, pieces in sent), places):
        socket.data_received(chunk)
    assert listener.texts == [text for text, _ in sent]
    assert socket.is_open
    assert not wire.written


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("step", [1, 3, 7, 1_000])
async def test_pausing_at_any_message_loses_none_and_keeps_the_order(every: int, step: int) -> None:
    sent = [(f"message {number} ä" * (number % 4), 1 + number % 3) for number in range(12)]
    socket, wire, listener = opened(every)
    for chunk in cut(b"".join(in_frames(text, pieces) for text, pieces in sent), list(range(0, 2_000, step))):
        while not wire.reading:
            socket.resume_reading()
            await asyncio.sleep(0)
        socket.data_received(chunk)
    while not wire.reading:
        socket.resume_reading()
        await asyncio.sleep(0)
    assert listener.texts == [text for text, _ in sent]


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_no_bytes_crash_it(data: bytes, places: list[int]) -> None:
    socket, wire, _ = opened()
    for chunk in cut(data, places):
        socket.data_received(chunk)
    if not socket.is_open:
        assert wire.written[:1] == b"\x88", "it says why in a close frame"
        assert wire.ended


@given(st.integers(0, 15), st.booleans(), st.sampled_from([0, 0x40, 0x20, 0x10]), st.binary(max_size=130))
def test_every_kind_of_frame_is_answered_or_refused(opcode: int, fin: bool, reserved: int, payload: bytes) -> None:
    socket, wire, listener = opened()
    data = frame(opcode, payload, fin=fin, reserved=reserved)
    socket.data_received(data)
    if opcode == PING and fin and not reserved and len(payload) < 126:
        assert wire.written == bytes((0x8A, len(payload))) + payload
    elif opcode in (TEXT, PONG) and fin and not reserved and (opcode == TEXT or len(payload) < 126):
        try:
            expected = [payload.decode()] if opcode == TEXT else []
        except UnicodeDecodeError:
            assert not socket.is_open
        else:
            assert listener.texts == expected
            assert socket.is_open
    elif opcode == TEXT and not fin and not reserved:
        assert socket.is_open
        assert listener.texts == []
    else:
        assert not socket.is_open
        assert listener.texts == []
