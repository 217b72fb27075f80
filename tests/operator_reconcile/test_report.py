"""A status is judged against what was written, also while the watch still shows the one before, unless somebody edited it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.core import kinds
from ocpp_operator.core.findings import Trouble, refusal
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.reconcile.report import Reporter
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.reconcile.vitals import Vitals
from ocpp_operator.settings import Settings
from tests.operator_core.test_findings import resource

CITY = resource()
KEY = Key(CITY.namespace, CITY.name)


class Server:
    """Takes every status, but for fields that its CRD does not know."""

    def __init__(self) -> None:
        self.version, self.drops = 10, set[str]()
        self.statuses: list[Mapping[str, Any]] = []
        self.events: list[str] = []

    async def apply_status(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        self.statuses.append(manifest["status"])
        self.version += 1
        metadata = {**CITY.raw["metadata"], "resourceVersion": str(self.version)}
        kept = {name: value for name, value in manifest["status"].items() if name not in self.drops}
        return {**CITY.raw, "metadata": metadata, "status": kept}

    async def event(self, regarding: object, type: str, reason: str, note: str, action: str) -> None:
        self.events.append(reason)


class Place:
    """A reporter on that server, with a clock of its own."""

    def __init__(self) -> None:
        self.server, self.mirror, self.now = Server(), Mirror(), 100.0
        around = Surroundings(
            Settings(), cast(Any, self.server), self.mirror, cast(Any, None), Metrics(),
            Vitals(Metrics(), 60.0, lambda: 0.0), lambda: None, monotonic=lambda: self.now,
        )  # fmt: skip
        self.show({**CITY.raw, "metadata": {**CITY.raw["metadata"], "resourceVersion": "10"}})
        self.reporter = Reporter(around, KEY)

    def show(self, raw: Mapping[str, Any]) -> None:
        self.mirror.note(kinds.RESOURCE, "MODIFIED", raw)

    @property
    def raw(self) -> Mapping[str, Any]:
        raw = self.mirror.resource(KEY)
        assert raw is not None
        return raw

    async def report(self, replicas: int | None = None) -> None:
        made = refusal(self.raw, Trouble("InvalidSpec", "spec.redis: is needed"), "2026-11-22T10:01:00Z")
        if replicas is not None:
            made.status["replicas"] = replicas
        await self.reporter.report(self.raw, made)


async def test_the_same_trouble_is_written_and_told_once_while_the_watch_hangs() -> None:
    place = Place()
    for second in range(0, 70, 6):
        place.now = 100.0 + second
        await place.report()
    assert len(place.server.statuses) == 1
    assert place.server.events == ["InvalidSpec"]


async def test_a_status_edited_by_hand_is_set_right_and_only_then() -> None:
    place = Place()
    await place.report(replicas=3)
    edited = {**place.raw, "metadata": {**place.raw["metadata"], "resourceVersion": "50"}}
    place.show({**edited, "status": {**edited["status"], "replicas": 7}})
    await place.report(replicas=3)
    assert place.reporter.due is not None  # not more often than others
    place.server.version = 50
    for _ in range(3):
        place.now += 40
        await place.report(replicas=3)
    assert [status["replicas"] for status in place.server.statuses] == [3, 3]
    assert place.raw["status"]["replicas"] == 3


async def test_fields_that_the_installed_crd_does_not_know_are_not_written_without_end() -> None:
    place = Place()
    place.server.drops = {"replicas"}
    for _ in range(3):
        place.now += 40
        await place.report(replicas=3)
    assert len(place.server.statuses) == 1
