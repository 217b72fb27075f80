"""A real Kubernetes of one node: pods run, services have addresses, the kubelet keeps Downward API files up to date.

    with Node() as node:
        node.load(images.build("gateway"))
        node.kubectl("apply", "-f", "-", input=manifest)

It lives in a network namespace of its own (`node_ground`), needs root, and there is one at a time on a machine. The host reaches
services and pods by their addresses, pods reach the host at `node.host_address`: brokers and stores for them listen there.
There is no DNS in the cluster and nothing enforces NetworkPolicies.

Everything is taken back at the end, also after a failure; what a run left that was killed, the next one clears first.
"""

import fcntl
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

from tests.testbed import cache, node_components
from tests.testbed.node_ground import HOST_ADDRESS, KUBERNETES_ADDRESS, NODE_ADDRESS, Ground
from tests.testbed.node_logs import PodLogs
from tests.testbed.node_parts import (
    API_URL,
    NODE_NAME,
    ApiServer,
    Containerd,
    ControllerManager,
    Etcd,
    Kubelet,
    KubeProxy,
    Part,
    Place,
    Scheduler,
)
from tests.testbed.node_pki import Pki
from tests.testbed.node_traces import kubelet_runs
from tests.testbed.processes import NotReady

_RUN = Path("/run/chargegateway-node")


class KubectlFailed(Exception):
    """kubectl ended with an error; the text is what it said."""


class Node:
    """See module. `parts` are the processes by name, each with the levers of a `ServerProcess`; `logs` what pods wrote."""

    host_address = HOST_ADDRESS
    url = API_URL

    def __init__(self) -> None:
        self._programs = node_components.programs()
        self._pause = node_components.PAUSE.find()
        self._state = cache.folder() / "node" / "state"
        self._state.parent.mkdir(parents=True, exist_ok=True)
        self.ground = Ground(self._state, _RUN)
        self.parts: dict[str, Part] = {}
        self.keep_logs = False
        self.logs = PodLogs(self._state / "pod-logs", self._state / "kept-logs")
        self._lock: IO[str] | None = None

    @property
    def folders(self) -> list[Path]:
        """Logs of the parts; those of pods are in the kubelet's when they are kept."""
        return [part.folder for part in self.parts.values()]

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """From nothing to a node that is Ready."""
        self._lock = (self._state.parent / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise NotReady("another node runs on this machine, and there can be only one") from None
        self.ground.remove()
        if kubelet_runs():
            raise NotReady("a kubelet runs on this machine, and there can be only one")
        self.ground.make()
        names = [
            NODE_ADDRESS, "127.0.0.1", KUBERNETES_ADDRESS, "localhost", "kubernetes", "kubernetes.default",
            "kubernetes.default.svc",
        ]  # fmt: skip
        self.place = Place(self._state, _RUN, Pki(self._state / "pki", API_URL, NODE_NAME, names), self._programs)
        self.kubeconfig = Path(self.place.pki.file("admin.kubeconfig"))
        self.logs.start()
        # Started together, asked in the order in which they need one another.
        for part in (Etcd, ApiServer, Containerd):
            self._spawn(part)
        self.parts[Containerd.name].wait_until_ready()
        self.load(self._pause)
        self.parts[ApiServer.name].wait_until_ready()
        for later in (ControllerManager, Scheduler, Kubelet, KubeProxy):
            self._spawn(later)
        for part in (ControllerManager, Kubelet, KubeProxy):
            self.parts[part.name].wait_until_ready()

    def _spawn(self, kind: type[Part]) -> None:
        part = kind(self.place)
        self.parts[kind.name] = part
        part.spawn()

    def close(self) -> None:
        """Stop everything, take everything back."""
        if self._lock is None:
            return
        self.logs.stop()
        # The kubelet first: it would start pods again. Containers are the ground's to end.
        order = (Kubelet, KubeProxy, Scheduler, ControllerManager, ApiServer, Etcd, Containerd)
        parts = [self.parts[kind.name] for kind in order if kind.name in self.parts]
        keep = self.keep_logs or any(part.keep_logs for part in parts)  # one's trouble may stand in another's log
        for part in parts:
            part.keep_logs = keep
            part.kill() if part.name in (ApiServer.name, Etcd.name) else part.stop()
            if keep and part.name == Kubelet.name:
                shutil.copytree(self._state / "kept-logs", part.folder / "pods")
            part.close()
        self.ground.remove()
        self._lock.close()
        self._lock = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.keep_logs = True
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- use ----------------------------------------------------------------------------------------------------

    def load(self, archive: Path) -> None:
        """Give the node the images of a docker-archive; pods use them with `imagePullPolicy: Never`."""
        cache.run(*self.place.ctr("images", "import", str(archive)))

    def kubectl(self, *arguments: str, input: str = "", timeout: float = 60.0) -> str:
        """What kubectl says as admin; raises KubectlFailed."""
        done = subprocess.run(
            [str(self._programs["kubectl"]), f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self._state / 'kubectl'}", *arguments],
            input=input, capture_output=True, text=True, check=False, timeout=timeout,
        )  # fmt: skip
        if done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def get(self, path: str) -> Any:
        """GET of an API path as admin, as JSON."""
        return self.place.get(path)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects, server-side."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(document))

    def wait(self, namespace: str, what: str, condition: str, seconds: float = 60) -> None:
        """Until `what` ("pod/x", "deployment/y") has it, as `kubectl wait --for` says it; raises KubectlFailed."""
        arguments = ("wait", f"--namespace={namespace}", f"--for={condition}", what, f"--timeout={seconds:g}s")
        self.kubectl(*arguments, timeout=seconds + 30)

    def pods(self, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """The pods that carry these labels ("app=x,tier=y"), oldest first."""
        found = self.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector={quote(selector)}")["items"]
        return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def namespace(self, name: str) -> str:
        """A namespace that refuses what restricted pod security refuses; returned when pods can be made in it."""
        label = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": label}})
        deadline = time.monotonic() + 30
        while True:
            try:
                self.get(f"/api/v1/namespaces/{name}/serviceaccounts/default")
                return name
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
