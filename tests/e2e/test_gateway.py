"""The gateway's image in a pod, from its first partition to its drain, with real Kafka, Redis and a station of somebody else's."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import websockets

from ocpp_client.commands import CommandClient
from ocpp_client.events import EventConsumer
from ocpp_client.kafka import KafkaAccess
from ocpp_client.status import RedisAccess
from ocpp_contract.assignment import Assignment
from ocpp_contract.ids import Partition
from ocpp_contract.names import Keys, Topics
from ocpp_contract.outcome import Outcome
from ocpp_contract.scripts.records import PartitionRecord
from tests.e2e.gateway_by_hand import ADMIN_PORT, GRACE_PERIOD, PARTITIONS, Surroundings, objects
from tests.interop.pypi_stations import pypi_station
from tests.system.site import until
from tests.testbed.kafka import KafkaServer, create_topics
from tests.testbed.node import Node
from tests.testbed.redis import RedisServer

NAME = "by-hand"


@pytest.fixture
async def around(node_kafka: KafkaServer, node_redis: RedisServer, fresh_name: Callable[[str], str]) -> Surroundings:
    """Topics and keys of this test's own."""
    topics = Topics(*(fresh_name(getattr(Topics(), name)) for name in Topics.__slots__))
    counts = {getattr(topics, name): PARTITIONS for name in Topics.__slots__}
    await create_topics(node_kafka.bootstrap, counts, {"message.timestamp.type": "LogAppendTime"})
    prefix = fresh_name("e2e") + ":"
    with node_redis.client() as client:
        # This run of the store has lost nothing: the gateway need not wait for leases that somebody may still have.
        client.set(Keys(prefix).run(node_redis.run_id()), "1")
    return Surroundings(node_kafka.bootstrap, f"{node_redis.host}:{node_redis.port}", topics, prefix)


class OnePod:
    """What a test asks about the only pod of its namespace."""

    def __init__(self, node: Node, namespace: str) -> None:
        self._node, self._namespace = node, namespace

    def seen(self) -> dict[str, Any]:
        [pod] = self._node.pods(self._namespace)
        return pod

    def container(self) -> dict[str, Any]:
        """Its state, for as long as there is none: nothing."""
        statuses = self.seen()["status"].get("containerStatuses") or [{}]
        return dict(statuses[0])

    def unready(self) -> str:
        """What /readyz says; empty when ready, or nobody answers."""
        address = self.seen()["status"].get("podIP")
        try:
            with urllib.request.urlopen(f"http://{address}:{ADMIN_PORT}/readyz", timeout=2):
                return ""
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def kubectl(self, *arguments: str) -> str:
        return self._node.kubectl("--namespace", self._namespace, *arguments)

    def said(self) -> list[str]:
        """The messages of its log."""
        return [json.loads(line)["message"] for line in self._node.logs.text(self._namespace, NAME).splitlines()]

    def let_go(self) -> None:
        """Nobody looks at it any more."""
        self.kubectl("patch", "pod", NAME, "--type=json", '--patch=[{"op": "remove", "path": "/metadata/finalizers"}]')


async def test_a_pod_serves_from_its_first_partition_to_its_drain(
    node: Node,
    node_namespace: str,
    gateway_image: str,
    node_redis: RedisServer,
    around: Surroundings,
    measured: Callable[[str], None],
) -> None:
    pod = OnePod(node, node_namespace)
    redis_access = RedisAccess(node_redis.url, prefix=around.prefix)

    # --- it starts, and is not ready before it holds a partition
    began = time.monotonic()
    node.apply(*objects(node_namespace, NAME, gateway_image, around))

    async def says_why() -> bool:
        return "no partition held" in await asyncio.to_thread(pod.unready)

    await until(says_why, "the pod waits for partitions", 90)
    measured(f"gateway pod: serves its admin port {time.monotonic() - began:.1f} s after kubectl apply")

    # --- an annotation gives it partitions
    began = time.monotonic()
    wish = Assignment(1, frozenset(map(Partition, range(PARTITIONS)))).to_annotations()
    pod.kubectl("annotate", "pod", NAME, *(f"{key}={value}" for key, value in wish.items()))
    await asyncio.to_thread(node.wait, node_namespace, f"pod/{NAME}", "condition=Ready", 90)
    measured(f"gateway pod: Ready {time.monotonic() - began:.1f} s after its annotation")

    # --- a station comes through the Service, its boot goes to Kafka, a command comes back to it
    address = node.get(f"/api/v1/namespaces/{node_namespace}/services/{NAME}")["spec"]["clusterIP"]
    access = KafkaAccess.of(around.kafka)
    async with pypi_station(f"ws://{address}/", "ocpp1.6") as station:
        booted = await station.ask("BootNotification", charge_point_vendor="vendor", charge_point_model="model")
        assert booted.status == "Accepted"
        await heard(access, around.topics, station.name, "DeviceBooted")
        async with CommandClient(access, redis_access, topics=around.topics) as client:
            result = await client.send_and_wait(station.name, "Reset", {"type": "OnIdle"})
        assert (result.outcome, [action for action, _ in station.commands]) == (Outcome.ACCEPTED, ["Reset"])

        # --- SIGTERM: the station is told, partitions are free, the process ends by itself
        began = time.monotonic()
        pod.kubectl("delete", "pod", NAME, "--wait=false")
        socket = station.point._connection
        assert isinstance(socket, websockets.ClientConnection)
        async with asyncio.timeout(GRACE_PERIOD):
            await socket.wait_closed()
        assert socket.close_code == 1012  # service restart: come back

    async def ended() -> object:
        return (await asyncio.to_thread(pod.container)).get("state", {}).get("terminated")

    await until(ended, "the container has ended", GRACE_PERIOD)
    measured(f"gateway pod: drained and ended {time.monotonic() - began:.1f} s after its deletion")
    assert pod.container()["state"]["terminated"]["exitCode"] == 0
    assert pod.container()["restartCount"] == 0
    said = pod.said()
    assert said.index("draining") < said.index("drained")
    assert holders(node_redis, Keys(around.prefix)) == {None}
    pod.let_go()


async def heard(access: KafkaAccess, topics: Topics, station: str, type_name: str) -> None:
    """Until Kafka has an event of that type of the station."""
    async with asyncio.timeout(30), EventConsumer(access, topics=topics) as events:
        async for received in events:
            if (received.event.charge_point_id, received.event.type) == (station, type_name):
                return


def holders(server: RedisServer, keys: Keys) -> set[object]:
    """Who holds the partitions; None: nobody."""
    with server.client() as client:
        texts = [client.get(keys.partition(Partition(number))) for number in range(PARTITIONS)]
    return {None if text is None else PartitionRecord.from_json(str(text)).incarnation for text in texts}
