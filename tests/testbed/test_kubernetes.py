"""The Kubernetes API of the test bed is the real one: it refuses, validates, controls and collects as a cluster does."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.testbed.kubernetes import ApiError, KubectlFailed, KubernetesServer
from tests.testbed.processes import NotReady

Answer = TypeVar("Answer")

WINDOWS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: windows.testbed.example.org}
spec:
  group: testbed.example.org
  scope: Namespaced
  names: {plural: windows, singular: window, kind: Window}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [first, last]
            properties: {first: {type: integer}, last: {type: integer}, fixed: {type: boolean}}
            x-kubernetes-validations:
            - {rule: "self.first <= self.last", message: "first must not exceed last"}
            - {rule: "!has(oldSelf.fixed) || !oldSelf.fixed || self == oldSelf", message: "a fixed window cannot change"}
"""

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
"""


def window(first: int, last: int, fixed: bool = False) -> str:
    return json.dumps(
        {
            "apiVersion": "testbed.example.org/v1",
            "kind": "Window",
            "metadata": {"name": "w"},
            "spec": {"first": first, "last": last, "fixed": fixed},
        }
    )


def eventually(ask: Callable[[], Answer], timeout: float = 20.0) -> Answer:
    """What `ask` answers once that is true."""
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r} after {timeout:.0f} s"
        time.sleep(0.05)
    return answer


def pods(kubernetes: KubernetesServer, namespace: str) -> list[str]:
    return kubernetes.kubectl("-n", namespace, "get", "pods", "-o", "name").split()


def test_it_is_the_pinned_version_on_loopback(kubernetes: KubernetesServer) -> None:
    assert kubernetes.request("GET", "/version")["gitVersion"] == "v1.36.3"
    assert kubernetes.url.startswith("https://127.0.0.1:")


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(
    kubernetes: KubernetesServer, namespace: str
) -> None:
    kubectl = ("-n", namespace)
    kubernetes.kubectl(*kubectl, "create", "serviceaccount", "reader")
    kubernetes.kubectl(*kubectl, "create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    kubernetes.kubectl(
        *kubectl, "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:reader"
    )
    token = kubernetes.service_account_token(namespace, "reader")
    configmaps = f"/api/v1/namespaces/{namespace}/configmaps"

    allowed = eventually(
        lambda: _tried(kubernetes, configmaps, token)
    )  # the authorizer hears of the binding by a watch
    assert [each["metadata"]["name"] for each in allowed["items"]] == ["kube-root-ca.crt"]
    with pytest.raises(ApiError, match=rf"system:serviceaccount:{namespace}:reader.* cannot list resource .secrets"):
        kubernetes.request("GET", f"/api/v1/namespaces/{namespace}/secrets", token=token)
    with pytest.raises(KubectlFailed, match="Forbidden"):
        kubernetes.kubectl(
            *kubectl, "delete", "configmap", "kube-root-ca.crt",
            kubeconfig=kubernetes.kubeconfig_for("reader", token),
        )  # fmt: skip


def _tried(kubernetes: KubernetesServer, path: str, token: str) -> dict[str, list[dict[str, dict[str, str]]]]:
    try:
        return kubernetes.request("GET", path, token=token)
    except ApiError as refusal:
        if refusal.status != 403:
            raise
        return {}


def test_cel_rules_of_a_crd_are_enforced_on_creation_and_change(kubernetes: KubernetesServer, namespace: str) -> None:
    kubernetes.kubectl("apply", "-f", "-", input=WINDOWS)
    try:
        kubernetes.kubectl("wait", "--for=condition=Established", "crd/windows.testbed.example.org", "--timeout=20s")
        apply = ("-n", namespace, "apply", "-f", "-")
        with pytest.raises(KubectlFailed, match="first must not exceed last"):
            kubernetes.kubectl(*apply, input=window(9, 5))
        kubernetes.kubectl(*apply, input=window(1, 5, fixed=True))
        with pytest.raises(KubectlFailed, match="a fixed window cannot change"):
            kubernetes.kubectl(*apply, input=window(2, 5, fixed=True))
    finally:
        kubernetes.kubectl("delete", "crd", "windows.testbed.example.org", "--wait=false")


def test_a_deployment_makes_its_pods_and_they_go_with_it(kubernetes: KubernetesServer, namespace: str) -> None:
    kubernetes.kubectl("-n", namespace, "apply", "-f", "-", input=DEPLOYMENT)
    made = eventually(lambda: len(there := pods(kubernetes, namespace)) == 2 and there)
    assert made
    assert all(name.startswith("pod/web-") for name in made)

    kubernetes.kubectl("-n", namespace, "delete", "deployment", "web", "--cascade=background")
    eventually(lambda: not pods(kubernetes, namespace))


def test_a_namespace_is_ready_for_pods_and_a_test_has_its_own(kubernetes: KubernetesServer, namespace: str) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "c"}]}}
    kubernetes.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    assert pods(kubernetes, namespace) == ["pod/p"]


def test_an_api_server_comes_back_with_what_it_knew(private_kubernetes: KubernetesServer) -> None:
    private_kubernetes.make_namespace("kept")

    private_kubernetes.stop_api()
    with pytest.raises(ConnectionRefusedError):
        private_kubernetes.request("GET", "/api/v1/namespaces/kept")
    private_kubernetes.start_api()
    assert private_kubernetes.request("GET", "/api/v1/namespaces/kept")["status"]["phase"] == "Active"

    private_kubernetes.pause_api()
    with pytest.raises(TimeoutError):
        private_kubernetes.api.ask("GET", "/version", timeout=0.5)
    private_kubernetes.resume_api()
    assert private_kubernetes.api.ask("GET", "/version")[0] == 200


def test_closing_leaves_no_process_and_no_file() -> None:
    with KubernetesServer() as kubernetes:
        pids = list(kubernetes.pids)
        assert len(pids) == 3
        folders = kubernetes.folders
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not [folder for folder in folders if folder.exists()]


def test_a_server_that_cannot_start_leaves_its_log_and_nothing_that_runs() -> None:
    kubernetes = KubernetesServer(api_arguments=("--no-such-flag",))
    with pytest.raises(NotReady, match="unknown flag: --no-such-flag"), kubernetes:
        pass
    assert kubernetes.pids == []
    assert all(folder.exists() for folder in kubernetes.folders)
    kubernetes.keep_logs = False
    kubernetes.close()
