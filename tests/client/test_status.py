"""Directory against a real Redis, alone and as a cluster."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis, RedisCluster

from ocpp_client.errors import StoreUnavailable
from ocpp_client.status import Directory, RedisAccess
from ocpp_contract.ids import ChargePointId
from ocpp_contract.names import Keys
from tests.client.conftest import CP, entry
from tests.testbed.redis import RedisCluster as ClusterOfTest


async def test_a_connected_station_is_found(redis_access: RedisAccess, store: Redis, keys: Keys) -> None:
    async with Directory(redis_access) as directory:
        assert await directory.connection(CP) is None
        await store.set(keys.conn(CP), entry(5).to_json())
        assert await directory.connection(CP) == entry(5)


async def test_every_connected_station_is_listed_and_no_companion(
    redis_access: RedisAccess, store: Redis, keys: Keys
) -> None:
    stations = {ChargePointId(f"CP:{number} ä*") for number in range(1200)}
    await store.mset({keys.conn(station): entry(1).to_json() for station in stations})
    await store.set(keys.last(CP), b"5")
    async with Directory(redis_access) as directory:
        assert {station async for station, _ in directory.connections()} == stations


async def test_a_prefix_with_pattern_characters_means_itself(redis_access: RedisAccess, store: Redis) -> None:
    odd = RedisAccess(redis_access.url, prefix=redis_access.prefix + "[a]*")
    await store.set(Keys(odd.prefix).conn(CP), entry(1).to_json())
    await store.set(Keys(redis_access.prefix + "axx").conn(ChargePointId("CP2")), entry(1).to_json())
    async with Directory(odd) as directory:
        assert [station async for station, _ in directory.connections()] == [CP]


async def test_a_broken_entry_is_told_as_such(redis_access: RedisAccess, store: Redis, keys: Keys) -> None:
    await store.set(keys.conn(CP), b"gw-0")
    async with Directory(redis_access) as directory:
        with pytest.raises(StoreUnavailable, match="is broken"):
            await directory.connection(CP)


async def test_a_cluster_is_read_whole(redis_cluster: ClusterOfTest, redis_prefix: str) -> None:
    access = RedisAccess(redis_cluster.url, cluster=True, prefix=redis_prefix)
    keys = Keys(redis_prefix)
    stations = {ChargePointId(f"CP{number}") for number in range(30)}
    async with RedisCluster.from_url(redis_cluster.url) as store:
        for station in stations:
            await store.set(keys.conn(station), entry(2).to_json())
    async with Directory(access) as directory:
        assert await directory.connection(ChargePointId("CP7")) == entry(2)
        assert {station async for station, _ in directory.connections()} == stations
