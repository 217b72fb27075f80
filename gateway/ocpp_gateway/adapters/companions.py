"""What the session keeps in the slot of its station: the answer to BootNotification, remembered transactions."""

from __future__ import annotations

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import BootRecord
from ocpp_gateway.adapters.redis_shards import Shards


class Companions:
    """Every method raises StoreUnknown. All may be repeated."""

    def __init__(self, shards: Shards, keys: Keys, boot_ttl: float, transaction_ttl: float) -> None:
        self._shards = shards
        self._keys = keys
        self._boot_ttl_ms = round(boot_ttl * 1_000)
        self._transaction_ttl_ms = round(transaction_ttl * 1_000)

    async def boot(self, station: ChargePointId) -> BootRecord | None:
        """The last answer to BootNotification; None counts as accepted."""
        key = self._keys.boot(station)
        stored = await self._shards.command(key, "GET", key)
        try:
            return None if stored is None else BootRecord.from_json(stored)
        except ContractError:
            return None

    async def put_boot(self, station: ChargePointId, record: BootRecord, epoch: int) -> bool:
        """False: the station has a newer connection, whose answer counts. Also used to re-assert after data loss."""
        return bool(await self._shards.run(calls.put_boot(self._keys, station, record, epoch, self._boot_ttl_ms)))

    async def recall(self, station: ChargePointId, digest: str) -> bytes | None:
        """What was remembered of a transaction message under the digest of its natural key."""
        key = self._keys.tx(station, digest)
        stored: bytes | None = await self._shards.command(key, "GET", key)
        return stored

    async def remember(self, station: ChargePointId, digest: str, value: bytes) -> None:
        """Keep it for the retry that may come to another pod."""
        key = self._keys.tx(station, digest)
        await self._shards.command(key, "SET", key, value, "PX", self._transaction_ttl_ms)
