"""The supervisor gives no loop a mirror that may hold ghosts, and begins none while it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from ocpp_operator.adapters.api_errors import ApiUnavailable
from ocpp_operator.adapters.cluster import Listing
from ocpp_operator.core import kinds, names
from ocpp_operator.core.election import NotLeader
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.reconcile.supervisor import Supervisor
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.settings import Settings

CITY = Key("grid", "city")
WATCHED = (kinds.RESOURCE, kinds.POD, kinds.DEPLOYMENT)


def item(name: str, version: int) -> dict[str, Any]:
    metadata = {
        "namespace": "grid",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "labels": names.pod_labels("city"),
    }
    return {"metadata": metadata}


class Server:
    """Lists of an API server; something may happen before each."""

    def __init__(self) -> None:
        self.version = 20
        self.there: dict[Kind, list[dict[str, Any]]] = {
            kinds.RESOURCE: [item("city", 1)],
            kinds.POD: [item("a", 2), item("b", 3)],
        }
        self.asked: list[Kind] = []
        self.meanwhile: list[tuple[Kind, Callable[[], None]]] = []

    async def list(self, kind: Kind, namespace: str | None = None, labels: str | None = None) -> Listing:
        await asyncio.sleep(0)
        self.asked.append(kind)
        if self.meanwhile and self.meanwhile[0][0] == kind:
            self.meanwhile.pop(0)[1]()
        self.version += 1
        return Listing(tuple(self.there.get(kind, ())), str(self.version))


class Signs:
    """Of life: nobody is interested."""

    def heard(self) -> None: ...
    def passed(self) -> None: ...


class Loop:
    """What it saw when it began; ends as it is told."""

    def __init__(self, mirror: Mirror) -> None:
        self.pods = [pod["metadata"]["name"] for pod in mirror.of(kinds.POD, CITY)]
        self.end = asyncio.Event()

    def wake(self) -> None: ...

    async def run(self) -> None:
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            try:
                raise NotLeader("as a loop ends that was just about to write")
            except NotLeader:
                return


class Place:
    """A supervisor with its mirror."""

    def __init__(self) -> None:
        self.server, self.mirror, self.loops = Server(), Mirror(), list[Loop]()
        unused = cast(Any, None)
        around = Surroundings(
            Settings(), cast(Any, self.server), self.mirror, unused, unused, cast(Any, Signs()), lambda: None
        )
        self.supervisor = Supervisor(around, WATCHED, self.make)

    def make(self, _: Key) -> Loop:
        self.loops.append(Loop(self.mirror))
        return self.loops[-1]

    def hear(self, kind: Kind, event: str | None, raw: dict[str, Any]) -> None:
        self.supervisor.wake(self.mirror.note(kind, event, raw))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.supervisor.run())
        try:
            async with asyncio.timeout(10):
                await self.supervisor.complete.wait()
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def test_a_stream_that_begins_anew_behind_a_list_that_was_read_leaves_no_ghost() -> None:
    place = Place()

    def pod_goes_unheard() -> None:
        place.server.there[kinds.POD] = [item("b", 3)]
        place.hear(kinds.POD, None, item("b", 3))  # kopf lists pods again; of "a" nobody tells

    place.server.meanwhile.append((kinds.DEPLOYMENT, pod_goes_unheard))
    async with place.running():
        assert [loop.pods for loop in place.loops] == [["b"]]
        assert not place.mirror.wants_lists


async def test_lists_that_could_not_be_read_are_wanted_still() -> None:
    place = Place()

    def refuse() -> None:
        raise ApiUnavailable("not now")

    place.server.meanwhile.append((kinds.DEPLOYMENT, refuse))
    async with place.running():
        assert place.server.asked == [*WATCHED, *WATCHED]
        assert [loop.pods for loop in place.loops] == [["a", "b"]]


async def test_a_loop_that_ends_by_itself_is_begun_anew_but_not_at_the_end() -> None:
    place = Place()
    async with place.running():
        place.loops[0].end.set()
        for _ in range(10):
            await asyncio.sleep(0)
    assert len(place.loops) == 2
    assert not place.supervisor.complete.is_set()
