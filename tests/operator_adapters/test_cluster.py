"""Writes and reads of the operator on a real API server, and how its refusals arrive."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import kopf
import pytest

from ocpp_operator.adapters import cluster as module
from ocpp_operator.adapters.api_errors import ApiUnavailable, Conflict, FieldOwner, Forbidden, Invalid, NotFound
from ocpp_operator.adapters.cluster import Cluster
from ocpp_operator.adapters.connection import Connection, NoCluster
from ocpp_operator.core import kinds
from ocpp_operator.core.election import NotLeader
from tests.testbed.kubernetes import KubernetesServer

Json = dict[str, Any]


def config_map(namespace: str, name: str = "settings", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def pod(namespace: str, name: str = "p") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": "c"}]},
    }


async def test_an_object_is_made_and_a_field_that_is_no_longer_applied_goes(cluster: Cluster, namespace: str) -> None:
    made = await cluster.apply(config_map(namespace, a="1", b="2"))
    assert made["metadata"]["uid"]
    await cluster.apply(config_map(namespace, a="1"))
    assert (await cluster.get(kinds.CONFIG_MAP, namespace, "settings"))["data"] == {"a": "1"}


async def test_what_somebody_else_made_of_our_field_is_taken_back_and_named(
    cluster: Cluster, kubernetes: KubernetesServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    await cluster.apply(config_map(namespace, a="ours"))
    kubernetes.kubectl(
        "-n", namespace, "patch", "configmap", "settings", "--type=merge", "--field-manager=somebody",
        "-p", json.dumps({"data": {"a": "theirs", "c": "their own"}}),
    )  # fmt: skip

    with caplog.at_level(logging.WARNING):
        stored = await cluster.apply(config_map(namespace, a="ours"))

    assert stored["data"] == {"a": "ours", "c": "their own"}
    [record] = caplog.records
    assert record.getMessage() == f"ConfigMap {namespace}/settings: fields of ours are taken back from somebody"
    assert vars(record)["fields"] == [".data.a"]


async def test_a_status_is_written_apart_from_the_rest(
    cluster: Cluster, kubernetes: KubernetesServer, namespace: str
) -> None:
    """A pod stands for any kind with a status: the path is the same."""
    kubernetes.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod(namespace))
    condition = {"type": "chargegateway.io/Serving", "status": "True"}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace},
        "status": {"conditions": [condition]},
    }
    written = await cluster.apply_status(manifest)
    assert [each["status"] for each in written["status"]["conditions"] if each["type"] == condition["type"]] == ["True"]
    assert written["spec"]["containers"][0]["image"] == "c"


async def test_annotations_of_a_pod_that_changed_meanwhile_are_not_touched(
    cluster: Cluster, kubernetes: KubernetesServer, namespace: str
) -> None:
    seen = kubernetes.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod(namespace))
    version = seen["metadata"]["resourceVersion"]

    patched = await cluster.patch_annotations(
        namespace, "p", {"chargegateway.io/a": "1", "chargegateway.io/b": "2"}, version
    )
    assert patched["metadata"]["annotations"] == {"chargegateway.io/a": "1", "chargegateway.io/b": "2"}

    with pytest.raises(Conflict):
        await cluster.patch_annotations(namespace, "p", {"chargegateway.io/a": "late"}, version)
    patched = await cluster.patch_annotations(
        namespace, "p", {"chargegateway.io/a": None}, patched["metadata"]["resourceVersion"]
    )
    assert patched["metadata"]["annotations"] == {"chargegateway.io/b": "2"}
    with pytest.raises(NotFound):
        await cluster.patch_annotations(namespace, "gone", {}, version)


async def test_of_two_who_store_a_plan_the_second_is_told(cluster: Cluster, namespace: str) -> None:
    first = await cluster.store(config_map(namespace, "plan", generation="1"), None)
    with pytest.raises(Conflict) as taken:
        await cluster.store(config_map(namespace, "plan", generation="9"), None)
    assert taken.value.reason == "AlreadyExists"

    version = first["metadata"]["resourceVersion"]
    await cluster.store(config_map(namespace, "plan", generation="2"), version)
    with pytest.raises(Conflict):
        await cluster.store(config_map(namespace, "plan", generation="2b"), version)
    assert (await cluster.get(kinds.CONFIG_MAP, namespace, "plan"))["data"] == {"generation": "2"}

    with pytest.raises(NotFound):
        await cluster.store(config_map(namespace, "gone", generation="2"), version)


async def test_only_the_object_that_was_meant_is_deleted(cluster: Cluster, namespace: str) -> None:
    made = await cluster.apply(config_map(namespace))
    with pytest.raises(Conflict):
        await cluster.delete(kinds.CONFIG_MAP, namespace, "settings", uid="11111111-2222-3333-4444-555555555555")
    await cluster.delete(kinds.CONFIG_MAP, namespace, "settings", uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await cluster.get(kinds.CONFIG_MAP, namespace, "settings")
    await cluster.delete(kinds.CONFIG_MAP, namespace, "settings")


async def test_a_list_is_complete_whatever_its_pages(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(5):
        manifest = config_map(namespace, f"m{number}")
        manifest["metadata"]["labels"] = {"of": "us" if number else "others"}
        await cluster.apply(manifest)

    listing = await cluster.list(kinds.CONFIG_MAP, namespace, labels="of in (us)")
    assert [item["metadata"]["name"] for item in listing.items] == ["m1", "m2", "m3", "m4"]
    assert int(listing.version) > 0
    everywhere = await cluster.list(kinds.CONFIG_MAP, fields=f"metadata.namespace={namespace},metadata.name=m0")
    assert [item["metadata"]["name"] for item in everywhere.items] == ["m0"]
    assert (await cluster.list(kinds.DEPLOYMENT, namespace)).items == ()


async def test_repeats_of_an_event_are_counted_in_one_object(cluster: Cluster, namespace: str) -> None:
    about = await cluster.apply(config_map(namespace))
    for _ in range(2):
        await cluster.event(about, "Warning", "SecretMissing", "Secret hook is not there", "Reconcile")
    await cluster.event(about, "Normal", "Planned", "x" * 3_000, "Plan")

    told = {event["reason"]: event for event in (await cluster.list(module.EVENT, namespace)).items}
    assert told["SecretMissing"]["series"]["count"] == 2
    assert told["SecretMissing"]["regarding"]["uid"] == about["metadata"]["uid"]
    assert len(told["Planned"]["note"]) == 1_024
    assert "series" not in told["Planned"]


async def test_an_event_whose_object_is_gone_is_told_anew(
    cluster: Cluster, kubernetes: KubernetesServer, namespace: str
) -> None:
    about = config_map(namespace)
    await cluster.event(about, "Normal", "Planned", "three pods", "Plan")
    kubernetes.kubectl("-n", namespace, "delete", "events", "--all")
    await cluster.event(about, "Normal", "Planned", "three pods", "Plan")
    assert len((await cluster.list(module.EVENT, namespace)).items) == 1


async def test_an_event_that_cannot_be_written_is_logged_and_nothing_else(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    await cluster.event(config_map("no-such-namespace"), "Normal", "Planned", "three pods", "Plan")
    assert "event not written" in caplog.text


async def test_who_leads_no_more_writes_nothing_and_may_read(
    connection: Connection, namespace: str, requests: Counter[tuple[str, str, str]]
) -> None:
    def guard() -> None:
        raise NotLeader("the lease is over")

    deposed = Cluster(connection, guard, "operator-1")
    for write in (
        deposed.apply(config_map(namespace)),
        deposed.store(config_map(namespace), None),
        deposed.store(config_map(namespace), "1"),
        deposed.patch_annotations(namespace, "p", {}, "1"),
        deposed.delete(kinds.CONFIG_MAP, namespace, "settings"),
        deposed.event(config_map(namespace), "Normal", "Planned", "three pods", "Plan"),
    ):
        with pytest.raises(NotLeader):
            await write
    assert [key for key in requests if key[2].isdigit()] == []
    there = (await deposed.list(kinds.CONFIG_MAP, namespace)).items
    assert "settings" not in [item["metadata"]["name"] for item in there]


async def test_what_the_api_server_says_of_a_bad_manifest_is_kept(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(Invalid, match=r"metadata.name: Invalid value: \"Bad_Name\""):
        await cluster.apply(config_map(namespace, "Bad_Name"))
    wrong = config_map(namespace) | {"data": [1]}
    with pytest.raises((Invalid, ApiUnavailable), match="data"):
        await cluster.apply(wrong)


async def test_a_missing_right_is_named(kubernetes: KubernetesServer, namespace: str) -> None:
    token = kubernetes.service_account_token(namespace, "default")
    async with await Connection.open(kubeconfig=kubernetes.kubeconfig_for("nobody", token)) as connection:
        cluster = Cluster(connection, lambda: None, "operator-0")
        with pytest.raises(Forbidden, match='cannot patch resource "configmaps"') as refused:
            await cluster.apply(config_map(namespace))
        assert not refused.value.terminating
        assert await cluster.kinds_available() == frozenset()  # discovery is open to whoever has a token


async def test_a_namespace_that_is_going_is_told_from_a_missing_right(
    cluster: Cluster, kubernetes: KubernetesServer
) -> None:
    kubernetes.make_namespace("going")
    held = config_map("going", "holds-it")
    held["metadata"]["finalizers"] = ["chargegateway.io/test"]
    await cluster.store(held, None)
    kubernetes.request("DELETE", "/api/v1/namespaces/going")
    try:
        with pytest.raises(Forbidden) as refused:
            await cluster.apply(config_map("going"))
        assert refused.value.terminating
    finally:
        body = {"metadata": {"finalizers": None}}
        kubernetes.request(
            "PATCH", "/api/v1/namespaces/going/configmaps/holds-it", body, content_type="application/merge-patch+json"
        )


async def test_a_kind_of_another_project_is_found_once_it_is_there(
    cluster: Cluster, kubernetes: KubernetesServer
) -> None:
    assert await cluster.kinds_available() == frozenset()
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"plural": "podmonitors", "singular": "podmonitor", "kind": "PodMonitor"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    kubernetes.kubectl("apply", "-f", "-", input=json.dumps(definition))
    try:
        kubernetes.kubectl(
            "wait", "--for=condition=Established", "crd/podmonitors.monitoring.coreos.com", "--timeout=20s"
        )
        assert await cluster.kinds_available() == {kinds.POD_MONITOR}
    finally:
        kubernetes.kubectl("delete", "crd", "podmonitors.monitoring.coreos.com")


async def test_requests_are_counted(cluster: Cluster, namespace: str, requests: Counter[tuple[str, str, str]]) -> None:
    await cluster.apply(config_map(namespace))
    with pytest.raises(NotFound):
        await cluster.get(kinds.SECRET, namespace, "s")
    assert requests == {("apply", "configmaps", "201"): 1, ("get", "secrets", "404"): 1}


async def test_an_api_server_that_is_away_or_silent_is_unavailable_within_the_time_out(
    private_kubernetes: KubernetesServer,
) -> None:
    counted: Counter[str] = Counter()
    async with await Connection.open(
        kubeconfig=private_kubernetes.kubeconfig, request_timeout=1.0, count=lambda *key: counted.update([key[2]])
    ) as connection:
        cluster = Cluster(connection, lambda: None, "operator-0")
        await cluster.apply(config_map("default", a="1"))

        private_kubernetes.pause_api()
        with pytest.raises(ApiUnavailable, match="no answer within 1 s"):
            await cluster.apply(config_map("default", a="2"))
        private_kubernetes.resume_api()

        private_kubernetes.stop_api()
        with pytest.raises(ApiUnavailable):
            await cluster.list(kinds.POD)
        assert counted == {"201": 1, "timeout": 1, "error": 1}

        await private_kubernetes.start_api_async()
        assert (await cluster.apply(config_map("default", a="3")))["data"] == {"a": "3"}


# --- who we are -------------------------------------------------------------------------------------------------------


async def test_in_a_pod_a_token_that_was_rotated_early_is_read_again(
    kubernetes: KubernetesServer, namespace: str, tmp_path: Path
) -> None:
    shutil.copy(kubernetes.ca_file, tmp_path / "ca.crt")
    (tmp_path / "token").write_text("revoked")
    host, port = kubernetes.url.removeprefix("https://").split(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    async with await Connection.open(environ=environ, service_account=tmp_path) as connection:
        with pytest.raises(ApiUnavailable, match="Unauthorized"):
            await connection.request("get", "version", "GET", "/api/v1")
        (tmp_path / "token").write_text(kubernetes.service_account_token(namespace, "default"))
        assert (await connection.request("get", "version", "GET", "/api/v1"))["kind"] == "APIResourceList"

        (tmp_path / "token").write_text("the next one\n")
        login = kopf.ConnectionInfo(**await connection.login())
        assert login.as_http_headers()["Authorization"] == "bearer the next one"
        assert (login.server, login.ca_path) == (kubernetes.url, str(tmp_path / "ca.crt"))


async def test_others_log_in_as_we_do(connection: Connection, kubernetes: KubernetesServer) -> None:
    login = kopf.ConnectionInfo(**await connection.login())
    assert login.as_http_headers()["Authorization"] == f"Bearer {kubernetes.admin_token}"
    assert (login.server, login.ca_path, login.insecure) == (kubernetes.url, str(kubernetes.ca_file), False)


async def test_without_any_configuration_it_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoCluster, match=r"no kubeconfig at /nowhere, and this is no pod"):
        await Connection.open(environ={"KUBECONFIG": "/nowhere"})
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(NoCluster, match="token file does not exist"):
        await Connection.open(environ=environ, service_account=tmp_path)


async def test_field_owners_of_a_conflict_are_told_one_by_one(
    cluster: Cluster, connection: Connection, kubernetes: KubernetesServer, namespace: str
) -> None:
    await cluster.apply(config_map(namespace, a="1", b="1"))
    with pytest.raises(Conflict) as conflict:
        await connection.request(
            "apply", "configmaps", "PATCH", f"/api/v1/namespaces/{namespace}/configmaps/settings",
            query=[("fieldManager", "other"), ("force", "false")],
            body=config_map(namespace, a="2", b="2"), content_type="application/apply-patch+yaml",
        )  # fmt: skip
    assert set(conflict.value.owners) == {
        FieldOwner("chargegateway-operator", ".data.a"),
        FieldOwner("chargegateway-operator", ".data.b"),
    }
