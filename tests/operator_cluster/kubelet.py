"""Plays the kubelet of one machine: gateway pods of a real API server run as real gateway processes on loopback.

    async with Kubelet(kubernetes, namespace) as kubelet: ...

Each pod has a loopback address of its own (its podIP) on which it listens on the ports of its manifest. What the manifest mounts is
written below a folder of the pod and kept up to date: settings, Secrets, and the annotations as the Downward API shows them. Readiness
comes from the pod's own /readyz; a deleted pod gets SIGTERM and its grace period, one whose process ended is started again in place.

What is not played: images (but for those that `missing_images` names), resources, the network policy. The real node (`make e2e`)
has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Self

import aiohttp

from ocpp_contract.assignment import format_annotations_file
from ocpp_operator.core import names
from tests.testbed.kubernetes import ApiError, KubernetesServer

NODE = "loopback"
DIE_WITH_PARENT = Path(__file__).parents[1] / "testbed" / "die_with_parent.py"
_MOUNTED = "/etc/chargegateway"
_addresses = itertools.count(10)
_NETWORK = 20 + os.getpid() % 200
"""Second octet of the pods' addresses: runs beside each other on one machine stay apart."""


@dataclass(slots=True)
class Running:
    """One pod with its process."""

    name: str
    uid: str
    ip: str
    folder: Path
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    grace: float
    told: str = ""
    ready: bool | None = None
    leaving: float | None = None
    """When it got SIGTERM."""
    restarts: int = 0
    files: dict[Path, bytes] = field(default_factory=dict)


class Kubelet:
    """See module. `settings` are more of the gateways' own (without CHARGEGATEWAY_), to hurry them."""

    def __init__(self, kubernetes: KubernetesServer, namespace: str, settings: Mapping[str, str] | None = None) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._settings = dict(settings or {})
        self._folder = Path(tempfile.mkdtemp(prefix="chargegateway-kubelet-"))
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._task: asyncio.Task[None] | None = None
        self.running: dict[str, Running] = {}
        """By pod name."""
        self.paused = False
        """Looks at nothing: as a node that went silent."""
        self.restart_in_place = True
        self.lingering: set[str] = set()
        """Pods that do not go although they ended, as when a volume is not let go."""
        self.missing_images: set[str] = set()
        """Repositories that no registry has."""
        self.trouble: list[str] = []
        self._heartbeat = 0.0

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._register)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0))
        self._task = asyncio.create_task(self._run(), name="kubelet")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                self.trouble.append(repr(error))
        for pod in self.running.values():
            pod.process.kill()
            pod.process.wait()
            pod.log.close()
        await self._http.close()
        if not self.trouble:  # otherwise its logs are for whoever looks
            shutil.rmtree(self._folder, ignore_errors=True)

    def log_of(self, name: str) -> str:
        """What the pod's process wrote."""
        return (self._folder / name / "log").read_text(errors="replace")

    def url(self, name: str, port: int = 8000) -> str:
        """Where stations reach this very pod."""
        return f"ws://{self.running[name].ip}:{port}/"

    def ready(self) -> list[str]:
        """Pods that a Service would send somebody to."""
        return sorted(name for name, pod in self.running.items() if pod.ready and pod.leaving is None)

    def kill(self, name: str) -> None:
        """SIGKILL for the pod's process."""
        self.running[name].process.kill()

    # --- the loop -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            if not self.paused:
                try:
                    await self._look()
                except (OSError, HTTPException):  # the API server is away or goes: that is what some tests are about
                    pass
                except ApiError as error:
                    # 429 and 5xx: it is starting or stopping.
                    if error.status not in (403, 404, 409, 429) and error.status < 500:
                        self.trouble.append(str(error))
            await asyncio.sleep(0.1)

    async def _look(self) -> None:
        if time.monotonic() - self._heartbeat > 8:
            await asyncio.to_thread(self._beat)
            self._heartbeat = time.monotonic()
        selector = f"{names.MANAGED_BY}={names.FIELD_OWNER}"
        listed = await asyncio.to_thread(self._kubernetes.request, "GET", f"{self._pods}?labelSelector={selector}")
        pods = {pod["metadata"]["name"]: pod for pod in listed["items"]}
        for name, pod in pods.items():
            if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
                continue
            if name not in self.running:
                if "deletionTimestamp" not in pod["metadata"]:
                    await self._start(pod)
                else:
                    await asyncio.to_thread(self._forget, name)
            else:
                await self._keep(self.running[name], pod)
        for name in self.running.keys() - pods.keys():  # deleted by force
            await self._end(self.running.pop(name))

    async def _start(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        if not pod["spec"].get("nodeName"):
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name},
                "target": {"kind": "Node", "name": NODE},
            }
            await asyncio.to_thread(self._kubernetes.request, "POST", f"{self._pods}/{name}/binding", binding)
        image = pod["spec"]["containers"][0]["image"]
        if image.rpartition(":")[0] in self.missing_images:
            await self._wait_for(name, image)
            return
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        number = next(_addresses)
        ip = f"127.{_NETWORK}.{number // 250}.{number % 250 + 1}"
        files = await self._mounted(pod, folder)
        if files is None:  # ContainerCreating, as a kubelet that waits for a ConfigMap or Secret
            return
        _write(files)
        log = (folder / "log").open("ab")
        environment = self._environment(pod, folder, ip)
        running = Running(
            name, pod["metadata"]["uid"], ip, folder, _gateway(environment, log), log,
            float(pod["spec"].get("terminationGracePeriodSeconds", 30)), files=files,
        )  # fmt: skip
        self.running[name] = running
        await self._keep(running, pod)

    async def _wait_for(self, name: str, image: str) -> None:
        waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}
        container = {
            "name": "gateway", "image": image, "imageID": "", "ready": False, "restartCount": 0, "state": {"waiting": waiting},
        }  # fmt: skip
        status = {"phase": "Pending", "containerStatuses": [container]}
        await asyncio.to_thread(
            self._kubernetes.request, "PATCH", f"{self._pods}/{name}/status", {"status": status},
            content_type="application/merge-patch+json",
        )  # fmt: skip

    async def _keep(self, running: Running, pod: dict[str, Any]) -> None:
        if "deletionTimestamp" in pod["metadata"] and running.leaving is None:
            running.leaving = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
        if running.leaving is not None:
            over = time.monotonic() - running.leaving > running.grace
            if over:
                running.process.kill()
            if running.process.poll() is not None and running.name not in self.lingering:
                await self._end(self.running.pop(running.name))
                await asyncio.to_thread(self._forget, running.name)
                return
        elif running.process.poll() is not None:
            if not self.restart_in_place:
                return
            running.restarts += 1
            running.ready = None  # a process that begins is not what the one before was
            running.process = _gateway(self._environment(pod, running.folder, running.ip), running.log)
        files = await self._mounted(pod, running.folder)
        if files is not None and files != running.files:
            running.files = files
            _write(files)
        await self._show(running)

    async def _show(self, running: Running) -> None:
        ready = False
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.get(f"http://{running.ip}:{names.ADMIN_PORT}/readyz") as answer:
                ready = answer.status == 200
        if ready == running.ready:
            return
        running.ready = ready
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        state = "True" if ready else "False"
        status = {
            "phase": "Running",
            "podIP": running.ip,
            "podIPs": [{"ip": running.ip}],
            "conditions": [
                {"type": "Ready", "status": state, "lastTransitionTime": now},
                {"type": "ContainersReady", "status": state, "lastTransitionTime": now},
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
            ],
            "containerStatuses": [
                {
                    "name": "gateway", "image": "none", "imageID": "none", "ready": ready, "restartCount": running.restarts,
                    "started": True, "state": {"running": {"startedAt": now}},
                }
            ],
        }  # fmt: skip
        await asyncio.to_thread(
            self._kubernetes.request, "PATCH", f"{self._pods}/{running.name}/status", {"status": status},
            content_type="application/merge-patch+json",
        )  # fmt: skip

    async def _end(self, running: Running) -> None:
        if running.process.poll() is None:
            running.process.kill()
        await asyncio.to_thread(running.process.wait)
        running.log.close()
        text = self.log_of(running.name)
        if "Traceback" in text:
            self.trouble.append(f"{running.name}: {text[-3000:]}")

    def _forget(self, name: str) -> None:
        """Tell the API server that the pod has ended: then it goes."""
        with contextlib.suppress(ApiError):
            self._kubernetes.request("DELETE", f"{self._pods}/{name}?gracePeriodSeconds=0")

    # --- what is mounted ------------------------------------------------------------------------------------------

    async def _mounted(self, pod: dict[str, Any], folder: Path) -> dict[Path, bytes] | None:
        mounts = {each["name"]: each["mountPath"] for each in pod["spec"]["containers"][0]["volumeMounts"]}
        files: dict[Path, bytes] = {}
        for volume in pod["spec"]["volumes"]:
            where = folder / mounts[volume["name"]].removeprefix("/")
            if "downwardAPI" in volume:
                annotations = pod["metadata"].get("annotations") or {}
                files[where / volume["downwardAPI"]["items"][0]["path"]] = format_annotations_file(annotations).encode()
                continue
            source, kind = ("configMap", "configmaps") if "configMap" in volume else ("secret", "secrets")
            name = volume[source]["name" if source == "configMap" else "secretName"]
            data = await self._data(kind, name)
            if data is None:
                return None
            for item in volume[source]["items"]:
                if item["key"] not in data:
                    return None
                files[where / item["path"]] = data[item["key"]].replace(
                    _MOUNTED.encode(), f"{folder}{_MOUNTED}".encode()
                )
        return files

    async def _data(self, kind: str, name: str) -> dict[str, bytes] | None:
        try:
            there = await asyncio.to_thread(
                self._kubernetes.request, "GET", f"/api/v1/namespaces/{self._namespace}/{kind}/{name}"
            )
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        data = there.get("data") or {}
        return {key: b64decode(value) if kind == "secrets" else value.encode() for key, value in data.items()}

    def _environment(self, pod: dict[str, Any], folder: Path, ip: str) -> dict[str, str]:
        fields = {"metadata.name": pod["metadata"]["name"], "metadata.uid": pod["metadata"]["uid"]}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CHARGEGATEWAY_")}
        for variable in pod["spec"]["containers"][0]["env"]:
            if "valueFrom" in variable:
                environment[variable["name"]] = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            else:
                environment[variable["name"]] = variable.get("value", "").replace(_MOUNTED, f"{folder}{_MOUNTED}")
        settings = json.loads(Path(environment["CHARGEGATEWAY_SETTINGS_FILE"]).read_text())
        listeners = [{**listener, "host": ip} for listener in settings["listeners"]]
        environment |= {
            "CHARGEGATEWAY_LISTENERS": json.dumps(listeners),
            "CHARGEGATEWAY_ADMIN__HOST": ip,
            "CHARGEGATEWAY_POD__ANNOTATIONS_FILE": f"{folder}{_MOUNTED}/podinfo/annotations",
        }
        return environment | {f"CHARGEGATEWAY_{name}": value for name, value in self._settings.items()}

    # --- the node -------------------------------------------------------------------------------------------------

    def _register(self) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        try:
            self._kubernetes.request("POST", "/api/v1/nodes", node)
        except ApiError as error:
            if error.status != 409:
                raise
        self._beat()

    def _beat(self) -> None:
        """Pods of a node that says nothing for 40 s are taken for lost."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Playing",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        self._kubernetes.request(
            "PATCH",
            f"/api/v1/nodes/{NODE}/status",
            {"status": {"conditions": [ready]}},
            content_type="application/merge-patch+json",
        )


def _write(files: Mapping[Path, bytes]) -> None:
    """Each file whole and at once."""
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(content)
        os.replace(fresh, path)


def _gateway(environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(DIE_WITH_PARENT), str(os.getpid()), sys.executable, "-m", "ocpp_gateway"]
    return subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
