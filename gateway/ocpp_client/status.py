"""Redis as a backend sees it: where a station is connected, and how far a command has come. Read only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ocpp_client.errors import StoreUnavailable
from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, CommandId
from ocpp_contract.names import Keys
from ocpp_contract.outcome import CommandResult, CommandState
from ocpp_contract.scripts.records import DoneRecord, parse_command_record


@dataclass(frozen=True, slots=True)
class CommandStatus:
    """``result`` is there once the command has ended. NotSent: queued, waiting for its station, or never produced."""

    state: CommandState
    result: CommandResult | None = None


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """``url`` as redis-py reads it (``redis://user:password@host:6379/0``, ``rediss://`` for TLS). Times in seconds."""

    url: str
    cluster: bool = False
    prefix: str = ""
    timeout: float = 1.0
    max_connections: int = 16


class Directory:
    """``async with``; every method raises StoreUnavailable."""

    def __init__(self, access: RedisAccess) -> None:
        self._access = access
        self._keys = Keys(access.prefix)
        # One retry and a bound on the whole: redis-py's default repeats ten times. Reading twice harms nothing.
        options: dict[str, Any] = {
            "socket_timeout": access.timeout,
            "socket_connect_timeout": access.timeout,
            "retry": Retry(NoBackoff(), 1),
        }
        self._redis: Any
        if access.cluster:
            self._redis = RedisCluster.from_url(access.url, max_connections=access.max_connections, **options)
        else:
            # Blocking: the ordinary pool raises when all connections are taken.
            pool = BlockingConnectionPool.from_url(
                access.url, max_connections=access.max_connections, timeout=2 * access.timeout, **options
            )
            self._redis = Redis.from_pool(pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._redis.aclose()

    async def connection(self, station: ChargePointId) -> ConnectionRecord | None:
        """Where the station is connected; None: it is away."""
        stored = await self._get(self._keys.conn(station))
        try:
            return None if stored is None else ConnectionRecord.from_json(stored)
        except ContractError as error:
            raise StoreUnavailable(f"{self._keys.conn(station)} is broken: {error}") from None

    async def status(self, station: ChargePointId, command_id: CommandId) -> CommandStatus:
        """How far the command has come."""
        stored = await self._get(self._keys.cmd(station, command_id))
        if stored is None:
            return CommandStatus(CommandState.NOT_SENT)
        try:
            record = parse_command_record(stored)
        except ContractError as error:
            raise StoreUnavailable(f"the record of command {command_id} is broken: {error}") from None
        return CommandStatus(record.command_state, record.result if isinstance(record, DoneRecord) else None)

    async def connections(self) -> AsyncIterator[tuple[ChargePointId, ConnectionRecord]]:
        """Every connected station, in no order; one that connects or leaves meanwhile may be missing or there."""
        prefix = self._keys.conn(ChargePointId(""))
        try:
            async for key in self._redis.scan_iter(match=_literal(prefix) + "*", count=500):
                station = ChargePointId(key.decode().removeprefix(prefix))
                record = await self.connection(station)
                if record is not None:
                    yield station, record
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error}") from error

    async def _get(self, key: str) -> bytes | None:
        try:
            async with asyncio.timeout(3 * self._access.timeout):
                stored: bytes | None = await self._redis.get(key)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"Redis does not answer: {error or 'no reply in time'}") from error
        return stored


def _literal(text: str) -> str:
    """``text`` for a MATCH pattern, where some characters mean something."""
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in text)
