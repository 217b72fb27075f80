"""The operator's image: it says what it is, and ten lines of YAML become a gateway that serves a station."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.e2e import operator_by_hand
from tests.e2e.city import resource
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
    node.apply(resource(node_namespace, node_kafka, node_redis, fresh_name))
    await asyncio.to_thread(node.wait, node_namespace, "cgw/city", "condition=Ready", 120)
    measured(f"operator: a resource is Ready {time.monotonic() - began:.1f} s after kubectl apply")
    address = node.get(f"/api/v1/namespaces/{node_namespace}/services/city-gateway")["spec"]["clusterIP"]
    async with pypi_station(f"ws://{address}/", "ocpp1.6") as station:
        booted = await station.ask("BootNotification", charge_point_vendor="vendor", charge_point_model="model")
        assert booted.status == "Accepted"
    node.kubectl("delete", "--namespace", node_namespace, "cgw/city", "--wait=false")
    await asyncio.to_thread(node.wait, node_namespace, "deployment/city-gateway", "delete", 60)
