"""The load: many charge points in one process that costs little, told by its parent what to do.

A process of its own (`python -m benchmarks.stations`), so that its work is in nobody's figures. Orders come as JSON lines on
stdin, one answer line each goes to stdout; `Generator` in `generators.py` is the other end. A station here is an
`asyncio.Protocol` on uvloop that writes masked RFC 6455 frames and reads frame lengths: about 10 us per exchange.

An answer that is no CALLRESULT, and any socket that closes by itself, fails the order: a server that refuses is not fast.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
import sys
import time
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop
from websockets.speedups import apply_mask

from benchmarks import proc

_MASK = b"\x5a\x1c\xe3\x97"
_CONNECTING_AT_ONCE = 64
_LOOPBACKS = 8
_CONNECT_WITHIN = 120.0

BOOT = b'{"chargePointVendor":"bench","chargePointModel":"bench"}'
PAYLOADS = {
    "Heartbeat": b"{}",
    "MeterValues": (
        b'{"connectorId":1,"transactionId":5,"meterValue":[{"timestamp":"2026-11-22T10:00:00Z","sampledValue":['
        b'{"value":"12345.6","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"},'
        b'{"value":"7.2","context":"Sample.Periodic","measurand":"Power.Active.Import","unit":"kW"},'
        b'{"value":"16.0","context":"Sample.Periodic","measurand":"Current.Import","phase":"L1","unit":"A"}]}]}'
    ),
}


class Refused(Exception):
    """A server did not do what it was asked."""


def text_frame(payload: bytes) -> bytes:
    """One masked text frame (RFC 6455 section 5.2)."""
    size = len(payload)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + _MASK + apply_mask(payload, _MASK)


def upgrade_request(target: str, basic: str | None) -> bytes:
    """`basic`: "user:password"."""
    authorization = f"Authorization: Basic {b64encode(basic.encode()).decode()}\r\n" if basic else ""
    return (
        f"GET {target} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{authorization}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
    ).encode()


class Station(asyncio.Protocol):
    """One charge point. `load` hears of what the server says."""

    __slots__ = ("buffer", "closing", "load", "name", "number", "opened", "sent_at", "transport", "upgrade")

    def __init__(self, load: Load, name: str, upgrade: bytes, opened: asyncio.Future[None]) -> None:
        self.load = load
        self.name = name
        self.upgrade = upgrade
        self.opened: asyncio.Future[None] | None = opened
        self.buffer = b""
        self.number = 0
        self.closing = False
        self.sent_at: deque[float] = deque()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses
        transport.write(self.upgrade)
        self.upgrade = b""

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        if self.opened is not None:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self.buffer = head
                return
            opened, self.opened = self.opened, None
            if not head.startswith(b"HTTP/1.1 101"):
                opened.set_exception(Refused(head.decode("latin-1").splitlines()[0]))
                return
            opened.set_result(None)
        while len(data) >= 2:
            size, start = data[1], 2
            if size == 126:
                if len(data) < 4:
                    break
                size, start = int.from_bytes(data[2:4], "big"), 4
            stop = start + size
            if len(data) < stop:
                break
            opcode = data[0]
            if opcode == 0x81:
                self.load.on_text(self, data[start:stop])
            elif opcode == 0x89:
                self.transport.write(b"\x8a" + bytes((0x80 | size,)) + _MASK + apply_mask(data[start:stop], _MASK))
            else:
                self.load.fail(f"{self.name}: frame {data[:stop]!r}")
            data = data[stop:]
        self.buffer = data

    def connection_lost(self, exc: Exception | None) -> None:
        if self.opened is not None and not self.opened.done():
            self.opened.set_exception(Refused(f"{self.name}: closed during the handshake"))
        elif not self.closing:
            self.load.fail(f"{self.name}: the server closed the socket ({exc})")

    def call(self, action: bytes, payload: bytes) -> None:
        """A CALL under an id that was never used before, 36 characters long as those of most stations are."""
        self.number += 1
        self.transport.write(
            text_frame(b'[2,"8f1c8b6e-0e5d-4c7e-9f6a-%012d","%s",%s]' % (self.number, action, payload))
        )
        self.sent_at.append(time.monotonic())

    def close(self) -> None:
        self.closing = True
        self.transport.abort()


class Load:
    """All stations of this process and the order under way."""

    def __init__(self) -> None:
        self.stations: list[Station] = []
        self.laps: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = 0
        self.to_send = 0
        self.action = b"Heartbeat"
        self.payload = b"{}"
        self.closed_loop = False

    # ---------------------------------------------------------------------------------------------- what stations hear

    def on_text(self, station: Station, text: bytes) -> None:
        if text.startswith(b"[2,"):
            self.on_call(station, text)
            return
        if not text.startswith(b"[3,"):
            self.fail(f"{station.name}: {text!r}")
            return
        self.laps.append(time.monotonic() - station.sent_at.popleft())
        self.left -= 1
        if self.closed_loop and self.to_send > 0:
            self.to_send -= 1
            station.call(self.action, self.payload)
        elif self.left == 0 and not self.done.done():
            self.done.set_result(None)

    def on_call(self, station: Station, text: bytes) -> None:
        """A command of the server; `benchmarks.commands` measures these."""
        self.fail(f"{station.name}: unexpected {text!r}")

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(Refused(reason))

    # ---------------------------------------------------------------------------------------------------------- orders

    async def connect(
        self, url: str, prefix: str, count: int, ca: str | None = None, password: str | None = None
    ) -> dict[str, Any]:
        """Open `count` sockets more, stations `<prefix>00000` and on; each boots."""
        parts = urlsplit(url)
        context = None
        if parts.scheme == "wss":
            context = ssl.create_default_context(cafile=ca)
        loop = asyncio.get_running_loop()
        permits = asyncio.Semaphore(_CONNECTING_AT_ONCE)
        first = len(self.stations)

        async def one(number: int) -> None:
            async with permits:
                opened = loop.create_future()
                name = f"{prefix}{number:05d}"
                upgrade = upgrade_request(parts.path + name, f"{name}:{password}" if password else None)
                # Several source addresses: 15,000 sockets come near the end of one address's ephemeral ports.
                _, station = await loop.create_connection(
                    lambda: Station(self, name, upgrade, opened),
                    parts.hostname,
                    parts.port,
                    ssl=context,
                    server_hostname=parts.hostname if context else None,
                    local_addr=(f"127.0.0.{1 + number % _LOOPBACKS}", 0),
                )
                await opened
                self.stations.append(station)

        began = time.monotonic()
        async with asyncio.timeout(_CONNECT_WITHIN):
            await asyncio.gather(*(one(first + number) for number in range(count)))
        took = time.monotonic() - began
        await self.exchange("BootNotification", self.stations[first:])
        return {"seconds": took, "connected": len(self.stations)}

    async def exchange(self, action: str, stations: list[Station]) -> None:
        """One CALL of each of these stations, a few at a time."""
        payload = BOOT if action == "BootNotification" else PAYLOADS[action]
        for start in range(0, len(stations), 100):
            some = stations[start : start + 100]
            self._begin(len(some), closed_loop=False)
            for station in some:
                station.call(action.encode(), payload)
            await self.done

    async def saturate(self, action: str, messages: int) -> dict[str, Any]:
        """Closed loop: every station sends its next CALL as soon as the last is answered."""
        self._begin(messages, closed_loop=True)
        self.action, self.payload = action.encode(), PAYLOADS[action]
        self.to_send = messages - len(self.stations)
        began = time.monotonic()
        for station in self.stations:
            station.call(self.action, self.payload)
        await self.done
        return self._report(messages, time.monotonic() - began)

    async def pour(self, action: str, rate: float, seconds: float) -> dict[str, Any]:
        """Open loop: `rate` CALLs a second, evenly, station after station, whether answered or not."""
        messages = int(rate * seconds)
        self._begin(messages, closed_loop=False)
        name, payload = action.encode(), PAYLOADS[action]
        began = time.monotonic()
        for number in range(messages):
            wait = began + number / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            self.stations[number % len(self.stations)].call(name, payload)
        await self.done
        return self._report(messages, time.monotonic() - began)

    async def close(self) -> dict[str, Any]:
        """Hang up without a word."""
        for station in self.stations:
            station.close()
        self.stations.clear()
        return {}

    def _begin(self, messages: int, *, closed_loop: bool) -> None:
        if self.done.done() and self.done.exception() is not None:
            raise Refused(str(self.done.exception()))  # it happened between two orders
        self.done = asyncio.get_running_loop().create_future()
        self.left, self.closed_loop = messages, closed_loop
        self.laps.clear()

    def _report(self, messages: int, seconds: float) -> dict[str, Any]:
        return {"messages": messages, "seconds": seconds, **quantiles(self.laps)}


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and longest, in milliseconds."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {
        "p50": ordered[last // 2] * 1e3,
        "p99": ordered[last * 99 // 100] * 1e3,
        "longest": ordered[last] * 1e3,
    }


async def obey(load: Load, more: Mapping[str, Callable[..., Awaitable[dict[str, Any]]]] | None = None) -> None:
    """Orders from stdin, answers to stdout, until stdin ends."""
    orders: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
        "connect": load.connect,
        "saturate": load.saturate,
        "pour": load.pour,
        "close": load.close,
        **(more or {}),
    }
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        try:
            answer = await orders[order.pop("do")](**order)
        except (Refused, OSError) as error:
            answer = {"refused": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


async def main() -> None:
    proc.open_all_files()
    await obey(Load())


if __name__ == "__main__":
    uvloop.run(main())
