"""Times of the control plane with the leases and pauses of production, by hand:

    .venv/bin/python -m pytest tests/operator_cluster/measure.py -q --log-cli-level=info

Only the kubelet (`tests.operator_cluster.kubelet`) is quicker than a real one: it looks ten times a second.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import Counter

import pytest

from ocpp_contract.ids import Incarnation, PodName
from ocpp_operator.core.plan import Plan, Pod, plan
from tests.operator_cluster.load import settled
from tests.operator_cluster.rig import Place, eventually, serving
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
log = logging.getLogger("figures")

PARTITIONS = 128
PRODUCTION = {"store_interval": "1", "status_interval": "5"}


async def test_times(
    crd: str, kubernetes: KubernetesServer, namespace: str, kafka: KafkaServer, redis_server: RedisServer
) -> None:
    gateways = {"LOG__FORMAT": "text"}
    async with serving(kubernetes, namespace, kafka.bootstrap, redis_server.port, gateways, **PRODUCTION) as place:
        resource = await place.apply(place.resource(replicas=3, commands={"partitions": PARTITIONS}))
        prefix = resource["spec"]["redis"]["keyPrefix"]
        await settled(place)
        lost = [await _loss(place, prefix) for _ in range(5)]
        log.info(
            "SIGKILL and deletion of one of 3 pods until all %d partitions are owned: %s", PARTITIONS, _spread(lost)
        )
        joined = [await _joining(place, prefix, number) for number in (4, 5, 6)]
        log.info("a pod's record until it holds its share (3 s of quiet included): %s", _spread(joined))
        metrics = await place.operator.metrics()
        name = "chargegateway_operator_reconcile_seconds"
        total, count = (metrics[f'{name}_{part}{{outcome="done"}}'] for part in ("sum", "count"))
        log.info("a pass: %.1f ms on average, %d passes", 1_000 * total / count, count)


async def _loss(place: Place, prefix: str) -> float:
    victim = place.kubelet.ready()[0]
    began = time.monotonic()
    await place.force_away(victim)

    async def owned() -> bool:
        held = await place.held(prefix)
        return len(held) == PARTITIONS and victim not in held.values()

    await eventually(owned, every=0.02)
    took = time.monotonic() - began

    async def replaced() -> bool:
        return len(await place.ready_pods()) == 3 == len(await place.pods()) and victim not in await place.ready_pods()

    await eventually(replaced)
    await settled(place)
    return took


async def _joining(place: Place, prefix: str, number: int) -> float:
    before = {pod["metadata"]["name"] for pod in await place.pods()}
    await place.patch("city", {"replicas": number})

    async def newcomer() -> str:
        for pod in await place.pods():
            name = pod["metadata"]["name"]
            if name not in before and await place.record(prefix, name):
                return str(name)
        return ""

    name = await eventually(newcomer)
    began = time.monotonic()

    async def has_its_share() -> bool:
        return Counter((await place.held(prefix)).values())[name] >= PARTITIONS // number

    await eventually(has_its_share, every=0.02)
    took = time.monotonic() - began
    await settled(place)
    return took


def _spread(seconds: list[float]) -> str:
    return (
        f"median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s, {len(seconds)} times"
    )


def test_moves_from_three_to_ten_and_to_two() -> None:
    def pods(number: int) -> list[Pod]:
        names = [PodName(f"pod-{n}") for n in range(number)]
        return [Pod(name, f"uid-{name}", Incarnation(name, f"uid-{name}", "00000001")) for name in names]

    current, now = Plan(), 0.0
    for number in (3, 10, 2):
        before = {p: name for name, seat in current.seats.items() for p in seat.partitions}
        moves = 0
        for _ in range(3):  # news, quiet time, once more
            now += 10
            planned = plan(current, pods(number), PARTITIONS, now)
            current, moves = planned.plan, moves + len(planned.moves)
        after = {p: name for name, seat in current.seats.items() for p in seat.partitions}
        changed = sum(before.get(p) != after[p] for p in after)
        sizes = sorted(len(seat.partitions) for seat in current.seats.values())
        log.info("to %d pods: %d moves, %d partitions elsewhere, shares %s", number, moves, changed, sizes)
        assert moves == changed
