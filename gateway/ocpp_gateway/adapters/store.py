"""Executes core's store requests against Redis: one entry point, one handler per request, one exception.

    store = Store(StoreSettings(...), on_run=pod.run_seen)
    await store.start()
    reply = await store.execute(effects.ClaimCommand(...))      # raises effects.Unknown

The handlers live beside what they are about (`partitions`, `directory`, `command_records`); `companions` has what the
session keeps for a station. What this adds is only the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ocpp_contract.names import Keys
from ocpp_gateway.adapters.command_records import CommandRecords
from ocpp_gateway.adapters.companions import Companions
from ocpp_gateway.adapters.directory import Directory
from ocpp_gateway.adapters.partitions import Partitions
from ocpp_gateway.adapters.redis_link import Address, RedisAccess
from ocpp_gateway.adapters.redis_shards import Shards
from ocpp_gateway.core import effects

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the store is and how long its records live (seconds)."""

    addresses: tuple[Address, ...]
    access: RedisAccess = field(default_factory=RedisAccess)
    cluster: bool = False
    key_prefix: str = ""
    lease: float = 15.0
    connection_ttl: float = 900.0
    last_epoch_ttl: float = 86_400.0
    boot_ttl: float = 7 * 86_400.0
    transaction_ttl: float = 7 * 86_400.0


class Store:
    """`execute` for core's requests; `companions` and `shards` for the adapters that need more."""

    def __init__(
        self,
        settings: StoreSettings,
        on_run: Callable[[str, str], None],
        count: Callable[[str], None] = lambda kind: None,
    ) -> None:
        """`on_run(shard, run_id)` before any reply of that run; `count` gets the kind of trouble of each unknown outcome."""
        self.keys = Keys(settings.key_prefix)
        self.shards = Shards(settings.addresses, settings.access, on_run, settings.cluster)
        self.companions = Companions(self.shards, self.keys, settings.boot_ttl, settings.transaction_ttl)
        self._count = count
        partitions = Partitions(self.shards, self.keys, settings.lease)
        directory = Directory(self.shards, self.keys, settings.connection_ttl, settings.last_epoch_ttl)
        commands = CommandRecords(self.shards, self.keys)
        self._handlers: dict[type, Callable[[Any], Awaitable[object]]] = {
            effects.Take: partitions.take,
            effects.IsAbsent: partitions.is_absent,
            effects.Renew: partitions.renew,
            effects.Restore: partitions.restore,
            effects.Release: partitions.release,
            effects.GetPods: partitions.get_pods,
            effects.MarkRun: partitions.mark_run,
            effects.Register: directory.register,
            effects.Refresh: directory.refresh,
            effects.Delete: directory.delete,
            effects.GetConn: directory.get,
            effects.ClaimCommand: commands.claim,
            effects.PutBack: commands.put_back,
            effects.RecordDone: commands.done,
            effects.AssertRecord: commands.assert_record,
            effects.MarkTimedOut: commands.mark_timed_out,
            effects.Batch: self._batch,
        }
        self.command_state = commands.state

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        await self.shards.start()

    async def close(self) -> None:
        await self.shards.close()

    @property
    def available(self) -> bool:
        """Whether every shard is connected at this moment: new stations need that."""
        return self.shards.linked

    async def execute(self, request: effects.StoreRequest) -> Any:
        """The reply named at the request; raises Unknown. Nothing is sent twice, except what the server says it refused."""
        try:
            return await self._handlers[type(request)](request)
        except effects.Unknown:
            self._count("unknown")
            raise

    async def _batch(self, batch: effects.Batch) -> tuple[object, ...]:
        # Tasks started together send in one turn of the loop, which is one pipeline per server.
        return tuple(await asyncio.gather(*(self._or_unknown(request) for request in batch.requests)))

    async def _or_unknown(self, request: effects.SingleRequest) -> object:
        try:
            return await self.execute(request)
        except effects.Unknown as unknown:
            return unknown
