"""The loop of one resource at its edges: being deleted, gone with pods left behind."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from ocpp_contract.assignment import Assignment
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import PartitionRecord, StoreClaim
from ocpp_operator.adapters.api_errors import ApiUnavailable, ClusterError, Conflict, Forbidden, Invalid, NotFound
from ocpp_operator.adapters.cluster import Listing
from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.core import kinds, names, template
from ocpp_operator.core.election import NotLeader
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.manifests import assembly
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.core.pacing import Step
from ocpp_operator.core.spec import Resource
from ocpp_operator.reconcile import brokers
from ocpp_operator.reconcile.resource import ResourceLoop
from ocpp_operator.reconcile.secret_book import SecretBook
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.reconcile.vitals import Vitals
from ocpp_operator.settings import Settings
from tests.operator_adapters import store as filled
from tests.operator_core.test_findings import resource
from tests.testbed.redis import RedisServer

CITY = resource()
KEY = Key(CITY.namespace, CITY.name)
NOWHERE: dict[str, Any] = {"kafka": {"bootstrapServers": "127.0.0.1:1"}, "redis": {"addresses": ["127.0.0.1:1"]}}
POD: dict[str, Any] = {
    "metadata": {
        "namespace": KEY.namespace, "name": "city-gateway-a", "uid": "u1", "resourceVersion": "6",
        "labels": names.pod_labels(KEY.name),
    }
}  # fmt: skip


class Passes(Vitals):
    """Tells when a pass has ended."""

    def __init__(self) -> None:
        super().__init__(Metrics(), 60.0, lambda: 0.0)
        self.ended = asyncio.Event()

    def passed(self) -> None:
        self.ended.set()


class Busy:
    """An API server that answers nothing else just now."""

    def __init__(self, refusal: ClusterError) -> None:
        self.refusal = refusal
        self.reasons = set[str]()

    async def get(self, kind: Kind, namespace: str, name: str) -> Mapping[str, Any]:
        raise self.refusal

    async def apply(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        raise self.refusal

    async def apply_status(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        self.reasons |= {each["reason"] for each in manifest["status"]["conditions"]}
        return {**CITY.raw, "metadata": {**CITY.raw["metadata"], "resourceVersion": "9"}, "status": manifest["status"]}

    async def event(self, *told: object) -> None:
        """Nobody listens."""


class Place:
    """A loop without any server, unless one is given: nothing here may be asked."""

    def __init__(self, cluster: object = None) -> None:
        self.now, self.mirror, self.vitals = 100.0, Mirror(), Passes()
        around = Surroundings(
            Settings(), cast(Any, cluster), self.mirror, SecretBook(lambda _: None), Metrics(), self.vitals, lambda: None,
            monotonic=lambda: self.now,
        )  # fmt: skip
        complete = asyncio.Event()
        complete.set()
        self.loop = ResourceLoop(around, KEY, complete)
        metadata = {**CITY.raw["metadata"], "resourceVersion": "5", "deletionTimestamp": "2026-11-22T10:00:00Z"}
        self.leaving = {**CITY.raw, "metadata": metadata}
        self.mirror.note(kinds.RESOURCE, "ADDED", self.leaving)


async def test_a_status_that_was_held_back_does_not_hurry_a_loop_that_writes_none() -> None:
    place = Place()
    place.loop._reporter.due = place.now - 1
    whole = await place.loop._pass(place.leaving)
    assert not whole
    assert place.loop._until_next(whole) > 60


@pytest.mark.parametrize(
    ("refusal", "pause"),
    [
        (ApiUnavailable("too many requests", 429, retry_after=4.0), 4),
        (ApiUnavailable("no answer within 10s"), 1),
        (Forbidden("secrets is forbidden"), 10),
    ],
)
async def test_a_new_resource_waits_for_its_children_no_longer_than_it_must(
    monkeypatch: pytest.MonkeyPatch, refusal: ClusterError, pause: float
) -> None:
    monkeypatch.setattr(brokers, "TIMEOUT", 0.3)
    place = Place(Busy(refusal))
    raw = {**CITY.raw, "spec": CITY.raw["spec"] | NOWHERE}
    whole = await place.loop._pass(raw)
    assert place.loop._brokers.next_look > place.now
    place.loop._brokers._next = place.now + 60  # and all is well with them
    assert whole
    assert place.loop._until_next(whole) == pause


class Plain(Busy):
    """An API server that stores plans and tells pods, and whose refusal is that nothing was there before."""

    def __init__(self) -> None:
        super().__init__(NotFound("no such object"))
        self.told: list[Mapping[str, str]] = []

    async def store(self, manifest: Mapping[str, Any], version: str | None) -> Mapping[str, Any]:
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "p", "resourceVersion": "20"}}

    async def patch_annotations(
        self, namespace: str, pod: str, annotations: Mapping[str, str], version: str
    ) -> Mapping[str, Any]:
        self.told.append(annotations)
        metadata = {**POD["metadata"], "annotations": annotations, "resourceVersion": "21"}
        return {**POD, "metadata": metadata}


def with_store(redis_server: RedisServer, prefix: str) -> dict[str, Any]:
    """A spec with a real Redis and no Kafka."""
    redis = {"addresses": [f"127.0.0.1:{redis_server.port}"], "keyPrefix": prefix}
    return CITY.raw["spec"] | NOWHERE | {"redis": redis, "commands": {"partitions": 16}}


async def test_mailboxes_keep_owners_while_the_spec_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, redis_prefix: str
) -> None:
    monkeypatch.setattr(brokers, "TIMEOUT", 0.3)
    server = Plain()
    place = Place(server)
    spec = with_store(redis_server, redis_prefix) | {"decisions": {"type": "Oracle"}}
    metadata = {**CITY.raw["metadata"], "creationTimestamp": "2026-11-22T10:00:00Z"}
    raw = {**CITY.raw, "metadata": metadata, "spec": spec}
    assert not await place.loop._pass(raw)  # without pods there is nothing to look at
    place.mirror.note(kinds.POD, "ADDED", POD)
    pod = Incarnation(PodName(POD["metadata"]["name"]), POD["metadata"]["uid"], "00000001")
    with redis_server.client() as client:
        filled.Store(client, redis_prefix).lives(pod, generation=0)
    for _ in range(2):
        assert await place.loop._pass(raw)
        place.now += 60  # the first plan waits for more pods
    assert server.told == [Assignment(1, frozenset(map(Partition, range(16)))).to_annotations()]
    assert server.reasons == {"InvalidSpec", "PartitionsUnowned"}
    await place.loop._brokers.close()
    await place.loop._store.close()


async def test_a_template_is_rendered_once_for_a_resource_that_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "TIMEOUT", 0.3)
    rendered: list[int] = []
    render = template.render

    def counted(resource: Resource, version: str, repository: str) -> template.Rendered:
        rendered.append(resource.spec.replicas)
        return render(resource, version, repository)

    monkeypatch.setattr(template, "render", counted)
    place = Place(Busy(Forbidden("secrets is forbidden")))
    raw = {**CITY.raw, "spec": CITY.raw["spec"] | NOWHERE | {"replicas": 2}}
    for _ in range(3):
        await place.loop._pass(raw)
    assert rendered == [2]
    for _ in range(2):
        await place.loop._pass(changed := {**raw, "spec": raw["spec"] | {"replicas": 3}})
    await place.loop._pass(changed)
    assert rendered == [2, 3, 3]  # equal is not enough: each of the first two was another object

    revision = {
        "metadata": {"namespace": KEY.namespace, "name": "r", "uid": "u", "resourceVersion": "7", "labels": names.labels(KEY.name)}
    }  # fmt: skip
    place.mirror.note(kinds.REVISION, "ADDED", revision)
    await place.loop._pass(changed)
    assert rendered == [2, 3, 3, 3]


async def test_manifests_are_made_once_for_what_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "TIMEOUT", 0.3)
    made: list[str] = []
    make = assembly.children

    def counted(
        resource: Resource, chosen: template.Chosen, token: str, *more: Any, step: Step
    ) -> list[dict[str, Any]]:
        made.append(token)
        return make(resource, chosen, token, *more, step=step)

    monkeypatch.setattr(assembly, "children", counted)
    place = Place(Busy(Forbidden("services is forbidden")))
    raw = {**CITY.raw, "spec": CITY.raw["spec"] | NOWHERE}

    async def passes(token: bytes, version: str) -> None:
        metadata = {
            "namespace": KEY.namespace,
            "name": names.internal_token(KEY.name),
            "uid": "t",
            "resourceVersion": version,
        }
        secret = {
            "metadata": {**metadata, "labels": names.labels(KEY.name)},
            "data": {"token": b64encode(token).decode()},
        }
        place.mirror.note(kinds.SECRET, "MODIFIED", secret)
        for _ in range(3):
            await place.loop._pass(raw)

    await passes(b"one", "7")
    assert made == ["one"]
    await passes(b"two", "8")
    assert made == ["one", "two"]


async def test_keys_and_mailboxes_of_pods_that_outlive_their_resource_stay(caplog: pytest.LogCaptureFixture) -> None:
    place = Place()
    place.mirror.note(kinds.POD, "ADDED", POD)
    caplog.set_level(logging.WARNING)
    task = asyncio.create_task(place.loop.run())
    async with asyncio.timeout(30):
        await place.vitals.ended.wait()
        place.mirror.note(
            kinds.RESOURCE,
            "DELETED",
            {**place.leaving, "metadata": {**place.leaving["metadata"], "resourceVersion": "7"}},
        )
        place.loop.wake()
        for _ in range(5):
            await asyncio.sleep(0)  # it waits for its pods now
        assert not task.done()
        place.now += CITY.spec.grace_period + 61
        place.loop.wake()
        await task
    assert [record.message for record in caplog.records] == ["its pods are still there: its mailboxes and keys stay"]


class Refusing(Plain):
    """It lets nobody annotate a pod, knows `unlisted` ones that our lists do not show, and makes no child before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.unlisted: tuple[dict[str, Any], ...] = ()
        self.error: Exception = Invalid("admission webhook denied the request", 400)
        self.plan: Exception | None = None
        self.making, self.may_make = asyncio.Event(), asyncio.Event()
        self.may_make.set()

    async def store(self, manifest: Mapping[str, Any], version: str | None) -> Mapping[str, Any]:
        if self.plan is not None:
            raise self.plan
        return await super().store(manifest, version)

    async def patch_annotations(
        self, namespace: str, pod: str, annotations: Mapping[str, str], version: str
    ) -> Mapping[str, Any]:
        raise self.error

    async def list(self, *asked: object, **by: object) -> Listing:
        return Listing(self.unlisted, "1")

    async def apply(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        self.making.set()
        await self.may_make.wait()
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "c", "generation": 1, "resourceVersion": "30"}}


DEAD = Incarnation(PodName("city-gateway-dead"), "u0", "00000001")


@pytest.fixture
async def bereft(
    monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, redis_prefix: str
) -> AsyncIterator[tuple[Place, Refusing, dict[str, Any], filled.Store]]:
    """One pod lives, another is gone and still holds a partition."""
    monkeypatch.setattr(brokers, "TIMEOUT", 0.3)
    server = Refusing()
    place = Place(server)
    spec = with_store(redis_server, redis_prefix)
    metadata = {**CITY.raw["metadata"], "creationTimestamp": "2026-11-22T10:00:00Z"}
    place.mirror.note(kinds.POD, "ADDED", POD)
    with redis_server.client() as client:
        store = filled.Store(client, redis_prefix)
        store.lives(Incarnation(PodName(POD["metadata"]["name"]), POD["metadata"]["uid"], "00000001"), generation=0)
        claim = StoreClaim(CITY.uid, KEY.namespace, KEY.name, "2026-11-22T10:00:00Z")
        client.set(store.keys.claim, claim.to_json())
        store.takes(DEAD, 3)
        yield place, server, {**CITY.raw, "metadata": metadata, "spec": spec}, store
    await place.loop._brokers.close()
    await place.loop._store.close()


def held(store: filled.Store) -> bool:
    """Whether the dead pod still holds its partition."""
    return PartitionRecord.from_json(store.client.get(store.keys.partition(Partition(3)))).incarnation is not None


Bereft = tuple[Place, Refusing, dict[str, Any], filled.Store]


async def test_a_pod_that_may_not_be_told_freezes_nothing(bereft: Bereft) -> None:
    place, server, raw, store = bereft
    for _ in range(2):
        assert await place.loop._pass(raw)
        place.now += 60  # the first plan waits for more pods
    assert not held(store)
    assert "PodNotTold" in server.reasons


async def test_a_pod_without_our_labels_is_named_and_its_partitions_have_an_owner(bereft: Bereft) -> None:
    place, server, raw, store = bereft
    metadata = {"namespace": KEY.namespace, "name": DEAD.pod, "uid": DEAD.uid, "resourceVersion": "8"}
    server.unlisted = ({"metadata": metadata, "status": {"phase": "Running"}},)
    server.error = Conflict("changed")
    for _ in range(2):
        assert await place.loop._pass(raw)
        place.now += 60
    assert held(store)
    assert "PodWithoutLabels" in server.reasons
    assert place.loop._possession is not None
    assert place.loop._possession.assigned == 1


async def test_who_leads_no_more_ends_the_pass_at_once(bereft: Bereft) -> None:
    place, server, raw, store = bereft
    await place.loop._pass(raw)
    place.now += 60
    server.error, server.making = NotLeader(), asyncio.Event()
    with pytest.raises(NotLeader):
        await place.loop._pass(raw)
    assert held(store)
    assert not server.making.is_set()


async def test_what_the_dead_held_does_not_wait_for_children(bereft: Bereft) -> None:
    place, server, raw, store = bereft
    await place.loop._pass(raw)
    place.now += 60
    server.may_make.clear()
    server.making.clear()
    task = asyncio.create_task(place.loop._pass(raw))
    async with asyncio.timeout(30):
        await server.making.wait()
    assert not held(store)
    server.may_make.set()
    assert await task


@pytest.mark.parametrize("error", [Conflict("another operator was faster"), Forbidden("configmaps is forbidden")])
async def test_children_are_made_although_nothing_can_be_assigned(bereft: Bereft, error: ClusterError) -> None:
    place, server, raw, _ = bereft
    await place.loop._pass(raw)
    place.now += 60
    server.plan = error
    server.making.clear()
    with pytest.raises(type(error)):
        await place.loop._pass(raw)
    assert server.making.is_set()
