"""SIGTERM while a server is away: the pod ends in seconds all the same, long before Kubernetes would kill it."""

from __future__ import annotations

import asyncio
import signal

import pytest

from ocpp_client.status import RedisAccess
from tests.system.site import running_site
from tests.system.station import connected
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
