"""A WebSocket peer made by hand, for everything that a library refuses to do."""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from websockets.utils import apply_mask

TEXT, BINARY, CLOSE, PING, PONG, CONT = 0x1, 0x2, 0x8, 0x9, 0xA, 0x0


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, reserved: int = 0) -> bytes:
    """One frame (RFC 6455 section 5.2) as a client writes it."""
    head = (0x80 if fin else 0) | reserved | opcode
    second = 0x80 if mask else 0
    if len(payload) < 126:
        data = struct.pack("!BB", head, second | len(payload))
    elif len(payload) < 65_536:
        data = struct.pack("!BBH", head, second | 126, len(payload))
    else:
        data = struct.pack("!BBQ", head, second | 127, len(payload))
    if not mask:
        return data + payload
    key = os.urandom(4)
    return data + key + apply_mask(payload, key)


def upgrade(target: str = "/ocpp/CP1", *more: str, without: Sequence[str] = (), line: str | None = None) -> bytes:
    """A good upgrade request, with header lines added or left out."""
    lines = [
        "Host: gateway",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: ocpp1.6",
        *more,
    ]
    kept = [header for header in lines if header.split(":")[0] not in without or header in more]
    return "\r\n".join([line or f"GET {target} HTTP/1.1", *kept, "", ""]).encode("latin-1")


class RawPeer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and body of an HTTP response."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 "), "something came before the response"
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await asyncio.wait_for(self.reader.readexactly(int(headers.get("content-length", 0))), 5)
        return int(status.split()[1]), headers, body

    async def open(self, *more: str) -> dict[str, str]:
        """The whole good handshake; the headers of the 101."""
        self.send(upgrade("/ocpp/CP1", *more))
        status, headers, _ = await self.response()
        assert status == 101
        return headers

    async def frame(self, timeout: float = 5) -> tuple[int, bytes]:
        """The next frame of the server: opcode and payload."""
        head, second = await asyncio.wait_for(self.reader.readexactly(2), timeout)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        assert not second & 0x80, "a server does not mask"
        return head & 0x0F, await asyncio.wait_for(self.reader.readexactly(size), timeout)

    async def close_code(self) -> int:
        """Reads up to the close frame of the server."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")

    async def ended(self, timeout: float = 5) -> bytes:
        """Whatever still comes until the server ends the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(), timeout)
        except ConnectionResetError:
            return b""


@asynccontextmanager
async def raw_peer(address: tuple[str, int], tls: ssl.SSLContext | None = None) -> AsyncIterator[RawPeer]:
    reader, writer = await asyncio.open_connection(*address, ssl=tls)
    try:
        yield RawPeer(reader, writer)
    finally:
        writer.transport.abort()
