"""What the session keeps for a station in its slot: the answers to BootNotification and to StartTransaction."""

from __future__ import annotations

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import BootRecord, TransactionRecord
from ocpp_gateway.adapters.redis_shards import Shards, StoreUnknown


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

    async def transaction(self, station: ChargePointId, digest: str) -> TransactionRecord | None:
        """The stored answer for a natural key. Ended: a message with that key starts generation + 1."""
        key = self._keys.tx(station, digest)
        return _transaction(await self._shards.command(key, "GET", key))

    async def put_transaction(
        self, station: ChargePointId, digest: str, record: TransactionRecord
    ) -> TransactionRecord:
        """Store unless one of the same generation stands; returns what stands: that is to be answered."""
        call = calls.put_tx(self._keys, station, digest, record, self._transaction_ttl_ms)
        return _transaction(await self._shards.run(call)) or record

    async def end_transaction(self, station: ChargePointId, transaction_id: str) -> bool:
        """A StopTransaction: its natural key is free for the next generation. False: nothing known of it."""
        index = calls.tx_index(self._keys, station, transaction_id)
        digest = await self._shards.command(index, "GET", index)
        if digest is None:
            return False
        call = calls.end_tx(self._keys, station, digest.decode(), transaction_id, self._transaction_ttl_ms)
        return bool(await self._shards.run(call))


def _transaction(stored: bytes | None) -> TransactionRecord | None:
    if stored is None:
        return None
    try:
        return TransactionRecord.from_json(stored)
    except ContractError as error:
        raise StoreUnknown(f"transaction record: {error}") from None
