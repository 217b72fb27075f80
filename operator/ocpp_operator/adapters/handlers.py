"""kopf's watches: they fill the mirror and wake the loop, and do nothing else.

An event handler of kopf is not repeated when it fails, and while it works the next event of that object waits. So nothing is decided
or written here. No handler of ours makes kopf write anything: it puts a finalizer on objects that daemons, timers or
change handlers serve, and an operator that was uninstalled would leave them stuck; event handlers need none.

A request that fails is repeated without end, each watch for itself. kopf would give up after a minute and end all watches for the sake of
one: a namespace whose Role is gone would stop every other. `troubled` is called instead, and whoever hears it looks for himself.

What kopf's watches cannot tell (objects that went while a stream had to begin anew) is in `core.mirror`; who wakes on
`Mirror.wants_lists` lists them again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator
from itertools import count
from typing import Any

import kopf

from ocpp_operator.core import kinds, names
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Key, Mirror

log = logging.getLogger(__name__)

Wake = Callable[[Collection[Key]], None]
"""Called after every event, with the resources that it concerns; none may be concerned."""
Login = Callable[[], Awaitable[kopf.ConnectionInfo]]
"""Reads who we are; called at the start and whenever the API server does not know our token any more."""

_FIRST_PAUSES = (1.0, 1.0, 2.0, 3.0, 5.0, 8.0)
_PAUSE = 10.0
_TOLD_AT = 2
"""Failures in a row of one request that are told of; a connection that has ended often needs one more try and nothing else."""
_TOLD_AGAIN = 30
"""And again after so many more, though a watch begins to count anew with each `inactivity`."""


class Pauses:
    """Between the tries of each request of kopf's: it begins to iterate with every request, and asks for the next pause before a try."""

    def __init__(self, troubled: Callable[[], None]) -> None:
        self._troubled = troubled

    def __iter__(self) -> Iterator[float]:
        for failures in count():
            if failures >= _TOLD_AT and (failures - _TOLD_AT) % _TOLD_AGAIN == 0:
                self._troubled()
            yield _FIRST_PAUSES[failures] if failures < len(_FIRST_PAUSES) else _PAUSE


class Watches:
    """All watches of one process: in `namespaces`, or in all of them when that is empty."""

    def __init__(
        self,
        mirror: Mirror,
        wake: Wake,
        watched: Collection[Kind],
        namespaces: Collection[str],
        inactivity: float,
        login: Login,
        troubled: Callable[[], None],
    ) -> None:
        self._mirror = mirror
        self._wake = wake
        self._watched = tuple(watched)
        self._namespaces = tuple(namespaces)
        self._inactivity = inactivity
        self._login = login
        self._troubled = troubled

    async def run(self, stop: asyncio.Event, begun: Callable[[], None] = lambda: None) -> None:
        """Until `stop` is set, or a watch fails for good (its kind is gone, say), which kopf reports by an exception.

        kopf takes SIGINT and SIGTERM for itself. `begun` is called once it has: take them back there.

        kopf cancels every task that was begun after it when it ends: whatever must outlive the watches has to be running before.
        """
        places: dict[str, Any] = {"namespaces": self._namespaces} if self._namespaces else {"clusterwide": True}
        # A name for its peering, which we do not use; without one it asks for the user's, and a number in an image has none.
        places["identity"] = names.FIELD_OWNER
        ready = asyncio.Event()
        telling = asyncio.create_task(_tell(ready, begun), name="watches begun")
        try:
            await kopf.operator(
                registry=self.registry(),
                settings=self.settings(),
                standalone=True,
                stop_flag=stop,
                ready_flag=ready,
                **places,
            )
        finally:
            telling.cancel()

    def settings(self) -> kopf.OperatorSettings:
        """kopf's settings for them."""
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False  # Events are told by the loop, once per change
        settings.peering.standalone = True  # the Lease decides who works
        settings.scanning.disabled = True  # neither namespaces nor CRDs are watched: a Role suffices
        settings.watching.inactivity_timeout = self._inactivity
        settings.watching.chunk_size = 500
        settings.networking.error_backoffs = Pauses(self._troubled)
        for kind in self._watched:
            if kind != kinds.RESOURCE:
                settings.watching.label_selectors[kind.group, kind.version, kind.plural] = names.MANAGED_SELECTOR
        return settings

    def registry(self) -> kopf.OperatorRegistry:
        """One event handler per kind, and how to log in."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(self._logged_in)
        for kind in self._watched:
            kopf.on.event(
                group=kind.group,
                version=kind.version,
                plural=kind.plural,
                id=f"watch-{kind.plural}",
                param=kind,
                registry=registry,
            )(self._heard)
        return registry

    async def _heard(self, *, event: Any, param: Any = None, **_: Any) -> None:
        kind: Kind = param
        self._wake(self._mirror.note(kind, event["type"], event["object"]))

    async def _logged_in(self, **_: Any) -> kopf.ConnectionInfo:
        return await self._login()


async def _tell(ready: asyncio.Event, begun: Callable[[], None]) -> None:
    await ready.wait()
    begun()
