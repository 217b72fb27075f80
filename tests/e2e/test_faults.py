"""The whole system on a real node, under command load, while everything breaks that may break, one after the other.

The operator is installed by Helm with the chart's own rights; one resource with three pods; sixteen stations through the Service's
cluster address. Each case leaves the resource at rest, with every station served again, and the checker has found no command lost
and none that is unsafe to repeat sent twice. The cases stand in the order in which they go on from one another.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ocpp_contract.ids import Incarnation
from tests.conftest import require, running
from tests.e2e import operator_by_chart
from tests.e2e.city import NAME, City, eventually, resource
from tests.e2e.city_load import STATIONS, under_load
from tests.e2e.connections import Connections
from tests.e2e.network_policy import Connection, allows
from tests.testbed import images
from tests.testbed.kafka import KafkaServer
from tests.testbed.node import KubectlFailed, Node
from tests.testbed.redis import RedisServer

PODS, PARTITIONS = 3, 32
AWAY, BROKEN = 60, 8
"""Seconds without the API server; without Redis, and without Kafka."""
NEXT = "test-2"
"""Tag of the second image, made of the same sources."""
DOCTOR = [sys.executable, "-c", "from ocpp_client.cli import main; main()", "doctor"]

Measured = Callable[[str], None]


def fresh(what: str) -> str:
    """A name that nobody else has."""
    return f"{what}-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def private_kafka(request: pytest.FixtureRequest, node: Node) -> Iterator[KafkaServer]:
    """This module's own Kafka, to be stopped."""
    yield from running(request, lambda: KafkaServer(host=node.host_address))


@pytest.fixture(scope="module")
def private_redis(request: pytest.FixtureRequest, node: Node) -> Iterator[RedisServer]:
    """This module's own Redis, whose data stays over a stop."""
    kept = ("--appendonly", "yes", "--appendfsync", "always")
    yield from running(request, lambda: RedisServer(*kept, host=node.host_address))


@pytest.fixture(scope="module")
def next_image(node: Node) -> str:
    """The tag of a further version, in the node."""
    node.load(require(lambda: images.build("gateway", NEXT)))
    return NEXT


@pytest.fixture(scope="module")
def city(
    node: Node, private_kafka: KafkaServer, private_redis: RedisServer, gateway_image: str, operator_image: str
) -> Iterator[City]:
    """See module: installed and Ready."""
    namespace, operators = node.namespace(fresh("city")), node.namespace(fresh("operator"))
    with operator_by_chart.installed(node, operators, namespace):
        wish = resource(
            namespace, private_kafka, private_redis, fresh,
            replicas=PODS, commands={"partitions": PARTITIONS}, drain={"loadBalancerWait": "1s", "connectionsPerSecond": 8},
        )  # fmt: skip
        node.apply(wish)
        node.wait(namespace, f"cgw/{NAME}", "condition=Ready", 150)
        yield City(node, namespace, operators, private_kafka, private_redis, wish["spec"])
        node.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s", timeout=150)
    node.kubectl("delete", "namespace", operators, "--wait=false")


@pytest.fixture(scope="module", autouse=True)
def connections(city: City) -> Iterator[Connections]:
    """What its pods' connections are all the while."""
    watched = Connections(f"{NAME}-gateway-*", f"{operator_by_chart.NAME}-*")
    watched.start()
    yield watched
    watched.stop()


@pytest.fixture(autouse=True)
def operator_is_well(city: City) -> Iterator[None]:
    """No mistake of the operator's in any of its logs, whatever happened."""
    yield
    text = city.node.logs.text(city.operators, f"{operator_by_chart.NAME}-*")
    at = text.find("Traceback")
    assert at < 0, text[max(0, at - 2000) : at + 4000]


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


async def test_a_container_that_is_killed_starts_again_in_place(city: City, measured: Measured) -> None:
    await city.settled(PODS)
    async with under_load(city, PODS):
        pod, gone = await somebody(city)
        killed = Stopwatch()
        await asyncio.to_thread(city.kill_container, city.namespace, pod)
        await city.owned_without(gone)
        measured(f"SIGKILL of a gateway's container: every partition owned again after {killed}")

        async def restarted() -> bool:
            there = (await city.pods())[pod]
            return bool(there["status"]["containerStatuses"][0]["restartCount"]) and pod in await city.ready()

        await eventually(restarted, "the same pod is ready again")
        measured(f"SIGKILL of a gateway's container: the same pod ready again after {killed}")
        assert city.loads()[pod] >= PARTITIONS // PODS


async def test_a_pod_deleted_without_grace_is_replaced(city: City, measured: Measured) -> None:
    async with under_load(city, PODS):
        pod, gone = await somebody(city)
        killed = Stopwatch()
        await city.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        await city.owned_without(gone)
        measured(f"a pod deleted without grace: every partition owned again after {killed}")
        now = await city.settled(PODS)
        measured(f"a pod deleted without grace: replaced, and at rest after {killed}")
        assert pod not in now


async def test_an_evicted_pod_drains_and_the_budget_refuses_a_second(city: City, measured: Measured) -> None:
    async def allowed() -> bool:
        budget = await city.get(f"/apis/policy/v1/namespaces/{city.namespace}/poddisruptionbudgets/{NAME}-gateway")
        return bool(budget["status"]["disruptionsAllowed"] == 1)

    await eventually(allowed, "one disruption is allowed")
    async with under_load(city, PODS):
        first, second, _ = sorted(await city.ready())
        evicted = Stopwatch()
        await city.evict(first)
        with pytest.raises(KubectlFailed, match="disruption budget"):
            await city.evict(second)
        now = await city.settled(PODS)
        measured(f"an evicted pod: drained, replaced, and at rest after {evicted}")
        assert second in now
        assert first not in now
    said = [json.loads(line)["message"] for line in city.node.logs.text(city.namespace, first).splitlines()]
    assert said.index("draining") < said.index("drained")


async def test_a_new_image_is_rolled_pod_by_pod(city: City, next_image: str, measured: Measured) -> None:
    before = await city.ready()
    async with under_load(city, PODS, 240) as load:
        rolled = Stopwatch()
        fewest = PODS
        await city.patch(version=next_image)

        async def all_new() -> bool:
            nonlocal fewest
            now = await city.ready()
            fewest = min(fewest, len(now))
            return not now & before and len(now) == PODS == len(await city.pods())

        await eventually(all_new, "three new pods and no other", 240)
        measured(f"a roll of {PODS} pods to another image: {rolled}, never fewer than {fewest} ready")
        assert fewest == PODS
    times = Counter(load.ended.values())
    measured(f"a roll of {PODS} pods: stations by number of sockets closed {dict(sorted(times.items()))}")
    assert times.total() == STATIONS, "each was on a pod that left"
    assert max(times) <= PODS, "at most once by each pod that left"
    status = (await city.kubectl("get", "cgw", NAME, "-o", "jsonpath={.status.version}")).strip()
    assert status == next_image


async def test_from_three_pods_to_five_and_to_two(city: City, measured: Measured) -> None:
    async with under_load(city, 2, 180):
        three = {number: holder.pod for number, holder in city.held().items()}
        scaled = Stopwatch()
        await city.patch(replicas=5)
        registered: dict[str, float] = {}
        served: dict[str, float] = {}

        async def five() -> bool:
            loads = city.loads()
            for pod in set(await city.pods()) - set(three.values()):
                if pod not in registered and city.incarnation(pod):
                    registered[pod] = scaled.seconds
                if loads[pod] >= PARTITIONS // 5:
                    served.setdefault(pod, scaled.seconds)
            return sorted(loads.values()) == [6, 6, 6, 7, 7]

        await eventually(five, "partitions are shared by five", 120)
        now = {number: holder.pod for number, holder in city.held().items()}
        moved = {number for number in three if three[number] != now[number]}
        measured(f"3 -> 5 pods: {len(moved)} of {PARTITIONS} partitions moved, shared by five {scaled} after the patch")
        waits = [served[pod] - registered[pod] for pod in served]
        measured(f"3 -> 5 pods: a new pod's partitions served {max(waits):.1f} s after it had registered, at most")
        assert {now[number] for number in moved} == set(now.values()) - set(three.values())
        await city.settled(5)

        scaled = Stopwatch()
        await city.patch(replicas=2)

        async def two() -> bool:
            return sorted(city.loads().values()) == [16, 16]

        await eventually(two, "partitions are shared by two", 180)
        then = {number: holder.pod for number, holder in city.held().items()}
        moved = {number for number in now if now[number] != then[number]}
        measured(f"5 -> 2 pods: {len(moved)} of {PARTITIONS} partitions moved, shared by two {scaled} after the patch")
        assert all(now[number] not in then.values() for number in moved)
    await city.patch(replicas=PODS)
    await city.settled(PODS)


async def test_stations_and_commands_go_on_without_the_api_server(city: City, measured: Measured) -> None:
    server = city.node.parts["kube-apiserver"]
    async with under_load(city, PODS, 180) as load:
        closed = load.ended.total()
        server.kill()
        try:
            for _ in range(AWAY // 10):
                await asyncio.sleep(10)  # the fault
                await load.serves(list(load.connected), 10)
        finally:
            await server.start_async()
        back, since = Stopwatch(), datetime.now(UTC).isoformat()
        assert load.ended.total() == closed, "a socket was closed"
        await eventually(lambda: city.leader(since), "an operator leads")
        measured(f"{AWAY} s without the API server: no socket closed; an operator leads {back} after its return")
        said = {"tests.chargegateway.io/word": "no pod is rolled for this"}
        await city.patch(service={"annotations": said})

        async def carried_out() -> bool:
            there = await city.get(f"services/{NAME}-gateway")
            return bool(said.items() <= there["metadata"].get("annotations", {}).items())

        await eventually(carried_out, "the Service is as wished", 90)
        measured(f"{AWAY} s without the API server: a change asked for then is carried out {back} after its return")


async def test_redis_away_and_back_with_its_data(city: City, measured: Measured) -> None:
    async with under_load(city, PODS) as load:
        closed = load.ended.total()
        await city.redis.stop_async()
        await asyncio.sleep(BROKEN)  # the fault
        await city.redis.start_async()
        back = Stopwatch()
        await load.serves(list(load.connected), 60)
        measured(f"{BROKEN} s without Redis: every station served {back} after its return")
        measured(f"{BROKEN} s without Redis: {load.ended.total() - closed} sockets closed")


async def test_kafka_away_and_back(city: City, measured: Measured) -> None:
    async with under_load(city, PODS) as load:
        closed = load.ended.total()
        away = Stopwatch()
        city.kafka.kill()  # asked to stop it would take its time, and answer nobody meanwhile
        await asyncio.sleep(BROKEN)  # the fault
        await city.kafka.start_async()
        measured(f"{BROKEN} s without Kafka: it answered nobody for {away}")
        back = Stopwatch()
        await load.serves(list(load.connected), 60)
        measured(f"{BROKEN} s without Kafka: every station served {back} after its return")
        measured(f"{BROKEN} s without Kafka: {load.ended.total() - closed} sockets closed")


async def test_another_operator_takes_over_and_carries_out_what_was_asked(city: City, measured: Measured) -> None:
    first = await city.leader()

    async def another() -> bool:
        return await city.leader() not in ("", first)

    async with under_load(city, 2, 180):
        lost = Stopwatch()
        await asyncio.to_thread(city.kill_container, city.operators, first)
        await city.kubectl("--namespace", city.operators, "delete", "pod", first, "--grace-period=0", "--force")
        await city.patch(replicas=2)
        await eventually(another, "another replica leads")
        measured(f"the leading operator killed: another leads after {lost}")
        await city.settled(2)
        measured(f"the leading operator killed: a change asked for meanwhile is carried out after {lost}")

    first = await city.leader()
    async with under_load(city, PODS, 180):
        left = Stopwatch()
        await city.kubectl("--namespace", city.operators, "delete", "pod", first, "--wait=false")
        await city.patch(replicas=PODS)
        await eventually(another, "another replica leads")
        measured(f"the leading operator deleted: another leads after {left}")


async def test_a_helm_upgrade_rolls_the_operator_and_no_gateway(city: City, measured: Measured) -> None:
    """Then the resource is scaled by hand, and doctor has nothing to say."""
    first, before = await city.leader(), await city.pods()
    tags = [images.name("operator"), images.name("operator", NEXT)]
    await asyncio.to_thread(subprocess.run, city.node.place.ctr("images", "tag", "--force", *tags), check=True)
    changed = {"image.operator.tag": NEXT, "settings.resync": "299"}
    async with under_load(city, PODS, 180) as load:
        closed, upgraded = load.ended.total(), Stopwatch()
        await asyncio.to_thread(operator_by_chart.upgrade, city.node, city.operators, changed)

        async def another() -> bool:
            return await city.leader() not in ("", first)

        await eventually(another, "a new replica leads")
        measured(f"helm upgrade to another image and setting: a new replica leads after {upgraded}")
        leader = await city.get(f"/api/v1/namespaces/{city.operators}/pods/{await city.leader()}")
        assert leader["spec"]["containers"][0]["image"] == tags[1]
        assert load.ended.total() == closed, "a socket was closed"
    now = await city.pods()
    assert {name: restarts(pod) for name, pod in now.items()} == {name: restarts(pod) for name, pod in before.items()}

    async with under_load(city, PODS, 180):
        for number in (PODS + 1, PODS):
            await city.kubectl("scale", f"cgw/{NAME}", f"--replicas={number}")
            await city.settled(number)
    done = await asyncio.to_thread(
        subprocess.run, [*DOCTOR, NAME, "--namespace", city.namespace, "--operator-namespace", city.operators],
        env={**os.environ, "KUBECONFIG": str(city.node.kubeconfig)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No troubles found." in done.stdout


def restarts(pod: dict[str, Any]) -> int:
    """Of its only container."""
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


async def test_the_network_policy_allows_what_pods_did_and_little_more(
    city: City, connections: Connections, measured: Measured
) -> None:
    path = f"/apis/networking.k8s.io/v1/namespaces/{city.namespace}/networkpolicies/{NAME}-gateway"
    policy = await city.get(path)
    seen = set(connections.seen)
    measured(f"connections of gateway pods: {[f'{c.direction} {c.peer} {c.port}' for c in sorted(seen)]}")
    # The kubelet's probes come from the node, which a policy never keeps from its own pods.
    probes = {Connection("ingress", "node", 9090)}
    assert [each for each in sorted(seen - probes) if not allows(policy, each)] == []
    stations = {Connection("ingress", peer, 8000) for peer in ("node", "outside")}  # kube-proxy may stand for them
    assert probes <= seen
    assert Connection("ingress", "pod", 9090) in seen  # the operator compares a pod's own list of stations
    assert stations & seen
    assert {Connection("egress", "outside", port) for port in (city.kafka.port, city.redis.port)} <= seen
    for refused in (
        Connection("ingress", "outside", 9090),
        Connection("egress", "outside", 6443),
        Connection("egress", "outside", city.kafka.controller_port),
    ):
        assert not allows(policy, refused), refused


async def test_a_deleted_resource_leaves_nothing(city: City, measured: Measured) -> None:
    measured(f"commands under way in all of these cases: {city.outcomes.total()}, {dict(city.outcomes.most_common())}")
    deleted = Stopwatch()
    await city.kubectl("delete", "cgw", NAME, "--wait=false")

    async def no_children() -> bool:
        kinds = "pods,deployments,services,configmaps,secrets,pdb,networkpolicies,serviceaccounts,controllerrevisions"
        return not await city.kubectl("get", kinds, "--selector=app.kubernetes.io/instance=city", "-o", "name")

    await eventually(no_children, "its children are gone", 90)
    measured(f"a deleted resource: pods and all other children gone after {deleted}")

    async def no_keys() -> bool:
        with city.redis.client() as client:
            return not [*client.scan_iter(f"*{city.keys.prefix}*", count=1000)]

    await eventually(no_keys, "its keys are gone", 60)
    measured(f"a deleted resource: its keys in Redis gone after {deleted}")
    deleted = Stopwatch()
    await city.kubectl("delete", "namespace", city.namespace, "--timeout=60s")
    measured(f"its namespace deleted in {deleted}")


async def somebody(city: City) -> tuple[str, Incarnation]:
    """A ready pod, and its process."""
    pod = sorted(await city.ready())[0]
    process = city.incarnation(pod)
    assert process is not None
    return pod, process
