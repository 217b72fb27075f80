"""Nodes without machines: KWOK plays their kubelets, kube-scheduler deals pods out to them.

A pod of ours starts a second after it has a node, is ready half a second after it was told its partitions (a real gateway is ready
once it serves them, and `fleet` writes that into Redis), and has left two seconds after it was deleted.
All pods show one address: nobody connects to them but the sweep, which asks a few for their connections (`fleet.Fleet`).
"""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ocpp_contract.names import ASSIGNMENT_GENERATION_ANNOTATION
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.kubernetes_components import KUBE_SCHEDULER, KWOK
from tests.testbed.processes import ServerProcess, free_port

Json = dict[str, Any]

PODS_PER_NODE = 100
_ZONES = 3

_STATUS = """\
phase: Running
podIP: {address}
podIPs: [{{ip: {address}}}]
startTime: {{{{ .metadata.creationTimestamp | Quote }}}}
conditions:
- {{type: Ready, status: "{ready}", lastTransitionTime: {{{{ Now | Quote }}}}}}
- {{type: ContainersReady, status: "{ready}", lastTransitionTime: {{{{ Now | Quote }}}}}}
containerStatuses:
{{{{ range .spec.containers }}}}
- name: {{{{ .name | Quote }}}}
  image: {{{{ .image | Quote }}}}
  imageID: ""
  ready: {lower}
  started: true
  restartCount: 0
  state: {{running: {{startedAt: {{{{ Now | Quote }}}}}}}}
{{{{ end }}}}
"""


def stages(address: str) -> list[Json]:
    """How a pod comes, serves and goes."""
    alive = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    leaving = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    pending = {"key": ".status.phase", "operator": "In", "values": ["Pending"]}
    running = {"key": ".status.phase", "operator": "In", "values": ["Running"]}
    told = {"key": f'.metadata.annotations["{ASSIGNMENT_GENERATION_ANNOTATION}"]', "operator": "Exists"}
    unready = {
        "key": '.status.conditions.[] | select( .type == "Ready" ) | .status',
        "operator": "In",
        "values": ["False"],
    }
    return [
        _stage("gateway-starts", [alive, pending], 1_000, {"statusTemplate": _status(address, ready=False)}),
        _stage("gateway-ready", [alive, running, told, unready], 500, {"statusTemplate": _status(address, ready=True)}),
        _stage("gateway-gone", [leaving], 2_000, {"delete": True}),
        # Without a stage for nodes KWOK looks at none, and keeps no leases of theirs.
        _stage("node-stays", [alive], 3_600_000, {"statusTemplate": "phase: Running"}, kind="Node"),
    ]


def _stage(name: str, selector: list[Json], delay_ms: int, following: Json, kind: str = "Pod") -> Json:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": selector},
            "delay": {"durationMilliseconds": delay_ms},
            "next": following,
        },
    }


def _status(address: str, *, ready: bool) -> str:
    return _STATUS.format(address=address, ready=ready, lower=str(ready).lower())


def nodes(pods: int) -> list[Json]:
    """Enough for so many pods and for as many again while they roll, in three zones."""
    size = {"cpu": "256", "memory": "2Ti", "pods": str(2 * PODS_PER_NODE)}
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"kwok-{number:03}",
                "labels": {
                    "kubernetes.io/hostname": f"kwok-{number:03}",
                    "topology.kubernetes.io/zone": f"zone-{number % _ZONES}",
                },
            },
            "status": {
                "capacity": size,
                "allocatable": size,
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "reason": "Played", "message": ""}],
            },
        }
        for number in range(max(_ZONES, math.ceil(pods / PODS_PER_NODE)))
    ]


class Kwok(ServerProcess):
    """The kubelets of all nodes."""

    name = "kwok"

    def __init__(self, kubernetes: KubernetesServer, address: str) -> None:
        self._program = KWOK.find()
        super().__init__()
        self._kubeconfig: Path = kubernetes.kubeconfig
        self._port = free_port()
        (self.folder / "stages.yaml").write_text("\n---\n".join(map(json.dumps, stages(address))))  # JSON is YAML

    def command(self) -> Sequence[str]:
        return [
            str(self._program), f"--kubeconfig={self._kubeconfig}", f"--config={self.folder / 'stages.yaml'}",
            "--manage-all-nodes=true", "--node-lease-duration-seconds=40", f"--server-address=127.0.0.1:{self._port}",
        ]  # fmt: skip

    def answers(self) -> bool:
        return _healthy(self._port)


class Scheduler(ServerProcess):
    """kube-scheduler. Its own pace of 50 requests a second would be what is measured."""

    name = "kube-scheduler"

    def __init__(self, kubernetes: KubernetesServer) -> None:
        self._program = KUBE_SCHEDULER.find()
        super().__init__()
        self._kubeconfig: Path = kubernetes.kubeconfig

    def command(self) -> Sequence[str]:
        file = self._kubeconfig
        return [
            str(self._program), f"--kubeconfig={file}", f"--authentication-kubeconfig={file}",
            f"--authorization-kubeconfig={file}", "--authentication-skip-lookup=true", "--leader-elect=false",
            "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=500",
        ]  # fmt: skip

    def answers(self) -> bool:
        """Not asked: pods that get a node tell."""
        return self.running


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    finally:
        connection.close()
