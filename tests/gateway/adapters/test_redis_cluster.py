"""The store adapter on a real three-node Redis Cluster: slot rules, MOVED, ASK, and one shard that goes away."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from redis.crc import key_slot

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, CommandId, Partition
from ocpp_contract.scripts.records import BootRecord
from ocpp_gateway.core import effects
from ocpp_gateway.core.effects import RenewState
from tests.gateway.adapters.test_redis_store import FAR, A, B, opened, until
from tests.testbed.redis import RedisCluster

COMMAND = CommandId(str(uuid.UUID(int=1)))


def registration(station: str) -> effects.Register:
    return effects.Register(ChargePointId(station), A, Partition(1), "c", "ocpp1.6", "s", 0, FAR)


async def test_every_request_keeps_to_one_slot(redis_cluster: RedisCluster, redis_prefix: str) -> None:
    ports = [port for _, port in redis_cluster.startup_nodes]
    async with opened(ports[0], prefix=redis_prefix, cluster=True) as (store, runs):
        stations = [ChargePointId(f"CP {n}:x") for n in range(60)]
        epochs = [(await store.execute(registration(station))).epoch for station in stations]
        assert len({run for _, run in runs}) == 3
        assert len({shard for shard, _ in runs}) == 3
        for station, epoch in zip(stations, epochs, strict=True):
            claim = effects.ClaimCommand(station, COMMAND, A, epoch, None, FAR, 60)
            assert isinstance(await store.execute(claim), effects.Claimed)
            assert await store.companions.put_boot(station, BootRecord("Accepted", 300, "t"), epoch)
        records = await store.execute(effects.GetConn(tuple(stations)))
        assert [record.epoch for record in records] == epochs

        taken = [await store.execute(effects.Take(Partition(n), A, 0, True)) for n in range(40)]
        held = tuple(effects.HeldPartition(Partition(n), reply.epoch) for n, reply in enumerate(taken))
        renewed = await store.execute(effects.Renew(A, held, 1, 60, False))
        assert {state for state, _ in renewed.partitions} == {RenewState.HELD}
        assert await store.execute(effects.GetPods((A.pod, B.pod))) == (A, None)
        assert all([await store.execute(effects.Release(Partition(n), A, held[n].epoch)) for n in range(40)])


async def test_a_slot_that_moves_is_followed(redis_cluster: RedisCluster, redis_prefix: str) -> None:
    station = ChargePointId("CP-moves")
    key = f"{redis_prefix}conn:{station}"
    slot = key_slot(key.encode())
    source, target = _owner(redis_cluster, slot), (_owner(redis_cluster, slot) + 1) % 3
    ids = [_command(redis_cluster, n, "CLUSTER MYID") for n in range(3)]
    ports = [node.port for node in redis_cluster.nodes]
    async with opened(ports[target], prefix=redis_prefix, cluster=True) as (store, _):
        first = (await store.execute(registration(station))).epoch
        _command(redis_cluster, target, f"CLUSTER SETSLOT {slot} IMPORTING {ids[source]}")
        _command(redis_cluster, source, f"CLUSTER SETSLOT {slot} MIGRATING {ids[target]}")
        try:
            # ASK: the keys have gone already, the slot has not.
            with redis_cluster.nodes[source].client() as client:
                keys = client.execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
                client.execute_command("MIGRATE", "127.0.0.1", ports[target], "", 0, 5000, "KEYS", *keys)
            [record] = await store.execute(effects.GetConn((station,)))
            assert record.epoch == first
            assert (await store.execute(registration(station))).epoch > first
        finally:
            for node in (target, source, 3 - target - source):
                _command(redis_cluster, node, f"CLUSTER SETSLOT {slot} NODE {ids[target]}")
        # MOVED: learned from the answer.
        assert (await store.execute(registration(station))).epoch > first


async def test_a_shard_that_is_away_leaves_only_its_own_requests_unknown(
    redis_cluster: RedisCluster, redis_prefix: str
) -> None:
    ports = [node.port for node in redis_cluster.nodes]
    async with opened(*ports, prefix=redis_prefix, timeout=2.0, cluster=True) as (store, _):
        taken = [await store.execute(effects.Take(Partition(n), A, 0, True)) for n in range(30)]
        held = tuple(effects.HeldPartition(Partition(n), reply.epoch) for n, reply in enumerate(taken))
        away = _owner(redis_cluster, key_slot(store.keys.partition(Partition(0)).encode()))
        redis_cluster.nodes[away].pause()
        try:
            elsewhere = {
                each.partition
                for each in held
                if _owner(redis_cluster, key_slot(store.keys.partition(each.partition).encode()), but=away) != away
            }
            assert 0 < len(elsewhere) < len(held)
            renewed = await store.execute(effects.Renew(A, held, 1, 60, False))
            states = {each.partition: reply.state for each, reply in zip(held, renewed.partitions, strict=True)}
            assert states == {p: RenewState.HELD if p in elsewhere else RenewState.UNKNOWN for p in states}
            assert renewed.time_us > held[0].epoch
            looks = await store.execute(effects.Batch(tuple(effects.IsAbsent(each.partition) for each in held)))
            assert [look is False for look in looks] == [each.partition in elsewhere for each in held]
            for each in held:
                restore = store.execute(effects.Restore(each.partition, A, each.epoch))
                if each.partition in elsewhere:
                    assert await restore is RenewState.HELD
                    continue
                with pytest.raises(effects.Unknown):
                    await restore
                break
            assert not store.available
        finally:
            redis_cluster.nodes[away].resume()
        await until(lambda: store.available)


async def test_a_node_that_comes_back_empty_is_another_run_of_the_same_shard(
    redis_cluster: RedisCluster, redis_prefix: str
) -> None:
    ports = [node.port for node in redis_cluster.nodes]
    async with opened(*ports, prefix=redis_prefix, cluster=True) as (store, runs):
        stations = [ChargePointId(f"CP-{n}") for n in range(30)]
        for station in stations:
            await store.execute(registration(station))
        owners = [_owner(redis_cluster, key_slot(store.keys.conn(station).encode())) for station in stations]
        before = dict(runs)
        node = redis_cluster.nodes[owners[0]]
        node.kill()
        await node.start_async()
        await until(lambda: dict(runs) != before and store.available)
        changed = {shard for shard, run in runs if before.get(shard) != run}
        assert changed <= before.keys()
        assert all(dict(runs)[shard] == node.run_id() for shard in changed)

        async def answered() -> tuple[ConnectionRecord | None, ...]:
            async with asyncio.timeout(10):
                while True:  # the node answers CLUSTERDOWN until it has heard of the others
                    try:
                        records: tuple[ConnectionRecord | None, ...] = await store.execute(
                            effects.GetConn(tuple(stations))
                        )
                    except effects.Unknown:
                        continue
                    return records

        assert [record is None for record in await answered()] == [owner == owners[0] for owner in owners]


def _command(cluster: RedisCluster, node: int, command: str) -> str:
    with cluster.nodes[node].client() as client:
        return str(client.execute_command(command))


def _owner(cluster: RedisCluster, slot: int, but: int = -1) -> int:
    """Which node serves a slot, asked of a node other than `but`."""
    with cluster.nodes[0 if but != 0 else 1].client() as client:
        for first, last, master, *_ in client.execute_command("CLUSTER SLOTS"):
            if int(first) <= slot <= int(last):
                return next(n for n, node in enumerate(cluster.nodes) if node.port == int(master[1]))
    raise LookupError(slot)
