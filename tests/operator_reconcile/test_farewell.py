"""Taking leave goes on until the last key is gone, and begins only when nobody lives there. On a real Redis; Kafka has let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import StoreClaim
from ocpp_operator.adapters.cluster import Listing
from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.core import farewell as records
from ocpp_operator.core import kinds
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.core.spec import Resource
from ocpp_operator.reconcile import farewell
from ocpp_operator.reconcile.farewell import Farewell
from ocpp_operator.reconcile.secret_book import SecretBook
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.settings import Settings
from tests.operator_adapters import store as filled
from tests.operator_adapters.store import A
from tests.operator_core.test_findings import resource
from tests.testbed.redis import RedisServer

KEY = Key("grid", "city")


class Server:
    """An API server that lists resources and takes records away."""

    def __init__(self) -> None:
        self.resources: list[Mapping[str, Any]] = []
        self.struck: list[tuple[str, str]] = []

    async def list(self, kind: Kind, namespace: str, labels: str | None = None, fields: str | None = None) -> Listing:
        assert (kind, namespace, labels, fields) == (kinds.RESOURCE, KEY.namespace, None, f"metadata.name={KEY.name}")
        return Listing(tuple(self.resources), "1")

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        assert (kind, namespace) == (kinds.CONFIG_MAP, KEY.namespace)
        self.struck.append((name, uid))


class Brokers:
    """They let go at once, and count how often they were asked."""

    asked = 0

    async def let_go(self, resource: Resource, contents: object) -> bool | None:
        self.asked += 1
        return True


class Place:
    """An operator that begins; the resource is gone, its record stands. Pauses are over at once."""

    def __init__(self, city: Resource) -> None:
        self.now, self.city, self.server, self.brokers = 1_000.0, city, Server(), Brokers()
        self.mirror = Mirror()
        unused = cast(Any, None)
        around = Surroundings(
            Settings(), cast(Any, self.server), self.mirror, SecretBook(lambda _: None), Metrics(), unused, lambda: None,
            monotonic=lambda: self.now,
        )  # fmt: skip
        self.farewell = Farewell(around, KEY, asyncio.Event())

    def records(self, *, finished: bool = True) -> None:
        first = {"metadata": {"uid": "record"}}
        made = records.manifest(self.city, first if finished else None)
        metadata = {**made["metadata"], "uid": "record", "resourceVersion": "5"}
        self.mirror.note(kinds.CONFIG_MAP, "ADDED", {**made, "metadata": metadata})

    async def take(self, last: Resource | None = None) -> None:
        async with asyncio.timeout(30):
            await self.farewell.take(last, cast(Any, self.brokers), lambda _: None)


@pytest.fixture
async def place(
    private_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Place, filled.Store]]:
    redis = {"addresses": [f"127.0.0.1:{private_redis.port}"], "keyPrefix": "city:"}
    one = Place(replace(resource(redis=redis, commands={"partitions": 4}), created="2026-11-22T09:00:00Z"))

    async def waits(self: Farewell, seconds: float) -> None:
        one.now += seconds

    monkeypatch.setattr(Farewell, "_wait", waits)
    with private_redis.client() as client:
        yield one, filled.Store(client, "city:")


def claimed(place: Place, store: filled.Store) -> None:
    mine = StoreClaim(place.city.uid, KEY.namespace, KEY.name, place.city.created, 0)
    store.run(calls.claim_store(store.keys, mine, None, 600_000_000))


async def test_a_large_store_is_cleaned_in_many_tries_and_its_record_goes_with_the_last_key(
    place: tuple[Place, filled.Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, store = place
    monkeypatch.setattr(farewell, "_CLEAN_LIMIT", 0.0)  # a batch of each walk
    monkeypatch.setattr(farewell, "_TRIED_FOR", 3.0)  # which is over long before the keys are
    claimed(one, store)
    one.records()
    for number in range(500):
        store.client.hset(f"{store.keys.prefix}station:CP{number}", "recordOffset", 1)
    await one.take()
    assert store.all_keys() == set()
    assert one.server.struck == [("city-farewell", "record")]
    assert one.brokers.asked > 3


async def test_mailboxes_are_not_touched_while_somebody_lives_there_whose_claim_was_lost(
    place: tuple[Place, filled.Store],
) -> None:
    one, store = place
    one.records()
    store.takes(A, 2)
    before = store.all_keys()
    await one.take()
    assert one.brokers.asked == 0
    assert store.all_keys() == before
    assert one.server.struck == []


async def test_a_record_that_was_never_finished_is_struck_when_its_resource_is_gone(
    place: tuple[Place, filled.Store],
) -> None:
    one, _ = place
    one.records(finished=False)
    one.server.resources.append({"metadata": {"name": KEY.name, "uid": "made in between"}})
    await one.take()
    assert one.server.struck == []
    one.server.resources.clear()
    await one.take()
    assert one.server.struck == [("city-farewell", "record")]
    assert one.brokers.asked == 0, "nothing is known of a resource that a record like this names"


async def test_a_copy_of_a_record_is_left_to_whoever_made_it(place: tuple[Place, filled.Store]) -> None:
    one, _ = place
    made = records.manifest(one.city, {"metadata": {"uid": "elsewhere"}})
    metadata = {**made["metadata"], "uid": "record", "resourceVersion": "5"}
    one.mirror.note(kinds.CONFIG_MAP, "ADDED", {**made, "metadata": metadata})
    await one.take()
    assert one.server.struck == []
