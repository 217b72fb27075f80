"""`station:<id>` and `stations:projected`: the topic ocpp-stations as it stands in Redis.

The marker tells, per partition of the topic, up to which offset it was projected and under which runs of the shards.
Other runs, or no marker: Redis may have lost stations, the partition is projected again from its beginning (each record
counts only above the offset it was last projected from, so going over them again changes nothing). Until all partitions
have been read to their end under the present runs, a station that is not found is not unknown: it is not known yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId
from ocpp_contract.names import Keys
from ocpp_contract.registry import CredentialRecord, StationRecord
from ocpp_contract.scripts import calls
from ocpp_gateway.adapters.redis_shard import StoreUnknown
from ocpp_gateway.adapters.redis_shards import Shards
from ocpp_gateway.core.registry import StationEntry

Half = Literal["record", "credential"]
_TOMBSTONE_TTL_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Applied:
    """One record of the topic. ``value`` None: a tombstone."""

    station: ChargePointId
    half: Half
    offset: int
    value: bytes | None


class StationProjection:
    """Every coroutine raises StoreUnknown; all may be repeated."""

    def __init__(self, shards: Shards, keys: Keys) -> None:
        self._shards = shards
        self._keys = keys
        self.partitions: int | None = None
        """Partitions of the topic, as soon as known."""

    @property
    def runs(self) -> str | None:
        """A short name of the runs of all shards at this moment; None while one of them never answered."""
        runs = self._shards.run_ids
        return blake2b(" ".join(runs).encode(), digest_size=6).hexdigest() if runs and all(runs) else None

    async def positions(self) -> dict[int, int]:
        """Per partition the next offset to project, as far as the marker holds under the present runs."""
        runs, key = self.runs, self._keys.stations_projected
        stored: Sequence[bytes] = await self._shards.command(key, "HGETALL", key)
        found: dict[int, int] = {}
        for partition, mark in zip(stored[::2], stored[1::2], strict=True):
            offset, _, under = mark.decode(errors="replace").partition(" ")
            # Whatever another hand wrote there is no position of ours: the partition is projected again.
            if under == runs and partition.isdigit() and offset.isascii() and offset.isdigit():
                found[int(partition)] = int(offset)
        return found

    async def mark(self, partition: int, next_offset: int, runs: str) -> None:
        """Everything below ``next_offset`` stands in Redis, seen from the beginning under ``runs``."""
        key = self._keys.stations_projected
        await self._shards.command(key, "HSET", key, str(partition), f"{next_offset} {runs}")

    async def apply(self, records: Sequence[Applied]) -> int:
        """Project records, all in one pipeline; how many were news. Of one station in order, as they are sent."""
        done = await asyncio.gather(
            *(
                self._shards.run(
                    calls.project_station(
                        self._keys, record.station, record.half, record.offset, record.value, _TOMBSTONE_TTL_MS
                    )
                )
                for record in records
            )
        )
        return sum(done)

    async def look_up(self, station: ChargePointId) -> StationEntry | None:
        """Registry record and credential of a station in one read; None: nobody registered it."""
        key = self._keys.station(station)
        record, credential = await self._shards.command(key, "HMGET", key, "record", "credential")
        # The two records may lie in different partitions of the topic: a missing credential says no more than a missing record.
        if (record is None or credential is None) and not await self.complete():
            raise StoreUnknown("the station registry is not projected yet")
        if record is None and credential is None:
            return None
        try:
            return StationEntry(
                None if record is None else StationRecord.from_json(record),
                () if credential is None else CredentialRecord.from_json(credential).hashes,
            )
        except ContractError as error:  # only readable records are projected, so this one was changed by another hand
            raise StoreUnknown(f"registry record: {error}") from None

    async def complete(self) -> bool:
        """Whether every partition has been projected under the present runs."""
        return self.partitions is not None and len(await self.positions()) >= self.partitions
