"""Writing the status: only what changed, not too often, and an Event where people should look.

Conditions and ownership are written at most every few seconds; figures that move all the time (connected stations) every half minute, so
that a busy fleet does not write its status without end. An idle resource is not written at all.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ocpp_operator.adapters.api_errors import NotFound
from ocpp_operator.core import kinds, names
from ocpp_operator.core.findings import Report
from ocpp_operator.core.mirror import Key
from ocpp_operator.reconcile.surroundings import Surroundings

log = logging.getLogger(__name__)

_FIGURES = ("connections", "pools", "sweep", "pods")
_FIGURES_INTERVAL = 30.0


class Reporter:
    """Of one resource."""

    def __init__(self, around: Surroundings, key: Key) -> None:
        self._around = around
        self._key = key
        self._written: Mapping[str, Any] | None = None
        self._stored: Mapping[str, Any] = {}
        """What the API server made of it: fields that its CRD does not know (yet) are gone."""
        self._at = float("-inf")
        self.due: float | None = None
        """When a status that was held back is to be written."""

    async def report(self, raw: Mapping[str, Any], news: Report) -> None:
        """Tell the news at once, write the status when it is time. Raises ClusterError."""
        there = raw.get("status") or {}
        # While nobody edits it, judged against what was written: fields that are not stored would be written without end.
        before = self._written if self._written is not None and there == self._stored else there
        self.due = None
        self._around.vitals.tell(self._key, news.status["conditions"], news.unowned)
        if news.status == _known(before, news.status):
            return
        now = self._around.monotonic()
        interval = self._around.settings.status_interval
        if _without_figures(news.status) == _without_figures(_known(before, news.status)):
            interval = max(interval, _FIGURES_INTERVAL)
        if now < self._at + interval:
            self.due = self._at + interval
            return
        metadata = {"namespace": self._key.namespace, "name": self._key.name}
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {**metadata, "uid": raw["metadata"]["uid"]},
            "status": news.status,
        }
        try:
            stored = await self._around.cluster.apply_status(manifest)
        except NotFound:
            return  # it is being deleted
        # Known at once, not only when the watch brings it: conditions would change, and be told, again.
        self._around.mirror.note(kinds.RESOURCE, "MODIFIED", stored)
        self._written, self._stored, self._at = news.status, stored.get("status") or {}, now
        for each in news.news:
            await self._around.cluster.event(
                {**manifest, "metadata": raw["metadata"]},
                "Warning" if each.warning else "Normal",
                each.reason,
                each.note,
                "Reconcile",
            )


def _known(before: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: before[name] for name in fields if name in before}


def _without_figures(fields: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in fields.items() if name not in _FIGURES}
    # Messages hold figures as well: a condition has changed when its status or reason did.
    kept["conditions"] = [{**each, "message": ""} for each in fields.get("conditions", ())]
    return kept
