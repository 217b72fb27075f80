"""What people do to a resource that serves: made again under its name, its namespace deleted, its Secrets late, clocks wrong."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ocpp_contract.commit_metadata import decode_metadata
from ocpp_contract.names import GROUP_ID
from ocpp_operator.adapters.kafka_admin import KafkaAccess, KafkaAdmin
from tests.operator_cluster.load import load_of, settled
from tests.operator_cluster.rig import Json, Place, eventually, serving
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import ApiError, KubernetesServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

# Its Lease lives elsewhere, so that a namespace may go without it.
ELSEWHERE = {"lease_namespace": "kube-system"}


@pytest.fixture
async def place(
    crd: str, kubernetes: KubernetesServer, namespace: str, kafka: KafkaServer, redis_server: RedisServer
) -> AsyncIterator[Place]:
    settings = {**ELSEWHERE, "lease_name": f"operator-{namespace}"}
    async with serving(kubernetes, namespace, kafka.bootstrap, redis_server.port, **settings) as place:
        yield place


async def owners(place: Place, resource: Json) -> set[str]:
    """Whom the commit metadata of its mailboxes name."""
    admin = KafkaAdmin(KafkaAccess((place.kafka,)))
    found = set()
    for lane in ("commandsDown", "commandsUrgent"):
        topic = resource["spec"]["kafka"]["topics"][lane]["name"]
        for commit in (await admin.commits(GROUP_ID, topic, range(16))).values():
            known = decode_metadata(commit.metadata, 0)
            found.add(known.resource_uid if known is not None else "")
    return found


async def serves(place: Place, name: str = "city") -> None:
    """Stations connect, and each is reached by a command."""
    load = await load_of(place, name)
    try:
        stations = load.add_stations(6)
        await load.until(lambda: len(load.connected) == 6, 30, "all stations connected")
        await load.serves(stations)
        await load.judged()
    finally:
        await load.close()


async def gone(place: Place, name: str = "city") -> None:
    """Wait for the end of its pods."""

    async def ask() -> bool:
        labels = f"app.kubernetes.io/instance={name}"
        path = f"/api/v1/namespaces/{place.namespace}/pods?labelSelector={labels}"
        return not (await place.request("GET", path))["items"]

    await eventually(ask)


async def test_a_resource_that_is_deleted_and_made_again_goes_on_with_its_mailboxes(place: Place) -> None:
    resource = place.resource()
    first = (await place.apply(resource))["metadata"]["uid"]
    await settled(place)
    await serves(place)
    assert await owners(place, resource) == {first}

    # At once: the pods of the first are still leaving, and the claim in the store names it.
    await place.delete()
    second = (await place.apply(resource))["metadata"]["uid"]
    assert second != first
    await settled(place, timeout=150)
    await serves(place)
    assert await owners(place, resource) == {second}

    # After all of it is gone: nothing names anybody any more, and whoever comes may have the mailboxes.
    await place.delete()
    await gone(place)

    async def nobody() -> bool:
        return await owners(place, resource) == {""}

    await eventually(nobody)
    third = place.resource("town", own="city")
    await place.apply(third)
    await settled(place, "town")
    await serves(place, "town")


async def test_a_resource_made_again_while_no_operator_was_there(place: Place) -> None:
    resource = place.resource()
    first = (await place.apply(resource))["metadata"]["uid"]
    await settled(place)
    place.operator.kill()
    await place.delete()
    await gone(place)
    await place.apply(resource)
    place.operator.start()
    # Nobody saw the first one go, but it left its farewell record: it was this namespace's own, and its claim ends with it.
    await settled(place, timeout=120)
    await serves(place)
    assert first not in await owners(place, resource)


async def test_a_namespace_that_is_deleted_while_it_serves_goes(place: Place) -> None:
    prefix = (await place.apply(place.resource()))["spec"]["redis"]["keyPrefix"]
    await settled(place)
    await place.request("DELETE", f"/api/v1/namespaces/{place.namespace}")

    async def away() -> bool:
        try:
            await place.request("GET", f"/api/v1/namespaces/{place.namespace}")
        except ApiError as error:
            return error.status == 404
        return False

    await eventually(away, timeout=120)

    async def clean() -> bool:
        return not [key async for key in place.redis.scan_iter(f"{prefix}*", count=1000)]

    await eventually(clean)
    assert place.operator.running
    # The fixture wants to delete it, too.
    await asyncio.to_thread(place.kubernetes.make_namespace, place.namespace)


async def test_a_secret_that_comes_late_lets_the_pods_start(place: Place) -> None:
    resource = place.resource()
    resource["spec"]["decisions"] = {
        "type": "Webhook",
        "webhook": {"url": "http://127.0.0.1:9/ocpp", "authorizationSecretRef": {"name": "hook", "key": "token"}},
    }
    await place.apply(resource)
    await place.condition("city", "Degraded", "True", "SecretMissing")
    assert not place.kubelet.running  # ContainerCreating: nothing runs without what it mounts
    content: Any = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hook"},
        "data": {"other": b64encode(b"x").decode()},
    }
    await place.request("POST", f"/api/v1/namespaces/{place.namespace}/secrets", content)

    async def told() -> bool:
        condition = await place.condition("city", "Degraded", "True", "SecretMissing")
        return "Secret hook has no key token" in condition["message"].replace(
            " (spec.decisions.webhook.authorizationSecretRef)", ""
        )

    await eventually(told)
    await place.request(
        "PATCH", f"/api/v1/namespaces/{place.namespace}/secrets/hook", {"data": {"token": b64encode(b"t").decode()}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    await settled(place)
    await place.condition("city", "Degraded", "False")


async def test_entries_of_a_pod_whose_clock_is_wrong_are_judged_by_the_stores_clock(
    crd: str, kubernetes: KubernetesServer, namespace: str, kafka: KafkaServer, redis_server: RedisServer
) -> None:
    async with serving(kubernetes, namespace, kafka.bootstrap, redis_server.port, sweep_interval="1") as place:
        prefix = (await place.apply(place.resource()))["spec"]["redis"]["keyPrefix"]
        await settled(place)
        load = await load_of(place)
        try:
            [station] = load.add_stations(1)
            await load.until(lambda: bool(load.connected), 30, "connected")
            living = json.loads(await place.redis.get(f"{prefix}conn:{station}"))
            epoch = living["epoch"] - 120_000_000  # registered two minutes ago, by the store
            for days in (-3650, 3650):
                since = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
                # Of the living pod, which has no such station, and of one that is gone.
                dead = living["incarnation"].replace(living["pod"], "city-gateway-gone", 1)
                for name, holder in (("unknown", living["incarnation"]), ("dead", dead)):
                    entry = {**living, "since": since, "incarnation": holder, "epoch": epoch}
                    await place.redis.set(f"{prefix}conn:{name}{days}", json.dumps(entry, separators=(",", ":")))

            async def left() -> set[str]:
                keys = [key async for key in place.redis.scan_iter(f"{prefix}conn:*", count=1000)]
                return {key.removeprefix(f"{prefix}conn:") for key in keys}

            # Those of the dead go whatever their clock said. A newborn by its own word is spared, and expires by itself.
            spared = {station, "unknown3650"}
            try:
                await load.until_true(lambda: _same(left, spared), 60, "swept")
            except AssertionError:
                assert await left() == spared
                raise
            assert json.loads(await place.redis.get(f"{prefix}conn:{station}"))["epoch"] == living["epoch"]
            await load.serves([station])
        finally:
            await load.close()


async def _same(ask: Callable[[], Awaitable[set[str]]], wished: set[str]) -> bool:
    return await ask() == wished
