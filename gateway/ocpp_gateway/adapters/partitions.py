"""`partition:<n>`, `pod:<pod>` and `run:<run_id>`: leases on mailboxes, and who lives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Incarnation
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import PartitionRecord, PodRecord
from ocpp_gateway.adapters.redis_shard import StoreUnknown
from ocpp_gateway.adapters.redis_shards import Shards
from ocpp_gateway.core.effects import (
    AbsentPartition,
    GetPods,
    HeldPartition,
    IsAbsent,
    MarkRun,
    Refused,
    Release,
    Renew,
    Renewed,
    RenewedPartition,
    RenewState,
    Restore,
    RunMarked,
    Take,
    Taken,
)


class Partitions:
    def __init__(self, shards: Shards, keys: Keys, lease: float) -> None:
        self._shards = shards
        self._keys = keys
        self._lease_us = round(lease * 1_000_000)
        self._lease_ms = round(lease * 1_000)

    async def take(self, request: Take) -> Taken | Refused | AbsentPartition:
        run_id = await self._run_of(self._keys.partition(request.partition))
        reply = await self._shards.run(
            calls.take(
                self._keys,
                request.partition,
                request.incarnation,
                request.floor_us,
                self._lease_us,
                request.absent_ok,
                run_id,
            )
        )
        match reply:
            case [b"taken", epoch, _]:
                return Taken(epoch)
            case [b"refused", stored]:
                record = _partition_record(stored)
                assert record.incarnation is not None  # the script refuses for a holder only
                return Refused(record.incarnation, record.lease_until_us)
            case _:
                return AbsentPartition()

    async def is_absent(self, request: IsAbsent) -> bool:
        key = self._keys.partition(request.partition)
        run_id = await self._run_of(key)
        stored = await self._shards.command(key, "GET", key)
        return stored is None or _partition_record(stored).run != run_id

    async def renew(self, request: Renew) -> Renewed:
        """One pipeline per server: all of it leaves in one turn of the loop. A shard of a cluster that does not answer
        leaves its own partitions unknown, not those of the others."""
        pod = self._keys.pod(request.incarnation.pod)
        record = PodRecord(
            request.incarnation,
            request.generation,
            frozenset(held.partition for held in request.held),
            request.connections,
            request.draining,
        )
        time_us, renewed = await asyncio.gather(
            self._announce(pod, record),
            asyncio.gather(*(self._renew_or_unknown(request.incarnation, held) for held in request.held)),
        )
        if time_us is None:
            time_us = await self._time_from(request.held, renewed)
        return Renewed(time_us, tuple(renewed))

    async def restore(self, request: Restore) -> RenewState:
        run_id = await self._run_of(self._keys.partition(request.partition))
        reply = await self._shards.run(
            calls.restore(self._keys, request.partition, request.incarnation, request.epoch, self._lease_us, run_id)
        )
        return RenewState(reply.decode())

    async def release(self, request: Release) -> bool:
        return bool(
            await self._shards.run(calls.release(self._keys, request.partition, request.incarnation, request.epoch))
        )

    async def get_pods(self, request: GetPods) -> tuple[Incarnation | None, ...]:
        keys = [self._keys.pod(pod) for pod in request.pods]
        return tuple(_incarnation(stored) for stored in await self._shards.get_many(keys))

    async def mark_run(self, request: MarkRun) -> RunMarked:
        first_seen_us, time_us = await self._shards.run(calls.mark_run(self._keys, request.run_id))
        return RunMarked(first_seen_us, time_us)

    async def _announce(self, key: str, record: PodRecord) -> int | None:
        """Write the pod record; the time of its server, None when that does not answer."""
        try:
            shard = await self._shards.shard_of(key)
            written, time = await shard.request(("SET", key, record.to_json(), "PX", self._lease_ms), ("TIME",))
        except StoreUnknown:
            return None
        return _time_us(time) if written == b"OK" else None

    async def _time_from(self, held: Sequence[HeldPartition], renewed: Sequence[RenewedPartition]) -> int:
        """The time of any server that answered."""
        for (partition, _), reply in zip(held, renewed, strict=True):
            if reply.state is not RenewState.UNKNOWN:
                return _time_us(await self._shards.command(self._keys.partition(partition), "TIME"))
        raise StoreUnknown("no server answered the renewal")

    async def _renew_or_unknown(self, incarnation: Incarnation, held: HeldPartition) -> RenewedPartition:
        try:
            return await self._renew(incarnation, held)
        except StoreUnknown:
            return RenewedPartition(RenewState.UNKNOWN, 0)

    async def _renew(self, incarnation: Incarnation, held: HeldPartition) -> RenewedPartition:
        run_id = await self._run_of(self._keys.partition(held.partition))
        state, stored_epoch = await self._shards.run(
            calls.renew(self._keys, held.partition, incarnation, held.epoch, self._lease_us, run_id)
        )
        return RenewedPartition(RenewState(state.decode()), stored_epoch)

    async def _run_of(self, key: str) -> str:
        return (await (await self._shards.shard_of(key)).link()).run_id


def _time_us(reply: list[bytes]) -> int:
    return int(reply[0]) * 1_000_000 + int(reply[1])


def _partition_record(stored: bytes) -> PartitionRecord:
    try:
        return PartitionRecord.from_json(stored)
    except ContractError as error:
        raise StoreUnknown(f"partition record: {error}") from None


def _incarnation(stored: bytes | None) -> Incarnation | None:
    """An unreadable record is nobody's."""
    if stored is None:
        return None
    try:
        return PodRecord.from_json(stored).incarnation
    except ContractError:
        return None
