"""Commands under way while pods die, leave, roll and scale, and while the operator dies.

All cases share one operator and one resource, and each leaves it Ready again. What breaks servers is in `test_outages`, what
concerns two operators in `test_replicas`. Each case ends as `under_load` says: 0 commands lost, none that is unsafe to repeat sent
twice, every station served again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.operator_cluster.load import settled, under_load
from tests.operator_cluster.rig import Place, eventually, serving
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import ApiError, KubernetesServer
from tests.testbed.redis import RedisServer

log = logging.getLogger("figures")
pytestmark = [pytest.mark.system, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

PODS, PARTITIONS = 3, 16
QUICK_LEASE = {"lease_duration": "5", "lease_renew_deadline": "3.5", "lease_retry": "0.5"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(
    crd: str, kubernetes: KubernetesServer, kafka: KafkaServer, redis_server: RedisServer
) -> AsyncIterator[Place]:
    namespace = f"faults-{secrets.token_hex(4)}"
    await asyncio.to_thread(kubernetes.make_namespace, namespace)
    async with serving(kubernetes, namespace, kafka.bootstrap, redis_server.port, **QUICK_LEASE) as place:
        await place.apply(place.resource(replicas=PODS, disruption={"maxUnavailable": 1}))
        await settled(place)
        yield place
    await asyncio.to_thread(kubernetes.request, "DELETE", f"/api/v1/namespaces/{namespace}")


async def prefix_of(place: Place) -> str:
    return str((await place.get())["spec"]["redis"]["keyPrefix"])


async def ready_again(place: Place, number: int = PODS, without: frozenset[str] = frozenset()) -> set[str]:
    """Wait for so many ready pods, none of them of `without`, and no others."""

    async def ask() -> set[str]:
        now = set(await place.ready_pods())
        return now if len(now) == number == len(await place.pods()) and not now & without else set()

    return await eventually(ask, timeout=120)


async def test_a_process_that_is_killed_and_started_again_in_place(place: Place) -> None:
    async with under_load(place) as load:
        await asyncio.sleep(2)  # under load for a while before and after
        victim = place.kubelet.ready()[0]
        before = place.kubelet.running[victim].restarts
        place.kubelet.kill(victim)
        await load.until(lambda: place.kubelet.running[victim].restarts > before, 30, "started again")
        await load.until(lambda: victim in place.kubelet.ready(), 60, "ready again")
        await ready_again(place)


async def test_a_pod_that_is_lost_with_its_machine_is_replaced(place: Place) -> None:
    prefix = await prefix_of(place)
    async with under_load(place) as load:
        await asyncio.sleep(2)
        victim = place.kubelet.ready()[0]
        await place.force_away(victim)

        async def owned() -> bool:
            held = await place.held(prefix)
            return len(held) == PARTITIONS and victim not in held.values()

        await eventually(owned)
        await ready_again(place, without=frozenset({victim}))
        await load.serves(list(load.connected))


async def test_an_evicted_pod_is_replaced_at_once_and_the_budget_refuses_a_second_until_it_is_gone(
    place: Place,
) -> None:
    def evict(pod: str) -> Any:
        where = f"/api/v1/namespaces/{place.namespace}/pods/{pod}/eviction"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        return place.request("POST", where, eviction)

    async def budget() -> dict[str, Any]:
        where = f"/apis/policy/v1/namespaces/{place.namespace}/poddisruptionbudgets/city-gateway"
        return dict((await place.request("GET", where))["status"])

    async def allowed() -> bool:
        return bool((await budget())["disruptionsAllowed"] == 1)

    await eventually(allowed)
    async with under_load(place):
        await asyncio.sleep(1)
        first, second, _ = place.kubelet.ready()
        place.kubelet.lingering.add(first)
        await evict(first)

        async def whole_again() -> bool:
            """For Kubernetes, which does not count the one that leaves."""
            ready, status = await place.ready_pods(), await budget()
            seen = first not in status.get("disruptedPods", {}) and status["currentHealthy"] == PODS
            return seen and len(ready) == PODS and first not in ready

        await eventually(whole_again, timeout=120)
        assert first in {pod["metadata"]["name"] for pod in await place.pods()}
        with pytest.raises(ApiError) as refused:
            await evict(second)
        assert refused.value.status == 429
        place.kubelet.lingering.remove(first)
        await eventually(allowed)
        now = await ready_again(place, without=frozenset({first}))
        assert second in now


async def test_a_roll_of_three_pods(place: Place) -> None:
    before = frozenset(await place.ready_pods())
    async with under_load(place, stations=18, patience=150) as load:
        await asyncio.sleep(1)
        await place.patch("city", {"limits": {"messagesPerSecond": 33}})
        await ready_again(place, without=before)
    closed = Counter(load.ended.values())
    log.info("a roll of three pods: stations by number of sockets closed: %s", dict(sorted(closed.items())))
    assert closed.total() == 18


async def test_from_three_pods_to_five_and_to_two(place: Place) -> None:
    prefix = await prefix_of(place)
    async with under_load(place, stations=20, patience=120) as load:
        three = await place.held(prefix)
        await place.patch("city", {"replicas": 5})

        async def dealt() -> dict[str, str]:
            held = await place.held(prefix)
            counts = Counter(held.values())
            return held if len(held) == PARTITIONS and sorted(counts.values()) == [3, 3, 3, 3, 4] else {}

        five = await eventually(dealt)
        moved = {partition for partition in three if three[partition] != five[partition]}
        # From the old pods to the new ones, never among the old: nothing else has to move.
        assert {five[partition] for partition in moved} == set(five.values()) - set(three.values())
        log.info("from 3 to 5 pods: %d of %d partitions moved", len(moved), PARTITIONS)
        assert len(moved) <= 7
        await settled(place)

        # Two pods have nearly all stations: these stay.
        keepers = sorted(place.kubelet.ready())[1:3]
        for number, station in enumerate(sorted(load.connected)):
            if number < 16:
                load.preferred[station] = keepers[number % 2]
                await load.hang_up(station)
        await load.until(lambda: all(load.stations_of(keeper) >= 8 for keeper in keepers), 30, "stations gathered")

        async def told() -> bool:
            records = [await place.record(prefix, keeper) for keeper in keepers]
            return all(record["connections"] >= 8 for record in records)

        await eventually(told)
        await place.patch("city", {"replicas": 2})
        assert await ready_again(place, 2) == set(keepers)
        two = await place.held(prefix)
        moved = {partition for partition in five if five[partition] != two.get(partition)}
        assert all(five[partition] not in keepers for partition in moved)
        log.info("from 5 to 2 pods: %d of %d partitions moved", len(moved), PARTITIONS)

    await place.patch("city", {"replicas": PODS})
    await ready_again(place)
    await settled(place)


async def test_the_operator_is_killed_in_the_middle_of_a_roll(place: Place) -> None:
    before = frozenset(await place.ready_pods())
    generation = await plan_generation(place)
    async with under_load(place, patience=150):
        await place.patch("city", {"limits": {"messagesPerSecond": 34}})

        async def under_way() -> bool:
            return bool(set(await place.ready_pods()) - before)  # one of the new pods serves

        await eventually(under_way)
        place.operator.kill()
        await asyncio.sleep(3)  # the fault: nobody tells the next new pod what to serve
        place.operator.start()
        await ready_again(place, without=before)
    assert await plan_generation(place) > generation


async def plan_generation(place: Place) -> int:
    plan = await place.request("GET", f"/api/v1/namespaces/{place.namespace}/configmaps/city-plan")
    return int(plan["data"]["generation"])
