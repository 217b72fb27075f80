"""From types to the keys and arguments of a script: one function per operation, so that both planes say it alike.

A `ScriptCall` is executed with EVALSHA (EVAL where the server does not know the script yet) and may be pipelined with
others; it is never part of a MULTI. What the reply looks like stands at the head of the script.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ocpp_contract import scripts
from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition
from ocpp_contract.names import Keys
from ocpp_contract.scripts import Script
from ocpp_contract.scripts.records import BootRecord, ClaimedRecord, DoneRecord, StoreClaim

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One EVALSHA: all keys lie in one hash slot."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Argument, ...] = ()


# ---------------------------------------------------------------------------------------------------------- partitions


def take(
    keys: Keys,
    partition: Partition,
    incarnation: Incarnation,
    floor_us: int,
    lease_us: int,
    absent_ok: bool,
    run_id: str,
) -> ScriptCall:
    """``run_id``: of the server process that the connection used for this call was made to."""
    return ScriptCall(
        scripts.TAKE, (keys.partition(partition),), (str(incarnation), floor_us, lease_us, int(absent_ok), run_id)
    )


def renew(
    keys: Keys, partition: Partition, incarnation: Incarnation, epoch: int, lease_us: int, run_id: str
) -> ScriptCall:
    return ScriptCall(scripts.RENEW, (keys.partition(partition),), (str(incarnation), epoch, lease_us, run_id))


def restore(
    keys: Keys, partition: Partition, incarnation: Incarnation, epoch: int, lease_us: int, run_id: str
) -> ScriptCall:
    return ScriptCall(scripts.RESTORE, (keys.partition(partition),), (str(incarnation), epoch, lease_us, run_id))


def release(keys: Keys, partition: Partition, incarnation: Incarnation, epoch: int) -> ScriptCall:
    return ScriptCall(scripts.RELEASE, (keys.partition(partition),), (str(incarnation), epoch))


def release_dead(keys: Keys, partition: Partition, incarnation: Incarnation) -> ScriptCall:
    """Only for whoever knows that this very process is gone."""
    return ScriptCall(scripts.RELEASE_DEAD, (keys.partition(partition),), (str(incarnation),))


# ----------------------------------------------------------------------------------------------------------- directory


def register(
    keys: Keys,
    station: ChargePointId,
    record: ConnectionRecord,
    floor_us: int,
    not_after_us: int,
    ttl_ms: int,
    last_ttl_ms: int,
) -> ScriptCall:
    """The epoch inside ``record`` does not matter: the script stamps the new one."""
    return ScriptCall(
        scripts.REGISTER,
        (keys.conn(station), keys.last(station)),
        (record.to_json(), floor_us, not_after_us, ttl_ms, last_ttl_ms),
    )


def refresh(
    keys: Keys, station: ChargePointId, record: ConnectionRecord, proven: bool, ttl_ms: int, last_ttl_ms: int
) -> ScriptCall:
    return ScriptCall(
        scripts.REFRESH,
        (keys.conn(station), keys.last(station)),
        (record.to_json(), record.epoch, record.connection, int(proven), ttl_ms, last_ttl_ms),
    )


def delete(
    keys: Keys, station: ChargePointId, last_ttl_ms: int, epoch: int | None = None, connection: str | None = None
) -> ScriptCall:
    return ScriptCall(
        scripts.DELETE,
        (keys.conn(station), keys.last(station)),
        ("" if epoch is None else epoch, connection or "", last_ttl_ms),
    )


# ------------------------------------------------------------------------------------------------------------ commands


def claim(
    keys: Keys,
    station: ChargePointId,
    command: CommandId,
    incarnation: Incarnation,
    epoch: int,
    expected: ClaimedRecord | None,
    not_after_us: int,
    ttl_ms: int,
) -> ScriptCall:
    replaced: tuple[Argument, ...] = ("", "", "")
    if expected is not None:
        replaced = (str(expected.incarnation), expected.epoch, expected.since_us)
    return ScriptCall(
        scripts.CLAIM,
        (keys.conn(station), keys.cmd(station, command)),
        (str(incarnation), epoch, not_after_us, ttl_ms, *replaced),
    )


def put_back(
    keys: Keys, station: ChargePointId, command: CommandId, claimed: ClaimedRecord, previous: ClaimedRecord | None
) -> ScriptCall:
    return ScriptCall(
        scripts.PUT_BACK,
        (keys.cmd(station, command),),
        (str(claimed.incarnation), claimed.epoch, claimed.since_us, b"" if previous is None else previous.to_json()),
    )


def done(
    keys: Keys, station: ChargePointId, command: CommandId, record: DoneRecord, only_from_none: bool, ttl_ms: int
) -> ScriptCall:
    return ScriptCall(scripts.DONE, (keys.cmd(station, command),), (record.to_json(), int(only_from_none), ttl_ms))


def assert_record(
    keys: Keys, station: ChargePointId, command: CommandId, record: ClaimedRecord | DoneRecord, ttl_ms: int
) -> ScriptCall:
    return ScriptCall(scripts.ASSERT_RECORD, (keys.cmd(station, command),), (record.to_json(), ttl_ms))


def timed_out(keys: Keys, station: ChargePointId, command: CommandId, claimed: ClaimedRecord) -> ScriptCall:
    return ScriptCall(
        scripts.TIMED_OUT,
        (keys.cmd(station, command),),
        (str(claimed.incarnation), claimed.epoch, claimed.since_us),
    )


# --------------------------------------------------------------------------------------------------- boot and others


def put_boot(keys: Keys, station: ChargePointId, record: BootRecord, epoch: int, ttl_ms: int) -> ScriptCall:
    return ScriptCall(scripts.PUT_BOOT, (keys.conn(station), keys.boot(station)), (record.to_json(), epoch, ttl_ms))


def project_station(
    keys: Keys,
    station: ChargePointId,
    half: Literal["record", "credential"],
    offset: int,
    value: bytes | None,
    gone_ttl_ms: int,
) -> ScriptCall:
    """``value`` None: a tombstone."""
    return ScriptCall(scripts.PROJECT_STATION, (keys.station(station),), (half, offset, value or b"", gone_ttl_ms))


def mark_run(keys: Keys, run_id: str) -> ScriptCall:
    return ScriptCall(scripts.MARK_RUN, (keys.run(run_id),))


# ---------------------------------------------------------------------------------------------------- whose keys these are


def claim_store(keys: Keys, claim: StoreClaim, seen: bytes | None, lease_us: int) -> ScriptCall:
    """``seen``: the text that stood there when the caller decided, None for nothing; ``claim``'s own lease does not matter."""
    return ScriptCall(scripts.CLAIM_STORE, (keys.claim,), (claim.to_json(), seen or b"", claim.uid, lease_us))


def leave_store(keys: Keys, uid: str) -> ScriptCall:
    return ScriptCall(scripts.LEAVE_STORE, (keys.claim,), (uid,))
