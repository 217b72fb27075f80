"""The whole system on Redis Cluster: three masters share the slots, so no script and no pipeline may cross them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import RedisCluster as RedisClusterClient

from ocpp_client.status import RedisAccess
from tests.system.site import PARTITIONS, Site, running_site
from tests.system.station import Station, boot16, connected
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisCluster

pytestmark = [pytest.mark.system, pytest.mark.timeout(150), pytest.mark.asyncio(loop_scope="module")]
START = {"idToken": {"idToken": "TAG1", "type": "Central"}, "evseId": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(kafka: KafkaServer, redis_cluster: RedisCluster) -> AsyncIterator[Site]:
    addresses = ",".join(f"{host}:{port}" for host, port in redis_cluster.startup_nodes)
    settings = {"REDIS__MODE": "Cluster", "REDIS__ADDRESSES": addresses}
    access = RedisAccess(redis_cluster.url, cluster=True)
    async with running_site(kafka.bootstrap, access, **settings) as running_now:
        yield running_now
    store = RedisClusterClient.from_url(redis_cluster.url)
    await store.flushall()  # other tests use the cluster too
    await store.aclose()


async def test_a_fleet_is_served_on_three_shards(site: Site, redis_cluster: RedisCluster) -> None:
    """Sessions, commands on both lanes, hops and repetitions for stations whose keys lie on every shard."""
    names = [f"CLUSTER-{number}" for number in range(9)]
    slots = {await site.store.cluster_keyslot(f"conn:{name}") for name in names}
    assert {slot * 3 // 16384 for slot in slots} == {0, 1, 2}, "the names do not reach every shard"
    async with contextlib.AsyncExitStack() as stack:
        stations = [await stack.enter_async_context(_station(site, name, i % 2)) for i, name in enumerate(names)]
        sent: dict[str, Station] = {}
        for station in stations:
            for lane in ("commands_down", "commands_urgent"):
                sent[await site.send(station.name, "RequestStartTransaction", START, lane=lane)] = station
            entry = await site.entry(station.name)
            assert entry is not None
            wrong = (entry.partition + 1) % PARTITIONS
            sent[await site.send(station.name, "RequestStartTransaction", START, partition=wrong)] = station
            start = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-11-22T10:00:00Z"}
            first = await station.call("StartTransaction", start)
            assert await station.call("StartTransaction", start) == first
        assert [await site.outcome(command) for command in sent] == ["Accepted"] * len(sent)
        assert {len(station.received("RemoteStartTransaction")) for station in stations} == {3}
        for command, station in list(sent.items())[::5]:
            await site.send(station.name, "RequestStartTransaction", START, command_id=command)
        marker = [await site.send(name, "RequestStartTransaction", START) for name in names]
        assert [await site.outcome(command) for command in marker] == ["Accepted"] * 9
        assert {len(station.received("RemoteStartTransaction")) for station in stations} == {4}
    keys = [await _keys(node) for node in redis_cluster.nodes]
    assert all(keys), "a shard holds nothing"
    assert await site.metric("procedure_failures") == 0


async def test_a_killed_gateway_is_survived(site: Site) -> None:
    async with _station(site, "CLUSTER-K", 0) as station:
        doomed = await site.pod_of(station.name)
        sent = await site.send(station.name, "DataTransfer", {"vendorId": "v"})
        await station.next_call()
        doomed.send(signal.SIGKILL)
        await doomed.child.wait()
    waiting = await site.send("CLUSTER-K", "RequestStartTransaction", START)
    (survivor,) = site.pods
    site.assign(survivor, range(PARTITIONS))
    async with connected(survivor.station_url, "CLUSTER-K") as back:
        back.replies["RemoteStartTransaction"] = lambda payload: {"status": "Accepted"}
        assert await site.outcome(waiting, 25) == "Accepted"
        assert await site.outcome(sent, 25) == "Uncertain"
        assert back.calls.empty()


@contextlib.asynccontextmanager
async def _station(site: Site, name: str, pod: int) -> AsyncIterator[Station]:
    async with connected(site.pods[pod].station_url, name) as station:
        station.replies["RemoteStartTransaction"] = lambda payload: {"status": "Accepted"}
        await station.call("BootNotification", boot16())
        yield station


async def _keys(node: object) -> int:
    with node.client() as client:  # type: ignore[attr-defined]
        return int(client.dbsize())
