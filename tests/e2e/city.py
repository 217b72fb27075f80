"""One resource, `city`, on the node: what a test asks about it, and the ways to harm its pods.

What is asked of the API server runs in threads, so that stations of the same process go on meanwhile; while it is away nobody
answers, and whoever waits asks again.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ocpp_contract.ids import ChargePointId, Incarnation, Partition, PodName
from ocpp_contract.names import Keys, Topics
from ocpp_contract.scripts.records import PartitionRecord, PodRecord
from tests.testbed.kafka import KafkaServer
from tests.testbed.node import Node
from tests.testbed.redis import RedisServer

NAME = "city"
SELECTOR = "app.kubernetes.io/managed-by=chargegateway-operator"
Json = dict[str, Any]
Answer = TypeVar("Answer")


def resource(
    namespace: str, kafka: KafkaServer, redis: RedisServer, fresh_name: Callable[[str], str], **spec: Any
) -> Json:
    """The minimal example, with names of its own on brokers and store that others use too. `spec` says more."""
    fields = {
        "eventsUp": "events-up",
        "commandsDown": "commands-down",
        "commandsUrgent": "commands-urgent",
        "commandResults": "command-results",
        "commandsDlq": "commands-dlq",
        "stations": "stations",
    }
    topics = {field: {"name": fresh_name(name)} for field, name in fields.items()}
    minimal = {
        "kafka": {"bootstrapServers": kafka.bootstrap, "topics": {**topics, "replicas": 1, "minInSyncReplicas": 1}},
        "redis": {"addresses": [f"{redis.host}:{redis.port}"], "keyPrefix": fresh_name("e2e") + ":"},
        "stations": {"unknown": "Accept"},
        "decisions": {"type": "Accept"},
        # One small machine, and a drain without a load balancer.
        "template": {"container": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}},
        "drain": {"loadBalancerWait": "1s"},
    }
    return {
        "apiVersion": "chargegateway.io/v1alpha1",
        "kind": "ChargeGateway",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": minimal | spec,
    }


@dataclass(frozen=True, slots=True)
class City:
    """See module. `operators` is the namespace of the operator's pods."""

    node: Node
    namespace: str
    operators: str
    kafka: KafkaServer
    redis: RedisServer
    spec: Json
    outcomes: Counter[str] = field(default_factory=Counter)
    """How the commands ended that were under way in all cases so far."""

    # --- Kubernetes ---------------------------------------------------------------------------------------------------

    async def kubectl(self, *arguments: str, input: str = "", timeout: float = 90) -> str:
        """In the resource's namespace."""
        return await asyncio.to_thread(
            self.node.kubectl, "--namespace", self.namespace, *arguments, input=input, timeout=timeout
        )

    async def patch(self, **spec: Any) -> None:
        """Change the resource."""
        await self.kubectl("patch", "cgw", NAME, "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    async def get(self, path: str) -> Json:
        """Below the namespace's core API, or an absolute path of the API server."""
        whole = path if path.startswith("/") else f"/api/v1/namespaces/{self.namespace}/{path}"
        return dict(await asyncio.to_thread(self.node.get, whole))

    async def pods(self) -> dict[str, Json]:
        """The resource's pods by name, those that leave included."""
        found = await asyncio.to_thread(self.node.pods, self.namespace, SELECTOR)
        return {pod["metadata"]["name"]: pod for pod in found}

    async def ready(self) -> set[str]:
        """Names of pods that are ready and do not leave."""
        return {
            name
            for name, pod in (await self.pods()).items()
            if "deletionTimestamp" not in pod["metadata"] and _has(pod["status"], "Ready")
        }

    async def settled(self, pods: int, seconds: float = 120) -> set[str]:
        """Wait until exactly so many pods are there, all ready, and the resource is Ready and at rest; the pods."""
        status: Json = {}

        async def ask() -> set[str]:
            nonlocal status
            there = await self.get(f"/apis/chargegateway.io/v1alpha1/namespaces/{self.namespace}/chargegateways/{NAME}")
            status = there.get("status") or {}
            current = [
                each
                for each in status.get("conditions") or ()
                if each["observedGeneration"] == there["metadata"]["generation"]
            ]
            said = {each["type"]: each["status"] for each in current}
            wanted = {"Ready": "True", "Progressing": "False", "AssignmentConverged": "True"}
            now = await self.ready()
            calm = wanted.items() <= said.items() and len(now) == len(await self.pods()) == pods
            return now if calm else set()

        try:
            return await eventually(ask, f"{pods} pods, Ready and at rest", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(status, indent=1)}\n{await self._pods_told()}") from None

    async def _pods_told(self) -> str:
        with suppress(Exception):
            return await self.kubectl("get", "pods", "-o", "wide")
        return "nobody tells of pods"

    async def leader(self, since: str = "") -> str:
        """Name of the operator's pod that holds the Lease, if it has renewed it since then; empty: nobody."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.operators}/leases/chargegateway-operator"
        lease = (await self.get(path))["spec"]
        there = await asyncio.to_thread(self.node.pods, self.operators)
        names = [pod["metadata"]["name"] for pod in there]
        renewed = str(lease.get("renewTime") or "") > since
        return next((name for name in names if renewed and str(lease.get("holderIdentity")).startswith(name)), "")

    # --- the store ----------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> Keys:
        return Keys(self.spec["redis"]["keyPrefix"])

    @property
    def topics(self) -> Topics:
        named = {key: topic["name"] for key, topic in self.spec["kafka"]["topics"].items() if isinstance(topic, dict)}
        return Topics(
            named["eventsUp"], named["commandsDown"], named["commandsUrgent"], named["commandResults"],
            named["commandsDlq"], named["stations"],
        )  # fmt: skip

    @property
    def partitions(self) -> int:
        return int(self.spec["commands"]["partitions"])

    def held(self) -> dict[int, Incarnation]:
        """Who has the right to deliver from which partition at this moment."""
        with self.redis.client() as client:
            seconds, microseconds = client.time()
            texts = client.mget([self.keys.partition(Partition(number)) for number in range(self.partitions)])
        now = seconds * 1_000_000 + microseconds
        found = {}
        for number, text in enumerate(texts):
            record = None if text is None else PartitionRecord.from_json(text)
            if record is not None and record.incarnation is not None and record.lease_until_us > now:
                found[number] = record.incarnation
        return found

    def loads(self) -> Counter[str]:
        """Partitions per pod, by the store."""
        return Counter(holder.pod for holder in self.held().values())

    def incarnation(self, pod: str) -> Incarnation | None:
        """The process that says it is this pod's."""
        with self.redis.client() as client:
            text = client.get(self.keys.pod(PodName(pod)))
        return None if text is None else PodRecord.from_json(str(text)).incarnation

    def pod_of(self, station: str) -> str:
        """Where the directory says that it is connected."""
        with self.redis.client() as client:
            text = client.get(self.keys.conn(ChargePointId(station)))
        return "" if text is None else str(json.loads(str(text))["pod"])

    async def owned_without(self, gone: Incarnation, seconds: float = 60) -> None:
        """Until every partition has a living owner, and none is this process."""

        async def ask() -> bool:
            held = self.held()
            return len(held) == self.partitions and gone not in held.values()

        await eventually(ask, f"every partition owned without {gone}", seconds)

    # --- harm ---------------------------------------------------------------------------------------------------------

    def kill_container(self, namespace: str, pod: str) -> None:
        """SIGKILL to its only container's process, by containerd: nobody is told, nothing is deleted."""
        found = self.node.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
        [status] = found["status"]["containerStatuses"]
        container = status["containerID"].removeprefix("containerd://")
        subprocess.run(self.node.place.ctr("tasks", "kill", "--signal", "SIGKILL", container), check=True)

    async def evict(self, pod: str) -> None:
        """Raises KubectlFailed when the budget refuses."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        where = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        await self.kubectl("create", "--raw", where, "-f", "-", input=json.dumps(eviction))


async def eventually(ask: Callable[[], Awaitable[Answer]], what: str, seconds: float = 60) -> Answer:
    """What `ask` answers once that is true; whoever does not answer (OSError) is asked again."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    answer: object = None
    while True:
        with suppress(OSError):
            answer = await ask()
            if answer:
                return answer
        assert loop.time() < end, f"not within {seconds:g} s: {what} (last: {answer!r})"
        await asyncio.sleep(0.05)


def _has(status: Json, condition: str) -> bool:
    return any(each["type"] == condition and each["status"] == "True" for each in status.get("conditions") or ())
