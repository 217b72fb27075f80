"""Gateway pods as processes of this machine: `python -m ocpp_gateway` with the settings a pod would get.

All serve one station port (SO_REUSEPORT: the kernel spreads new connections) and one port each of their own, so that a test can
choose its pod. What Kubernetes' ReplicaSet does is done here too: a pod that ends is gone for good, and another one with a new
name and uid takes its slot and its ports.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from ocpp_client.cli.running import DEBUG_VARIABLE, STATE_VARIABLE
from ocpp_contract.assignment import format_annotations_file
from ocpp_contract.ids import PodName
from ocpp_local import store
from ocpp_local.processes import Child, Children, LocalError, ReservedPorts, free_port

READY_TIMEOUT = 45.0
PATIENT = 6.0
"""Seconds of waiting before anybody is told what for."""
NOT_FOR_GATEWAYS = (
    STATE_VARIABLE,
    DEBUG_VARIABLE,
)  # the command line's own: a gateway refuses variables it does not know


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all pods of one run share."""

    folder: Path
    kafka: str
    redis: str
    resource_uid: str
    station_port: int
    token_file: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """More settings, without the prefix `CHARGEGATEWAY_`; they win over what is set here."""


@dataclass(slots=True)
class Pod:
    """One pod. `child` is its present process: a container restart keeps everything else."""

    name: PodName
    uid: str
    slot: int
    own_port: int
    admin_port: int
    annotations_file: Path
    child: Child
    leaving: bool = False
    restarting: bool = False

    @property
    def station_url(self) -> str:
        return f"ws://127.0.0.1:{self.own_port}/"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def send(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP, SIGCONT, ..."""
        self.child.send(number)


class Pods:
    """Starts pods, notices their end, replaces them."""

    def __init__(
        self,
        children: Children,
        surroundings: Surroundings,
        ports: ReservedPorts,
        on_change: Callable[[], None],
        replace_after: float | None,
    ) -> None:
        """`replace_after`: seconds after which a pod that ended is replaced; None: never."""
        self._children = children
        self._surroundings = surroundings
        self._on_change = on_change
        self._ports = ports
        self._slots: list[tuple[int, int]] = []
        self._born = 0
        self._watchers: set[asyncio.Task[None]] = set()
        self.replace_after = replace_after
        self.present: dict[PodName, Pod] = {}
        """What a list of pods would show now."""
        self.failures: list[str] = []
        """Last words of pods that ended by themselves with an error."""

    async def start(self, slot: int | None = None) -> Pod:
        """A new pod, in a slot of its own or in the given one. It is not ready yet."""
        if slot is None:
            slot = len(self._slots)
            self._slots.append((self._ports.take(), free_port()))
        self._born += 1
        name = PodName(f"gateway-{self._born}")
        own_port, admin_port = self._slots[slot]
        folder = self._surroundings.folder / name
        folder.mkdir()
        annotations = folder / "annotations"
        annotations.write_text(format_annotations_file({}))
        uid = str(uuid.uuid4())
        child = await self._run(name, uid, own_port, admin_port, annotations)
        pod = Pod(name, uid, slot, own_port, admin_port, annotations, child)
        self.present[name] = pod
        self._watch(pod)
        self._on_change()
        return pod

    async def restart_in_place(self, pod: Pod) -> None:
        """What the kubelet does to a container: the process is killed, another one starts in the same pod."""
        pod.restarting = True
        try:
            pod.send(signal.SIGKILL)
            await pod.child.wait()
            pod.child = await self._run(pod.name, pod.uid, pod.own_port, pod.admin_port, pod.annotations_file)
        finally:
            pod.restarting = False
        self._watch(pod)

    async def _run(self, name: PodName, uid: str, own_port: int, admin_port: int, annotations: Path) -> Child:
        environment = self._environment(name, uid, own_port, admin_port, annotations)
        return await self._children.start(name, [sys.executable, "-m", "ocpp_gateway"], environment)

    def _environment(self, name: str, uid: str, own_port: int, admin_port: int, annotations: Path) -> dict[str, str]:
        around = self._surroundings
        redis, password = store.settings(around.redis)
        listeners = [
            {"name": "shared", "host": "127.0.0.1", "port": around.station_port, "reuse_port": True},
            {"name": "own", "host": "127.0.0.1", "port": own_port, "reuse_port": True},
        ]
        settings = {
            "POD__NAME": name,
            "POD__UID": uid,
            "POD__RESOURCE_UID": around.resource_uid,
            "POD__ANNOTATIONS_FILE": str(annotations),
            "KAFKA__BOOTSTRAP_SERVERS": around.kafka,
            "KAFKA__FETCH_MAX_WAIT": "20ms",  # the embedded broker always takes the whole of it
            "LISTENERS": json.dumps(listeners),
            "ADMIN__HOST": "127.0.0.1",
            "ADMIN__PORT": str(admin_port),
            "ADMIN__TOKEN_FILE": str(around.token_file),
            "STATIONS__UNKNOWN": "Accept",
            "DECISIONS__TYPE": "Accept",
            "DRAIN__LOAD_BALANCER_WAIT": "0s",  # there is no load balancer
            "DRAIN__CONNECTIONS_PER_SECOND": "500",
        } | {f"REDIS__{key}": value for key, value in redis.items()}
        if password is not None:
            file = annotations.parent / "redis-password"
            file.write_text(password)
            file.chmod(0o600)
            settings["REDIS__PASSWORD_FILE"] = str(file)
        settings |= around.settings
        # A developer's own CHARGEGATEWAY_... variables pass through, but never replace who the pod is and where it listens.
        theirs = {key: value for key, value in os.environ.items() if key not in NOT_FOR_GATEWAYS}
        return theirs | {f"CHARGEGATEWAY_{key}": value for key, value in settings.items()}

    def _watch(self, pod: Pod) -> None:
        task = asyncio.create_task(self._until_gone(pod, pod.child))
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _until_gone(self, pod: Pod, child: Child) -> None:
        code = await child.wait()
        if pod.restarting or pod.child is not child:
            return  # the pod is still there
        self.present.pop(pod.name, None)
        if code > 0:
            self.failures.append(f"{pod.name} ended with {code}:\n{child.last_words()}")
        self._on_change()
        if self.replace_after is not None and not pod.leaving:
            await asyncio.sleep(self.replace_after)
            await self.start(pod.slot)

    async def wait_ready(self, say: Callable[[str], None] = lambda line: None) -> None:
        """Until every pod says so itself; `say` hears what a longer wait is for.

        Raises LocalError with a pod's last words when one ends first.
        """
        trouble, told, began = "no answer yet", "", time.monotonic()
        try:
            async with asyncio.timeout(READY_TIMEOUT), aiohttp.ClientSession() as session:
                while True:
                    if self.failures:
                        raise LocalError(self.failures[0])
                    waiting = [said for pod in self.present.values() if (said := await _unready(session, pod))]
                    if not waiting:
                        return
                    trouble = waiting[0]
                    if trouble != told and time.monotonic() - began > PATIENT:
                        told = trouble
                        say(f"waiting: {trouble}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise LocalError(f"not ready after {READY_TIMEOUT:g} s: {trouble}") from None

    def stop_watching(self) -> None:
        """Before all children are stopped: their end is no news then."""
        for task in self._watchers:
            task.cancel()


async def _unready(session: aiohttp.ClientSession, pod: Pod) -> str | None:
    try:
        async with session.get(f"{pod.admin_url}/readyz", timeout=aiohttp.ClientTimeout(total=2)) as response:
            return None if response.status == 200 else f"{pod.name}: {(await response.text()).strip()}"
    except (aiohttp.ClientError, TimeoutError, OSError):
        return f"{pod.name} does not answer at {pod.admin_url}/readyz"
