"""The operator with exactly the rights that the chart gives it, serving a whole cluster and serving two namespaces.

Who judges is the API server: its admission, and its audit log, where kopf's watches stand beside the operator's own requests. Nothing
was refused, and nothing is granted that a run does not use.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from ocpp_operator.core import kinds, names
from ocpp_operator.core.kinds import Kind
from tests.chart.audit import Asked, Right, granted, used
from tests.chart.conftest import Cluster
from tests.chart.helm import NAMESPACE
from tests.chart.publish import CHART
from tests.operator_cluster.rig import Place, eventually, serving
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import ApiError
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

PATIENCE = 120.0
"""See `HEALS`."""
HEALS = "cannot find RESTMapping for APIVersion chargegateway.io/v1alpha1"
"""The admission plugin of owner references looks for new kinds every half minute: children are refused until then, and made after that."""
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ASKED_BY_ADMISSION = {
    # No request of the operator's: the admission plugin asks it of itself when a child names its owner (see below).
    Right(names.GROUP, f"{names.PLURAL}/finalizers", "update"),
}
POD_MONITORS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{kinds.POD_MONITOR.plural}.{kinds.POD_MONITOR.group}"},
    "spec": {
        "group": kinds.POD_MONITOR.group,
        "scope": "Namespaced",
        "names": {"kind": kinds.POD_MONITOR.kind, "plural": kinds.POD_MONITOR.plural},
        "versions": [
            {
                "name": kinds.POD_MONITOR.version,
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@pytest.fixture
def monitored(empty: Cluster) -> Cluster:
    """With the kind of another project that the operator uses where it is."""
    empty.kubernetes.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(POD_MONITORS))
    return empty


@pytest.fixture
def spaces(monitored: Cluster, fresh_name: Any) -> list[str]:
    """Three namespaces of this test's own."""
    made = [fresh_name(name) for name in ("charging", "depot", "elsewhere")]
    for name in made:
        monitored.kubernetes.make_namespace(name)
    return made


@contextlib.asynccontextmanager
async def installed(
    cluster: Cluster, release: str, namespace: str, kafka: KafkaServer, redis: RedisServer, *values: str
) -> AsyncIterator[Place]:
    """The release, and its operator as a process with the pod's environment and its ServiceAccount; a node in `namespace`."""
    cluster.install(release, f"fullnameOverride={release}", *values)
    deployment = cluster.kubernetes.request("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{release}")
    pod = deployment["spec"]["template"]["spec"]
    token = cluster.kubernetes.service_account_token(NAMESPACE, pod["serviceAccountName"])
    prefix = "CHARGEGATEWAY_OPERATOR_"
    settings = {
        each["name"].removeprefix(prefix).lower(): each.get("value", "")
        for each in pod["containers"][0]["env"]
        if each["name"] in (f"{prefix}WATCH_NAMESPACES", f"{prefix}LEASE_NAMESPACE", f"{prefix}LEASE_NAME")
    }
    kubeconfig = str(cluster.kubernetes.kubeconfig_for(release, token))
    async with serving(
        cluster.kubernetes, namespace, kafka.bootstrap, redis.port, kubeconfig=kubeconfig, **settings
    ) as place:
        yield place


async def counted(place: Place, code: str) -> int:
    """Answers of that kind, by the operator's own count."""
    samples = (await place.operator.metrics()).items()
    name = "chargegateway_operator_api_requests_total"
    return round(sum(value for key, value in samples if key.startswith(name) and f'code="{code}"' in key))


async def nothing_was_refused(cluster: Cluster, place: Place, account: str) -> list[Asked]:
    """Stops the operator; everything that it asked for."""
    forbidden = await counted(place, "403")
    assert await place.operator.stop() == 0
    asked = cluster.audit.of(account)
    refused = [each for each in asked if each.code in (401, 403)]
    assert [each for each in refused if HEALS not in each.message] == []
    assert forbidden == len(refused)
    return asked


async def events(place: Place, reason: str) -> list[dict[str, Any]]:
    found = await place.request("GET", f"/apis/events.k8s.io/v1/namespaces/{place.namespace}/events")
    return [each for each in found["items"] if each["reason"] == reason]


async def children(place: Place) -> list[str]:
    return [
        f"{kind} {each['metadata']['name']}"
        for kind in kinds.CHILDREN
        for each in await place.objects(kind.plural, root(kind))
    ]


def root(kind: Kind) -> str:
    return f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"


# --- the whole cluster --------------------------------------------------------------------------------------------------


async def test_with_the_cluster_role_every_namespace_is_served(
    monitored: Cluster, spaces: list[str], kafka: KafkaServer, redis_server: RedisServer
) -> None:
    namespace = spaces[0]
    async with installed(monitored, "wide", namespace, kafka, redis_server, "crds.install=false") as place:

        async def waits() -> bool:
            return "its CRD is not there" in place.operator.text()

        await eventually(waits, "the operator leads and there is no such kind of resource yet")
        monitored.helm("upgrade", "wide", str(CHART), "--set", "fullnameOverride=wide")
        await monitored.served()
        await place.apply(place.resource())
        await place.condition("city", "Ready", "True", timeout=PATIENCE)
        await eventually(lambda: events(place, "Serving"))
        await place.delete()

        async def gone() -> bool:
            return not await children(place)

        await eventually(gone)
        asked = await nothing_was_refused(monitored, place, "wide")
    watches = {each.namespace for each in asked if each.right.verb == "watch"}
    assert watches == {""}, "one watch per kind, over all namespaces"


async def test_both_modes_give_the_same_rights(monitored: Cluster, spaces: list[str]) -> None:
    monitored.install("wide", "fullnameOverride=wide")
    monitored.install("narrow", "fullnameOverride=narrow", f"watchNamespaces={{{spaces[0]}}}", "crds.install=false")
    everywhere = monitored.kubernetes.request("GET", f"{RBAC}/clusterroles/wide")
    there = monitored.kubernetes.request("GET", f"{RBAC}/namespaces/{spaces[0]}/roles/narrow")
    assert everywhere["rules"] == there["rules"]


# --- two namespaces -----------------------------------------------------------------------------------------------------


async def test_with_roles_two_namespaces_are_served_and_every_right_is_used(
    monitored: Cluster, spaces: list[str], kafka: KafkaServer, redis_server: RedisServer
) -> None:
    namespace, other, elsewhere = spaces
    values = f"watchNamespaces={{{namespace},{other}}}"
    async with installed(monitored, "narrow", namespace, kafka, redis_server, values) as place:
        roles = [
            monitored.kubernetes.request("GET", f"{RBAC}/namespaces/{where}/roles/{name}")
            for where, name in ((namespace, "narrow"), (NAMESPACE, "narrow-lease"))
        ]
        await put_secret(place)
        await monitored.served()
        await place.apply(resource(place))
        await place.condition("city", "Ready", "True", timeout=PATIENCE)

        await tell_the_same_twice(place)
        await take_strays_away(place)
        await place.patch("city", {"replicas": 3})  # another plan replaces the first one
        await place.condition("city", "Ready", "True")

        # In the other namespace a resource is seen, in the third one nobody looks at it.
        for where in (other, elsewhere):
            path = f"/apis/{names.API_VERSION}/namespaces/{where}/{names.PLURAL}"
            body = place.resource("town")
            body["metadata"]["namespace"] = where
            await place.request("POST", path, body)

        async def seen() -> bool:
            path = f"/apis/{names.API_VERSION}/namespaces/{other}/{names.PLURAL}/town"
            return bool((await place.request("GET", path)).get("status", {}).get("conditions"))

        await eventually(seen)
        unseen = await place.request("GET", f"/apis/{names.API_VERSION}/namespaces/{elsewhere}/{names.PLURAL}/town")
        assert not unseen.get("status", {}).get("conditions")

        await place.delete()

        async def gone() -> bool:
            return not await children(place)

        await eventually(gone)
        asked = await nothing_was_refused(monitored, place, "narrow")
    assert {each.namespace for each in asked} == {namespace, other, NAMESPACE}
    may = granted(rule for role in roles for rule in role["rules"])
    assert sorted(map(str, may - used(asked) - ASKED_BY_ADMISSION)) == [], "granted, and nothing uses it"
    assert sorted(map(str, used(asked) - may)) == []
    assert {each.name for each in asked if each.right.resource == "leases" and each.right.verb != "create"} == {
        "narrow"
    }


def resource(place: Place) -> dict[str, Any]:
    """One that has every kind of child, and names a Secret."""
    webhook = {"url": "http://127.0.0.1:9/", "authorizationSecretRef": {"name": "hook", "key": "token"}}
    return place.resource(
        "city",
        autoscaling={"minReplicas": 2, "maxReplicas": 4},
        decisions={"type": "Webhook", "webhook": webhook},
        monitoring={"podMonitor": "Enabled"},
    )


async def put_secret(place: Place) -> None:
    body = {"metadata": {"name": "hook"}, "data": {"token": b64encode(b"Bearer x").decode()}}
    await place.request("POST", f"/api/v1/namespaces/{place.namespace}/secrets", body)


async def tell_the_same_twice(place: Place) -> None:
    """A Secret that goes twice is told in one Event, counted up."""
    for _ in range(2):
        await place.request("DELETE", f"/api/v1/namespaces/{place.namespace}/secrets/hook")
        await place.condition("city", "Degraded", "True", "SecretMissing")
        await put_secret(place)
        await place.condition("city", "Degraded", "False")

    async def one() -> bool:
        return [each.get("series", {}).get("count") for each in await events(place, "SecretMissing")] == [2]

    await eventually(one)


async def take_strays_away(place: Place) -> None:
    """Objects that belong to the resource and are not wished, as an older version may have left them: one of each kind."""
    owner = await place.get()
    strays: list[tuple[Kind, str]] = []
    for kind in kinds.CHILDREN:
        # Revisions are kept for a while: one more than that.
        for number in range(5 if kind == kinds.REVISION else 1):
            strays.append((kind, f"stray-{number}"))
            await place.request(
                "POST", f"/{root(kind)}/namespaces/{place.namespace}/{kind.plural}", stray(kind, owner, strays[-1][1])
            )

    async def gone() -> bool:
        left = [each for each in await children(place) if " stray-" in each]
        return {each.split()[0] for each in left} == {"ControllerRevision"} and len(left) == 4

    await eventually(gone)


def stray(kind: Kind, owner: Mapping[str, Any], name: str) -> dict[str, Any]:
    labels = {"stray": name}
    selector = {"matchLabels": labels}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "none", "image": "none"}]}}
    more: dict[Kind, dict[str, Any]] = {
        kinds.REVISION: {"revision": 0, "data": {}},
        kinds.SERVICE: {"spec": {"clusterIP": "None"}},
        kinds.DISRUPTION_BUDGET: {"spec": {"maxUnavailable": 1, "selector": selector}},
        kinds.NETWORK_POLICY: {"spec": {"podSelector": selector}},
        kinds.AUTOSCALER: {"spec": {"maxReplicas": 1, "scaleTargetRef": target}},
        kinds.DEPLOYMENT: {"spec": {"replicas": 0, "selector": selector, "template": pod}},
    }
    reference = {key: owner[key] for key in ("apiVersion", "kind")} | {
        key: owner["metadata"][key] for key in ("name", "uid")
    }
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "labels": names.labels(owner["metadata"]["name"]),
            "ownerReferences": [{**reference, "controller": True}],
        },
        **more.get(kind, {}),
    }


# --- the right that no request shows ------------------------------------------------------------------------------------


async def test_without_the_right_to_finalizers_children_cannot_name_their_owner(
    monitored: Cluster, spaces: list[str]
) -> None:
    """The same rules but that one, for another account: the API server refuses the child, so the rule is needed."""
    kubernetes, namespace = monitored.kubernetes, spaces[0]
    monitored.install("narrow", "fullnameOverride=narrow", f"watchNamespaces={{{namespace}}}")
    role = kubernetes.request("GET", f"{RBAC}/namespaces/{namespace}/roles/narrow")
    body = {"metadata": {"name": "lesser"}}
    kubernetes.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body)
    rules = [rule for rule in role["rules"] if rule["resources"] != [f"{names.PLURAL}/finalizers"]]
    assert len(rules) == len(role["rules"]) - 1
    kubernetes.request("POST", f"{RBAC}/namespaces/{namespace}/roles", {**body, "rules": rules})
    binding = {
        **body,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lesser"},
        "subjects": [{"kind": "ServiceAccount", "name": "lesser", "namespace": namespace}],
    }
    kubernetes.request("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", binding)
    owner = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "city", "uid": "1"}
    child = {"metadata": {"name": "child", "ownerReferences": [{**owner, "blockOwnerDeletion": True}]}}

    async def answer(account: str, where: str) -> str:
        token = kubernetes.service_account_token(where, account)
        try:
            path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
            await asyncio.to_thread(kubernetes.request, "POST", path, child, token=token)
        except ApiError as error:
            return error.message
        return "admitted"

    async def fully() -> bool:  # rights take a moment to be heard of
        return await answer("narrow", NAMESPACE) == "admitted"

    async def lesser() -> bool:
        return "cannot set blockOwnerDeletion" in await answer("lesser", namespace)

    await eventually(fully)
    await eventually(lesser)
