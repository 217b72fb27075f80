"""The node itself: what the tests of the product take for granted."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable

import pytest

from tests.e2e.pods import PYTHON, container, pod, service
from tests.system.site import until
from tests.testbed.node import KubectlFailed, Node
from tests.testbed.node_parts import PAUSE_IMAGE, ApiServer, Kubelet

PODINFO = {
    "name": "podinfo",
    "downwardAPI": {"items": [{"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}]},
}


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return str(answer.read().decode())


def answers(url: str, text: str) -> Callable[[], object]:
    async def asked() -> bool:
        try:
            return text in await asyncio.to_thread(read, url)
        except OSError:
            return False

    return asked


@pytest.fixture
def podinfo_url(node: Node, node_namespace: str, gateway_image: str) -> str:
    """A pod that shows its own annotations, through a Service."""
    command = (PYTHON, "-m", "http.server", "8000", "--directory", "/podinfo")
    main = container(gateway_image, *command, volumeMounts=[{"name": "podinfo", "mountPath": "/podinfo"}])
    node.apply(
        pod(node_namespace, "web", main, volumes=[PODINFO], terminationGracePeriodSeconds=1),
        service(node_namespace, "web", 80, 8000),
    )
    node.wait(node_namespace, "pod/web", "condition=Ready")
    address = node.get(f"/api/v1/namespaces/{node_namespace}/services/web")["spec"]["clusterIP"]
    return f"http://{address}/annotations"


def test_a_pod_runs(node: Node, node_namespace: str, measured: Callable[[str], None]) -> None:
    began = time.monotonic()
    # The image names no user, so the pod has to.
    main = container(PAUSE_IMAGE) | {"securityContext": container("")["securityContext"] | {"runAsUser": 65532}}
    node.apply(pod(node_namespace, "pause", main))
    node.wait(node_namespace, "pod/pause", "condition=Ready")
    measured(f"node: a pod Ready {time.monotonic() - began:.1f} s after kubectl apply")


def test_pods_that_want_rights_are_refused(node: Node, node_namespace: str) -> None:
    wish = pod(node_namespace, "root", container(PAUSE_IMAGE))
    wish["spec"]["securityContext"] = {}
    with pytest.raises(KubectlFailed, match='violates PodSecurity "restricted'):
        node.apply(wish)


async def test_the_host_reaches_a_service_and_an_annotation_reaches_its_file(
    node: Node, node_namespace: str, podinfo_url: str, measured: Callable[[str], None]
) -> None:
    await until(answers(podinfo_url, ""), "the Service answers", 20)
    took = []
    for number in range(3):
        began = time.monotonic()
        value = f"0-{number}"
        key = "chargegateway.io/command-partitions"
        node.kubectl("annotate", "--namespace", node_namespace, "--overwrite", "pod/web", f"{key}={value}")
        await until(answers(podinfo_url, f'{key}="{value}"'), "the kubelet writes the file", 120)
        took.append(time.monotonic() - began)
    measured(f"node: annotation in the pod's file after {', '.join(f'{each:.1f}' for each in took)} s")


async def test_pods_and_services_live_on_without_the_api_server_and_the_kubelet(
    node: Node, node_namespace: str, podinfo_url: str
) -> None:
    await until(answers(podinfo_url, ""), "the Service answers", 20)
    api, kubelet = node.parts[ApiServer.name], node.parts[Kubelet.name]
    try:
        api.kill()
        kubelet.kill()
        assert "kubernetes.io/config.seen" in read(podinfo_url)
    finally:
        api.start()
        kubelet.start()
    key = "chargegateway.io/assignment-generation"
    node.kubectl("annotate", "--namespace", node_namespace, "pod/web", f"{key}=7")
    await until(answers(podinfo_url, f'{key}="7"'), "the kubelet writes again", 120)
    assert node.pods(node_namespace)[0]["status"]["containerStatuses"][0]["restartCount"] == 0
