"""The operator dies between any two of its writes, again and again, and still arrives where an undisturbed one arrives.

Of two cities that meet the same fate one has an operator that lives on; that of the other dies before its second write, every time, so
that each write is the last of some life; or before one chosen by the seed. `City.quiet` checks on the way that no generation goes
back and no pod is ever told more than the stored plan.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator

import pytest

from ocpp_operator.adapters.cluster import path
from ocpp_operator.core import kinds, names
from tests.conftest import running
from tests.operator_cluster.conftest import install_crd
from tests.operator_cluster.lives import City, Cut
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

Event = Callable[[City, random.Random], Awaitable[None]]


@pytest.fixture(scope="module")
def uncontrolled(request: pytest.FixtureRequest) -> Iterator[KubernetesServer]:
    """An API server whose controllers have stopped: nobody but the test makes pods."""
    for server in running(request, KubernetesServer):
        install_crd(server)
        server.controllers.stop()
        yield server


async def a_pod_joins(city: City, dice: random.Random) -> None:
    await city.join(f"pod-{dice.randrange(100, 1000)}")


async def a_pod_is_lost(city: City, dice: random.Random) -> None:
    if len(city.pods) > 1:
        await city.lose(dice.choice(sorted(city.pods)))


async def a_pod_is_replaced(city: City, dice: random.Random) -> None:
    await a_pod_is_lost(city, dice)
    await a_pod_joins(city, dice)


async def a_pod_leaves(city: City, dice: random.Random) -> None:
    staying = [name for name, pod in sorted(city.pods.items()) if not pod.leaving]
    if len(staying) > 1:
        city.pods[dice.choice(staying)].leaving = True


async def a_process_restarts(city: City, dice: random.Random) -> None:
    await city.restart(dice.choice(sorted(city.pods)))


async def the_template_changes(city: City, dice: random.Random) -> None:
    change = {"spec": {"limits": {"messagesPerSecond": dice.randrange(20, 90)}}}
    await city.ask("PATCH", path(kinds.RESOURCE, city.namespace, "city"), change, merge=True)


async def replicas_change(city: City, dice: random.Random) -> None:
    change = {"spec": {"replicas": dice.randrange(1, 6)}}
    await city.ask("PATCH", path(kinds.RESOURCE, city.namespace, "city"), change, merge=True)


async def children_are_deleted(city: City, dice: random.Random) -> None:
    for kind in dice.sample((kinds.SERVICE, kinds.DISRUPTION_BUDGET, kinds.NETWORK_POLICY, kinds.DEPLOYMENT), 2):
        await city.ask("DELETE", path(kind, city.namespace, names.gateway("city")))


async def the_plan_is_deleted(city: City, dice: random.Random) -> None:
    await city.ask("DELETE", path(kinds.CONFIG_MAP, city.namespace, names.plan("city")))


async def the_store_loses_everything(city: City, dice: random.Random) -> None:
    keys = [key async for key in city.redis.scan_iter(f"{city.prefix}*")]
    if keys:
        await city.redis.delete(*keys)


EVENTS: tuple[Event, ...] = (
    a_pod_joins, a_pod_is_lost, a_pod_is_replaced, a_pod_leaves, a_process_restarts, the_template_changes, replicas_change,
    children_are_deleted, the_plan_is_deleted, the_store_loses_everything,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_cut_between_any_two_writes_it_arrives_at_the_same_state(
    uncontrolled: KubernetesServer, kafka: KafkaServer, redis_server: RedisServer, seed: int
) -> None:
    fate = random.Random(seed)
    # Every event is met by some seed.
    events = [EVENTS[(3 * seed + turn) % len(EVENTS)] for turn in range(3)] + fate.choices(EVENTS, k=2)
    calm = await City.founded(uncontrolled, kafka.bootstrap, redis_server.port, pods=3)
    torn = await City.founded(uncontrolled, kafka.bootstrap, redis_server.port, pods=3)
    scissors = random.Random(seed)
    cut: Cut = (lambda: 2) if seed % 2 == 0 else (lambda: scissors.randrange(2, 6))
    try:
        await calm.quiet()
        await torn.quiet(cut)
        assert await torn.state() ^ await calm.state() == set(), "at the start"
        for turn, event in enumerate(events):
            for city in (calm, torn):
                await event(city, random.Random(f"{seed} {turn}"))
            await calm.quiet()
            await torn.quiet(cut)
            assert await torn.state() ^ await calm.state() == set(), f"after {event.__name__} ({turn})"
        assert torn.lives > calm.lives
    finally:
        await calm.close()
        await torn.close()
