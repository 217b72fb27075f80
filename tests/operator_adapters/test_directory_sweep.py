"""Stale entries go, living ones stay, whatever happens between a look and a deletion; and the keys of a deleted resource."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import replace

import pytest

from ocpp_contract.ids import ChargePointId, Incarnation, Partition, PodName
from ocpp_contract.internal_api import ConnectionItem
from ocpp_operator.adapters.directory import Directory
from ocpp_operator.adapters.key_walk import Pace
from ocpp_operator.adapters.redis_access import StoreUnavailable
from ocpp_operator.core.sweep import Progress, compare
from tests.operator_adapters.store import A_AGAIN, CITY, FLEET, PATIENT, A, B, C, Store, access, cluster_client, opened
from tests.testbed.redis import RedisCluster, RedisServer

SMALL = Pace(batch=10, scripts=3, rest=0.0)


@pytest.fixture(params=["Standalone", "Cluster"])
def both(request: pytest.FixtureRequest, redis_prefix: str) -> Iterator[tuple[Store, Directory]]:
    """A store in each mode, with a prefix that must not be taken for a pattern."""
    prefix = redis_prefix + "[x]*:"
    if request.param == "Standalone":
        server: RedisServer = request.getfixturevalue("redis_server")
        with server.client() as client:
            yield Store(client, prefix), Directory(access(server.port), prefix, SMALL)
    else:
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        ports = [port for _, port in cluster.startup_nodes]
        with cluster_client(ports) as client:
            yield Store(client, prefix), Directory(access(ports[2], cluster=True), prefix, SMALL)


def pods(*present: Incarnation) -> Callable[[], Awaitable[Collection[tuple[PodName, str]]]]:
    async def listed() -> Collection[tuple[PodName, str]]:
        return {(one.pod, one.uid) for one in present}

    return listed


async def test_entries_of_pods_that_are_gone_or_restarted_go_and_their_epochs_stay(
    both: tuple[Store, Directory],
) -> None:
    store, directory = both
    living = {f"a{n}" for n in range(40)}
    for station in living:
        store.registers(A_AGAIN, station)
    last = {f"old{n}": store.registers(A, f"old{n}") for n in range(40)}
    last |= {f"gone {n}": store.registers(B, f"gone {n}") for n in range(40)}
    store.registers(C, "silent")  # listed, no record
    store.client.set(store.keys.conn(ChargePointId("odd")), "no entry")
    store.client.lpush(store.keys.conn(ChargePointId("list")), "no entry either")
    store.lives(A_AGAIN)
    store.lives(B)  # its record outlives it by a lease
    seen: list[Progress] = []
    try:
        swept = await directory.sweep(pods(A_AGAIN, C), report=seen.append)
        assert store.stations() == living | {"silent", "odd", "list"}
        assert swept.progress.removed == 80
        assert swept.progress.scanned >= 122  # SCAN may show a key twice
        assert swept.progress.unreadable >= 1
        assert seen[-1] == swept.progress
        assert [progress.scanned for progress in seen] == sorted(progress.scanned for progress in seen)
        assert swept.progress.at_us >= swept.began_us > 0
        for station, epoch in last.items():
            assert int(store.client.get(store.keys.last(ChargePointId(station)))) == epoch
            assert store.registers(A_AGAIN, station) > epoch
        again = await directory.sweep(pods(A_AGAIN, C))
        assert again.progress.removed == 0
    finally:
        await directory.close()


async def test_a_station_that_registers_between_reading_and_deleting_keeps_its_entry(
    both: tuple[Store, Directory],
) -> None:
    store, directory = both
    store.registers(B, "CP1")
    store.registers(B, "CP2")

    async def listed() -> Collection[tuple[PodName, str]]:
        store.registers(A, "CP1")  # it has been read as B's
        return {(A.pod, A.uid)}

    try:
        assert (await directory.sweep(listed)).progress.removed == 1
        assert store.stations() == {"CP1"}
        assert (await directory.sweep_pods([B])).removed == 0
    finally:
        await directory.close()


async def test_a_pod_that_started_during_the_pass_is_not_missed_in_a_list_asked_for_before(
    redis_server: RedisServer, redis_prefix: str
) -> None:
    """The list is asked for after the entries have been read, anew for each process that it has to judge."""
    asked = 0
    with redis_server.client() as client:
        store = Store(client, redis_prefix)
        for n in range(30):
            store.registers(B, f"b{n}")

        async def listed() -> Collection[tuple[PodName, str]]:
            nonlocal asked
            asked += 1
            if asked == 1:
                for n in range(500):  # enough to be met by the rest of the pass
                    store.registers(A, f"a{n}")
                return {(B.pod, B.uid)}
            return {(B.pod, B.uid), (A.pod, A.uid)}

        async with opened(access(redis_server.port), redis_prefix, SMALL) as directory:
            assert (await directory.sweep(listed)).progress.removed == 0
    assert asked == 2


async def test_a_list_that_cannot_be_had_ends_the_pass_with_nothing_deleted(
    redis_server: RedisServer, redis_prefix: str
) -> None:
    async def refuses() -> Collection[tuple[PodName, str]]:
        raise ConnectionRefusedError

    with redis_server.client() as client:
        store = Store(client, redis_prefix)
        store.registers(B, "CP1")
        async with opened(access(redis_server.port), redis_prefix, SMALL) as directory:
            with pytest.raises(ConnectionRefusedError):
                await directory.sweep(refuses)
        assert store.stations() == {"CP1"}


async def test_the_entries_of_pods_that_died_go_at_once_and_only_those(both: tuple[Store, Directory]) -> None:
    store, directory = both
    for n in range(30):
        store.registers(A, f"a{n}")
        store.registers(A_AGAIN, f"again{n}")
        store.registers(B, f"b{n}")
    try:
        progress = await directory.sweep_pods([A, B])
        assert progress.removed == 60
        assert store.stations() == {f"again{n}" for n in range(30)}
    finally:
        await directory.close()


async def test_what_a_pod_does_not_know_of_is_removed_unless_it_is_new_or_registered_again(
    both: tuple[Store, Directory],
) -> None:
    store, directory = both
    known = store.registers(A, "known")
    store.registers(A, "newborn")
    for station in ("stale", "again"):
        store.registers(A, station)
        store.ages(station)
    store.registers(B, "another's")
    try:
        swept = await directory.sweep(pods(A, B), collect=[A])
        assert {entry.station for entry in swept.entries[A]} == {"known", "newborn", "stale", "again"}
        again = store.registers(A, "again")
        items = [
            ConnectionItem(ChargePointId(station), epoch, "c", Partition(1))
            for station, epoch in (("again", again), ("known", known), ("unknown", known - 3_600_000_000))
        ]
        now = asyncio.get_running_loop().time()
        compared = compare(swept.entries[A], swept.read_by, items, now, swept.began_us)
        assert {entry.station for entry in compared.stale} == {"stale"}
        assert compared.missing == ("unknown",)
        assert await directory.remove(compared.stale) == 1
        assert await directory.remove(compared.stale) == 0
        assert store.stations() == {"known", "newborn", "again", "another's"}
    finally:
        await directory.close()


async def test_looks_come_in_between_while_a_pass_goes_on(redis_server: RedisServer, redis_prefix: str) -> None:
    with redis_server.client() as client:
        store = Store(client, redis_prefix)
        for n in range(300):
            store.registers(A, f"a{n}")
        async with opened(access(redis_server.port), redis_prefix, replace(SMALL, rest=0.001)) as directory:
            sweeping = asyncio.create_task(directory.sweep(pods(A)))
            looks = 0
            while not sweeping.done():
                await directory.observe([A.pod], 8)
                looks += 1
            assert (await sweeping).progress.scanned >= 300
            assert looks > 3


async def test_a_store_that_goes_away_ends_the_pass(private_redis: RedisServer) -> None:
    with private_redis.client() as client:
        store = Store(client, "")
        for n in range(200):
            store.registers(A, f"a{n}")

    async def kills() -> Collection[tuple[PodName, str]]:
        private_redis.kill()
        return {(A.pod, A.uid)}

    async with opened(access(private_redis.port), pace=SMALL) as directory:
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            await directory.sweep(kills)


# --- the end of a resource --------------------------------------------------------------------------------------------


def fill(store: Store, stations: int) -> None:
    """Every kind of key that a gateway writes, by its name."""
    store.lives(A)
    store.takes(A, 0, 1)
    keys = store.keys
    for n in range(stations):
        station = ChargePointId(f"CP {n}")
        store.registers(A, station)
        for companion in (keys.boot(station), keys.tx(station, "d"), f"{{{keys.conn(station)}}}:cmd:1"):
            store.client.set(companion, "{}")
        store.client.hset(keys.station(station), "recordOffset", 1)
    store.client.set(keys.run("0" * 40), "1")
    store.client.hset(keys.stations_projected, "0", 1)


async def test_the_holder_of_the_claim_takes_all_its_keys_away_and_nobody_else_s(both: tuple[Store, Directory]) -> None:
    store, directory = both
    fill(store, 20)
    other = Store(store.client, store.keys.prefix.replace("[x]*", "xy"))  # a pattern would match it
    fill(other, 2)
    before = other.all_keys()
    try:
        assert await directory.claim(CITY, None)
        cleaned = await directory.clean(CITY.uid, limit=60.0)
        assert cleaned.finished
        assert cleaned.removed >= 20 * 6 + 5
        assert store.all_keys() == set()
        assert other.all_keys() == before
    finally:
        await directory.close()


async def test_who_does_not_hold_the_claim_deletes_nothing(redis_server: RedisServer, redis_prefix: str) -> None:
    with redis_server.client() as client:
        store = Store(client, redis_prefix)
        fill(store, 2)
        before = store.all_keys()
        async with opened(access(redis_server.port), redis_prefix, SMALL) as directory:
            assert not (await directory.clean(CITY.uid, PATIENT)).finished
            assert store.all_keys() == before
            assert await directory.claim(FLEET, None)
            assert not (await directory.clean(CITY.uid, PATIENT)).finished
            assert store.all_keys() == before | {store.keys.claim}


async def test_cleaning_ends_when_another_takes_the_claim(redis_server: RedisServer, redis_prefix: str) -> None:
    with redis_server.client() as client:
        store = Store(client, redis_prefix)
        fill(store, 40)
        batches = 0

        def taken_after_one_batch() -> None:
            nonlocal batches
            batches += 1
            if batches == 2:  # the first was that of our own claim
                client.set(store.keys.claim, FLEET.to_json())

        async with opened(access(redis_server.port), redis_prefix, SMALL, taken_after_one_batch) as directory:
            assert await directory.claim(CITY, None)
            cleaned = await directory.clean(CITY.uid, PATIENT)
        assert not cleaned.finished
        assert batches == 2  # one batch, and no try to leave
        assert len(store.all_keys()) > 40
        assert client.get(store.keys.claim) == FLEET.to_json().decode()


async def test_time_that_is_up_is_a_pause_and_the_claim_stands_until_the_last_key_is_gone(
    redis_server: RedisServer, redis_prefix: str
) -> None:
    with redis_server.client() as client:
        store = Store(client, redis_prefix)
        fill(store, 40)
        async with opened(access(redis_server.port), redis_prefix, SMALL) as directory:
            assert await directory.claim(CITY, None)
            for _ in range(2):
                cleaned = await directory.clean(CITY.uid, limit=0.0)
                assert (cleaned.removed > 0, cleaned.finished) == (True, False)
                assert client.get(store.keys.claim) is not None
            assert (await directory.clean(CITY.uid, PATIENT)).finished
        assert store.all_keys() == set()


async def test_without_a_prefix_only_what_reads_as_ours_is_deleted(private_redis: RedisServer) -> None:
    with private_redis.client() as client:
        store = Store(client, "")
        fill(store, 5)
        fill(Store(client, "eu:"), 2)
        others: dict[str, str] = {
            "pod:7": "somebody's",
            "conn:db": "postgres://",
            "partition:1x": "1",
            "partition:9": "[]",
            "run:today": "1",
            "run:" + "a" * 40: "a run of the marathon",
            "station:fm4": "radio",
            "session:1": "x",
            "{conn:1}:other": "x",
            "claims": "x",
        }
        client.mset(others)
        client.hset("station:kcrw", "frequency", "89.9")
        client.lpush("pod:list", "x")
        kept = {*others, "station:kcrw", "pod:list", *Store(client, "eu:").all_keys()}
        async with opened(access(private_redis.port), pace=SMALL) as directory:
            assert await directory.claim(CITY, None)
            assert (await directory.clean(CITY.uid, PATIENT)).finished
        assert {*client.keys("*")} == kept
