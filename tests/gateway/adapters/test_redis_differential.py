"""The simulated store and the Lua scripts are one store: what the simulation proves is true of what ships.

Seeded random sequences of requests - also with lost data and other runs - are executed by
`tests.simulation.store` and by the scripts on a real Redis; replies and records must be equal. Only times differ by
nature: they are compared by the step that made them.
"""

from __future__ import annotations

import random
import uuid
from bisect import bisect_right
from typing import Any

import pytest

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition, PodName
from ocpp_contract.outcome import CommandResult, Outcome
from ocpp_gateway.adapters.command_records import CommandRecords
from ocpp_gateway.adapters.redis_link import Address
from ocpp_gateway.adapters.store import Store, StoreSettings
from ocpp_gateway.core import effects as e
from tests.gateway.adapters.test_redis_store import until
from tests.simulation import store as simulated
from tests.testbed.redis import RedisServer

PODS = [
    Incarnation(PodName("gw-0"), "u0", "00000001"),
    Incarnation(PodName("gw-0"), "u0", "00000002"),
    Incarnation(PodName("gw-1"), "u1", "00000001"),
]
STATIONS = [ChargePointId("CP-1"), ChargePointId("CP-2")]
COMMANDS = [CommandId(str(uuid.UUID(int=n))) for n in range(3)]
PARTITIONS = [Partition(n) for n in range(3)]
US = 1_000_000
LEASE = 15 * US
FLOOR_AHEAD = 1_000 * US


class Clock:
    """Redis TIME cannot be set, so a time is named by the step of the sequence in which it was made: the simulated store
    is told the server's time as it was when the step began, and steps do not overlap."""

    def __init__(self) -> None:
        self._began: list[int] = []

    def step(self, time_us: int) -> None:
        self._began.append(time_us)

    def name(self, time_us: int) -> str:
        now, ahead = self._began[-1], 0
        while time_us > now + 60 * US:  # made from a floor
            time_us, ahead = time_us - FLOOR_AHEAD, ahead + 1
        lease = time_us > now + 5 * US
        step = bisect_right(self._began, time_us - LEASE if lease else time_us)
        return f"step {step}, {ahead} ahead{', lease' if lease else ''}"

    def named(self, value: Any) -> Any:
        """`value` with every time in it by name, in a form that compares."""
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return self.name(value) if value > 10**12 else value
        if isinstance(value, (tuple, list)):
            return [self.named(item) for item in value]
        if isinstance(value, Incarnation) or not hasattr(value, "__dataclass_fields__"):
            return value
        return [type(value).__name__, *(self.named(getattr(value, name)) for name in value.__dataclass_fields__)]


class Side:
    """One of the two stores, with the epochs and claims that its own replies showed: requests are made from them."""

    def __init__(self) -> None:
        self.tenures: list[tuple[Partition, Incarnation, int]] = []
        self.entries: list[tuple[ChargePointId, ConnectionRecord]] = []
        self.claims: list[tuple[ChargePointId, CommandId, e.Claim]] = []

    def request(self, seed: int) -> e.StoreRequest:
        """The same choices on both sides for the same seed."""
        choose = random.Random(seed)
        pod, station, command, partition = map(choose.choice, (PODS, STATIONS, COMMANDS, PARTITIONS))
        tenure = choose.choice(self.tenures) if self.tenures else (partition, pod, 7)
        where, entry = choose.choice(self.entries[-4:]) if self.entries else (station, _entry(pod, partition, 7, "c"))
        claimed = choose.choice(self.claims[-4:]) if self.claims else (station, command, e.Claim(pod, 7, 8))
        kind = choose.randrange(17)
        late = choose.random() < 0.1
        match kind:
            case 0 | 1:
                floor = choose.choice([0, 0, max((epoch for *_, epoch in self.tenures), default=0) + FLOOR_AHEAD])
                return e.Take(partition, pod, floor, choose.random() < 0.5)
            case 2:
                held = tuple(
                    e.HeldPartition(number, epoch) for number, _, epoch in {t[0]: t for t in self.tenures}.values()
                )
                return e.Renew(pod, held, 1, 2, False)
            case 3:
                return e.Restore(*tenure)
            case 4:
                return e.Release(*tenure)
            case 5:
                return e.GetPods(tuple({each.pod for each in PODS}))
            case 6 | 7 | 8:
                connection = f"c{seed}"
                return e.Register(station, pod, partition, connection, "ocpp1.6", "s", 0, 1 if late else 2**52)
            case 9:
                moved = _entry(entry.incarnation, partition, entry.epoch, entry.connection)
                return e.Refresh(where, moved, choose.random() < 0.5)
            case 10:
                return e.Delete(where, *choose.choice([(entry.epoch, None), (None, entry.connection), (5, None)]))
            case 11 | 12 | 13:
                expected = claimed[2] if choose.random() < 0.6 else None
                same = (claimed[0], claimed[1]) if expected and choose.random() < 0.8 else (where, command)
                return e.ClaimCommand(*same, pod, entry.epoch, expected, 1 if late else 2**52, 600.0)
            case 14:
                previous = choose.choice([None, choose.choice(self.claims)[2] if self.claims else None])
                return e.PutBack(*claimed, previous)
            case 15:
                outcome = choose.choice([Outcome.EXPIRED, Outcome.UNCERTAIN, Outcome.ACCEPTED])
                if choose.random() < 0.6:
                    return e.MarkTimedOut(*claimed)
                result = CommandResult(command, station, "Reset", outcome, pod.pod, f"at {seed}")
                return e.RecordDone(station, command, result, outcome.only_from_none, 600.0)
            case _:
                done = e.Done(CommandResult(command, station, "Reset", Outcome.ACCEPTED, pod.pod, "asserted"))
                record = choose.choice([claimed[2], done])
                return e.AssertRecord(station, command, record, 600.0)

    def saw(self, request: e.StoreRequest, reply: Any) -> None:
        match request, reply:
            case e.Take(), e.Taken():
                self.tenures.append((request.partition, request.incarnation, reply.epoch))
            case e.Register(), e.Registered():
                entry = _entry(request.incarnation, request.partition, reply.epoch, request.connection)
                self.entries.append((request.charge_point_id, entry))
            case e.ClaimCommand(), e.Claimed():
                self.claims.append((request.charge_point_id, request.command_id, reply.claim))
            case e.ClaimCommand(), e.Claim():
                self.claims.append((request.charge_point_id, request.command_id, reply))


def _entry(pod: Incarnation, partition: Partition, epoch: int, connection: str) -> ConnectionRecord:
    return ConnectionRecord(pod.pod, pod, partition, epoch, connection, "ocpp1.6", "s")


def _everything() -> list[e.StoreRequest]:
    """Requests that only look."""
    looks = [e.IsAbsent(partition) for partition in PARTITIONS]
    return [e.GetConn(tuple(STATIONS)), e.GetPods((PodName("gw-0"), PodName("gw-1"))), *looks]


async def _compare(redis: RedisServer, prefix: str, seed: int, steps: int, faults: int) -> dict[str, int]:
    seen: dict[str, int] = {}
    runs: list[str] = []
    real = Store(
        StoreSettings((Address("127.0.0.1", redis.port),), key_prefix=prefix), lambda shard, run_id: runs.append(run_id)
    )
    await real.start()
    await until(lambda: real.available)
    fake = simulated.Store(run="run-0")
    ours, theirs, clock = Side(), Side(), Clock()
    chance = random.Random(seed)
    fault_at = {chance.randrange(5, steps) for _ in range(faults)}
    snapshot: dict[Any, Any] = {}
    try:
        for step in range(steps):
            if step in fault_at:
                if chance.random() < 0.5:
                    redis.forget_data()
                    snapshot = {}
                redis.kill()
                await redis.start_async()
                await until(lambda: real.available)
                fake.keys, fake.run = dict(snapshot), f"run-{step}"
            elif faults and chance.random() < 0.05:
                redis.snapshot()
                snapshot = dict(fake.keys)
            number = chance.randrange(2**62)
            asked, mirrored = ours.request(number), theirs.request(number)
            assert type(asked) is type(mirrored)
            trace = f"seed {seed}, step {step}: {asked}"
            began = await _server_time(real)
            clock.step(began)
            fake.now, fake._steps = began / US, 0
            answered, expected = await real.execute(asked), fake.execute(mirrored)
            ours.saw(asked, answered)
            theirs.saw(mirrored, expected)
            assert clock.named(answered) == clock.named(expected), trace
            name = f"{type(asked).__name__} -> {_word(answered)}"
            seen[name] = seen.get(name, 0) + 1
            for look in _everything():
                assert clock.named(await real.execute(look)) == clock.named(fake.execute(look)), trace
            for station in STATIONS:
                for command in COMMANDS:
                    stands, should = await _record(real, station, command), fake.record(station, command)
                    assert clock.named(stands) == clock.named(should), trace
    finally:
        await real.close()
    assert len(runs) == 1 + len(fault_at)
    return seen


def _word(reply: Any) -> str:
    return str(reply) if isinstance(reply, (bool, e.RefreshState, e.RenewState)) else type(reply).__name__


async def _record(store: Store, station: ChargePointId, command: CommandId) -> e.CommandRecord | None:
    return await CommandRecords(store.shards, store.keys).get(station, command)


async def _server_time(store: Store) -> int:
    seconds, microseconds = await store.shards.command("any", "TIME")
    return int(seconds) * US + int(microseconds)


@pytest.mark.parametrize("seed", range(12))
async def test_the_simulated_store_answers_as_redis_does(
    redis_server: RedisServer, redis_prefix: str, seed: int
) -> None:
    seen = await _compare(redis_server, redis_prefix, seed, steps=250, faults=0)
    assert len(seen) > 15, seen


@pytest.mark.parametrize("seed", range(100, 104))
async def test_also_when_data_is_lost(private_redis: RedisServer, seed: int) -> None:
    await _compare(private_redis, "", seed, steps=120, faults=4)
