"""One resource's life on a real API server: made, repaired, scaled, replaced, refused, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ocpp_operator.adapters.kafka_admin import KafkaAccess, KafkaAdmin
from ocpp_operator.core import names
from ocpp_operator.core.topics import WishedTopic
from tests.operator_cluster.rig import Place, eventually, serving
from tests.operator_core.test_kstatus import kstatus
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import ApiError, KubernetesServer
from tests.testbed.redis import RedisServer

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def place(
    crd: str, kubernetes: KubernetesServer, namespace: str, kafka: KafkaServer, redis_server: RedisServer
) -> AsyncIterator[Place]:
    async with serving(kubernetes, namespace, kafka.bootstrap, redis_server.port) as place:
        yield place


async def test_ten_lines_become_a_gateway_that_serves(place: Place) -> None:
    await place.apply(place.resource())
    await place.condition("city", "Ready", "True")
    there = await place.get()
    status = there["status"]
    assert status["replicas"] == status["readyReplicas"] == 2
    assert status["partitions"] == {"assigned": 16, "unowned": 0, "generation": status["partitions"]["generation"]}
    assert status["addresses"] == [{"listener": "ws", "url": f"ws://city-gateway.{place.namespace}.svc/"}]
    conditions = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
    assert conditions["TopicsReady"] == ("True", "AsWished")
    assert conditions["Hardened"] == ("False", "OpenEnds")
    assert conditions["Degraded"] == ("False", "AsWished")

    prefix = there["spec"]["redis"]["keyPrefix"]
    held = await place.held(prefix)
    assert len(held) == 16
    assert set(held.values()) == set(await place.ready_pods())
    assert sorted(list(held.values()).count(pod) for pod in set(held.values())) == [8, 8]
    # The plan is stored, readable, and what the pods were told.
    plan = await place.request("GET", f"/api/v1/namespaces/{place.namespace}/configmaps/city-plan")
    for pod in await place.pods():
        told = pod["metadata"]["annotations"]["chargegateway.io/command-partitions"]
        assert f"{pod['metadata']['name']} uid={pod['metadata']['uid']}" in plan["data"]["pods"]
        assert told in plan["data"]["pods"]


async def test_what_people_edit_or_delete_is_brought_back_and_what_they_add_stays(place: Place) -> None:
    await place.apply(place.resource())
    await place.condition("city", "Ready", "True")
    service = f"/api/v1/namespaces/{place.namespace}/services/city-gateway"

    edit: Any = {
        "metadata": {"labels": {"team": "grid"}},
        "spec": {"ports": [{"name": "ws", "port": 81, "targetPort": "ws"}]},
    }
    await place.request("PATCH", service, edit, content_type="application/merge-patch+json")

    async def repaired() -> bool:
        return [port["port"] for port in (await place.request("GET", service))["spec"]["ports"]] == [80]

    await eventually(repaired)
    assert (await place.request("GET", service))["metadata"]["labels"]["team"] == "grid"

    budget = f"/apis/policy/v1/namespaces/{place.namespace}/poddisruptionbudgets/city-gateway"
    first = (await place.request("GET", budget))["metadata"]["uid"]
    await place.request("DELETE", budget)

    async def made_again() -> bool:
        try:
            return bool((await place.request("GET", budget))["metadata"]["uid"] != first)
        except ApiError as error:
            if error.status != 404:
                raise
            return False

    await eventually(made_again)


async def test_an_annotation_edited_by_hand_is_set_right(place: Place) -> None:
    await place.apply(place.resource())
    await place.condition("city", "Ready", "True")
    pod = (await place.pods())[0]
    path = f"/api/v1/namespaces/{place.namespace}/pods/{pod['metadata']['name']}"
    told = pod["metadata"]["annotations"]["chargegateway.io/command-partitions"]
    broken = {"metadata": {"annotations": {"chargegateway.io/command-partitions": "0-999"}}}
    await place.request("PATCH", path, broken, content_type="application/merge-patch+json")

    async def right() -> bool:
        return bool(
            (await place.request("GET", path))["metadata"]["annotations"]["chargegateway.io/command-partitions"] == told
        )

    await eventually(right)


async def test_a_pod_that_is_deleted_is_replaced_and_its_partitions_have_owners_again(place: Place) -> None:
    prefix = (await place.apply(place.resource()))["spec"]["redis"]["keyPrefix"]
    await place.condition("city", "Ready", "True")
    before = set(await place.ready_pods())
    victim = sorted(before)[0]
    place.kubelet.running[victim].process.kill()  # and it does not come back in place
    await place.request("DELETE", f"/api/v1/namespaces/{place.namespace}/pods/{victim}?gracePeriodSeconds=0")

    async def owned() -> bool:
        held = await place.held(prefix)
        return len(held) == 16 and victim not in held.values()

    await eventually(owned)

    async def replaced() -> bool:
        now = set(await place.ready_pods())
        return len(now) == 2 and victim not in now

    await eventually(replaced)
    await place.condition("city", "AssignmentConverged", "True")


async def test_scaling_moves_no_more_than_it_must(place: Place) -> None:
    prefix = (await place.apply(place.resource(replicas=2)))["spec"]["redis"]["keyPrefix"]
    await place.condition("city", "Ready", "True")
    two = await place.held(prefix)

    await place.patch("city", {"replicas": 4})

    async def dealt() -> bool:
        held = await place.held(prefix)
        counts = sorted(list(held.values()).count(pod) for pod in set(held.values()))
        return counts == [4, 4, 4, 4]

    await eventually(dealt)
    four = await place.held(prefix)
    assert sum(two[partition] != four[partition] for partition in two) == 8

    await place.patch("city", {"replicas": 1})

    async def alone() -> bool:
        held = await place.held(prefix)
        return len(await place.pods()) == 1 and len(held) == 16 and len(set(held.values())) == 1

    await eventually(alone)
    await place.condition("city", "Ready", "True")


async def test_nothing_is_written_when_nothing_changes(place: Place) -> None:
    await place.apply(place.resource())
    await place.condition("city", "Ready", "True")
    await place.condition("city", "Progressing", "False")

    async def requests() -> dict[str, float]:
        found = await place.operator.metrics()
        return {
            name: value
            for name, value in found.items()
            if "api_requests_total" in name and "leases" not in name and 'verb="watch"' not in name
        }

    async def quiet() -> dict[str, float] | None:
        before = await requests()
        await asyncio.sleep(2)  # an interval to look at, not one to hope for
        return before if before == await requests() else None

    before = await eventually(quiet)
    versions = [each["metadata"]["resourceVersion"] for each in [await place.get(), *await place.pods()]]
    await asyncio.sleep(8)  # the time that is looked at: some twenty looks at the store
    assert before == await requests()
    assert versions == [each["metadata"]["resourceVersion"] for each in [await place.get(), *await place.pods()]]


async def test_a_new_version_rolls_the_pods_one_by_one_and_a_restarted_operator_does_not(place: Place) -> None:
    await place.apply(place.resource())
    await place.condition("city", "Ready", "True")
    before = set(await place.ready_pods())

    place.operator.kill()
    place.operator.start()

    async def leads() -> bool:
        return place.operator.text().count("leading as") == 2

    await eventually(leads)
    await place.patch("city", {"limits": {"messagesPerSecond": 21}})

    async def rolled() -> bool:
        now = set(await place.ready_pods())
        return len(now) == 2 and not now & before and len(await place.pods()) == 2

    await eventually(rolled, timeout=120)
    await place.condition("city", "Ready", "True")
    revisions = await place.objects("controllerrevisions", "apis/apps/v1")
    assert sorted(each["revision"] for each in revisions) == [1, 2]


async def test_a_roll_that_cannot_end_is_a_failure_to_flux_and_the_way_back_ends_it(place: Place) -> None:
    await place.apply(place.resource())
    assert kstatus(await place.get()) == "InProgress"

    async def there() -> bool:
        return kstatus(await place.get()) == "Current"

    await eventually(there)
    before = set(await place.ready_pods())
    place.kubelet.missing_images.add("nowhere/gateway")
    await place.patch("city", {"image": {"repository": "nowhere/gateway"}})
    seen = []

    async def failed() -> bool:
        seen.append(kstatus(await place.get()))
        return seen[-1] == "Failed"

    await eventually(failed)
    assert set(seen) == {"InProgress", "Failed"}
    told = await place.condition("city", "Stalled", "True", "RolloutStuck")
    assert 'does not come up: ImagePullBackOff: Back-off pulling image "nowhere/gateway:' in told["message"]
    await place.condition("city", "Degraded", "True", "RolloutStuck")
    await place.condition("city", "Ready", "True")
    assert set(await place.ready_pods()) == before

    await place.patch("city", {"image": {"repository": None}})
    await eventually(there)
    await place.condition("city", "Degraded", "False")
    assert {each["type"] for each in (await place.get())["status"]["conditions"]}.isdisjoint({"Reconciling", "Stalled"})
    assert set(await place.ready_pods()) == before


async def test_a_missing_secret_is_a_condition_and_ends_when_it_appears(place: Place) -> None:
    resource = place.resource()
    resource["spec"]["redis"]["passwordSecretRef"] = {"name": "later", "key": "password"}
    await place.apply(resource)
    told = await place.condition("city", "Degraded", "True", "SecretMissing")
    assert told["message"].startswith("Secret later (spec.redis.passwordSecretRef) is not there")

    events = await place.request("GET", f"/apis/events.k8s.io/v1/namespaces/{place.namespace}/events")
    assert "SecretMissing" in {each["reason"] for each in events["items"]}


async def test_what_the_brokers_have_otherwise_or_refuse_is_told_and_left_as_it_is(place: Place) -> None:
    brokers = KafkaAdmin(KafkaAccess((place.kafka,)))
    place.kubelet.missing_images.add("nowhere/gateway")  # no pods are needed
    city, town = (place.resource(name, image={"repository": "nowhere/gateway"}) for name in ("city", "town"))
    mailboxes = city["spec"]["kafka"]["topics"]["commandsDown"]["name"]
    await brokers.create([WishedTopic(mailboxes, 8, 1, {"message.timestamp.type": "CreateTime"})])
    before = await brokers.observe([mailboxes])
    town["spec"]["kafka"]["topics"]["replicas"] = 3  # of one broker
    await place.apply(city)
    await place.apply(town)

    told = await place.condition("city", "TopicsReady", "False", "TopicsDiffer")
    assert f"topic {mailboxes} has 8 partitions, 16 are wished" in told["message"]
    assert f"topic {mailboxes} has message.timestamp.type=CreateTime" in told["message"]
    await place.condition("city", "Ready", "False", "TopicsDiffer")
    assert await brokers.observe([mailboxes]) == before

    told = await place.condition("town", "TopicsReady", "False", "TopicsNotCreated")
    assert "cannot be created: " in told["message"]
    assert "eplication factor" in told["message"]
    await place.condition("town", "Degraded", "True", "TopicsNotCreated")


async def test_two_resources_on_the_same_mailboxes_the_older_keeps_them(place: Place) -> None:
    await place.apply(place.resource("city"))
    await place.condition("city", "Ready", "True")
    await asyncio.sleep(1.1)  # creationTimestamp has whole seconds
    await place.apply(place.resource("town", own="city"))
    told = await place.condition("town", "Degraded", "True", "MailboxesTaken")
    assert "city" in told["message"]
    await place.condition("town", "Ready", "False", "MailboxesTaken")
    assert {pod["metadata"]["labels"][names.INSTANCE] for pod in await place.pods()} == {"city"}
    await place.condition("city", "Ready", "True")


async def test_a_deleted_resource_takes_its_children_and_its_keys_along(place: Place) -> None:
    prefix = (await place.apply(place.resource()))["spec"]["redis"]["keyPrefix"]
    await place.condition("city", "Ready", "True")
    assert "finalizers" not in (await place.get())["metadata"]
    await place.delete()

    async def empty() -> bool:
        keys = [key async for key in place.redis.scan_iter(f"{prefix}*", count=1000)]
        return not keys and not await place.pods()

    await eventually(empty)


async def test_a_paused_resource_is_left_alone(place: Place) -> None:
    await place.apply(place.resource())
    await place.condition("city", "Ready", "True")
    paused = {"metadata": {"annotations": {"chargegateway.io/pause-reconciliation": "true"}}}
    path = f"/apis/chargegateway.io/v1alpha1/namespaces/{place.namespace}/chargegateways/city"
    await place.request("PATCH", path, paused, content_type="application/merge-patch+json")
    budget = f"/apis/policy/v1/namespaces/{place.namespace}/poddisruptionbudgets/city-gateway"
    await place.request("DELETE", budget)
    await place.apply(place.resource("town"))
    await place.condition("town", "Ready", "True")  # the operator looked at everything meanwhile
    with pytest.raises(ApiError, match="not found"):
        await place.request("GET", budget)

    await place.request(
        "PATCH", path, {"metadata": {"annotations": {"chargegateway.io/pause-reconciliation": None}}},
        content_type="application/merge-patch+json",
    )  # fmt: skip

    async def back() -> bool:
        return bool(await place.objects("poddisruptionbudgets", "apis/policy/v1"))

    await eventually(back)


async def test_somebody_elses_objects_of_the_same_names_are_named_and_not_touched(place: Place) -> None:
    core, theirs = f"/api/v1/namespaces/{place.namespace}", {"theirs": "eWVz"}
    taken = ("configmaps/city-settings", "configmaps/city-plan", "secrets/city-internal")
    for path in taken:
        plural, _, name = path.partition("/")
        foreign = {"apiVersion": "v1", "metadata": {"name": name}, "data": theirs}
        await place.request("POST", f"{core}/{plural}", foreign)
    await place.apply(place.resource())

    async def all_are_counted() -> bool:
        told = await place.condition("city", "Degraded", "True", "NameTaken")
        return "exists and is not ours" in told["message"] and told["message"].endswith("(and 2 more)")

    await eventually(all_are_counted)
    for path in taken:
        assert (await place.request("GET", f"{core}/{path}"))["data"] == theirs
        await place.request("DELETE", f"{core}/{path}")
    await place.condition("city", "Degraded", "False")
