"""A status is judged against what was written, also while the watch still shows the one before."""

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
    """Takes every status."""

    def __init__(self) -> None:
        self.statuses: list[Mapping[str, Any]] = []
        self.events: list[str] = []

    async def apply_status(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        self.statuses.append(manifest["status"])
        metadata = {**CITY.raw["metadata"], "resourceVersion": str(10 + len(self.statuses))}
        return {**CITY.raw, "metadata": metadata, "status": manifest["status"]}

    async def event(self, regarding: object, type: str, reason: str, note: str, action: str) -> None:
        self.events.append(reason)


async def test_the_same_trouble_is_written_and_told_once_while_the_watch_hangs() -> None:
    server, mirror, now = Server(), Mirror(), 100.0
    around = Surroundings(
        Settings(), cast(Any, server), mirror, cast(Any, None), Metrics(), Vitals(Metrics(), 60.0, lambda: 0.0),
        lambda: None, monotonic=lambda: now,
    )  # fmt: skip
    mirror.note(kinds.RESOURCE, "ADDED", {**CITY.raw, "metadata": {**CITY.raw["metadata"], "resourceVersion": "10"}})
    reporter = Reporter(around, KEY)
    for second in range(0, 70, 6):
        now = 100.0 + second
        raw = mirror.resource(KEY)
        assert raw is not None
        trouble = Trouble("InvalidSpec", "spec.redis: is needed")
        await reporter.report(raw, refusal(raw, trouble, f"2026-11-22T10:01:{second:02}Z"))
    assert len(server.statuses) == 1
    assert server.events == ["InvalidSpec"]
