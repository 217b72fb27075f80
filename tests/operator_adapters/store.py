"""A store filled as gateways fill it, and the directory that looks at it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import redis

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, Incarnation, Partition, PodName
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.calls import ScriptCall
from ocpp_contract.scripts.records import PodRecord, StoreClaim
from ocpp_operator.adapters.directory import Directory
from ocpp_operator.adapters.key_walk import Pace
from ocpp_operator.adapters.redis_access import Address, RedisAccess

A = Incarnation(PodName("gw-a"), "uid-a", "00000001")
A_AGAIN = Incarnation(PodName("gw-a"), "uid-a", "00000002")
B = Incarnation(PodName("gw-b"), "uid-b", "00000001")
C = Incarnation(PodName("gw-c"), "uid-c", "00000001")
CITY = StoreClaim("uid-city", "charging", "city", "2026-11-22T10:00:00Z")
FLEET = StoreClaim("uid-fleet", "depot", "fleet", "2026-11-20T10:00:00Z")
PATIENT = 10.0
"""For servers that answer: a busy machine must not look like one that does not."""
LEASE_US = 15_000_000
_HOUR_MS = 3_600_000


class Store:
    """What gateways do to it, and a look at what stands there. `client` is a plain one or a cluster's."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client = client
        self.keys = Keys(prefix)

    def run(self, call: ScriptCall) -> Any:
        return self.client.eval(call.script.text, len(call.keys), *call.keys, *call.args)

    def lives(self, incarnation: Incarnation, generation: int = 1, connections: int = 0) -> PodRecord:
        record = PodRecord(incarnation, generation, frozenset(), connections, False)
        self.client.set(self.keys.pod(incarnation.pod), record.to_json())
        return record

    def takes(self, incarnation: Incarnation, *numbers: int) -> None:
        for number in numbers:
            call = calls.take(self.keys, Partition(number), incarnation, 0, LEASE_US, True, "run")
            assert self.run(call)[0] in ("taken", b"taken")

    def registers(self, incarnation: Incarnation, station: str, since: str = "2026-11-22T10:00:00.000Z") -> int:
        """Its epoch."""
        record = ConnectionRecord(incarnation.pod, incarnation, Partition(1), 0, "c-" + station, "ocpp1.6", since)
        floor, never = 0, 2**52
        call = calls.register(self.keys, ChargePointId(station), record, floor, never, _HOUR_MS, _HOUR_MS)
        return int(self.run(call)[1])

    def ages(self, station: str) -> ConnectionRecord:
        """Make its entry, and its epoch, an hour older than it is."""
        key = self.keys.conn(ChargePointId(station))
        record = ConnectionRecord.from_json(self.client.get(key))
        record = replace(record, epoch=record.epoch - 3_600_000_000)
        self.client.set(key, record.to_json())
        return record

    def all_keys(self) -> set[str]:
        """A prefix may hold what KEYS takes for a pattern: everything is looked at."""
        ours = (self.keys.prefix, "{" + self.keys.prefix)
        where = {"target_nodes": redis.RedisCluster.PRIMARIES} if isinstance(self.client, redis.RedisCluster) else {}
        return {key for key in self.client.keys("*", **where) if key.startswith(ours)}

    def stations(self) -> set[str]:
        start = self.keys.prefix + "conn:"
        return {key.removeprefix(start) for key in self.all_keys() if key.startswith(start)}


def access(*ports: int, cluster: bool = False, timeout: float = PATIENT, **more: Any) -> RedisAccess:
    return RedisAccess(tuple(Address("127.0.0.1", port) for port in ports), cluster, timeout=timeout, **more)


@contextlib.asynccontextmanager
async def opened(
    reach: RedisAccess, prefix: str = "", pace: Pace | None = None, guard: Callable[[], None] = lambda: None
) -> AsyncIterator[Directory]:
    directory = Directory(reach, prefix, pace, guard)
    try:
        yield directory
    finally:
        await directory.close()


def cluster_client(ports: Sequence[int]) -> redis.RedisCluster:
    return redis.RedisCluster(host="127.0.0.1", port=ports[0], decode_responses=True)
