"""`{conn:<id>}:cmd:<command id>`: none -> claimed -> done, each step one script."""

from __future__ import annotations

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, CommandId
from ocpp_contract.names import Keys
from ocpp_contract.outcome import CommandState
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import ClaimedRecord, DoneRecord, parse_command_record
from ocpp_gateway.adapters.redis_shard import StoreUnknown
from ocpp_gateway.adapters.redis_shards import Shards
from ocpp_gateway.core.effects import (
    AssertRecord,
    Claim,
    ClaimCommand,
    Claimed,
    CommandRecord,
    Done,
    Late,
    MarkTimedOut,
    Moved,
    PutBack,
    RecordDone,
)


class CommandRecords:
    def __init__(self, shards: Shards, keys: Keys) -> None:
        self._shards = shards
        self._keys = keys

    async def claim(self, request: ClaimCommand) -> Claimed | Moved | Late | CommandRecord:
        reply = await self._shards.run(
            calls.claim(
                self._keys,
                request.charge_point_id,
                request.command_id,
                request.incarnation,
                request.epoch,
                None if request.expected is None else _claimed(request.expected),
                request.not_after_us,
                _ms(request.ttl),
            ),
            request.replicas,
        )
        match reply:
            case [b"ok", stored]:
                record = _parse(stored)
                assert isinstance(record, Claim)  # the script has just written it
                return Claimed(record)
            case [b"late", _]:
                return Late()
            case [b"moved", _]:
                return Moved()
            case _:
                return _parse(reply[1])

    async def put_back(self, request: PutBack) -> bool:
        previous = None if request.previous is None else _claimed(request.previous)
        call = calls.put_back(
            self._keys, request.charge_point_id, request.command_id, _claimed(request.claim), previous
        )
        return bool(await self._shards.run(call))

    async def done(self, request: RecordDone) -> CommandRecord:
        call = calls.done(
            self._keys,
            request.charge_point_id,
            request.command_id,
            DoneRecord(request.result),
            request.only_from_none,
            _ms(request.ttl),
        )
        return _parse(await self._shards.run(call))

    async def assert_record(self, request: AssertRecord) -> CommandRecord:
        record = DoneRecord(request.record.result) if isinstance(request.record, Done) else _claimed(request.record)
        call = calls.assert_record(self._keys, request.charge_point_id, request.command_id, record, _ms(request.ttl))
        return _parse(await self._shards.run(call))

    async def mark_timed_out(self, request: MarkTimedOut) -> bool:
        call = calls.timed_out(self._keys, request.charge_point_id, request.command_id, _claimed(request.claim))
        return bool(await self._shards.run(call))

    async def get(self, station: ChargePointId, command: CommandId) -> CommandRecord | None:
        """The record as it stands. Raises StoreUnknown."""
        key = self._keys.cmd(station, command)
        stored = await self._shards.command(key, "GET", key)
        return None if stored is None else _parse(stored)

    async def state(self, station: ChargePointId, command: CommandId) -> CommandState:
        """What `status` tells. Raises StoreUnknown."""
        key = self._keys.cmd(station, command)
        stored = await self._shards.command(key, "GET", key)
        return CommandState.NOT_SENT if stored is None else _read(stored).command_state


def _claimed(claim: Claim) -> ClaimedRecord:
    return ClaimedRecord(claim.incarnation, claim.epoch, claim.since_us, claim.timed_out_at_us)


def _read(stored: bytes) -> ClaimedRecord | DoneRecord:
    try:
        return parse_command_record(stored)
    except ContractError as error:
        # Whatever it was, something was stored for this command: nobody may act as if nothing had been.
        raise StoreUnknown(f"command record: {error}") from None


def _parse(stored: bytes) -> CommandRecord:
    record = _read(stored)
    if isinstance(record, DoneRecord):
        return Done(record.result)
    return Claim(record.incarnation, record.epoch, record.since_us, record.timed_out_at_us)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1_000))
