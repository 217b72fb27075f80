"""Committing progress: the low watermark of each lane, with what is finished above it.

Only who has the right commits: a zombie's commit would cost the next owner a replay. Every owner commits each position
again from time to time although unchanged, because an older commit may have landed after it.
"""

from __future__ import annotations

from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import Commit, Count, Procedure, Sleep, Unknown
from ocpp_gateway.core.ownership import Ownership, Tenure


class Offsets:
    """Commits of all tenures of the pod. The metadata names the resource, so that two of them never share a mailbox."""

    def __init__(self, settings: DownlinkSettings, resource_uid: str, ownership: Ownership) -> None:
        self._settings = settings
        self._resource_uid = resource_uid
        self._ownership = ownership

    def committing(self, now: float) -> Procedure[None]:
        """Commit progress; unchanged positions again every recommit_interval."""
        first = 0
        while True:
            now = (yield Sleep(now + self._settings.commit_interval)).now
            tenures = [tenure for tenure in self._ownership.owned.values() if tenure.serving]
            first = first if first < len(tenures) else 0
            for index in (*range(first, len(tenures)), *range(first)):
                committed, now = yield from self.commit(tenures[index], now, force=False)
                if not committed and self._ownership.has_right(tenures[index], now):
                    first = index + 1  # the group's coordinator is away: not a time-out per partition, and others first
                    break

    def commit(self, tenure: Tenure, now: float, *, force: bool) -> Procedure[tuple[bool, float]]:
        """Low watermark and metadata of both lanes, and the time after it. False when one outcome is unknown, or the
        right is over."""
        for lane, progress in tenure.progress.items():
            watermark = progress.watermark
            wanted = (watermark.low, watermark.metadata(self._resource_uid))
            due = now - progress.committed_at >= self._settings.recommit_interval
            if wanted == progress.committed and not force and not due:
                continue
            if not self._ownership.has_right(tenure, now):
                return False, now
            try:
                now, _ = yield Commit(lane, tenure.partition, *wanted)
            except Unknown as unknown:
                yield Count("commits", ("unknown",))
                return False, unknown.now
            progress.committed, progress.committed_at = wanted, now
        return True, now
