"""The operator as a process on a real API server, pods as gateway processes (`kubelet`), real Kafka and Redis under them.

    async with serving(kubernetes, namespace, kafka, redis) as place:
        await place.apply(place.resource("city", replicas=2))
        await place.condition("city", "Ready", "True")

Everything that takes its time in production takes less here; the relations between the times stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from tests.operator_cluster.kubelet import DIE_WITH_PARENT, Kubelet
from tests.system.rig import QUICK
from tests.testbed.kubernetes import ApiError, KubernetesServer
from tests.testbed.processes import free_port

Json = dict[str, Any]
Answer = TypeVar("Answer")
PATIENCE = 60.0
HURRIED = {**QUICK, "OWNERSHIP__LEASE": "6s", "OWNERSHIP__RENEW_INTERVAL": "1500ms", "OWNERSHIP__MARGIN": "1s"}


async def eventually(
    ask: Callable[[], Awaitable[Answer]], what: str = "", timeout: float = PATIENCE, every: float = 0.1
) -> Answer:
    """What `ask` answers once that is true."""
    deadline = time.monotonic() + timeout
    while True:
        answer = await ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r} after {timeout:.0f} s {what}")
        await asyncio.sleep(every)


class Operator:
    """One replica as a process."""

    def __init__(
        self, kubernetes: KubernetesServer, namespace: str, kubeconfig: Path | None = None, **settings: str
    ) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="chargegateway-operator-"))
        self.log = self.folder / "log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CHARGEGATEWAY_")}
        self._environment = environment | {
            "KUBECONFIG": str(kubeconfig or kubernetes.kubeconfig),
            "CHARGEGATEWAY_OPERATOR_LEASE_NAMESPACE": namespace,
            "CHARGEGATEWAY_OPERATOR_WATCH_NAMESPACES": namespace,
            "CHARGEGATEWAY_OPERATOR_ADMIN_HOST": "127.0.0.1",
            "CHARGEGATEWAY_OPERATOR_ADMIN_PORT": str(self.port),
            "CHARGEGATEWAY_OPERATOR_IDENTITY": f"operator-{secrets.token_hex(3)}",
            "CHARGEGATEWAY_OPERATOR_LOG_FORMAT": "text",
            "CHARGEGATEWAY_OPERATOR_STORE_INTERVAL": "0.3",
            "CHARGEGATEWAY_OPERATOR_STATUS_INTERVAL": "0.5",
            "CHARGEGATEWAY_OPERATOR_STALLED_AFTER": "2",
            **{f"CHARGEGATEWAY_OPERATOR_{name.upper()}": value for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, str(DIE_WITH_PARENT), str(os.getpid()), sys.executable, "-m", "ocpp_operator"]
            self.process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def keep(self) -> None:
        """From now on one that ended is started again, as its Deployment would; until `kill` or `stop`."""

        async def keeping() -> None:
            while True:
                if not self.running:
                    self.start()
                await asyncio.sleep(0.5)

        self._keeping = asyncio.create_task(keeping(), name="keep the operator")

    def _let_go(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None

    def kill(self) -> None:
        """SIGKILL: nothing is said to anybody."""
        self._let_go()
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def ended(self, timeout: float = 30.0) -> int:
        """Wait until it has ended by itself; its exit code."""
        assert self.process is not None
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), timeout)

    async def stop(self) -> int:
        """SIGTERM, and how it ended."""
        self._let_go()
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def leads(self) -> bool:
        """Whether this replica leads, by its own word."""
        try:
            return (await self.metrics())["chargegateway_operator_leader"] == 1
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def metrics(self) -> dict[str, float]:
        """Every sample, `name{label="value",...}` -> value."""
        limit = aiohttp.ClientTimeout(total=2)
        async with (
            aiohttp.ClientSession(timeout=limit) as http,
            http.get(f"http://127.0.0.1:{self.port}/metrics") as answer,
        ):
            text = await answer.text()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def text(self) -> str:
        return self.log.read_text(errors="replace")


class Place:
    """A namespace with an operator and a node. Made by `serving`."""

    def __init__(
        self,
        kubernetes: KubernetesServer,
        namespace: str,
        kafka: str,
        redis_port: int,
        operator: Operator,
        kubelet: Kubelet,
    ) -> None:
        self.kubernetes, self.namespace = kubernetes, namespace
        self.kafka, self.redis_port = kafka, redis_port
        self.operator, self.kubelet = operator, kubelet
        self.operators = [operator]
        """All replicas that there were, to be stopped at the end."""
        self.run = secrets.token_hex(4)
        self.redis = Redis(port=redis_port, decode_responses=True)

    def another_operator(self, kubeconfig: Path | None = None, **settings: str) -> Operator:
        """A further replica, not started."""
        self.operators.append(Operator(self.kubernetes, self.namespace, kubeconfig, **settings))
        return self.operators[-1]

    # --- resources ------------------------------------------------------------------------------------------------

    def resource(self, name: str = "city", own: str | None = None, **spec: Any) -> Json:
        """A ChargeGateway with topics and a prefix of its own (of `own`, to share them)."""
        own = own or name
        topics = {
            each: {"name": f"{each}-{own}-{self.run}"}
            for each in ("eventsUp", "commandsDown", "commandsUrgent", "commandResults", "commandsDlq", "stations")
        }
        whole = {
            "replicas": 2,
            "kafka": {"bootstrapServers": self.kafka, "topics": {"replicas": 1, "minInSyncReplicas": 1, **topics}},
            "redis": {"addresses": [f"127.0.0.1:{self.redis_port}"], "keyPrefix": f"{own}-{self.run}:"},
            "stations": {"unknown": "Accept"},
            "decisions": {"type": "Accept"},
            "commands": {"partitions": 16},
            "drain": {"loadBalancerWait": "0s", "connectionsPerSecond": 1000},
        }
        return {
            "apiVersion": "chargegateway.io/v1alpha1",
            "kind": "ChargeGateway",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": whole | spec,
        }

    async def apply(self, resource: Json) -> Json:
        name = resource["metadata"]["name"]
        path = f"{self._resources}/{name}?fieldManager=tester&force=true"
        return await asyncio.to_thread(
            self.kubernetes.request, "PATCH", path, resource, content_type="application/apply-patch+yaml"
        )

    async def patch(self, name: str, spec: Json) -> Json:
        return await asyncio.to_thread(
            self.kubernetes.request, "PATCH", f"{self._resources}/{name}", {"spec": spec},
            content_type="application/merge-patch+json",
        )  # fmt: skip

    async def get(self, name: str = "city") -> Json:
        return await asyncio.to_thread(self.kubernetes.request, "GET", f"{self._resources}/{name}")

    async def delete(self, name: str = "city") -> None:
        await asyncio.to_thread(self.kubernetes.request, "DELETE", f"{self._resources}/{name}")

    @property
    def _resources(self) -> str:
        return f"/apis/chargegateway.io/v1alpha1/namespaces/{self.namespace}/chargegateways"

    async def condition(
        self, name: str, kind: str, status: str, reason: str | None = None, timeout: float = PATIENCE
    ) -> Json:
        """Wait for a condition that was judged for the present spec; the condition."""

        async def ask() -> Json | None:
            there = await self.get(name)
            for each in (there.get("status") or {}).get("conditions") or ():
                current = each["observedGeneration"] == there["metadata"]["generation"]
                if each["type"] == kind and each["status"] == status and current and reason in (None, each["reason"]):
                    return dict(each)
            return None

        try:
            return await eventually(ask, timeout=timeout)
        except AssertionError:
            there = await self.get(name)
            raise AssertionError(
                f"{name} has no {kind}={status} ({reason}): {json.dumps(there.get('status'), indent=1)}\n{self.operator.text()[-6000:]}"
            ) from None

    # --- children -------------------------------------------------------------------------------------------------

    async def objects(self, plural: str, api: str = "api/v1") -> list[Json]:
        path = f"/{api}/namespaces/{self.namespace}/{plural}?labelSelector=app.kubernetes.io/managed-by=chargegateway-operator"
        return list((await asyncio.to_thread(self.kubernetes.request, "GET", path))["items"])

    async def pods(self) -> list[Json]:
        return await self.objects("pods")

    async def ready_pods(self) -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in await self.pods()
            if any(
                each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions") or ()
            )
            and "deletionTimestamp" not in pod["metadata"]
        ]

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Json:
        return await asyncio.to_thread(self.kubernetes.request, method, path, body, **more)

    async def force_away(self, pod: str) -> None:
        """As when its machine is lost: the process is killed and the pod deleted without grace."""
        self.kubelet.kill(pod)
        await self.request("DELETE", f"/api/v1/namespaces/{self.namespace}/pods/{pod}?gracePeriodSeconds=0")

    async def record(self, prefix: str, pod: str) -> Json:
        """What the pod says of itself in the store; {}: nothing."""
        text = await self.redis.get(f"{prefix}pod:{pod}")
        return dict(json.loads(text)) if text else {}

    async def held(self, prefix: str) -> dict[str, str]:
        """Which pod holds which partition, by the store."""
        keys = [key async for key in self.redis.scan_iter(f"{prefix}partition:*", count=1000)]
        texts = await self.redis.mget(keys) if keys else []
        found = {}
        for key, text in zip(keys, texts, strict=True):
            record = json.loads(text) if text else {}
            if record.get("incarnation") and record.get("leaseUntil"):
                found[key.rpartition(":")[2]] = record["incarnation"].partition("/")[0]
        return found


@contextlib.asynccontextmanager
async def serving(
    kubernetes: KubernetesServer,
    namespace: str,
    kafka: str,
    redis_port: int,
    gateways: Mapping[str, str] = HURRIED,
    **settings: str,
) -> AsyncIterator[Place]:
    """An operator that leads, and a node. `settings` are the operator's, `gateways` those of the pods beside their resource's."""
    operator = Operator(kubernetes, namespace, **settings)
    async with Kubelet(kubernetes, namespace, gateways) as kubelet:
        place = Place(kubernetes, namespace, kafka, redis_port, operator, kubelet)
        operator.start()
        try:
            yield place
        finally:
            # pytest shows it when the test failed
            for each in place.operators:
                sys.stderr.write(f"--- operator ({each.log})\n{each.text()[-8000:]}\n")
            for name in kubelet.running:
                sys.stderr.write(f"--- {name}\n{kubelet.log_of(name)[-1500:]}\n")
            for each in place.operators:
                if each.process is not None:
                    each.kill()
            await place.redis.aclose()
            with contextlib.suppress(ApiError, OSError, HTTPException):
                for resource in (await place.request("GET", place._resources))["items"]:
                    await place.delete(resource["metadata"]["name"])
    for each in place.operators:
        text = each.text()
        assert "Traceback" not in text, text[-6000:]
    assert not kubelet.trouble, kubelet.trouble
