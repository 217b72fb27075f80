"""`conn:<id>` and `:last`: which pod holds a station's socket."""

from __future__ import annotations

from collections.abc import Sequence

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.errors import ContractError
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_gateway.adapters.redis_shards import Shards
from ocpp_gateway.core.effects import Delete, GetConn, Late, Refresh, RefreshState, Register, Registered


class Directory:
    def __init__(self, shards: Shards, keys: Keys, ttl: float, last_ttl: float) -> None:
        self._shards = shards
        self._keys = keys
        self._ttl_ms = round(ttl * 1_000)
        self._last_ttl_ms = round(last_ttl * 1_000)

    async def register(self, request: Register) -> Registered | Late:
        record = ConnectionRecord(
            pod=request.incarnation.pod,
            incarnation=request.incarnation,
            partition=request.partition,
            epoch=0,
            connection=request.connection,
            version=request.version,
            since=request.since,
        )
        reply = await self._shards.run(
            calls.register(
                self._keys,
                request.charge_point_id,
                record,
                request.floor_us,
                request.not_after_us,
                self._ttl_ms,
                self._last_ttl_ms,
            )
        )
        return Registered(reply[1]) if reply[0] == b"ok" else Late()

    async def refresh(self, request: Refresh) -> RefreshState:
        reply = await self._shards.run(
            calls.refresh(
                self._keys, request.charge_point_id, request.record, request.proven, self._ttl_ms, self._last_ttl_ms
            )
        )
        return RefreshState(reply[0].decode())

    async def delete(self, request: Delete) -> bool:
        return bool(
            await self._shards.run(
                calls.delete(self._keys, request.charge_point_id, self._last_ttl_ms, request.epoch, request.connection)
            )
        )

    async def get(self, request: GetConn) -> tuple[ConnectionRecord | None, ...]:
        keys: Sequence[str] = [self._keys.conn(station) for station in request.charge_point_ids]
        return tuple(_record(stored) for stored in await self._shards.get_many(keys))


def _record(stored: bytes | None) -> ConnectionRecord | None:
    """An unreadable entry leads nowhere, as none does."""
    if stored is None:
        return None
    try:
        return ConnectionRecord.from_json(stored)
    except ContractError:
        return None
