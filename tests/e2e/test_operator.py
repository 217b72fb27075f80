"""The operator's image: it says what it is, and ten lines of YAML become a gateway that serves a station."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tests.e2e import operator_by_hand
from tests.e2e.pods import container, pod
from tests.interop.pypi_stations import pypi_station
from tests.testbed.kafka import KafkaServer
from tests.testbed.node import Node
from tests.testbed.redis import RedisServer


def test_the_image_tells_how_it_is_used(node: Node, node_namespace: str, operator_image: str) -> None:
    node.apply(pod(node_namespace, "help", container(operator_image, args=["--help"]), restartPolicy="Never"))
    node.wait(node_namespace, "pod/help", "jsonpath={.status.containerStatuses[0].state.terminated}", 60)
    [status] = node.pods(node_namespace)[0]["status"]["containerStatuses"]
    said = node.logs.text(node_namespace, "help")
    assert status["state"]["terminated"]["exitCode"] == 0, said
    assert said.startswith("usage: python -m ocpp_operator")


async def test_a_minimal_resource_becomes_a_gateway(
    node: Node,
    node_namespace: str,
    node_kafka: KafkaServer,
    node_redis: RedisServer,
    operator_image: str,
    gateway_image: str,
    fresh_name: Callable[[str], str],
    measured: Callable[[str], None],
) -> None:
    await operator_by_hand.install_crds(node)
    node.apply(*operator_by_hand.objects(node_namespace, operator_image, gateway_image))
    await asyncio.to_thread(node.wait, node_namespace, "deployment/operator", "condition=Available", 90)
    began = time.monotonic()
    node.apply(_resource(node_namespace, node_kafka, node_redis, fresh_name))
    await asyncio.to_thread(node.wait, node_namespace, "cgw/city", "condition=Ready", 120)
    measured(f"operator: a resource is Ready {time.monotonic() - began:.1f} s after kubectl apply")
    address = node.get(f"/api/v1/namespaces/{node_namespace}/services/city-gateway")["spec"]["clusterIP"]
    async with pypi_station(f"ws://{address}/", "ocpp1.6") as station:
        booted = await station.ask("BootNotification", charge_point_vendor="vendor", charge_point_model="model")
        assert booted.status == "Accepted"
    node.kubectl("delete", "--namespace", node_namespace, "cgw/city", "--wait=false")
    await asyncio.to_thread(node.wait, node_namespace, "deployment/city-gateway", "delete", 60)


def _resource(
    namespace: str, kafka: KafkaServer, redis: RedisServer, fresh_name: Callable[[str], str]
) -> dict[str, Any]:
    """The minimal example, with names of its own on brokers and store that others use too."""
    fields = {
        "eventsUp": "events-up",
        "commandsDown": "commands-down",
        "commandsUrgent": "commands-urgent",
        "commandResults": "command-results",
        "commandsDlq": "commands-dlq",
        "stations": "stations",
    }
    topics = {field: {"name": fresh_name(name)} for field, name in fields.items()}
    return {
        "apiVersion": "chargegateway.io/v1alpha1",
        "kind": "ChargeGateway",
        "metadata": {"name": "city", "namespace": namespace},
        "spec": {
            "kafka": {"bootstrapServers": kafka.bootstrap, "topics": {**topics, "replicas": 1, "minInSyncReplicas": 1}},
            "redis": {"addresses": [f"{redis.host}:{redis.port}"], "keyPrefix": fresh_name("e2e") + ":"},
            "stations": {"unknown": "Accept"},
            "decisions": {"type": "Accept"},
            # One small machine, and a drain without a load balancer.
            "template": {"container": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}},
            "drain": {"loadBalancerWait": "1s"},
        },
    }
