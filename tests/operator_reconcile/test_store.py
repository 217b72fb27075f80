"""The store's loop: what is released and swept, and what is still to be done after a walk that was cut short. On a real Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web

from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.internal_api import CONNECTIONS_PATH
from ocpp_operator.adapters.api_errors import ApiUnavailable, ClusterError
from ocpp_operator.adapters.cluster import Listing
from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.adapters.redis_access import Fault, StoreUnavailable
from ocpp_operator.core import fleet, names
from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.reconcile import store as reconcile_store
from ocpp_operator.reconcile.store import Store
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.settings import Settings
from tests.operator_adapters import store as filled
from tests.operator_adapters.store import A, B
from tests.operator_core.test_findings import resource
from tests.testbed.redis import RedisServer

KEY = Key("grid", "city")
HERE, AWAY = "127.44.7.1", "127.44.7.2"
"""Of pods: one that answers, and one that does not."""


class Server:
    """An API server that knows pods, with or without our labels."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.listed: set[str] = set()
        self.refusal: ClusterError | None = None
        self.asked: list[str] = []

    def runs(self, incarnation: Incarnation, ip: str, *, labelled: bool = True, phase: str = "Running") -> None:
        metadata = {"namespace": "grid", "name": incarnation.pod, "uid": incarnation.uid, "resourceVersion": "1"}
        self.pods[incarnation.pod] = {"metadata": metadata, "status": {"podIP": ip, "phase": phase}}
        if labelled:
            self.listed.add(incarnation.pod)

    async def list(self, kind: Kind, namespace: str, labels: str | None = None, fields: str | None = None) -> Listing:
        if self.refusal is not None:
            raise self.refusal
        if labels is not None:
            assert labels == f"{names.MANAGED_SELECTOR},{names.INSTANCE}=city"
            shown = self.listed
        else:
            name = str(fields).removeprefix("metadata.name=")
            self.asked.append(name)
            shown = {name}
        return Listing(tuple(self.pods[name] for name in sorted(shown & self.pods.keys())), "1")

    def seen(self) -> Sequence[GatewayPod]:
        return fleet.pods_of(self.pods[name] for name in self.listed & self.pods.keys())


class Place:
    """A store that is claimed, with a clock of its own."""

    def __init__(self, port: int, prefix: str, client: Any) -> None:
        self.now, self.server = 1_000.0, Server()
        redis = {"addresses": [f"127.0.0.1:{port}"], "keyPrefix": prefix}
        self.city = replace(resource(redis=redis, commands={"partitions": 4}), created="2026-11-22T09:00:00Z")
        unused = cast(Any, None)
        around = Surroundings(
            Settings(), cast(Any, self.server), Mirror(), unused, Metrics(), unused, lambda: None,
            monotonic=lambda: self.now,
        )  # fmt: skip
        self.redis = filled.Store(client, prefix)
        self.store = Store(around, KEY)

    async def look(self) -> None:
        await self.store.look(self.city, lambda secret: None, self.server.seen())
        assert self.store.claimed

    async def sweep(self) -> None:
        """Begin a walk if one is due, and wait for its end."""
        self.store.keep_sweeping(self.server.seen(), "token")
        if self.store._walk is not None:
            await asyncio.wait((self.store._walk,))

    def swept(self) -> tuple[int, int] | None:
        """Entries looked at and removed by the last walk through all of them."""
        swept = self.store.swept
        return None if swept is None else (swept.scanned, swept.removed)

    def holders(self) -> dict[Partition, Incarnation]:
        assert self.store.view is not None
        return {
            partition: record.incarnation
            for partition, record in self.store.view.holders.items()
            if record.incarnation is not None
        }


@pytest.fixture
async def place(redis_server: RedisServer, redis_prefix: str) -> AsyncIterator[Place]:
    with redis_server.client() as client:
        place = Place(redis_server.port, redis_prefix, client)
        await place.look()  # and nobody else lives there
        yield place
        await place.store.close()


@pytest.fixture
async def answering() -> AsyncIterator[None]:
    """The pod at HERE has no stations."""

    async def none(request: web.Request) -> web.Response:
        return web.json_response([])

    application = web.Application()
    application.router.add_get(CONNECTIONS_PATH, none)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, HERE, names.ADMIN_PORT).start()
    yield
    await runner.cleanup()


async def test_a_pod_that_shows_no_stations_hides_neither_the_sweep_nor_the_others(
    place: Place, answering: None, caplog: pytest.LogCaptureFixture
) -> None:
    place.server.runs(A, AWAY)
    place.server.runs(B, HERE)
    for incarnation in (A, B):
        place.redis.lives(incarnation)
        for number in range(3):
            place.redis.registers(incarnation, f"{incarnation.pod}-{number}")
            place.redis.ages(f"{incarnation.pod}-{number}")
    await place.look()
    await place.sweep()
    assert place.redis.stations() == {f"{A.pod}-{number}" for number in range(3)}
    assert place.swept() == (6, 3)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert told[0].startswith(f"1 pods did not show their stations, which are compared another time: {A.pod} (pod at")


async def test_entries_of_the_dead_are_swept_after_a_walk_that_was_cut_short(place: Place) -> None:
    place.redis.lives(A)
    place.redis.takes(A, 0, 1)
    place.redis.registers(A, "left")
    await place.look()
    await place.store.release(place.holders())
    # The first walk looks at everything, and is cut short; what is still to be done is done seconds later, not minutes.
    place.server.refusal = ApiUnavailable("no answer")
    place.redis.registers(B, "other")
    await place.sweep()
    assert place.swept() is None
    place.server.refusal = None
    place.server.runs(B, HERE)
    await place.sweep()
    assert "left" in place.redis.stations()
    place.now += reconcile_store._SWEEP_AGAIN
    await place.sweep()
    assert place.redis.stations() == {"other"}
    assert place.swept() is not None
    assert not place.store._gone

    # From now on at once.
    place.redis.takes(B, 0)
    place.server.pods.clear()
    await place.look()
    await place.store.release(place.holders())
    await place.sweep()
    assert place.redis.stations() == set()


async def test_a_walk_that_is_cancelled_with_the_claim_leaves_its_work_for_the_next(place: Place) -> None:
    await place.sweep()
    place.redis.takes(A, 0)
    place.redis.registers(A, "left")
    await place.look()
    await place.store.release(place.holders())
    place.store.keep_sweeping([], "token")
    assert place.store._walk is not None
    place.store._walk.cancel()  # as `look` does when the claim has lapsed
    await asyncio.wait((place.store._walk,))
    place.now += reconcile_store._SWEEP_AGAIN
    await place.sweep()
    assert place.redis.stations() == set()


async def test_what_a_pod_without_our_labels_holds_is_released_only_when_it_is_gone(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.server.runs(A, AWAY, labelled=False)
    place.redis.lives(A)
    place.redis.takes(A, 0, 1)
    place.redis.registers(A, "served")
    for _ in range(3):
        await place.look()
        assert await place.store.release(place.holders()) == {A}
    assert place.server.asked == [A.pod]  # not in each pass
    await place.sweep()
    assert place.redis.stations() == {"served"}
    assert set(place.holders().values()) == {A}
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"pod {A.pod} lives without our labels: it keeps its partitions until it is gone"
    ]

    place.now += 5
    place.server.refusal = ApiUnavailable("no answer")
    assert await place.store.release(place.holders()) == {A}
    await place.look()
    assert set(place.holders().values()) == {A}

    place.server.refusal = None
    place.server.runs(A, AWAY, labelled=False, phase="Failed")  # evicted: it runs nothing any more
    assert await place.store.release(place.holders()) == set()
    await place.look()
    assert place.holders() == {}


async def test_a_walk_that_asks_for_pods_during_a_look_judges_by_the_look_before(place: Place) -> None:
    place.server.runs(A, AWAY, labelled=False)
    place.redis.lives(A)
    place.redis.takes(A, 0, 1)
    place.redis.registers(A, "served")
    await place.look()
    asked: list[asyncio.Task[None]] = []
    list_now = place.server.list

    async def while_it_looks(*args: Any, **more: Any) -> Listing:
        """The API server answers in the middle of a look: Redis has been asked, and has not answered."""
        if not asked:
            asked.append(asyncio.create_task(place.look()))
            await asyncio.sleep(0)
            assert place.store.view is None
        return await list_now(*args, **more)

    place.server.list = while_it_looks  # type: ignore[method-assign]
    await place.sweep()
    await asked[0]
    assert place.redis.stations() == {"served"}
    assert place.swept() == (1, 0)


async def test_a_walk_that_knows_no_holders_judges_nobody(place: Place) -> None:
    """The claim lapsed, and the walk, cancelled by that, has not heard of it yet."""
    place.server.runs(A, AWAY, labelled=False)
    place.redis.takes(A, 0)
    await place.look()
    assert await place.store._list_pods() == {(A.pod, A.uid)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile_store.Directory, "observe", _no_answer)
        await place.store.look(place.city, lambda secret: None, [])
    with pytest.raises(StoreUnavailable):
        await place.store._list_pods()


async def _no_answer(*args: object) -> None:
    raise StoreUnavailable(Fault.UNREACHABLE, "no answer")


async def test_a_successor_of_the_same_name_does_not_keep_what_the_one_before_held(place: Place) -> None:
    place.server.runs(Incarnation(PodName(A.pod), "another", "00000001"), AWAY, labelled=False)
    place.redis.takes(A, 0)
    await place.look()
    await place.store.release(place.holders())
    await place.look()
    assert place.holders() == {}
