"""Events that `kubectl describe` shows. A level-triggered loop says the same thing again and again: repeats of one event within
its window are counted in the series of the one object, and that count is written once a minute at most.

An event is told on a best effort: what cannot be written is logged, and the pass goes on.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from ocpp_operator.adapters.api_errors import ClusterError, NotFound
from ocpp_operator.core import names
from ocpp_operator.core.kinds import Kind

log = logging.getLogger(__name__)

Json = dict[str, Any]
EVENT = Kind("events.k8s.io", "v1", "Event", "events")
WINDOW = 600.0
"""Seconds without a repeat after which the same event is a new one."""
WRITE_EVERY = 60.0
"""Seconds between two writes of one series."""
_REMEMBERED = 4_096
_NOTE_BYTES = 1_024  # the API refuses more


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last: float
    written: float


class EventLog:
    """`create` and `patch` are the two writes: (manifest), and (namespace, name, merge patch)."""

    def __init__(
        self,
        create: Callable[[Json], Awaitable[Json]],
        patch: Callable[[str, str, Json], Awaitable[Json]],
        instance: str,
        window: float = WINDOW,
        write_every: float = WRITE_EVERY,
    ) -> None:
        self._create = create
        self._patch = patch
        self._instance = instance[:128]
        self._window, self._write_every = window, write_every
        self._told: OrderedDict[tuple[str, ...], _Series] = OrderedDict()

    async def tell(
        self, regarding: Mapping[str, Any], type: Literal["Normal", "Warning"], reason: str, note: str, action: str
    ) -> None:
        """Raises nothing but what the guard of writes raises."""
        about = _reference(regarding)
        note = note.encode()[:_NOTE_BYTES].decode(errors="ignore")
        key = (about["namespace"], about["kind"], about["name"], about.get("uid", ""), type, reason, note)
        now = time.monotonic()
        series = self._told.get(key)
        try:
            if (
                series is not None
                and now - series.last < self._window
                and await self._repeat(about["namespace"], series, now)
            ):
                return
            self._told[key] = series = _Series(f"{about['name'][:200]}.{uuid4().hex[:16]}", 1, now, now)
            self._told.move_to_end(key)
            while len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
            await self._create(self._manifest(about, series.name, type, reason, note, action))
        except ClusterError as error:
            log.warning("event not written: %s", error, extra={"reason": reason, "note": note})

    async def _repeat(self, namespace: str, series: _Series, now: float) -> bool:
        """False: the object is gone (events are kept for an hour), so a new one is due."""
        series.count += 1
        series.last = now
        if series.count > 2 and now - series.written < self._write_every:
            return True
        series.written = now
        try:
            await self._patch(namespace, series.name, {"series": {"count": series.count, "lastObservedTime": _utc()}})
        except NotFound:
            return False
        return True

    def _manifest(self, about: Json, name: str, type: str, reason: str, note: str, action: str) -> Json:
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": about["namespace"]},
            "eventTime": _utc(),
            "reportingController": f"{names.GROUP}/{names.FIELD_OWNER}",
            "reportingInstance": self._instance,
            "action": action[:128],
            "reason": reason[:128],
            "regarding": about,
            "note": note,
            "type": type,
        }


def _reference(manifest: Mapping[str, Any]) -> Json:
    metadata = manifest["metadata"]
    reference = {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "namespace": metadata.get("namespace") or "default",
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {field: str(value) for field, value in reference.items() if value}


def _utc() -> str:
    """MicroTime of the API."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
