"""Whole systems under command load and faults; the checker judges the recorded history."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.system.rig import Rig, running
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def redis_url(server: RedisServer) -> str:
    return f"redis://127.0.0.1:{server.port}"


async def connected(rig: Rig, stations: list[str]) -> None:
    await rig.until(lambda: len(rig.connected) == len(stations), 30, "all stations connected")


async def test_commands_reach_their_stations_through_either_lane(
    kafka: KafkaServer, private_redis: RedisServer
) -> None:
    async with running(kafka.bootstrap, redis_url(private_redis)) as rig:
        stations = rig.add_stations(6)
        await connected(rig, stations)
        await rig.load(stations, 3)
        counts = await rig.judged()
        assert counts == {"Accepted": len(rig.history.commands)}


async def test_a_gateway_killed_under_load_loses_nothing(kafka: KafkaServer, private_redis: RedisServer) -> None:
    async with running(kafka.bootstrap, redis_url(private_redis)) as rig:
        stations = rig.add_stations(10)
        await connected(rig, stations)
        load = asyncio.create_task(rig.load(stations, 9))
        await asyncio.sleep(2)
        rig.system.present()[0].send(signal.SIGKILL)
        await load
        await rig.judged()


async def test_a_container_restarted_in_place_loses_nothing(kafka: KafkaServer, private_redis: RedisServer) -> None:
    async with running(kafka.bootstrap, redis_url(private_redis)) as rig:
        stations = rig.add_stations(10)
        await connected(rig, stations)
        load = asyncio.create_task(rig.load(stations, 8))
        await asyncio.sleep(2)
        await rig.system.pods.restart_in_place(rig.system.present()[0])
        await load
        await rig.judged()


async def test_a_gateway_frozen_longer_than_its_lease_does_no_harm(
    kafka: KafkaServer, private_redis: RedisServer
) -> None:
    async with running(kafka.bootstrap, redis_url(private_redis)) as rig:
        stations = rig.add_stations(10)
        await connected(rig, stations)
        load = asyncio.create_task(rig.load(stations, 16))
        await asyncio.sleep(2)
        frozen = rig.system.present()[0]
        frozen.send(signal.SIGSTOP)
        await asyncio.sleep(9)  # the fault itself: lease 5 s and some
        frozen.send(signal.SIGCONT)
        await load
        await rig.judged()


async def test_a_gateway_that_drains_closes_politely_and_loses_nothing(
    kafka: KafkaServer, private_redis: RedisServer
) -> None:
    async with running(kafka.bootstrap, redis_url(private_redis)) as rig:
        stations = rig.add_stations(8)
        await connected(rig, stations)
        load = asyncio.create_task(rig.load(stations, 7))
        await asyncio.sleep(2)
        leaving = rig.system.present()[0]
        leaving.leaving = True
        leaving.send(signal.SIGTERM)
        assert await asyncio.wait_for(leaving.child.wait(), 30) == 0
        await load
        await rig.judged()


async def test_stations_that_move_between_pods_mid_call_get_one_outcome(
    kafka: KafkaServer, private_redis: RedisServer
) -> None:
    async with running(kafka.bootstrap, redis_url(private_redis)) as rig:
        rig.think = 0.6
        stations = rig.add_stations(6)
        await connected(rig, stations)
        load = asyncio.create_task(rig.load(stations, 8, pause=0.15))
        urls = [pod.station_url for pod in rig.system.present()]
        for turn in range(12):
            await asyncio.sleep(0.5)
            await rig.move(stations[turn % len(stations)], urls[turn % 2])
        await load
        await rig.judged(60)


async def test_a_partition_that_moves_while_calls_are_open(kafka: KafkaServer, private_redis: RedisServer) -> None:
    """A third gateway joins: the plan moves partitions to it under load."""
    async with running(kafka.bootstrap, redis_url(private_redis)) as rig:
        rig.think = 0.5
        stations = rig.add_stations(8)
        await connected(rig, stations)
        load = asyncio.create_task(rig.load(stations, 8, pause=0.12))
        await asyncio.sleep(1)
        await rig.system.pods.start()
        await load
        await rig.judged(60)


async def test_kafka_away_for_a_while(private_kafka: KafkaServer, private_redis: RedisServer) -> None:
    async with running(private_kafka.bootstrap, redis_url(private_redis)) as rig:
        stations = rig.add_stations(6)
        await connected(rig, stations)
        await rig.load(stations, 2)
        await private_kafka.stop_async()
        await asyncio.sleep(6)  # the fault itself: past uplink.close, so stations are sent away
        await private_kafka.start_async()
        await rig.until(
            lambda: len(rig.connected) == len(stations), 60, "stations are back without a restart of a gateway"
        )
        await rig.load(stations, 2)
        await rig.judged(60)


async def test_redis_away_for_a_while(kafka: KafkaServer, private_redis: RedisServer) -> None:
    async with running(kafka.bootstrap, redis_url(private_redis)) as rig:
        stations = rig.add_stations(6)
        await connected(rig, stations)
        load = asyncio.create_task(rig.load(stations, 12))
        await asyncio.sleep(2)
        private_redis.pause()
        await asyncio.sleep(7)  # the fault itself: leases lapse
        private_redis.resume()
        await load
        await rig.judged(60)


async def test_redis_restarted_empty(kafka: KafkaServer, private_redis: RedisServer) -> None:
    async with running(kafka.bootstrap, redis_url(private_redis)) as rig:
        stations = rig.add_stations(6)
        await connected(rig, stations)
        load = asyncio.create_task(rig.load(stations, 10))
        await asyncio.sleep(3)
        await private_redis.restart_empty_async()
        await load
        await rig.judged(60)
