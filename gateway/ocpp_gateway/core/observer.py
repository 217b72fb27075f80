"""Who is still alive, as far as this pod itself can know.

An incarnation lives while its live `pod:` record names it. It is dead when another life of the same container stands
there, or when this observer saw the record absent for a full lease in which Redis answered and lost no data. Nothing else
counts as dead; in between one can only look again.
"""

from __future__ import annotations

from ocpp_contract.ids import Incarnation, PodName
from ocpp_gateway.core.command_record import Owner, is_former_self
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import GetPods, Procedure
from ocpp_gateway.core.runs import Absences, Runs


class Observer:
    """Looks at `pod:` records and remembers since when they are absent."""

    def __init__(self, settings: DownlinkSettings, incarnation: Incarnation, runs: Runs) -> None:
        self._incarnation = incarnation
        self._runs = runs
        self._absences = Absences(settings.lease, settings.renew_interval)

    def data_lost(self) -> None:
        """What was absent may only have been forgotten."""
        self._absences.forget_all()

    def look_at(self, incarnation: Incarnation, now: float) -> Procedure[tuple[Owner, float]]:
        """What this pod can know about the incarnation of a claim, and when it knew. Raises Unknown."""
        if is_former_self(incarnation, self._incarnation):
            return Owner.DEAD, now
        sent, losses = now, self._runs.losses
        now, (shown,) = yield GetPods((PodName(incarnation.pod),))
        if shown == incarnation:
            self._absences.present(incarnation)
            return Owner.LIVES, now
        if losses != self._runs.losses or self._runs.quiet(now):
            return Owner.UNSURE, now  # its record may only have been forgotten
        if shown is not None and shown.same_container(incarnation):
            return Owner.DEAD, now
        return (Owner.DEAD if self._absences.absent(incarnation, sent, now) else Owner.UNSURE), now
