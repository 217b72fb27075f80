"""All stations connected to this pod: what their conversations share, and what the downlink sees of sockets.

`Conversations` is `procedures.Sockets` for the driver. It decides nothing: the downlink's core says which CALL goes where.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import orjson

from ocpp_contract.ids import ChargePointId, CommandId
from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.clocks import WallClock, boottime
from ocpp_gateway.adapters.conversation import Conversation, ConversationPorts
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.policy import SessionPolicy
from ocpp_gateway.core.session import Session
from ocpp_gateway.core.uplink import Flow

log = logging.getLogger(__name__)

_TRACE_BACKLOG = 1_000
_FIXED_HEADERS = (
    ("ce_specversion", b"1.0"),
    ("content-type", b"application/json"),
    ("ce_datacontenttype", b"application/json"),
)


class Conversations:
    """All conversations of a pod, by connection; a station may have two for a moment."""

    def __init__(
        self, ports: ConversationPorts, dialects: Mapping[str, Dialect], policies: Callable[[str], SessionPolicy]
    ) -> None:
        """`policies`: validation mode -> the policy shared by all sessions of that mode."""
        self.ports = ports
        self.clock = WallClock()
        self.flow = Flow.OPEN
        self._dialects = dialects
        self._policies = policies
        self._by_connection: dict[str, Conversation] = {}
        self._fixed = (*_FIXED_HEADERS, ("ce_source", ports.source.encode()))
        self._types: dict[str, tuple[str, bytes]] = {}
        self._watched: dict[ChargePointId, set[asyncio.Queue[bytes]]] = {}

    def __len__(self) -> int:
        return len(self._by_connection)

    def __iter__(self) -> Iterator[Conversation]:
        return iter(self._by_connection.values())

    def get(self, connection: str) -> Conversation | None:
        return self._by_connection.get(connection)

    def headers(self, event: str, ce_id: str, key: bytes) -> tuple[tuple[str, bytes], ...]:
        """CloudEvents headers, binary mode."""
        type_header = self._types.get(event)
        if type_header is None:
            type_header = self._types[event] = ("ce_type", f"io.chargegateway.{event}.v1".encode())
        return (*self._fixed, type_header, ("ce_id", ce_id.encode()), ("ce_subject", key))

    def open(
        self,
        socket: ChargePointSocket,
        connection: str,
        charge_point_id: ChargePointId,
        epoch: int,
        version: str,
        validation: str,
        boot_status: str | None,
    ) -> Conversation:
        """Right after the 101."""
        session = Session(self._dialects[version], charge_point_id, epoch, self._policies(validation), boot_status)
        conversation = Conversation(self, socket, connection, charge_point_id, epoch, version, session)
        self._by_connection[connection] = conversation
        for queue in self._watched.get(charge_point_id, ()):
            conversation.tap(queue)
        conversation.follow_flow()
        return conversation

    def closed(self, conversation: Conversation, code: int, reason: str) -> None:
        self._by_connection.pop(conversation.connection, None)
        log.info(
            "station disconnected",
            extra={
                "station": conversation.charge_point_id,
                "connection": conversation.connection,
                "code": code,
                "reason": reason,
            },
        )
        self.ports.gone(conversation, code, reason)

    def announce(self, conversation: Conversation, event: str, data: dict[str, Any]) -> None:
        """DeviceOnline, DeviceOffline, IdentityConflict: events of the connection, not of a message."""
        self.publish(
            conversation.charge_point_id, event, conversation.connection, conversation.version, conversation.epoch, data
        )

    def publish(
        self, station: ChargePointId, event: str, identity: str, version: str, epoch: int, data: dict[str, Any]
    ) -> None:
        """An event of our own; `identity` makes its ce_id."""
        now = self.clock.utc()
        envelope = {
            "chargePointId": station,
            "occurredAt": now,
            "receivedAt": now,
            "messageId": identity,
            "epoch": epoch,
            "data": data,
        }
        if version:  # none has been negotiated when two boxes are caught with one identity
            envelope["ocppVersion"] = version
        key = station.encode()

        def acknowledged(error: Exception | None) -> None:
            self.ports.count("events_published" if error is None else "events_refused", event)

        headers = self.headers(event, f"{identity}/{event}", key)
        self.ports.producer.publish(self.ports.events_topic, key, orjson.dumps(envelope), headers, acknowledged)

    def change_flow(self, flow: Flow) -> None:
        """Kafka's acknowledgements stopped or came back."""
        if flow is not self.flow:
            self.flow = flow
            for conversation in list(self._by_connection.values()):
                conversation.follow_flow()

    async def reassert_boots(self) -> None:
        """Redis lost data: write every `:boot` that was made here again, paced."""
        for index, conversation in enumerate(list(self._by_connection.values())):
            await conversation.record_boot()
            if index % 200 == 199:
                await asyncio.sleep(0.02)

    # ------------------------------------------------------------------------------------------------ for the downlink

    def write_call(
        self, connection: str, command_id: CommandId, action: str, payload: Mapping[str, Any], age: float
    ) -> bool:
        conversation = self._by_connection.get(connection)
        if conversation is None or not conversation.write_call(command_id, action, dict(payload)):
            return False
        self.ports.observe_command(max(0.0, age))
        log.info(
            "command sent",
            extra={
                "correlation": command_id,
                "station": conversation.charge_point_id,
                "connection": connection,
                "action": action,
            },
        )
        return True

    def call_timed_out(self, connection: str, command_id: CommandId) -> None:
        conversation = self._by_connection.get(connection)
        if conversation is not None:
            conversation.session.timed_out(command_id)

    def close_socket(self, connection: str, code: int, reason: str) -> None:
        conversation = self._by_connection.get(connection)
        if conversation is not None:
            conversation.socket.close(code, reason)

    def ping(self, connection: str, until: float) -> Awaitable[bool]:
        return self._ping(self._by_connection.get(connection), until)

    async def _ping(self, conversation: Conversation | None, until: float) -> bool:
        answered = asyncio.Event()
        if conversation is None or not conversation.socket.ping(answered.set):
            return False
        try:
            async with asyncio.timeout(max(0.0, until - boottime())):
                await answered.wait()
        except TimeoutError:
            return False
        return True

    # ----------------------------------------------------------------------------------------------------------- trace

    async def trace(self, charge_point_id: str) -> AsyncGenerator[bytes, None]:
        """Frames of one station from now on, also over its reconnections to this pod."""
        station = ChargePointId(charge_point_id)
        queue: asyncio.Queue[bytes] = asyncio.Queue(_TRACE_BACKLOG)
        self._watched.setdefault(station, set()).add(queue)
        for conversation in self._by_connection.values():
            if conversation.charge_point_id == station:
                conversation.tap(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watched[station].discard(queue)
            if not self._watched[station]:
                del self._watched[station]
            for conversation in self._by_connection.values():
                conversation.untap(queue)
