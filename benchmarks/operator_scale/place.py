"""Everything that the operator needs, real: API server, scheduler, controllers, Kafka, Redis, and pods that KWOK and `fleet` play.

    async with place(size) as here:
        await here.apply(here.resource(0))
        await here.until(lambda: here.settled(0), 60, "the first resource")

The operator runs as a process with the settings as shipped, leader election included, under a ServiceAccount of its own: the audit log
has what it asked for and nothing else. Every resource names a Secret of its own (Redis' password), as they do in production.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from benchmarks import proc
from benchmarks.operator_scale import kwok
from benchmarks.operator_scale.figures import Histogram, Request, requests
from benchmarks.operator_scale.fleet import Fleet, follow
from ocpp_operator.core import names
from tests.operator_cluster.conftest import install_crd
from tests.operator_cluster.rig import Operator
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.redis import RedisServer

Json = dict[str, Any]

HOME, ACCOUNT = "chargegateway-system", "operator"
USER = f"system:serviceaccount:{HOME}:{ACCOUNT}"
_TENANTS = 10
"""Namespaces that the resources are spread over."""
_REDIS_USER, _PASSWORD = "gateways", "benchmark"
_AT_ONCE = 16
_TELL = 5.0
_MOST_RESTARTS = 20
_METRICS_TRIES = 30
_NETWORK = 20 + os.getpid() % 200
# What people run in a cluster is asked for progress every 5 s (kubeadm does so); without it watches of what never changes get no bookmarks.
_ETCD = ("--experimental-watch-progress-notify-interval=5s",)
# KWOK's watches begin at version 0, which the API server takes for a list as a stream, which needs a newer etcd than Debian's.
_NO_STREAMED_LISTS = "--feature-gates=WatchList=false"


class TooSlow(Exception):
    """Something did not come to its end in time."""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    resources: int
    pods: int
    partitions: int
    minutes: float
    timeout: float


class Place:
    """Made by `place`."""

    def __init__(
        self,
        size: Size,
        kubernetes: KubernetesServer,
        kafka: KafkaServer,
        redis: RedisServer,
        fleet: Fleet,
        audit: Path,
    ) -> None:
        self.size = size
        self.kubernetes, self.kafka, self.redis = kubernetes, kafka, redis
        self.fleet = fleet
        self._audit = audit
        self._heard: dict[str, Json] = {}
        self.changed: dict[str, float] = {}
        """By name, when the resource was last seen to become settled."""
        self.pods: dict[str, Json] = {}
        """By uid."""
        self.restarts = 0
        """How often the operator ended without being told to."""
        self._cpu, self._cpu_before = 0.0, 0.0
        """Seconds that the operator's process has used when it was last seen, and all processes before it."""
        token = kubernetes.service_account_token(HOME, ACCOUNT)
        self.operator = Operator(
            kubernetes, HOME, kubernetes.kubeconfig_for(ACCOUNT, token),
            watch_namespaces="", store_interval="1", status_interval="5", log_format="json",
        )  # fmt: skip

    # --- resources ------------------------------------------------------------------------------------------------

    def name(self, number: int) -> str:
        return f"city-{number:03}"

    def namespace(self, number: int) -> str:
        return f"tenant-{number % _TENANTS}"

    def resource(self, number: int) -> Json:
        """One of them: topics and prefix of its own; every other field as it is by default, but for fewer partitions."""
        name = self.name(number)
        kinds = ("eventsUp", "commandsDown", "commandsUrgent", "commandResults", "commandsDlq", "stations")
        topics: Json = {kind: {"name": f"{kind}-{name}"} for kind in kinds}
        for kind in ("eventsUp", "commandResults", "commandsDlq", "stations"):
            topics[kind]["partitions"] = 1
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name, "namespace": self.namespace(number)},
            "spec": {
                "replicas": self.size.pods,
                "kafka": {
                    "bootstrapServers": self.kafka.bootstrap,
                    "topics": {"replicas": 1, "minInSyncReplicas": 1, **topics},
                },
                "redis": {
                    "addresses": [f"127.0.0.1:{self.redis.port}"],
                    "keyPrefix": f"{name}:",
                    "username": _REDIS_USER,
                    "passwordSecretRef": {"name": f"{name}-redis", "key": "password"},
                },
                "stations": {"unknown": "Accept"},
                "decisions": {"type": "Accept"},
                "commands": {"partitions": self.size.partitions},
            },
        }

    async def make(self, numbers: range) -> float:
        """Secrets first, then the resources, some at a time; when the first resource was asked for."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(path: str, body: Json) -> None:
            async with places:
                await self.ask("POST", path, body)

        secrets = [
            (f"/api/v1/namespaces/{self.namespace(number)}/secrets", _secret(f"{self.name(number)}-redis"))
            for number in numbers
        ]
        await asyncio.gather(*(one(path, body) for path, body in secrets))
        began = time.monotonic()
        path = f"/apis/{names.API_VERSION}/namespaces/{{}}/{names.PLURAL}"
        await asyncio.gather(*(one(path.format(self.namespace(n)), self.resource(n)) for n in numbers))
        return began

    async def patch(self, number: int, spec: Json) -> None:
        path = f"/apis/{names.API_VERSION}/namespaces/{self.namespace(number)}/{names.PLURAL}/{self.name(number)}"
        await self.ask("PATCH", path, {"spec": spec}, content_type="application/merge-patch+json")

    async def ask(self, method: str, path: str, body: Json | None = None, **more: Any) -> Json:
        return await asyncio.to_thread(self.kubernetes.request, method, path, body, **more)

    # --- what is seen ---------------------------------------------------------------------------------------------

    def heard_resource(self, event: str, there: Json) -> None:
        name = there["metadata"]["name"]
        was = name in self._heard and _settled(self._heard[name])
        self._heard[name] = there
        if _settled(there) and not was:
            self.changed[name] = time.monotonic()

    def heard_pod(self, event: str, pod: Json) -> None:
        if event == "DELETED":
            self.pods.pop(pod["metadata"]["uid"], None)
        else:
            self.pods[pod["metadata"]["uid"]] = pod
        self.fleet.note(event, pod)

    def settled(self, number: int) -> bool:
        """Ready, converged, and nothing on its way, for the present spec."""
        return self.name(number) in self._heard and _settled(self._heard[self.name(number)])

    def generation(self, number: int) -> int:
        """Of the spec that the status speaks of."""
        there = self._heard.get(self.name(number)) or {}
        return int((there.get("status") or {}).get("observedGeneration", 0))

    def pods_of(self, number: int) -> set[str]:
        """uids of the pods of a resource."""
        name = self.name(number)
        return {uid for uid, pod in self.pods.items() if pod["metadata"]["labels"][names.INSTANCE] == name}

    @property
    def all_settled(self) -> int:
        return sum(map(_settled, self._heard.values()))

    @property
    def ready_pods(self) -> int:
        return sum(
            _has(pod, "Ready", "True") and "deletionTimestamp" not in pod["metadata"] for pod in self.pods.values()
        )

    def told(self) -> str:
        """How far it is, for the progress line."""
        unowned = sum(self.fleet.unowned(name) for name in self._heard)
        return f"{self.all_settled} of {len(self._heard)} resources settled, {self.ready_pods} pods ready, {unowned} partitions unowned"

    async def until(self, ask: Callable[[], bool], what: str, timeout: float | None = None) -> float:
        """Wait for it; when it came true. Raises TooSlow."""
        began = told = time.monotonic()
        limit = timeout or self.size.timeout
        while not ask():
            now = time.monotonic()
            if now - told > _TELL:
                say(f"  {now - began:4.0f} s  {what}: {self.told()}, load {os.getloadavg()[0]:.1f}")
                told = now
            if now - began > limit:
                raise TooSlow(f"{what}: not within {limit:.0f} s; {self.told()}{self._open_ends()}")
            self.keep()
            await asyncio.sleep(0.05)
        return time.monotonic()

    def start_anew(self) -> None:
        """After it was told to leave."""
        self._cpu_before += self._cpu
        self.operator.start()

    def keep(self) -> None:
        """Start the operator again if it has ended, as its Deployment would: it does so when it lost its lease. Raises TooSlow when that
        goes on and on."""
        if self.operator.running:
            self._cpu = proc.cpu(self.pid).total
            return
        self.restarts += 1
        self._cpu_before += self._cpu
        said = "".join(line for line in self.operator.text().splitlines(True)[-40:] if "election" in line)
        say(f"  the operator has ended and is started again:\n{said}")
        if self.restarts > _MOST_RESTARTS:
            raise TooSlow(f"the operator has ended {self.restarts} times")
        self.operator.start()

    def _open_ends(self) -> str:
        worst = [there for there in self._heard.values() if not _settled(there)][:2]
        return "".join(f"\n{there['metadata']['name']}: {json.dumps(there.get('status'))}" for there in worst)

    # --- figures --------------------------------------------------------------------------------------------------

    def asked(self) -> list[Request]:
        """What the operator asked of the API server so far."""
        with self._audit.open() as lines:
            return requests(lines, USER)

    async def passes(self) -> Histogram:
        return Histogram.read(await self._metrics(), "chargegateway_operator_reconcile_seconds")

    async def _metrics(self) -> dict[str, float]:
        """Patiently: on a busy machine it answers late. Raises TooSlow."""
        for _ in range(_METRICS_TRIES):
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                return await self.operator.metrics()
            await asyncio.sleep(0.5)
        raise TooSlow("the operator's metrics: no answer")

    async def seen_once(self) -> int:
        """Resources that this process of the operator has judged."""
        try:
            samples = await self.operator.metrics()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0
        return round(
            sum(
                value
                for name, value in samples.items()
                if name.startswith("chargegateway_operator_resources{") and 'condition="Ready"' in name
            )
        )

    @property
    def pid(self) -> int:
        assert self.operator.process is not None
        return self.operator.process.pid

    def processes(self) -> dict[str, int]:
        """Who works here, by name."""
        return {
            "operator": self.pid,
            "kube-apiserver": self.kubernetes.api.pid,
            "etcd": self.kubernetes.etcd.pid,
            "Kafka": self.kafka.pid,
            "Redis": self.redis.pid,
        }

    def cpu(self) -> dict[str, float]:
        """Seconds so far."""
        found = {name: proc.cpu(pid).total for name, pid in self.processes().items()}
        return {**found, "operator": found["operator"] + self._cpu_before}

    async def commands(self) -> dict[str, dict[str, float]]:
        async with Redis(port=self.redis.port) as client:
            return dict(await client.info("commandstats"))


def _settled(there: Json) -> bool:
    wanted = {"Ready": "True", "AssignmentConverged": "True", "Progressing": "False"}
    generation = there["metadata"]["generation"]
    found = {
        each["type"]: each["status"]
        for each in (there.get("status") or {}).get("conditions") or ()
        if each["observedGeneration"] == generation
    }
    return wanted.items() <= found.items()


def _has(there: Json, condition: str, status: str) -> bool:
    return any(
        each["type"] == condition and each["status"] == status
        for each in (there.get("status") or {}).get("conditions") or ()
    )


def _secret(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": _PASSWORD}}


@contextlib.asynccontextmanager
async def place(size: Size) -> AsyncIterator[Place]:
    """All servers, nodes, namespaces, the fleet; the operator is not started. Everything is stopped at the end."""
    address = f"127.{_NETWORK}.0.1"
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chargegateway-scale-")))
        arguments = (*_audited(folder), _NO_STREAMED_LISTS)
        kubernetes = await stack.enter_async_context(KubernetesServer(arguments, etcd_arguments=_ETCD))
        kafka = await stack.enter_async_context(KafkaServer(heap="1g"))
        redis = await stack.enter_async_context(RedisServer())
        say("servers are up")
        await asyncio.to_thread(_prepare, kubernetes, size)
        await stack.enter_async_context(kwok.Kwok(kubernetes, address))
        await stack.enter_async_context(kwok.Scheduler(kubernetes))
        client = await stack.enter_async_context(Redis(port=redis.port))
        await client.acl_setuser(_REDIS_USER, enabled=True, passwords=[f"+{_PASSWORD}"], keys=["*"], commands=["+@all"])
        fleet = await stack.enter_async_context(Fleet(client, address, size.partitions))
        headers = {"Authorization": f"Bearer {kubernetes.admin_token}"}
        http = await stack.enter_async_context(
            aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=2**22)
        )
        here = Place(size, kubernetes, kafka, redis, fleet, folder / "audit.log")
        watches = [
            asyncio.create_task(follow(http, kubernetes.url + path, kubernetes.api.tls, heard))
            for path, heard in (
                (f"/api/v1/pods?labelSelector={names.MANAGED_SELECTOR}", here.heard_pod),
                (f"/apis/{names.API_VERSION}/{names.PLURAL}?", here.heard_resource),
            )
        ]
        try:
            yield here
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.wait(watches)
            if here.operator.running:
                here.operator.kill()


def _audited(folder: Path) -> tuple[str, ...]:
    """Flags of an API server that writes down what the operator asks. A watch is written when it begins."""
    rules = [{"level": "Metadata", "users": [USER]}, {"level": "None"}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    (folder / "policy.yaml").write_text(json.dumps(policy))
    return (
        f"--audit-policy-file={folder / 'policy.yaml'}",
        f"--audit-log-path={folder / 'audit.log'}",
        "--audit-log-maxsize=2000",
    )


def _prepare(kubernetes: KubernetesServer, size: Size) -> None:
    """CRD, namespaces, nodes, and the operator's account."""
    install_crd(kubernetes)
    for name in (HOME, *(f"tenant-{number}" for number in range(_TENANTS))):
        kubernetes.make_namespace(name)
    for node in kwok.nodes(size.resources * size.pods):
        kubernetes.request("POST", "/api/v1/nodes", node)
    kubernetes.request("POST", f"/api/v1/namespaces/{HOME}/serviceaccounts", {"metadata": {"name": ACCOUNT}})
    binding = {
        "metadata": {"name": "operator"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    }
    kubernetes.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
