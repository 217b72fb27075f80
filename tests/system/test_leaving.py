"""SIGTERM while a server is away: the pod ends in seconds all the same, long before Kubernetes would kill it."""

from __future__ import annotations

import asyncio
import signal

import pytest

from ocpp_client.status import RedisAccess
from tests.system.site import running_site
from tests.system.station import boot16, connected, meter16
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

# An entry's removal is tried again for three times this long.
PATIENT = {"OWNERSHIP__ENTRY_REFRESH": "100s", "OWNERSHIP__ENTRY_TTL": "900s"}


async def test_a_pod_leaves_while_redis_is_away(kafka: KafkaServer, private_redis: RedisServer) -> None:
    async with running_site(kafka.bootstrap, RedisAccess(private_redis.url), pods=1, **PATIENT) as site:
        pod = site.pods[0]
        async with connected(pod.station_url, "LEAVING-1"):
            private_redis.kill()
            pod.leaving = True
            pod.send(signal.SIGTERM)
            assert await asyncio.wait_for(pod.child.wait(), 30) == 0


async def test_a_pod_leaves_while_kafka_is_away(private_kafka: KafkaServer, private_redis: RedisServer) -> None:
    """An event is under way: it stays unanswered, so the station keeps it."""
    async with running_site(private_kafka.bootstrap, RedisAccess(private_redis.url), pods=1) as site:
        pod = site.pods[0]
        async with connected(pod.station_url, "LEAVING-2") as station:
            await station.call("BootNotification", boot16())
            await site.event("LEAVING-2", "DeviceBooted")
            private_kafka.kill()
            await station.say([2, "held", "MeterValues", meter16()])
            await station.say([2, "alive", "Heartbeat", {}])
            pod.leaving = True
            pod.send(signal.SIGTERM)
            assert await asyncio.wait_for(pod.child.wait(), 30) == 0
            assert not [message for message in station.heard if message[1] == "held"]
