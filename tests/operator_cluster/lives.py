"""One resource's loop, run in this process and cut at the n-th outside write, and a city of pods that obey what they are told.

    city = await City.founded(kubernetes, kafka, redis_port, pods=3)
    await city.quiet()                      # one life of the operator, until it comes to rest
    await city.quiet(cut=lambda: 2)         # lives that end right before their second write, until one comes to rest

A life is what a process of the operator knows: mirror, plan, looks at store and brokers. All of it is forgotten when it is cut, as with a
SIGKILL between two writes. Everything outside is real (API server, Redis, Kafka) but for the pods: no controllers run, so that
names and order are ours, and what a gateway would write to Redis is written here.

After each life it is checked that the plan's generation has not gone back and that no pod was told more than the stored plan says.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from ocpp_contract.assignment import Assignment
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import PodRecord
from ocpp_operator.adapters.cluster import Cluster, path
from ocpp_operator.adapters.connection import Connection
from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.core import kinds, names, stored_plan
from ocpp_operator.core.election import NotLeader
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.reconcile.resource import ResourceLoop
from ocpp_operator.reconcile.secret_book import SecretBook
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.reconcile.vitals import Vitals
from ocpp_operator.settings import Settings
from tests.testbed.kubernetes import ApiError, KubernetesServer

Json = dict[str, Any]
Cut = Callable[[], int | None]
PARTITIONS = 8
_FOREVER_US = 2**52
_STEP = 10.0
"""Seconds that go by between two passes: more than any patience of the planner's."""
_MOST = 80


@dataclass(slots=True)
class ModelPod:
    """A gateway as far as the operator can tell."""

    incarnation: Incarnation
    generation: int = 0
    leaving: bool = False
    wanted: frozenset[Partition] = frozenset()


@dataclass(slots=True)
class _Scissors:
    """The guard of every write: raises once `limit` writes have been asked for, and for ever after."""

    limit: int | None
    writes: int = 0

    def __call__(self) -> None:
        if self.limit is not None and self.writes + 1 >= self.limit:
            self.limit = 0
            raise NotLeader("cut")
        self.writes += 1


class _Passes(Vitals):
    """Tells when a pass has ended."""

    def __init__(self) -> None:
        super().__init__(Metrics(), 60.0, lambda: 0.0)
        self.ended = asyncio.Event()

    def passed(self) -> None:
        self.ended.set()


@dataclass(slots=True)
class City:
    """The world around the loop. Made by `founded`."""

    kubernetes: KubernetesServer
    namespace: str
    prefix: str
    redis: Redis
    pods: dict[str, ModelPod] = field(default_factory=dict)
    now: float = 1_000.0
    lives: int = 0
    _epochs: Any = field(default_factory=lambda: itertools.count(1))
    _generations: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def founded(cls, kubernetes: KubernetesServer, kafka: str, redis_port: int, pods: int) -> City:
        run = secrets.token_hex(4)
        city = cls(kubernetes, f"city-{run}", f"{run}:", Redis(port=redis_port, decode_responses=True))
        await city.ask("POST", "/api/v1/namespaces", {"metadata": {"name": city.namespace}})
        account = {"metadata": {"name": "default"}}
        await city.ask("POST", f"/api/v1/namespaces/{city.namespace}/serviceaccounts", account)
        topics = ("eventsUp", "commandsDown", "commandsUrgent", "commandResults", "commandsDlq", "stations")
        spec = {
            "replicas": pods,
            "kafka": {
                "bootstrapServers": kafka,
                "topics": {
                    "replicas": 1,
                    "minInSyncReplicas": 1,
                    **{topic: {"name": f"{topic}-{run}", "partitions": 1} for topic in topics[:1] + topics[3:]},
                    **{topic: {"name": f"{topic}-{run}"} for topic in topics[1:3]},
                },
            },
            "redis": {"addresses": [f"127.0.0.1:{redis_port}"], "keyPrefix": city.prefix},
            "stations": {"unknown": "Accept"},
            "decisions": {"type": "Accept"},
            "commands": {"partitions": PARTITIONS},
        }
        metadata = {"name": "city", "namespace": city.namespace}
        resource = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}
        await city.ask("POST", path(kinds.RESOURCE, city.namespace), resource)
        for number in range(pods):
            await city.join(f"pod-{number}")
        return city

    async def close(self) -> None:
        await self.redis.aclose()

    async def ask(self, method: str, where: str, body: Json | None = None, merge: bool = False) -> Json:
        content_type = "application/merge-patch+json" if merge else "application/json"
        return await asyncio.to_thread(self.kubernetes.request, method, where, body, content_type=content_type)

    # --- what happens in it ---------------------------------------------------------------------------------------

    async def join(self, name: str) -> None:
        """A pod appears."""
        container = {"name": "gateway", "image": "none"}
        metadata = {"name": name, "labels": names.pod_labels("city")}
        pod: Json = {"metadata": metadata, "spec": {"containers": [container]}}
        made = await self.ask("POST", path(kinds.POD, self.namespace), pod)
        self.pods[name] = ModelPod(self._born(name, made["metadata"]["uid"]))

    def _born(self, name: str, uid: str) -> Incarnation:
        return Incarnation(PodName(name), uid, f"{next(self._epochs):08x}")

    async def lose(self, name: str) -> None:
        """A pod is gone with all it held; what it wrote stays."""
        await self.ask("DELETE", f"{path(kinds.POD, self.namespace, name)}?gracePeriodSeconds=0")
        del self.pods[name]
        self._generations.pop(name, None)

    async def restart(self, name: str) -> None:
        """Its process ends and another begins in the same pod."""
        self.pods[name] = ModelPod(self._born(name, self.pods[name].incarnation.uid))

    async def obey(self) -> bool:
        """Each pod applies its annotation as a gateway would; whether anything came of it."""
        changed = False
        for name, pod in self.pods.items():
            there = await self.ask("GET", path(kinds.POD, self.namespace, name))
            told = Assignment.from_annotations(there["metadata"].get("annotations") or {})
            if told is not None and told.generation >= pod.generation:
                pod.generation, pod.wanted = told.generation, told.partitions
            if pod.leaving:
                pod.wanted = frozenset()
        before = await self.holders()
        for name, pod in self.pods.items():
            record = PodRecord(pod.incarnation, pod.generation, pod.wanted, 0, pod.leaving)
            key, text = f"{self.prefix}pod:{name}", record.to_json().decode()
            changed |= await self.redis.getset(key, text) != text
        living = {str(pod.incarnation): pod for pod in self.pods.values()}
        for number in map(Partition, range(PARTITIONS)):
            holder = before.get(number)
            if holder in living and number not in living[holder].wanted:
                await self._write(number, None)
                holder, changed = None, True
            same_container = [
                p for p in self.pods.values() if holder and p.incarnation.same_container(Incarnation.parse(holder))
            ]
            if holder is None or (same_container and holder not in living):
                for pod in self.pods.values():
                    if number in pod.wanted:
                        await self._write(number, pod.incarnation)
                        changed = True
                        break
        return changed

    async def holders(self) -> dict[Partition, str]:
        """Who holds what, by the store."""
        found = {}
        for number in map(Partition, range(PARTITIONS)):
            text = await self.redis.get(f"{self.prefix}partition:{number}")
            if text and (holder := json.loads(text).get("incarnation")):
                found[number] = str(holder)
        return found

    async def _write(self, number: Partition, holder: Incarnation | None) -> None:
        record: Json = {"incarnation": None if holder is None else str(holder), "epoch": next(self._epochs)}
        record |= {"leaseUntil": 0 if holder is None else _FOREVER_US, "run": "r"}
        await self.redis.set(f"{self.prefix}partition:{number}", json.dumps(record, separators=(",", ":")))

    # --- lives of the operator ------------------------------------------------------------------------------------

    async def quiet(self, cut: Cut = lambda: None) -> None:
        """Lives, until one of them comes to rest. `cut` says for each before which of its writes it ends."""
        for _ in range(_MOST):
            self.lives += 1
            await self.obey()
            rested = await self._life(cut())
            await self.judge()
            if rested:
                return
        raise AssertionError(f"still writing after {_MOST} lives")

    async def _life(self, limit: int | None) -> bool:
        """One life; False: it was cut."""
        scissors, vitals = _Scissors(limit), _Passes()
        settings = Settings(
            store_interval=3_600, kafka_interval=3_600, resync=3_600, sweep_interval=36_000, status_interval=0.001
        )
        async with await Connection.open(kubeconfig=self.kubernetes.kubeconfig) as connection:
            cluster, mirror = Cluster(connection, scissors, "operator"), Mirror()
            around = Surroundings(
                settings, cluster, mirror, SecretBook(lambda _: None), Metrics(), vitals, scissors,
                monotonic=lambda: self.now,
            )  # fmt: skip
            await self._show(cluster, mirror)
            complete = asyncio.Event()
            complete.set()
            loop = ResourceLoop(around, Key(self.namespace, "city"), complete)
            task = asyncio.create_task(loop.run())
            try:
                return await self._passes(loop, task, vitals, scissors, lambda: self._show(cluster, mirror))
            finally:
                task.cancel()
                await asyncio.wait((task,))
                if not task.cancelled():
                    task.result()

    async def _passes(
        self, loop: ResourceLoop, task: asyncio.Task[None], vitals: _Passes, scissors: _Scissors, show: Any
    ) -> bool:
        still = 0
        for _ in range(_MOST):
            before = scissors.writes
            ended = asyncio.create_task(vitals.ended.wait())
            await asyncio.wait((task, ended), timeout=60, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if task.done():
                return False
            vitals.ended.clear()
            if scissors.limit == 0:
                return False  # cut in a task beside the loop
            obeyed = await self.obey()
            still = still + 1 if scissors.writes == before and not obeyed else 0
            if still == 2:  # once more, after time went by: nothing waits for its moment
                return True
            await show()
            self.now += _STEP
            loop.wake()
        raise AssertionError(f"still writing after {_MOST} passes")

    async def _show(self, cluster: Cluster, mirror: Mirror) -> None:
        """What the watches would bring."""
        for kind in kinds.WATCHED:
            if kind not in kinds.OPTIONAL:
                labels = None if kind == kinds.RESOURCE else names.MANAGED_SELECTOR
                listing = await cluster.list(kind, self.namespace, labels)
                mirror.replace(kind, listing.items, listing.version, self.namespace)
        mirror.listing()

    # --- judgement ------------------------------------------------------------------------------------------------

    async def stored(self) -> stored_plan.StoredPlan | None:
        try:
            there = await self.ask("GET", path(kinds.CONFIG_MAP, self.namespace, names.plan("city")))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return stored_plan.from_data(there["data"])

    async def judge(self) -> None:
        """Generations never go back, and no pod was told more than the stored plan."""
        stored = await self.stored()
        if stored is None:
            return
        plan = stored.plan
        assert plan.generation >= self._generations.get("", 0), "the plan's generation went back"
        self._generations[""] = plan.generation
        for pod in (await self.ask("GET", path(kinds.POD, self.namespace)))["items"]:
            name, told = pod["metadata"]["name"], Assignment.from_annotations(pod["metadata"].get("annotations") or {})
            if told is None:
                continue
            assert told.generation <= plan.generation, f"{name} was told {told} of plan {plan.generation}"
            assert told.generation >= self._generations.get(name, 0), f"{name} was told an older generation"
            self._generations[name] = told.generation
            seat = plan.seats.get(PodName(name))
            if seat is not None and seat.generation == told.generation:
                assert told.partitions == seat.partitions, f"{name} was told {told}, stored is {seat}"

    async def state(self) -> set[str]:
        """What all this came to, a line per fact, without what differs from city to city."""
        stored = await self.stored()
        children = {}
        for kind in kinds.CHILDREN:
            if kind in kinds.OPTIONAL:
                continue
            listed = await self.ask("GET", f"{path(kind, self.namespace)}?labelSelector={names.MANAGED_SELECTOR}")
            for item in listed["items"]:
                if item["metadata"]["name"] != names.plan("city"):
                    body = {key: item.get(key) for key in ("spec", "data", "revision")}
                    body |= {"labels": item["metadata"]["labels"]} | ({"data": None} if kind == kinds.SECRET else {})
                    name = item["metadata"]["name"]
                    if kind == kinds.REVISION:
                        name = f"number {item['revision']}"
                    if kind == kinds.CONFIG_MAP:  # named by their contents
                        body["data"] = {
                            str(n): text for n, text in enumerate(sorted(map(self._alike, item["data"].values())))
                        }
                    children[f"{kind} {name}"] = json.loads(self._alike(json.dumps(body)))
        resource = await self.ask("GET", path(kinds.RESOURCE, self.namespace, "city"))
        pods = (await self.ask("GET", path(kinds.POD, self.namespace)))["items"]
        facts: Json = {
            "plan": {} if stored is None else {name: sorted(seat.partitions) for name, seat in stored.plan.seats.items()},
            "told": {pod["metadata"]["name"]: _told(pod) for pod in pods},
            "held": {number: holder.partition("/")[0] for number, holder in (await self.holders()).items()},
            "children": children,
            "conditions": {
                each["type"]: (each["status"], each["reason"]) for each in resource["status"]["conditions"]
            },
        }  # fmt: skip
        return set(_lines(facts))

    def _alike(self, text: str) -> str:
        text = text.replace(self.namespace, "NS").replace(self.prefix.rstrip(":"), "RUN")
        return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{10,}|10\.96\.[0-9]+\.[0-9]+", "#", text)


def _told(pod: Json) -> list[int]:
    told = Assignment.from_annotations(pod["metadata"].get("annotations") or {})
    return [] if told is None else sorted(told.partitions)


def _lines(facts: Any, where: str = "") -> Iterator[str]:
    if isinstance(facts, dict):
        for key, value in facts.items():
            yield from _lines(value, f"{where}/{key}")
    else:
        yield f"{where}: {facts}"
