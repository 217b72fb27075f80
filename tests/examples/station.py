"""A charge point for the examples, from nothing but `websockets`: OCPP 2.0.1, Accepted to everything.

It can be told to hang up instead of answering, so that the outcome of a command is truly uncertain; it has carried the
command out, though, and says so when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import websockets

TIME = "2026-11-22T10:00:00Z"


class Station:
    """Made by `connected`. `executed` counts the CALLs it carried out, by action."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.hang_up_on: str | None = None
        self.executed: dict[str, int] = {}
        self.booted = asyncio.Event()
        self._url = url + name
        self._unsaid: list[tuple[str, dict[str, Any]]] = []

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with websockets.connect(self._url, subprotocols=[websockets.Subprotocol("ocpp2.0.1")]) as socket:
                    await self._talk(socket)
            await asyncio.sleep(0.1)

    async def _talk(self, socket: websockets.ClientConnection) -> None:
        boot = {"reason": "PowerUp", "chargingStation": {"model": "Example", "vendorName": "Tests"}}
        await self._call(socket, "BootNotification", boot)
        self.booted.set()
        while self._unsaid:
            await self._call(socket, *self._unsaid[0])
            self._unsaid.pop(0)
        async for text in socket:
            await self._take(socket, json.loads(text))

    async def _call(self, socket: websockets.ClientConnection, action: str, payload: dict[str, Any]) -> None:
        message_id = str(uuid.uuid4())
        await socket.send(json.dumps([2, message_id, action, payload]))
        while True:
            frame = json.loads(await socket.recv())
            if frame[0] in (3, 4) and frame[1] == message_id:
                return
            await self._take(socket, frame)

    async def _take(self, socket: websockets.ClientConnection, frame: list[Any]) -> None:
        if frame[0] != 2:
            return
        _, message_id, action, payload = frame
        self.executed[action] = self.executed.get(action, 0) + 1
        if action == "RequestStartTransaction":
            self._unsaid.append(("TransactionEvent", _started(payload["remoteStartId"])))
        if action == self.hang_up_on:
            socket.transport.abort()
            return
        await socket.send(json.dumps([3, message_id, {"status": "Accepted"}]))
        if self._unsaid:
            await self._call(socket, *self._unsaid.pop(0))


def _started(remote_start_id: int) -> dict[str, Any]:
    return {
        "eventType": "Started",
        "timestamp": TIME,
        "triggerReason": "RemoteStart",
        "seqNo": 0,
        "transactionInfo": {"transactionId": uuid.uuid4().hex, "remoteStartId": remote_start_id},
        "evse": {"id": 1, "connectorId": 1},
    }


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Station]:
    """A charge point of a fresh name that has booted, and comes back whenever it is cut off."""
    station = Station(url, f"EX-{uuid.uuid4().hex[:8]}")
    running = asyncio.create_task(station.run())
    try:
        async with asyncio.timeout(20):
            await station.booted.wait()
        yield station
    finally:
        running.cancel()
        await asyncio.wait((running,))
