"""What others do to a resource that serves: they scale it, forbid a child of it, or replace the operator by one of another version.

One resource for all: each test leaves it as it likes to find it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.operator_cluster.rig import Json, Place, eventually, serving
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import ApiError, KubernetesServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
MERGE = "application/merge-patch+json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(
    crd: str, kubernetes: KubernetesServer, kafka: KafkaServer, redis_server: RedisServer
) -> AsyncIterator[Place]:
    namespace = f"t-{secrets.token_hex(4)}"
    kubernetes.make_namespace(namespace)
    async with serving(kubernetes, namespace, kafka.bootstrap, redis_server.port) as place:
        await place.apply(place.resource(replicas=1))
        await place.condition("city", "Ready", "True", timeout=120)
        yield place
    kubernetes.request("DELETE", f"/api/v1/namespaces/{namespace}")


async def deployment(place: Place) -> Json:
    return await place.request("GET", f"/apis/apps/v1/namespaces/{place.namespace}/deployments/city-gateway")


async def service(place: Place) -> Json:
    return await place.request("GET", f"/api/v1/namespaces/{place.namespace}/services/city-gateway")


async def test_what_kubectl_scale_says_is_followed_and_written_back_by_nobody(place: Place) -> None:
    before = (await place.get())["metadata"]["generation"]

    async def follows(replicas: int) -> None:
        async def ask() -> bool:
            return bool((await deployment(place))["spec"]["replicas"] == replicas)

        await eventually(ask)

    await asyncio.to_thread(place.kubernetes.kubectl, "-n", place.namespace, "scale", "cgw/city", "--replicas=2")
    await follows(2)

    scale = f"/apis/chargegateway.io/v1alpha1/namespaces/{place.namespace}/chargegateways/city/scale"
    await place.request("PATCH", scale, {"spec": {"replicas": 1}}, content_type=MERGE)  # as an autoscaler does
    await follows(1)

    async def shown() -> Json | None:
        there = await place.request("GET", scale)
        return there if there["status"]["replicas"] == 1 else None

    there = await eventually(shown)
    assert there is not None
    assert there["spec"]["replicas"] == 1
    assert "app.kubernetes.io/instance=city" in there["status"]["selector"]
    await place.condition("city", "Ready", "True")
    assert (await place.get())["metadata"]["generation"] == before + 2  # only these two wrote into the spec
    assert (await deployment(place))["spec"]["replicas"] == 1


async def test_a_child_that_a_policy_of_the_cluster_refuses_is_named_and_made_when_it_may_be(place: Place) -> None:
    name = f"{place.namespace}-services"
    rules = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["services"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}}
    policy: Json = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"namespaceSelector": here, "resourceRules": [rules]},
            "validations": [{"expression": "false", "message": "Services are the network team's"}],
        },
    }
    binding: Json = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    await place.request("POST", f"{ADMISSION}/validatingadmissionpolicies", policy)
    await place.request("POST", f"{ADMISSION}/validatingadmissionpolicybindings", binding)
    try:

        async def in_force() -> bool:
            path = f"/api/v1/namespaces/{place.namespace}/services/city-gateway?dryRun=All"
            try:
                await place.request("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
            except ApiError as error:
                return "network team" in error.message
            return False

        await eventually(in_force)
        await place.patch("city", {"service": {"annotations": {"example.org/lb": "inner"}}})
        told = await place.condition("city", "Degraded", "True", "ChildRefused")
        assert told["message"].startswith("Service city-gateway: ")
        assert "Services are the network team's" in told["message"]

        async def news() -> bool:
            events = await place.request("GET", f"/apis/events.k8s.io/v1/namespaces/{place.namespace}/events")
            return any(
                each["reason"] == "ChildRefused" and each["type"] == "Warning" and each["regarding"]["name"] == "city"
                for each in events["items"]
            )

        await eventually(news)
    finally:
        await place.request("DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/{name}")
        await place.request("DELETE", f"{ADMISSION}/validatingadmissionpolicies/{name}")

    async def made() -> bool:
        return (await service(place))["metadata"].get("annotations", {}).get("example.org/lb") == "inner"

    await eventually(made)
    await place.condition("city", "Degraded", "False")


async def test_an_operator_of_another_version_rolls_nothing_and_says_which_it_would_run(place: Place) -> None:
    await place.condition("city", "Progressing", "False")
    await place.condition("city", "UpgradeAvailable", "False", "Current")
    running = (await place.get())["status"]["version"]
    pods = {pod["metadata"]["uid"] for pod in await place.pods()}
    template = (await deployment(place))["spec"]["template"]

    await place.operator.stop()
    place.another_operator(version="9.0.0").start()
    told = await place.condition("city", "UpgradeAvailable", "True", "Newer")
    assert f"would run version 9.0.0; pods stay at {running}" in told["message"]

    assert (await place.get())["status"]["version"] == running
    assert (await deployment(place))["spec"]["template"] == template
    assert {pod["metadata"]["uid"] for pod in await place.pods()} == pods
    assert len(await place.objects("controllerrevisions", "apis/apps/v1")) == 1
