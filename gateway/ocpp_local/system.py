"""The whole system on this machine: broker, store, gateways, and the plane that plays the operator.

    async with System.started(Wanted(pods=2)) as system: ...

Whatever it starts is stopped when the block is left, also on failure and on Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ocpp_local import broker, store
from ocpp_local.plane import Plane
from ocpp_local.pods import Pod, Pods, Surroundings
from ocpp_local.processes import Child, Children, LocalError, ReservedPorts, root_cause
from ocpp_operator.core.plan import Pace, Planned


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to start, and what is there already."""

    pods: int = 2
    partitions: int = 16
    broker: Literal["embedded", "kafka"] = "embedded"
    kafka: str | None = None
    """`host:port` of a broker of one's own; None: start one."""
    redis: str | None = None
    """URL of a store of one's own; None: start one."""
    station_port: int = 0
    replace_after: float | None = 1.0
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings for all gateways, without the prefix."""
    pace: Pace = field(default_factory=Pace)
    on_plan: Callable[[Planned], None] = lambda planned: None
    on_change: Callable[[], None] = lambda: None


class System:
    """One running system."""

    def __init__(
        self, children: Children, surroundings: Surroundings, partitions: int, pods: Pods, plane: Plane
    ) -> None:
        self.children = children
        self.folder = surroundings.folder
        self.kafka = surroundings.kafka
        self.redis = surroundings.redis
        self.token_file = surroundings.token_file
        self.station_url = f"ws://127.0.0.1:{surroundings.station_port}/"
        self.partitions = partitions
        self.pods = pods
        self.plane = plane

    def present(self) -> list[Pod]:
        """The pods there are now."""
        return list(self.pods.present.values())

    def state(self) -> dict[str, Any]:
        """What the state file says."""
        return {
            "pods": [
                {"name": pod.name, "pid": pod.child.pid, "stationUrl": pod.station_url, "adminUrl": pod.admin_url}
                for pod in self.present()
            ],
            "stationUrl": self.station_url,
            "kafka": self.kafka,
            "redis": self.redis,
            "tokenFile": str(self.token_file),
        }

    def state_text(self) -> str:
        """The same, as it stands in the file."""
        return json.dumps(self.state(), indent=2) + "\n"

    @staticmethod
    @contextlib.asynccontextmanager
    async def started(wanted: Wanted, say: Callable[[str], None] = lambda line: None) -> AsyncIterator[System]:
        """Start everything and wait until every gateway is ready. `say` hears what is going on.

        Raises LocalError. The folder with logs is kept when the block ends with an error.
        """
        folder = Path(tempfile.mkdtemp(prefix="chargegateway-"))
        ports = ReservedPorts()
        try:
            async with Children(folder) as children, _running(wanted, folder, children, ports, say) as system:
                yield system
        except BaseException as error:
            if isinstance(error, Exception):
                error.add_note(f"logs are in {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            ports.close()
        shutil.rmtree(folder, ignore_errors=True)


def write_private(file: Path, text: str) -> None:
    """Write a file whole and at once, readable by its owner alone: a store's URL may hold a password."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as fresh:
        fresh.write(text)
    os.replace(name, file)


@contextlib.asynccontextmanager
async def _running(
    wanted: Wanted, folder: Path, children: Children, ports: ReservedPorts, say: Callable[[str], None]
) -> AsyncIterator[System]:
    kafka, redis = await _outside(wanted, children)
    partitions = await broker.create_topics(kafka, wanted.partitions)
    token_file = folder / "token"
    token_file.write_text(secrets.token_urlsafe(24))
    token_file.chmod(0o600)
    surroundings = Surroundings(
        folder=folder,
        kafka=kafka,
        redis=redis,
        # The same again for the same broker: a partition whose commits name another resource is not consumed.
        resource_uid=str(uuid.uuid5(uuid.NAMESPACE_URL, f"chargegateway-up:{kafka}")),
        station_port=ports.take(wanted.station_port),
        token_file=token_file,
        settings=wanted.settings,
    )

    def changed() -> None:
        plane.wake()
        wanted.on_change()

    pods = Pods(children, surroundings, ports, changed, replace_after=None)
    plane = Plane(
        redis, partitions, lambda: pods.present.values(), wanted.pods, on_plan=wanted.on_plan, pace=wanted.pace
    )
    say(f"broker {kafka}, store {redis}, {partitions} mailbox partitions")
    try:
        async with asyncio.TaskGroup() as group:
            needed = [group.create_task(_must_stay(child)) for child in children.running()]
            for _ in range(wanted.pods):
                await pods.start()
            looking = group.create_task(plane.run())
            try:
                await pods.wait_ready(say)
                pods.replace_after = (
                    wanted.replace_after
                )  # only now: a pod that cannot even start is an error to be shown
                yield System(children, surroundings, partitions, pods, plane)
            finally:
                pods.stop_watching()
                for task in (looking, *needed):
                    task.cancel()
                # All at once: each takes a moment to say goodbye to broker and store, which are stopped after them.
                await asyncio.gather(*(pod.child.stop() for pod in pods.present.values()))
    except BaseExceptionGroup as group_error:  # groups are our own affair
        raise root_cause(group_error) from None


async def _must_stay(child: Child) -> None:
    """Broker and store hold what the whole run is about, in memory: without one of them there is nothing to go on with."""
    code = await child.wait()
    raise LocalError(f"the {child.name} ended with {code}:\n{child.last_words()}")


async def _outside(wanted: Wanted, children: Children) -> tuple[str, str]:
    kafka = wanted.kafka
    if kafka is None:
        start = broker.start_embedded if wanted.broker == "embedded" else broker.start_apache
        kafka = await start(children)
    redis = wanted.redis
    if redis is None:
        redis = await store.start_embedded(children)
        if wanted.kafka is None:
            await store.vouch_for_empty(redis)
    store.settings(redis)  # refuses what a gateway cannot use before anything is started
    return kafka, redis
