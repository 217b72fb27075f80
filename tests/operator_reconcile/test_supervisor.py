"""The supervisor gives no loop a mirror that may hold ghosts, and begins none while it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from ocpp_operator.adapters.api_errors import ApiUnavailable, Forbidden
from ocpp_operator.adapters.cluster import Listing
from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.core import kinds, names
from ocpp_operator.core.election import NotLeader
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.reconcile.supervisor import Supervisor
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.settings import Settings
from tests.operator_cluster.rig import eventually

CITY = Key("grid", "city")
WATCHED = (kinds.RESOURCE, kinds.POD, kinds.DEPLOYMENT, kinds.CONFIG_MAP)


def item(name: str, version: int, namespace: str = "grid") -> dict[str, Any]:
    metadata = {
        "namespace": namespace,
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
        self.refuses: set[str | None] = set()
        """Namespaces whose Role is gone; None: to list all of them at once."""

    async def list(self, kind: Kind, namespace: str | None = None, labels: str | None = None) -> Listing:
        await asyncio.sleep(0)
        self.asked.append(kind)
        if self.meanwhile and self.meanwhile[0][0] == kind:
            self.meanwhile.pop(0)[1]()
        if namespace in self.refuses:
            raise Forbidden(f"{kind.plural} is forbidden")
        self.version += 1
        there = [each for each in self.there.get(kind, ()) if namespace in (None, each["metadata"]["namespace"])]
        return Listing(tuple(there), str(self.version))


class Signs:
    """Of life: nobody is interested."""

    def heard(self) -> None: ...
    def passed(self) -> None: ...


class Loop:
    """What it saw when it began; ends as it is told."""

    def __init__(self, key: Key, mirror: Mirror) -> None:
        self.key = key
        self.running = False
        self.pods = [pod["metadata"]["name"] for pod in mirror.of(kinds.POD, CITY)]
        self.end = asyncio.Event()

    def wake(self) -> None: ...

    async def run(self) -> None:
        self.running = True
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            try:
                raise NotLeader("as a loop ends that was just about to write")
            except NotLeader:
                return
        finally:
            self.running = False


class Place:
    """A supervisor with its mirror."""

    def __init__(self, *namespaces: str) -> None:
        self.server, self.mirror, self.loops = Server(), Mirror(), list[Loop]()
        self.metrics = Metrics()
        settings, unused = Settings(watch_namespaces=namespaces), cast(Any, None)
        around = Surroundings(
            settings, cast(Any, self.server), self.mirror, unused, self.metrics, cast(Any, Signs()), lambda: None
        )
        self.supervisor = Supervisor(around, WATCHED, self.make)

    def make(self, key: Key) -> Loop:
        self.loops.append(Loop(key, self.mirror))
        return self.loops[-1]

    @property
    def served(self) -> set[str]:
        """Namespaces whose loops run."""
        return {loop.key.namespace for loop in self.loops if loop.running}

    async def serves(self, *namespaces: str) -> None:
        """Wait until loops run there and nowhere else."""
        await until(lambda: self.served == set(namespaces))

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


async def until(ask: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return ask()

    await eventually(asked, every=0.02)


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
        assert place.server.asked == [*WATCHED[:3], *WATCHED]
        assert [loop.pods for loop in place.loops] == [["a", "b"]]


async def test_a_loop_that_ends_by_itself_is_begun_anew_but_not_at_the_end() -> None:
    place = Place()
    async with place.running():
        place.loops[0].end.set()
        for _ in range(10):
            await asyncio.sleep(0)
    assert len(place.loops) == 2
    assert not place.supervisor.complete.is_set()


# --- a namespace whose Role is gone ---------------------------------------------------------------------------------------


def two_teams() -> Place:
    place = Place("grid", "depot")
    place.server.there[kinds.RESOURCE] = [item("city", 1), item("town", 1, "depot")]
    return place


async def test_a_namespace_that_refuses_us_holds_up_no_other_and_is_served_once_it_lets_us_in() -> None:
    place = two_teams()
    place.server.refuses.add("depot")
    async with place.running():
        await place.serves("grid")
        assert b"chargegateway_operator_namespaces_refused 1.0" in place.metrics.page()
        place.hear(kinds.RESOURCE, "MODIFIED", item("town", 2, "depot"))  # a stream that was begun before goes on
        assert place.served == {"grid"}

        place.server.refuses.clear()
        await place.serves("grid", "depot")
        assert b"chargegateway_operator_namespaces_refused 0.0" in place.metrics.page()
        assert [loop.key.namespace for loop in place.loops] == ["grid", "depot"]


async def test_a_role_that_goes_ends_the_loops_there_and_nothing_is_taken_for_gone() -> None:
    place = two_teams()
    async with place.running():
        await place.serves("grid", "depot")
        place.server.refuses.add("depot")
        place.supervisor.doubt()
        await place.serves("grid")
        assert place.mirror.gone() == frozenset(), "the Role alone may have been taken away: its pods serve on"

        place.server.refuses.clear()
        place.supervisor.doubt()
        await place.serves("grid", "depot")


async def test_a_loop_that_takes_leave_of_its_resource_goes_on_without_the_role() -> None:
    place = two_teams()
    place.server.there[kinds.POD] = [item("a", 2, "depot")]
    async with place.running():
        await place.serves("grid", "depot")
        place.hear(kinds.RESOURCE, "DELETED", item("town", 30, "depot"))
        place.server.refuses.add("depot")
        place.supervisor.doubt()
        await until(lambda: b"namespaces_refused 1.0" in place.metrics.page())
        assert place.served == {"grid", "depot"}


async def test_without_the_right_to_the_cluster_no_loop_makes_a_pass() -> None:
    place = Place()
    async with place.running():
        place.server.refuses.add(None)
        place.supervisor.doubt()
        await until(lambda: not place.supervisor.complete.is_set())
        place.server.refuses.clear()
        await until(place.supervisor.complete.is_set)


# --- resources that went while nobody was there ---------------------------------------------------------------------------


async def test_leave_is_taken_of_a_resource_whose_record_stands_without_it() -> None:
    place = Place()
    place.server.there = {kinds.CONFIG_MAP: [item("city-farewell", 4), item("city-plan", 5)]}
    async with place.running():
        assert [loop.key for loop in place.loops] == [CITY]
        place.hear(kinds.CONFIG_MAP, "MODIFIED", item("city-farewell", 9))
        place.loops[0].end.set()
        await until(lambda: not place.served)
        place.hear(kinds.CONFIG_MAP, "MODIFIED", item("city-farewell", 12))
        assert len(place.loops) == 1, "what could not be done is left to the next operator"
