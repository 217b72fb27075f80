"""What is refused is tried again in longer and longer pauses and holds nothing up; what cannot become as wished is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from ocpp_operator.adapters.api_errors import ApiUnavailable, ClusterError, Forbidden, NotFound
from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.core import drift, farewell, kinds
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.manifests.metadata import child
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.reconcile.children import Children
from ocpp_operator.reconcile.surroundings import MADE_AT_ONCE, Surroundings
from ocpp_operator.settings import Settings
from tests.operator_core.test_findings import resource

CITY = resource()
KEY = Key(CITY.namespace, CITY.name)


class Server:
    """Keeps what is applied, unless it refuses the kind; `rewrites` is what a webhook makes of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuses: dict[Kind, ClusterError] = {}
        self.version = 10
        self.rewrites: dict[str, Any] = {}

    async def get(self, kind: Kind, namespace: str, name: str) -> Mapping[str, Any]:
        raise NotFound("no such object")

    async def apply(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = kinds.of(dict(manifest))
        self.asked.append(f"apply {kind}")
        if kind in self.refuses:
            raise self.refuses[kind]
        return self.stored({**manifest, **self.rewrites})

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        self.asked.append(f"delete {kind}")
        if kind in self.refuses:
            raise self.refuses[kind]

    def stored(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        self.version += 1
        metadata = {"uid": "u", "generation": 1, **manifest["metadata"], "resourceVersion": str(self.version)}
        return {**manifest, "metadata": metadata}


class Place:
    """Children on that server, with a clock of its own."""

    def __init__(self) -> None:
        self.server, self.mirror, self.now = Server(), Mirror(), 100.0
        unused = cast(Any, None)
        around = Surroundings(
            Settings(), cast(Any, self.server), self.mirror, unused, Metrics(), unused, lambda: None,
            monotonic=lambda: self.now,
        )  # fmt: skip
        self.children = Children(around, KEY)

    async def make(self, *wished: dict[str, Any]) -> list[str]:
        return [trouble.reason for trouble in await self.children.make(CITY, wished)]


def config(name: str = "city-settings", **data: str) -> dict[str, Any]:
    return {**child(CITY, kinds.CONFIG_MAP, name), "data": data}


def deployment(replicas: int) -> dict[str, Any]:
    return {**child(CITY, kinds.DEPLOYMENT, "city-gateway"), "spec": {"replicas": replicas}}


@pytest.fixture
def place() -> Place:
    return Place()


async def test_what_is_refused_is_tried_again_in_longer_pauses(place: Place) -> None:
    place.server.refuses[kinds.CONFIG_MAP] = Forbidden("no")
    tries = []
    for second in range(70):
        place.now = 100.0 + second
        assert await place.make(config(a="1")) == ["ChildRefused"]
        tries.append(len(place.server.asked))
    assert [second for second in range(70) if tries[second] != (tries[second - 1] if second else 0)] == [
        0, 1, 3, 7, 15, 31, 61,
    ]  # fmt: skip
    place.now += 1
    assert await place.make(config(a="2")) == ["ChildRefused"]  # another wish is tried at once
    assert len(place.server.asked) == 8
    place.server.refuses.clear()
    place.now += 30
    assert await place.make(config(a="2")) == []
    assert await place.make(config(a="2")) == []
    assert len(place.server.asked) == 9


async def test_a_webhook_that_is_away_holds_up_one_child_and_not_those_behind_it(place: Place) -> None:
    place.server.refuses[kinds.CONFIG_MAP] = ApiUnavailable("failed calling webhook", 500)
    assert await place.make(config(a="1"), deployment(2)) == ["ChildrenNotWritten"]
    assert place.server.asked == ["apply ConfigMap", "apply Deployment"]
    assert place.children.again == place.now + 1
    place.now += 1
    assert await place.make(config(a="1"), deployment(2)) == ["ChildrenNotWritten"]
    assert place.children.again == place.now + 2
    place.server.refuses.clear()
    place.now += 2
    assert await place.make(config(a="1"), deployment(2)) == []
    assert place.children.again is None


async def test_a_request_that_no_one_answers_ends_the_pass_and_comes_last_in_the_next(place: Place) -> None:
    place.server.refuses[kinds.CONFIG_MAP] = ApiUnavailable("no answer within 10s")
    with pytest.raises(ApiUnavailable):
        await place.make(config(a="1"), deployment(2))
    assert place.server.asked == ["apply ConfigMap"]
    assert place.children.again == place.now + 1
    place.now += 1
    with pytest.raises(ApiUnavailable):
        await place.make(config(a="1"), deployment(2))
    assert place.server.asked == ["apply ConfigMap", "apply Deployment", "apply ConfigMap"]


async def test_a_server_that_asks_for_time_gets_it_within_bounds(place: Place) -> None:
    for asked, given in ((7.0, 7), (0.0, 2), (3600.0, 30)):
        place.server.refuses[kinds.CONFIG_MAP] = ApiUnavailable("too many requests", 429, retry_after=asked)
        with pytest.raises(ApiUnavailable):
            await place.make(config(a="1"))
        assert place.children.again == place.now + given
        place.now += given


async def test_a_child_that_is_no_longer_wished_hurries_nobody(place: Place) -> None:
    place.server.refuses[kinds.CONFIG_MAP] = Forbidden("no")
    await place.make(config(a="1"), deployment(2))
    assert place.children.again is not None
    await place.make(deployment(2))
    assert place.children.again is None


async def test_a_webhook_that_is_away_holds_up_no_other_deletion(place: Place) -> None:
    for manifest in (config(a="1"), deployment(2)):
        place.mirror.note(kinds.of(manifest), "ADDED", place.server.stored(manifest))
    place.server.refuses[kinds.DEPLOYMENT] = ApiUnavailable("failed calling webhook", 500)
    place.server.refuses[kinds.CONFIG_MAP] = ApiUnavailable("failed calling webhook", 500)
    for _ in range(2):
        assert [each.reason for each in await place.children.prune(CITY, [], [])] == ["ChildrenNotWritten"] * 2
    assert sorted(place.server.asked) == ["delete ConfigMap", "delete Deployment"]


async def test_a_child_that_may_not_be_deleted_is_told_and_left_for_a_while(place: Place) -> None:
    place.mirror.note(kinds.CONFIG_MAP, "ADDED", place.server.stored(config(a="1")))
    place.server.refuses[kinds.CONFIG_MAP] = Forbidden("no")
    for _ in range(3):
        assert [trouble.reason for trouble in await place.children.prune(CITY, [], [])] == ["ChildrenNotWritten"]
    assert place.server.asked == ["delete ConfigMap"]


async def test_what_a_webhook_rewrites_is_left_alone_while_only_its_status_changes(place: Place) -> None:
    place.server.rewrites = {"spec": {"replicas": 9}}
    await place.make(deployment(2))
    there = place.mirror.one(kinds.DEPLOYMENT, KEY.namespace, "city-gateway")
    assert there is not None
    for ready in (1, 2):
        place.mirror.note(kinds.DEPLOYMENT, "MODIFIED", place.server.stored({**there, "status": {"ready": ready}}))
        await place.make(deployment(2))
    assert place.server.asked == ["apply Deployment"]

    labels = {**there["metadata"]["labels"], "app.kubernetes.io/component": "edited by hand"}
    edited = place.server.stored({**there, "metadata": {**there["metadata"], "labels": labels}})
    place.mirror.note(kinds.DEPLOYMENT, "MODIFIED", edited)
    await place.make(deployment(2))
    assert place.server.asked == ["apply Deployment", "apply Deployment"]


async def test_what_is_in_order_is_compared_again_only_when_it_or_the_wish_changed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    compare = drift.needs_apply

    def counted(wished: Mapping[str, Any], seen: Mapping[str, Any] | None) -> str | None:
        compared.append(wished["kind"])
        return compare(wished, seen)

    async def made(*wished: dict[str, Any]) -> tuple[int, list[str]]:
        """How many comparisons, and what was written."""
        compared.clear()
        place.server.asked.clear()
        assert await place.make(*wished) == []
        return len(compared), list(place.server.asked)

    monkeypatch.setattr(drift, "needs_apply", counted)
    await made(config(a="1"), deployment(2))
    assert await made(config(a="1"), deployment(2)) == (2, [])  # what was stored is seen for the first time
    assert await made(config(a="1"), deployment(2)) == (0, [])
    assert await made(config(a="1"), deployment(3)) == (3, ["apply Deployment"])
    await made(config(a="1"), deployment(3))
    assert await made(config(a="1"), deployment(3)) == (0, [])

    there = place.mirror.one(kinds.CONFIG_MAP, KEY.namespace, "city-settings")
    assert there is not None
    place.mirror.note(kinds.CONFIG_MAP, "MODIFIED", place.server.stored({**there, "data": {"a": "by hand"}}))
    assert (await made(config(a="1"), deployment(3)))[1] == ["apply ConfigMap"]
    await made(config(a="1"), deployment(3))
    assert await made(config(a="1"), deployment(3)) == (0, [])

    there = place.mirror.one(kinds.DEPLOYMENT, KEY.namespace, "city-gateway")
    assert there is not None
    place.mirror.note(kinds.DEPLOYMENT, "DELETED", place.server.stored(there))
    assert (await made(config(a="1"), deployment(3)))[1] == ["apply Deployment"]


async def test_what_is_deleted_right_after_it_was_made_is_made_again(place: Place) -> None:
    await place.make(config(a="1"))
    assert await place.make(config(a="1"), deployment(2)) == []
    there = place.mirror.one(kinds.DEPLOYMENT, KEY.namespace, "city-gateway")
    assert there is not None
    place.mirror.note(kinds.DEPLOYMENT, "DELETED", place.server.stored(there))  # before any pass has seen it
    place.server.asked.clear()
    assert await place.make(config(a="1"), deployment(2)) == []
    assert place.server.asked == ["apply Deployment"]


async def test_new_children_of_many_resources_are_made_a_few_at_a_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most, gate = 0, 0, asyncio.Event()
    apply = place.server.apply

    async def slow(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await gate.wait()
        under_way -= 1
        return await apply(manifest)

    monkeypatch.setattr(place.server, "apply", slow)
    many = 3 * MADE_AT_ONCE
    crowd = [asyncio.create_task(place.children.make(CITY, [config(f"c{number}")])) for number in range(many)]
    while under_way < MADE_AT_ONCE:  # noqa: ASYNC110 - the others have their turn
        await asyncio.sleep(0)
    there = place.server.stored(deployment(2))
    place.mirror.note(kinds.DEPLOYMENT, "MODIFIED", there)
    one_that_serves = asyncio.create_task(place.children.make(CITY, [deployment(3)]))
    while under_way <= MADE_AT_ONCE:  # noqa: ASYNC110 - it waits for no place
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*crowd, one_that_serves)
    assert most == MADE_AT_ONCE + 1
    assert len(place.server.asked) == many + 1


async def test_what_was_refused_is_no_order(place: Place) -> None:
    place.server.refuses[kinds.CONFIG_MAP] = Forbidden("no")
    for _ in range(3):
        assert await place.make(config(a="1"), deployment(2)) == ["ChildRefused"]
    place.server.refuses.clear()
    place.now += 60
    assert await place.make(config(a="1"), deployment(2)) == []
    assert place.server.asked[-1] == "apply ConfigMap"


async def test_a_record_without_its_labels_is_ours_by_what_it_says_and_is_labelled_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"uid": "record", "name": "city-farewell", "namespace": KEY.namespace, "resourceVersion": "7"}
    stripped: dict[str, Any] = {**farewell.manifest(CITY, {"metadata": named}), "metadata": named}

    async def get(kind: Kind, namespace: str, name: str) -> Mapping[str, Any]:
        return stripped

    monkeypatch.setattr(place.server, "get", get)
    assert await place.make(farewell.manifest(CITY, None)) == []
    assert place.server.asked == ["apply ConfigMap"]

    stripped["data"] = {"somebody": "else's"}
    taken = Place()
    monkeypatch.setattr(taken.server, "get", get)
    assert await taken.make(farewell.manifest(CITY, None)) == ["NameTaken"]
    assert taken.server.asked == []
