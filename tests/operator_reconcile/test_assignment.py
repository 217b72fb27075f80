"""The stored plan: never somebody else's object, and set right when somebody edited it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from ocpp_contract.assignment import Assignment
from ocpp_contract.ids import Incarnation, PodName
from ocpp_contract.scripts.records import PodRecord
from ocpp_operator.adapters.api_errors import (
    ApiUnavailable,
    ClusterError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
)
from ocpp_operator.adapters.directory import StoreView
from ocpp_operator.core import fleet, kinds, names, stored_plan
from ocpp_operator.core import plan as planner
from ocpp_operator.core.election import NotLeader
from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.manifests.metadata import child
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.reconcile.assignment import PlanBook
from tests.operator_core.test_findings import resource

CITY = resource()
KEY = Key(CITY.namespace, CITY.name)
NAME = names.plan(CITY.name)
AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
PARTITIONS = CITY.spec.commands.partitions


class Server:
    """One ConfigMap."""

    def __init__(self) -> None:
        self.there: dict[str, Any] | None = None
        self.version = 10
        self.asked: list[str] = []
        self.refuses: dict[str, ClusterError | NotLeader] = {}
        """By pod."""
        self.told: list[str] = []

    async def patch_annotations(
        self, namespace: str, pod: str, annotations: Mapping[str, str], version: str
    ) -> Mapping[str, Any]:
        self.told.append(pod)
        if pod in self.refuses:
            raise self.refuses[pod]
        metadata = {"namespace": namespace, "name": pod, "uid": f"u{pod[-1]}", "annotations": annotations}
        return {"metadata": {**metadata, "resourceVersion": "50", "labels": names.pod_labels(KEY.name)}}

    def put(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.there = {
            **manifest,
            "metadata": {**manifest["metadata"], "uid": "p", "resourceVersion": str(self.version)},
        }
        return self.there

    def edit(self, **metadata: Any) -> None:
        assert self.there is not None
        self.put({**self.there, "metadata": {**self.there["metadata"], **metadata}})

    def data(self) -> Mapping[str, str]:
        assert self.there is not None
        return cast(Mapping[str, str], self.there["data"])

    async def get(self, kind: Kind, namespace: str, name: str) -> Mapping[str, Any]:
        self.asked.append("get")
        if self.there is None:
            raise NotFound("no such object")
        return self.there

    async def store(self, manifest: Mapping[str, Any], version: str | None) -> Mapping[str, Any]:
        self.asked.append("store")
        if (self.there is None) != (version is None):
            raise Conflict("there is one")
        return self.put(manifest)


class Place:
    """A plan's book, with passes as the loop makes them."""

    def __init__(self) -> None:
        self.server, self.mirror, self.now = Server(), Mirror(), 100.0
        self.book = PlanBook(cast(Any, self.server), self.mirror, KEY)

    async def go(self, pods: list[GatewayPod]) -> None:
        """One pass."""
        self.now += 1
        self.book.notice()
        await self.book.read(CITY, pods, self.now)
        if self.book.trouble is None:
            planned = planner.plan(self.book.plan, [able(pod) for pod in pods], PARTITIONS, self.now)
            await self.book.follow(CITY, planned, AT)

    @property
    def stored(self) -> stored_plan.StoredPlan:
        return stored_plan.from_data(self.server.data())

    def trouble(self) -> str | None:
        found = self.book.trouble
        return None if found is None else f"{found.reason}: {found.message.partition(':')[0]}"

    def watch(self) -> None:
        """Bring what is there as the watch does: one without our labels went."""
        there = self.server.there
        assert there is not None
        labelled = names.instance_of(there["metadata"].get("labels") or {}) is not None
        self.mirror.note(kinds.CONFIG_MAP, "MODIFIED" if labelled else "DELETED", there)


def able(pod: GatewayPod) -> planner.Pod:
    return planner.Pod(pod.name, pod.uid, Incarnation(pod.name, pod.uid, "0badcafe"), generation=pod.told_generation)


def pods(told: Mapping[str, str] | None = None) -> list[GatewayPod]:
    metadata = {"name": "city-gateway-a", "uid": "ua", "resourceVersion": "1", "annotations": dict(told or {})}
    return fleet.pods_of([{"metadata": metadata, "status": {"phase": "Running"}}])


def as_told(plan: planner.Plan) -> dict[str, str]:
    seat = plan.seats[PodName("city-gateway-a")]
    return Assignment(seat.generation, seat.partitions).to_annotations()


@pytest.fixture
def place() -> Place:
    return Place()


FOREIGN = {
    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": KEY.namespace},
    "data": {"theirs": "yes"},
}  # fmt: skip


async def test_somebody_elses_object_is_named_and_nothing_is_planned(place: Place) -> None:
    place.server.put(FOREIGN)
    for _ in range(12):
        await place.go(pods())
    assert place.trouble() == f"NameTaken: ConfigMap {NAME} exists and is not ours"
    assert place.server.asked == ["get"] * 3  # not in each pass
    assert place.server.data() == {"theirs": "yes"}
    assert not place.book.plan.seats

    place.server.there = None
    place.now += 5
    await place.go(pods())
    assert place.trouble() is None
    assert place.stored.plan.seats


async def test_a_name_that_is_taken_while_ours_was_deleted_is_not_taken_back(place: Place) -> None:
    await place.go(pods())
    place.watch()
    before = place.book.plan
    assert place.server.there is not None
    place.mirror.note(kinds.CONFIG_MAP, "DELETED", place.server.there)
    place.server.put(FOREIGN)
    await place.go([*pods(), *fleet.pods_of([{"metadata": {"name": "b", "uid": "ub", "resourceVersion": "2"}}])])
    assert place.trouble() is not None
    assert place.server.asked == ["get", "store", "get"]
    assert place.book.plan == before  # goes on with it when the name is free again


async def test_what_cannot_be_read_is_stored_anew_although_nothing_moves(place: Place) -> None:
    await place.go(pods())
    before = place.stored
    broken = child(CITY, kinds.CONFIG_MAP, NAME)
    place.server.put({**broken, "data": {"pods": "garbage"}})
    place.watch()
    for _ in range(3):
        await place.go(pods(as_told(before.plan)))
    assert place.stored.plan == before.plan
    assert "what was stored could not be read" in place.stored.reason
    assert place.server.asked == ["get", "store", "get", "store"]


@pytest.mark.parametrize("lost", ["labels", "ownerReferences"])
async def test_labels_and_owner_are_set_right(place: Place, lost: str) -> None:
    await place.go(pods())
    before = place.stored
    place.server.edit(**{lost: None})
    place.watch()
    for _ in range(3):
        await place.go(pods(as_told(before.plan)))
        place.watch()
    assert place.server.there is not None
    assert place.server.there["metadata"][lost] == child(CITY, kinds.CONFIG_MAP, NAME)["metadata"][lost]
    assert place.stored.plan == before.plan
    assert place.server.asked == ["get", "store", "get", "store"]


async def test_nothing_is_read_or_written_while_nothing_changes(place: Place) -> None:
    for _ in range(3):
        await place.go(pods())
    assert place.server.asked == ["get", "store"]


# --- pods that may not be told ----------------------------------------------------------------------------------------

A, B = "city-gateway-a", "city-gateway-b"
TWO = fleet.pods_of([{"metadata": {"name": name, "uid": f"u{name[-1]}", "resourceVersion": "1"}} for name in (A, B)])
OF_ONE_POD = [
    Invalid("admission webhook denied the request", 400),
    Forbidden("pods is forbidden"),
    ApiUnavailable("failed calling webhook", 500),
    ApiUnavailable("no endpoints available", 503),
    Expired("gone", 410),
]


async def told(place: Place) -> list[str]:
    place.server.told.clear()
    return [f"{each.reason} {each.message.partition(':')[0]}" for each in await place.book.tell(TWO, place.now)]


@pytest.mark.parametrize("refusal", OF_ONE_POD, ids=lambda each: str(each.status))
async def test_a_pod_that_may_not_be_told_is_named_and_tried_in_longer_pauses(
    place: Place, refusal: ClusterError
) -> None:
    await place.go(TWO)
    place.server.refuses[A] = refusal
    assert await told(place) == [f"PodNotTold pod {A}"]
    assert place.server.told == [A, B]  # one that is refused holds nobody up
    tries = 0
    for _ in range(300):
        place.now += 1
        assert await told(place) == [f"PodNotTold pod {A}"]
        tries += A in place.server.told
    assert 10 < tries < 20

    del place.server.refuses[A]
    place.now += 30
    assert await told(place) == []
    place.server.refuses[A] = refusal
    await told(place)
    place.now += 1  # what was allowed once is patiently waited for no more
    await told(place)
    assert A in place.server.told


@pytest.mark.parametrize("error", [ApiUnavailable("no answer within 10s"), ApiUnavailable("too many requests", 429)])
async def test_an_api_server_that_does_not_answer_ends_the_pass_after_everybody_was_tried(
    place: Place, error: ApiUnavailable
) -> None:
    await place.go(TWO)
    place.server.refuses[A] = error
    with pytest.raises(ApiUnavailable):
        await told(place)
    assert place.server.told == [A, B]


async def test_who_leads_no_more_tells_nobody(place: Place) -> None:
    await place.go(TWO)
    place.server.refuses[A] = NotLeader()
    with pytest.raises(NotLeader):
        await told(place)
    assert place.server.told == [A]
    with pytest.raises(NotLeader):
        await place.book.price([(TWO[0], "3")], place.now)


@pytest.mark.parametrize("refusal", [*OF_ONE_POD, Conflict("changed"), ApiUnavailable("no answer within 10s")])
async def test_pods_that_cannot_be_priced_keep_nobody_from_taking_them_away(
    place: Place, refusal: ClusterError
) -> None:
    place.server.refuses[A] = refusal
    await place.book.price([(TWO[0], "3"), (TWO[1], "2")], place.now)
    assert (B in place.server.told) == (refusal.status != 0)


async def test_a_pod_that_may_not_be_reminded_is_named(place: Place) -> None:
    await place.go(pods())
    seated = pods(as_told(place.book.plan))
    record = PodRecord(Incarnation(PodName(A), "ua", "0badcafe"), 0, frozenset(), 0, False)
    view = StoreView({PodName(A): record}, {}, None, frozenset(), 0, 0)
    place.server.refuses[A] = OF_ONE_POD[0]
    assert await place.book.remind(seated, view, place.now) == []
    place.now += 5
    [trouble] = await place.book.remind(seated, view, place.now)
    assert trouble.reason == "PodNotTold"
