"""Commands under way while Redis or Kafka is away, or was never there: conditions tell, and all recovers without a hand.

Each case has a Redis or a Kafka of its own to be harmed.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.operator_cluster.load import settled, under_load
from tests.operator_cluster.rig import Place, eventually, serving
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

Served = Callable[[KafkaServer, RedisServer], AbstractAsyncContextManager[Place]]


@pytest.fixture
def served(crd: str, kubernetes: KubernetesServer, namespace: str) -> Served:
    """An operator and a node for those brokers and that store."""
    return lambda kafka, redis: serving(kubernetes, namespace, kafka.bootstrap, redis.port)


async def test_redis_is_stopped_and_comes_back_empty(
    served: Served, kafka: KafkaServer, private_redis: RedisServer
) -> None:
    async with served(kafka, private_redis) as place:
        await place.apply(place.resource())
        await settled(place)
        async with under_load(place) as load:
            await asyncio.sleep(2)
            await private_redis.stop_async()
            await place.condition("city", "Degraded", "True", "RedisUnreachable")
            await place.condition("city", "AssignmentConverged", "Unknown", "StoreUnavailable")
            await asyncio.sleep(8)  # the fault: leases are over
            await private_redis.start_async()
            await place.condition("city", "Degraded", "False")
            await settled(place)
            await load.until(lambda: len(load.connected) == 10, 60, "stations are back")


async def test_kafka_is_stopped_and_started_again(
    served: Served, private_kafka: KafkaServer, redis_server: RedisServer
) -> None:
    async with served(private_kafka, redis_server) as place:
        await place.apply(place.resource())
        await settled(place)
        async with under_load(place) as load:
            await asyncio.sleep(2)
            await private_kafka.stop_async()
            # The operator asks brokers that were fine once a minute: a change of the resource has it look at once.
            await place.patch("city", {"kafka": {"topics": {"dlq": None, "eventsUp": {"retention": "100h"}}}})
            await place.condition("city", "TopicsReady", "Unknown", "KafkaUnavailable")
            await place.condition("city", "Degraded", "True", "KafkaUnavailable")
            await asyncio.sleep(5)  # the fault: stations are sent away meanwhile
            await private_kafka.start_async()
            await place.condition("city", "TopicsReady", "True", timeout=90)
            await load.until(lambda: len(load.connected) == 10, 60, "stations are back")


async def test_kafka_that_was_never_there(
    served: Served, private_kafka: KafkaServer, redis_server: RedisServer
) -> None:
    await private_kafka.stop_async()
    async with served(private_kafka, redis_server) as place:
        await place.apply(place.resource())
        told = await place.condition("city", "Degraded", "True", "KafkaUnavailable")
        assert "connection refused" in told["message"]
        await place.condition("city", "Ready", "False", "PodsNotReady")
        events = await place.request("GET", f"/apis/events.k8s.io/v1/namespaces/{place.namespace}/events")
        assert "KafkaUnavailable" in {each["reason"] for each in events["items"]}

        async def started() -> bool:
            return len(place.kubelet.running) == 2

        await eventually(started)  # pods run and wait
        await private_kafka.start_async()
        await settled(place, timeout=120)
        async with under_load(place):
            pass


async def test_a_wrong_password_of_redis_is_told_and_the_right_one_is_taken_up(
    served: Served, kafka: KafkaServer, private_redis: RedisServer
) -> None:
    with private_redis.client() as client:
        client.config_set("requirepass", "right")
    async with served(kafka, private_redis) as place:
        secret = f"/api/v1/namespaces/{place.namespace}/secrets"

        def content(password: str) -> Any:
            return {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "store"},
                "data": {"password": b64encode(password.encode()).decode()},
            }

        await place.request("POST", secret, content("wrong"))
        resource = place.resource()
        resource["spec"]["redis"]["passwordSecretRef"] = {"name": "store", "key": "password"}
        await place.apply(resource)
        await place.condition("city", "Degraded", "True", "RedisAuthenticationFailed")
        await place.condition("city", "Ready", "False", "StoreUnavailable")

        await place.request("PATCH", f"{secret}/store", content("right"), content_type="application/merge-patch+json")
        await settled(place, timeout=120)
        await place.condition("city", "Degraded", "False")
