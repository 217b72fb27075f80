"""A charge point in the hand of a test: it says exactly what it is told to, byte for byte, and shows all that it hears.

Plain `websockets` and `json`, none of our code. CALLs of the gateway are answered by `replies[action]` where there is one;
the others wait in `calls` for the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import websockets

Reply = Callable[[dict[str, Any]], dict[str, Any]]


class Station:
    """Made by `connected`."""

    def __init__(self, name: str, socket: websockets.ClientConnection) -> None:
        self.name = name
        self.socket = socket
        self.heard: list[Any] = []
        """Every message, in order."""
        self.calls: asyncio.Queue[list[Any]] = asyncio.Queue()
        """CALLs of the gateway that nothing answers by itself."""
        self.replies: dict[str, Reply] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[list[Any]]] = {}
        self.others: asyncio.Queue[list[Any]] = asyncio.Queue()
        """Answers under an id that nobody waits for, as "-1"."""
        self._listening = asyncio.create_task(self._listen())

    async def say(self, message: Any) -> None:
        """Send text as it is, bytes as a text frame (UTF-8 or not), everything else as JSON."""
        if isinstance(message, bytes):
            await self.socket.send(message, text=True)
        else:
            await self.socket.send(message if isinstance(message, str) else json.dumps(message))

    async def call(self, action: str, payload: Any, message_id: str | None = None) -> dict[str, Any]:
        """The payload of the CALLRESULT; everything else fails the test."""
        answer = await self.ask(action, payload, message_id)
        assert answer[0] == 3, answer
        return dict(answer[2])

    async def ask(self, action: str, payload: Any, message_id: str | None = None) -> list[Any]:
        """The whole answer, CALLERROR or not."""
        used = message_id or f"{self.name}-{next(self._numbers)}"[-36:]
        return await self.exchange([2, used, action, payload], used)

    async def exchange(self, message: Any, message_id: str, seconds: float = 8) -> list[Any]:
        """Say anything and wait for the answer under `message_id`."""
        waiting = self._waiting[message_id] = asyncio.get_running_loop().create_future()
        try:
            await self.say(message)
            async with asyncio.timeout(seconds):
                return await waiting
        except TimeoutError:
            raise AssertionError(f"no answer to {str(message)[:200]}") from None
        finally:
            self._waiting.pop(message_id, None)

    async def next_call(self, seconds: float = 8) -> list[Any]:
        """The next CALL of the gateway."""
        try:
            async with asyncio.timeout(seconds):
                return await self.calls.get()
        except TimeoutError:
            raise AssertionError(f"{self.name} got no CALL") from None

    async def answer(self, call: list[Any], payload: dict[str, Any]) -> None:
        await self.say([3, call[1], payload])

    def received(self, action: str) -> list[list[Any]]:
        """All CALLs of that action so far."""
        return [message for message in self.heard if message[0] == 2 and message[2] == action]

    async def closed(self, seconds: float = 10) -> int:
        """The close code, once the gateway has closed."""
        async with asyncio.timeout(seconds):
            await self.socket.wait_closed()
        return int(self.socket.close_code or 0)

    async def _listen(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in self.socket:
                message = json.loads(text)
                self.heard.append(message)
                if message[0] == 2:
                    reply = self.replies.get(message[2])
                    if reply is None:
                        self.calls.put_nowait(message)
                    else:
                        await self.say([3, message[1], reply(message[3])])
                elif (waiting := self._waiting.get(message[1])) is not None and not waiting.done():
                    waiting.set_result(message)
                else:
                    self.others.put_nowait(message)

    async def leave(self) -> None:
        self._listening.cancel()
        await asyncio.wait((self._listening,))
        await self.socket.close()


@contextlib.asynccontextmanager
async def connected(
    url: str,
    name: str,
    subprotocol: str = "ocpp1.6",
    headers: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Station]:
    """`url` ends in a slash."""
    socket = await websockets.connect(
        url + name,
        subprotocols=[websockets.Subprotocol(subprotocol)],
        additional_headers=headers,
        compression=None,
        max_size=None,
        open_timeout=10,
        close_timeout=1,
        ssl=tls,
    )
    station = Station(name, socket)
    try:
        yield station
    finally:
        await station.leave()


def boot16() -> dict[str, Any]:
    return {"chargePointVendor": "tests", "chargePointModel": "hand-held"}


def boot2() -> dict[str, Any]:
    return {"reason": "PowerUp", "chargingStation": {"vendorName": "tests", "model": "hand-held"}}


def meter16(value: str = "1.50", connector: int = 1) -> dict[str, Any]:
    return {
        "connectorId": connector,
        "meterValue": [{"timestamp": "2026-11-22T10:00:00Z", "sampledValue": [{"value": value}]}],
    }
