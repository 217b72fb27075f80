"""The plane that plays the operator, with the embedded store and with pods that only pretend to be processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ocpp_contract.assignment import Assignment, parse_annotations_file
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.names import Keys
from ocpp_contract.scripts.records import PartitionRecord, PodRecord
from ocpp_local import broker, store
from ocpp_local.plane import Plane
from ocpp_local.processes import Children, LocalError
from ocpp_operator.core.plan import Pace

PARTITIONS = 8


@dataclass
class PretendedPod:
    """What the plane needs of a pod."""

    name: PodName
    uid: str
    annotations_file: Path
    leaving: bool = False

    def incarnation(self, run: str = "0badcafe") -> Incarnation:
        return Incarnation(self.name, self.uid, run)

    def told(self) -> Assignment | None:
        if not self.annotations_file.exists():
            return None
        return Assignment.from_annotations(parse_annotations_file(self.annotations_file.read_text()))


class Stage:
    """A store, pods and the plane; `look()` is one pass."""

    def __init__(self, url: str, folder: Path) -> None:
        self.redis = Redis.from_url(url)
        self.keys = Keys()
        self.folder = folder
        self.pods: list[PretendedPod] = []
        self.plane = Plane(
            url,
            PARTITIONS,
            lambda: self.pods,
            first_wait_for=2,
            pace=Pace(silence=0.5, quiet=0.0, ceiling=0.0),  # type: ignore[arg-type]
        )

    def add(self, name: str, uid: str = "") -> PretendedPod:
        pod = PretendedPod(PodName(name), uid or f"uid-{name}", self.folder / f"{name}-{uid}.annotations")
        self.pods.append(pod)
        return pod

    async def lives(self, pod: PretendedPod, generation: int = 0, draining: bool = False) -> None:
        record = PodRecord(pod.incarnation(), generation, frozenset(), 0, draining)
        await self.redis.set(self.keys.pod(pod.name), record.to_json())

    async def holds(self, holder: Incarnation, number: int) -> None:
        text = f'{{"incarnation":"{holder}","epoch":5,"leaseUntil":99999999999999999,"run":"r"}}'
        await self.redis.set(self.keys.partition(Partition(number)), text)

    async def holder(self, number: int) -> Incarnation | None:
        text = await self.redis.get(self.keys.partition(Partition(number)))
        return PartitionRecord.from_json(text).incarnation

    def told(self) -> dict[str, list[int]]:
        return {pod.name: sorted(told.partitions) for pod in self.pods if (told := pod.told())}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Children(tmp_path) as children:
        made = Stage(await store.start_embedded(children), tmp_path)
        try:
            yield made
        finally:
            await made.redis.aclose()
            await made.plane.close()


async def test_the_first_plan_waits_until_all_pods_have_shown_up(stage: Stage) -> None:
    first, second = stage.add("a"), stage.add("b")
    await stage.lives(first)
    await stage.plane.look()
    assert stage.told() == {}
    await stage.lives(second)
    await stage.plane.look()
    assert stage.told() == {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7]}


async def two_planned(stage: Stage) -> tuple[PretendedPod, PretendedPod]:
    first, second = stage.add("a"), stage.add("b")
    await stage.lives(first)
    await stage.lives(second)
    await stage.plane.look()
    return first, second


async def test_what_a_pod_that_is_gone_held_is_released_and_given_to_others_in_one_pass(stage: Stage) -> None:
    first, second = await two_planned(stage)
    await stage.holds(first.incarnation(), 0)
    await stage.holds(second.incarnation(), 4)
    stage.pods.remove(second)  # its `pod:` record is still there: the list of pods decides
    await stage.plane.look()
    assert stage.told() == {"a": [0, 1, 2, 3, 4, 5, 6, 7]}
    assert await stage.holder(4) is None
    assert await stage.holder(0) == first.incarnation()


async def test_a_silent_pod_is_waited_for_and_what_it_holds_is_never_released(stage: Stage) -> None:
    _, second = await two_planned(stage)
    await stage.holds(second.incarnation(), 4)
    await stage.redis.delete(stage.keys.pod(second.name))
    await stage.plane.look()
    assert stage.told()["a"] == [0, 1, 2, 3]
    await asyncio.sleep(0.55)  # a lease
    await stage.plane.look()
    assert stage.told()["a"] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert await stage.holder(4) == second.incarnation()


async def test_absence_counts_anew_when_the_store_has_become_another_one(stage: Stage) -> None:
    _, second = await two_planned(stage)
    await stage.redis.delete(stage.keys.pod(second.name))
    await stage.plane.look()
    await asyncio.sleep(0.55)
    stage.plane._run_id = "another server process"
    await stage.plane.look()
    assert stage.told()["a"] == [0, 1, 2, 3]


async def test_a_draining_pod_keeps_its_annotation_and_its_successors_get_theirs(stage: Stage) -> None:
    first, second = await two_planned(stage)
    before = second.told()
    await stage.lives(second, draining=True)
    await stage.plane.look()
    assert second.told() == before
    told = first.told()
    assert told is not None
    assert before is not None
    assert len(told.partitions) == PARTITIONS
    assert told.generation > before.generation


async def test_the_record_of_an_earlier_pod_of_the_same_name_is_nobodys(stage: Stage) -> None:
    ghost = PretendedPod(PodName("a"), "another-uid", stage.folder / "ghost")
    await stage.lives(ghost)
    stage.add("a")
    await stage.lives(stage.add("b"))
    stage.plane._began -= 60  # patience is over
    await stage.plane.look()
    assert stage.told() == {"b": [0, 1, 2, 3, 4, 5, 6, 7]}


async def test_an_outage_of_the_store_is_waited_out(stage: Stage) -> None:
    await two_planned(stage)
    running = asyncio.create_task(stage.plane.run())
    await stage.redis.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.6)
    assert not running.done()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_it_ends_when_it_is_told_to_at_whatever_moment(stage: Stage) -> None:
    await two_planned(stage)
    running = asyncio.create_task(stage.plane.run())
    await asyncio.sleep(0)  # into the middle of a pass: redis-py swallowed the cancellation there
    running.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(running, return_exceptions=True)


async def test_topics_are_created_once_and_existing_ones_decide(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        address = await broker.start_embedded(children)
        assert await broker.create_topics(address, 16) == 16
        assert await broker.create_topics(address, 8) == 16


async def test_no_broker_at_all_is_an_error_for_people() -> None:
    with pytest.raises(LocalError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        await broker.create_topics("127.0.0.1:1", 16)


@pytest.mark.parametrize(
    ("url", "said"),
    [("http://x", "no Redis URL"), ("redis://", "no Redis URL"), ("redis://h:1/3", "only database 0")],
)
def test_a_store_that_a_gateway_cannot_use_is_refused(url: str, said: str) -> None:
    with pytest.raises(LocalError, match=said):
        store.settings(url)


def test_a_redis_url_becomes_settings() -> None:
    values, password = store.settings("rediss://ann:s%40fe@db:7000/0")
    assert values == {"ADDRESSES": "db:7000", "TLS": "true", "USERNAME": "ann"}
    assert password == "s@fe"
