"""The Secrets that resources name, and no others: one watch each.

A watch with `fieldSelector=metadata.name=X` is allowed by a Role that names X (resourceNames), so the operator needs no right to
read every Secret of a namespace, and nobody is asked anything while nothing changes.

Each watch lists, then follows from the version that it listed. What it saw last stays in force while the API server is away. A watch
that ends (the server ends each after some minutes) goes on from the last version it heard of, bookmarks included; when that is
too old (410) it lists again. A silent one is begun anew after `inactivity` seconds, since nobody can tell whether it hangs: bookmarks
come every minute only where some Secret of the cluster changed since, or where etcd reports its progress (a flag of etcd).

Values are never logged and stand in no repr.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ocpp_operator.adapters.api_errors import ApiUnavailable, ClusterError, Expired, Forbidden, Silent, refusal
from ocpp_operator.adapters.cluster import path
from ocpp_operator.adapters.connection import Connection
from ocpp_operator.core import kinds

log = logging.getLogger(__name__)

_BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between tries, then the last one again and again."""


@dataclass(frozen=True, slots=True, order=True)
class SecretName:
    """One Secret."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class SecretState:
    """What is known of a Secret."""

    present: bool = False
    data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    trouble: str | None = None
    """Why it cannot be read (a missing right); the rest is what was seen before."""


Changed = Callable[[SecretName, SecretState], None]


class SecretWatches:
    """`changed` is called with each state that differs from the last one, first of all with what was found at the beginning.

    `heard` is called whenever the server said something (a list, an event, a bookmark, that a watch has begun). Use it as
    `async with`.
    """

    def __init__(
        self,
        connection: Connection,
        changed: Changed,
        *,
        inactivity: float = 70.0,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._changed = changed
        self._inactivity = inactivity
        self._heard = heard
        self._watches: dict[SecretName, _Watch] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> SecretWatches:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        self.wanted(())
        await self._tasks.__aexit__(*error)

    def wanted(self, secrets: Iterable[SecretName]) -> None:
        """Watch exactly these from now on. Nothing more is told of the others."""
        wanted = frozenset(secrets)
        for name in self._watches.keys() - wanted:
            self._watches.pop(name).stop()
        for name in sorted(wanted - self._watches.keys()):
            watch = _Watch(name, self._connection, self._changed, self._heard, self._inactivity)
            watch.task = self._tasks.create_task(watch.follow(), name=f"secret {name}")
            self._watches[name] = watch

    def state(self, name: SecretName) -> SecretState | None:
        """None: not known yet, or not watched."""
        watch = self._watches.get(name)
        return None if watch is None else watch.state


class _Watch:
    """One Secret. Told states differ from each other; nothing is told after `stop`."""

    def __init__(
        self, name: SecretName, connection: Connection, changed: Changed, heard: Callable[[], None], inactivity: float
    ) -> None:
        self.name = name
        self.state: SecretState | None = None
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._changed, self._heard = changed, heard
        self._inactivity = inactivity
        self._path = path(kinds.SECRET, name.namespace)
        self._selector = ("fieldSelector", f"metadata.name={name.name}")
        self._version: str | None = None
        self._failures = 0

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def follow(self) -> None:
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
                await self._wait()  # never in a hurry: a server that ends watches as soon as they begin
            except Silent as silence:
                log.debug("Secret %s: %s; watching it anew", self.name, silence)
            except Expired:
                self._version = None
            except ClusterError as error:
                self._note(error)
                await self._wait()

    async def _list(self) -> None:
        listed = await self._connection.request("list", "secrets", "GET", self._path, query=[self._selector])
        items = listed.get("items") or []
        self._heard()
        self._tell(_present(items[0]) if items else SecretState())
        self._version = listed["metadata"]["resourceVersion"]

    async def _watch(self) -> None:
        query = [
            self._selector, ("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", str(self._version)),
        ]  # fmt: skip
        async with contextlib.aclosing(
            self._connection.lines("secrets", self._path, query, self._inactivity, self._begun)
        ) as lines:
            async for line in lines:
                self._take(line)

    def _begun(self) -> None:
        self._failures = 0
        self._heard()

    def _take(self, line: bytes) -> None:
        try:
            event: dict[str, Any] = orjson.loads(line)
        except orjson.JSONDecodeError:  # the end of a stream that was cut; the message would quote the line
            raise ApiUnavailable(f"watch of {self.name}: cut off") from None
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            raise refusal(item.get("code", 500), {}, orjson.dumps(item))
        self._heard()
        if kind == "DELETED":
            self._tell(SecretState())
        elif kind in ("ADDED", "MODIFIED"):
            self._tell(_present(item))
        self._version = item["metadata"]["resourceVersion"]  # last: whatever fails above is heard again

    def _tell(self, state: SecretState) -> None:
        if state != self.state:
            self.state = state
            self._changed(self.name, state)

    def _note(self, error: ClusterError) -> None:
        if isinstance(error, Forbidden):
            before = self.state or SecretState()
            self._tell(SecretState(before.present, before.data, str(error)))
            self._version = None  # list once it is allowed again: that is what ends the trouble
        # An outage concerns all watches and lasts: each of them says so once.
        log.log(
            logging.DEBUG if self._failures else logging.WARNING, "Secret %s cannot be watched: %s", self.name, error
        )

    async def _wait(self) -> None:
        pause = _BACKOFF[min(self._failures, len(_BACKOFF) - 1)]
        self._failures += 1
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # apart from the others, when the server comes back


def _present(item: dict[str, Any]) -> SecretState:
    return SecretState(True, {key: b64decode(value) for key, value in (item.get("data") or {}).items()})
