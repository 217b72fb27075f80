"""`chargegateway doctor` as a person types it, against a real API server with the operator and pods that run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.operator_cluster.rig import Place, eventually, serving
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.redis import RedisServer

pytestmark = pytest.mark.timeout(240)

PROGRAM = [sys.executable, "-c", "from ocpp_client.cli import main; main()", "doctor"]


@pytest.fixture
async def place(
    crd: str, kubernetes: KubernetesServer, namespace: str, kafka: KafkaServer, redis_server: RedisServer
) -> AsyncIterator[Place]:
    async with serving(kubernetes, namespace, kafka.bootstrap, redis_server.port) as place:
        yield place


async def doctor(
    kubeconfig: Path | None, *arguments: str, program: list[str] = PROGRAM
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("KUBECONFIG", "HOME")}
    environment |= {"HOME": "/nowhere"} | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
    return await asyncio.to_thread(
        subprocess.run, [*program, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


async def examined(place: Place, *arguments: str) -> tuple[int, dict[str, Any]]:
    here = ("-n", place.namespace, "--operator-namespace", place.namespace, "--json")
    done = await doctor(place.kubernetes.kubeconfig, *arguments, *here)
    assert not done.stderr
    return done.returncode, json.loads(done.stdout)


def reasons(document: dict[str, Any], level: str = "trouble") -> set[str]:
    found = [*document["cluster"], *(each for one in document["resources"] for each in one["findings"])]
    return {each["reason"] for each in found if each["level"] == level}


async def test_a_healthy_one_and_then_a_missing_secret_and_then_no_operator(place: Place) -> None:
    await place.apply(place.resource())
    await place.condition("city", "Ready", "True")
    await place.condition("city", "Progressing", "False")
    code, document = await examined(place, "city")
    assert (code, document["healthy"], document["troubles"]) == (0, True, 0), document
    assert {"Serving", "Leads"} <= reasons(document, "ok")
    assert "OpenEnds" in reasons(document, "note")
    assert "2 of 2 pods ready" in document["resources"][0]["summary"]

    town = place.resource("town")
    town["spec"]["redis"]["passwordSecretRef"] = {"name": "later", "key": "password"}
    await place.apply(town)
    await place.condition("town", "Degraded", "True", "SecretMissing")
    done = await doctor(place.kubernetes.kubeconfig, "-n", place.namespace, "--operator-namespace", place.namespace)
    assert done.returncode == 1
    assert f"ChargeGateway {place.namespace}/city: version" in done.stdout
    assert "Secret later (spec.redis.passwordSecretRef) is not there" in done.stdout
    assert "-> create the Secret or correct its name and key in the spec" in done.stdout
    assert done.stdout.rstrip().endswith("found.")

    await place.operator.stop()
    await place.patch("city", {"replicas": 3})
    code, document = await examined(place, "city")
    assert code == 1
    assert reasons(document) >= {"Stale", "NoLeader"}


async def test_pods_that_are_gone_for_good_and_what_was_never_there(place: Place) -> None:
    await place.apply(place.resource())
    await place.condition("city", "Ready", "True")
    pod = (await place.pods())[0]["metadata"]["name"]
    place.kubelet.kill(pod)

    async def told() -> bool:
        _, document = await examined(place, "city")
        return any(each["subject"] == f"pod {pod}" for one in document["resources"] for each in one["findings"])

    await eventually(told)
    code, document = await examined(place, "nobody")
    assert (code, reasons(document)) == (1, {"NotFound"})
    assert document["cluster"][0]["step"] == "there: city"


async def test_without_rights_without_a_kind_and_without_a_cluster(
    crd: str, kubernetes: KubernetesServer, namespace: str, tmp_path: Path
) -> None:
    kubernetes.request(
        "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "guest"}}
    )  # fmt: skip
    guest = kubernetes.kubeconfig_for(f"guest-{namespace}", kubernetes.service_account_token(namespace, "guest"))
    done = await doctor(guest, "city", "-n", namespace)
    assert done.returncode == 1
    assert "Forbidden: chargegateways.chargegateway.io" in done.stdout
    assert "ClusterRole view" in done.stdout

    done = await doctor(kubernetes.kubeconfig, "-n", namespace, "--operator-namespace", namespace)
    assert done.returncode == 1
    assert f"there is no ChargeGateway in namespace {namespace}" in done.stdout
    assert "NoOperator: no Lease of an operator was found" in done.stdout

    done = await doctor(None)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("chargegateway doctor: which cluster? no kubeconfig at")
    assert (await doctor(None, "--nonsense")).returncode == 2

    closed = tmp_path / "closed.kubeconfig"
    closed.write_text(kubernetes.kubeconfig.read_text().replace(kubernetes.url, "https://127.0.0.1:1"))
    done = await doctor(closed, "city")
    assert done.returncode == 1
    assert "API server  Unavailable" in done.stdout


async def test_a_cluster_that_does_not_know_the_kind(private_kubernetes: KubernetesServer) -> None:
    for arguments in ((), ("city",)):
        done = await doctor(private_kubernetes.kubeconfig, *arguments)
        assert done.returncode == 1
        assert "CRD  NotInstalled" in done.stdout
        assert "kubectl apply --server-side -f crds/" in done.stdout


async def test_without_the_kubernetes_package_it_says_what_to_install() -> None:
    """And the other commands are none the wiser."""
    without = "import sys; sys.modules['kubernetes'] = None; from ocpp_client.cli import main; main()"
    done = await doctor(None, program=[sys.executable, "-c", without, "doctor"])
    assert done.returncode == 2
    assert "in a checkout of the repository: pip install '.[client,operator]'" in done.stderr
    assert (await doctor(None, program=[sys.executable, "-c", without, "--help"])).returncode == 0
