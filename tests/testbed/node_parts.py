"""The processes of the test node, each with the flags it needs here and the question that tells whether it is ready."""

import http.client
import json
import ssl
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.node_ground import (
    BRIDGE_NETWORK,
    CONTROL_GROUP,
    NODE_ADDRESS,
    POD_RANGE,
    SERVICE_RANGE,
    inside,
)
from tests.testbed.node_pki import Pki
from tests.testbed.processes import ServerProcess

NODE_NAME = "node1"
API_URL = f"https://{NODE_ADDRESS}:6443"
PAUSE_IMAGE = "localhost/chargegateway/pause:1"
_ETCD = "http://127.0.0.1:2379"
_CLUSTER_DNS = "10.202.0.10"  # nobody answers there: pods reach services by address or environment variable


@dataclass(frozen=True, slots=True)
class Place:
    """What all parts share."""

    state: Path
    run: Path
    pki: Pki
    programs: Mapping[str, Path]

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    def ctr(self, *arguments: str) -> list[str]:
        """containerd's own client, in the kubelet's namespace of containers and images."""
        return [str(self.programs["ctr"]), "-a", str(self.containerd_socket), "-n", "k8s.io", *arguments]

    def get(self, path: str) -> Any:
        """GET from the API server as admin. Raises OSError while it is not up."""
        context = ssl.create_default_context(cafile=self.pki.file("ca.crt"))
        request = urllib.request.Request(API_URL + path)
        request.add_header("Authorization", f"Bearer {self.pki.tokens['admin']}")
        with urllib.request.urlopen(request, timeout=1.0, context=context) as answer:
            body = answer.read()
        return json.loads(body) if body.startswith((b"{", b"[")) else body.decode()


class Part(ServerProcess):
    """A process of the node, in the node's network."""

    start_timeout = 90.0

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    def arguments(self) -> Sequence[str]:
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        return inside(str(self.place.programs[self.name]), *self.arguments())

    def answers(self) -> bool:
        """Raises OSError (urllib's errors are some) when it does not."""
        try:
            return self.ready()
        except http.client.HTTPException:  # hung up in the middle of an answer, while it starts
            return False

    def ready(self) -> bool:
        raise NotImplementedError


class Etcd(Part):
    """Not asked by itself: the API server is ready only when this is."""

    name = "etcd"

    def arguments(self) -> Sequence[str]:
        peers = "http://127.0.0.1:2380"
        return [
            "--data-dir", str(self.place.state / "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
            "--listen-client-urls", _ETCD, "--advertise-client-urls", _ETCD, "--listen-peer-urls", peers,
            "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}",
        ]  # fmt: skip

    def ready(self) -> bool:
        return self.running


class ApiServer(Part):
    name = "kube-apiserver"

    def arguments(self) -> Sequence[str]:
        file = self.place.pki.file
        return [
            f"--etcd-servers={_ETCD}", "--bind-address=0.0.0.0", f"--advertise-address={NODE_ADDRESS}", "--secure-port=6443",
            f"--tls-cert-file={file('apiserver.crt')}", f"--tls-private-key-file={file('apiserver.key')}",
            f"--client-ca-file={file('ca.crt')}", f"--token-auth-file={file('tokens.csv')}",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={file('service-accounts.key')}",
            f"--service-account-signing-key-file={file('service-accounts.key')}", f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--kubelet-client-certificate={file('apiserver-kubelet.crt')}",
            f"--kubelet-client-key={file('apiserver-kubelet.key')}", f"--kubelet-certificate-authority={file('ca.crt')}",
            "--kubelet-preferred-address-types=InternalIP", "--profiling=false",
        ]  # fmt: skip

    def ready(self) -> bool:
        return bool(self.place.get("/readyz") == "ok")


class ControllerManager(Part):
    name = "kube-controller-manager"

    def arguments(self) -> Sequence[str]:
        file = self.place.pki.file
        kubeconfig = file("kube-controller-manager.kubeconfig")
        return [
            f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
            "--authentication-skip-lookup=true", "--bind-address=127.0.0.1", "--leader-elect=false",
            "--use-service-account-credentials=true", f"--service-account-private-key-file={file('service-accounts.key')}",
            f"--root-ca-file={file('ca.crt')}", f"--cert-dir={self.place.state / 'controller-manager'}",
            "--kube-api-qps=300", "--kube-api-burst=500",
        ]  # fmt: skip

    def ready(self) -> bool:
        """It works when it has made the first service account."""
        return bool(self.place.get("/api/v1/namespaces/default/serviceaccounts/default"))


class Scheduler(Part):
    """Not asked: pods that get a node tell."""

    name = "kube-scheduler"

    def arguments(self) -> Sequence[str]:
        kubeconfig = self.place.pki.file("kube-scheduler.kubeconfig")
        return [
            f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
            "--authentication-skip-lookup=true", "--bind-address=127.0.0.1", "--leader-elect=false",
            f"--cert-dir={self.place.state / 'scheduler'}",
        ]  # fmt: skip

    def ready(self) -> bool:
        return self.running


class Containerd(Part):
    """Everything of it in the node's folders; `stop` ends the containers too."""

    name = "containerd"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        networks = place.state / "cni"
        networks.mkdir()
        (networks / "10-bridge.conflist").write_text(json.dumps(_network(place.state)))
        self._configuration = place.state / "containerd.toml"
        self._configuration.write_text(
            _CONTAINERD.format(
                root=place.state / "containerd",
                run=place.run / "containerd",
                socket=place.containerd_socket,
                pause=PAUSE_IMAGE,
                plugins=place.programs["host-local"].parent,
                networks=networks,
                runc=place.programs["runc"],
            )
        )

    def arguments(self) -> Sequence[str]:
        return ["--config", str(self._configuration)]

    def ready(self) -> bool:
        asked = subprocess.run(self.place.ctr("version"), capture_output=True, check=False, timeout=5)
        return asked.returncode == 0


class Kubelet(Part):
    name = "kubelet"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._configuration = place.state / "kubelet.json"
        self._configuration.write_text(json.dumps(_kubelet(place)))

    def arguments(self) -> Sequence[str]:
        return [
            f"--config={self._configuration}", f"--kubeconfig={self.place.pki.file('kubelet.kubeconfig')}",
            f"--root-dir={self.place.state / 'kubelet'}", f"--hostname-override={NODE_NAME}", f"--node-ip={NODE_ADDRESS}",
        ]  # fmt: skip

    def ready(self) -> bool:
        conditions = self.place.get(f"/api/v1/nodes/{NODE_NAME}")["status"].get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


class KubeProxy(Part):
    name = "kube-proxy"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._configuration = place.state / "kube-proxy.json"
        self._configuration.write_text(
            json.dumps(
                {
                    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                    "kind": "KubeProxyConfiguration",
                    "mode": "nftables",
                    "hostnameOverride": NODE_NAME,
                    "clientConnection": {"kubeconfig": place.pki.file("kube-proxy.kubeconfig")},
                    "clusterCIDR": POD_RANGE,
                    "bindAddress": NODE_ADDRESS,
                    "healthzBindAddress": f"{NODE_ADDRESS}:10256",
                    "metricsBindAddress": "127.0.0.1:10249",
                    "oomScoreAdj": 0,
                    # The limits belong to the whole machine: leave them alone.
                    "conntrack": {
                        "maxPerCore": 0,
                        "min": 0,
                        "tcpEstablishedTimeout": "0s",
                        "tcpCloseWaitTimeout": "0s",
                    },
                }
            )
        )

    def arguments(self) -> Sequence[str]:
        return [f"--config={self._configuration}"]

    def ready(self) -> bool:
        with urllib.request.urlopen(f"http://{NODE_ADDRESS}:10256/healthz", timeout=1.0) as answer:
            return bool(answer.status == 200)


def _network(state: Path) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(state / "addresses"),
    }
    bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "ipMasq": False, "hairpinMode": True}
    return {"cniVersion": "0.4.0", "name": BRIDGE_NETWORK, "plugins": [{**bridge, "ipam": addresses}]}


def _kubelet(place: Place) -> dict[str, Any]:
    file = place.pki.file
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CONTROL_GROUP}",
        # Not in a user namespace: this gate is what makes the kubelet put up with settings that it may not change.
        "featureGates": {"KubeletInUserNamespace": True},
        "containerRuntimeEndpoint": f"unix://{place.containerd_socket}",
        "address": NODE_ADDRESS,
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": file("ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": file("kubelet.crt"),
        "tlsPrivateKeyFile": file("kubelet.key"),
        "podLogsDir": str(place.state / "pod-logs"),
        "volumePluginDir": str(place.state / "volume-plugins"),
        "clusterDNS": [_CLUSTER_DNS],
        "resolvConf": "",
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
    }


_CONTAINERD = """\
version = 2
root = "{root}"
state = "{run}"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  netns_mounts_under_state_dir = true   # never among the host's own
  restrict_oom_score_adj = true         # without CAP_SYS_RESOURCE nothing may go below our own score
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        Root = "{run}/runc"
        SystemdCgroup = false
"""
