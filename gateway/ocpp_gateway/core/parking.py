"""Commands whose station is not connected here: one procedure per pod looks all their entries up, in batches.

A station that appears on this pod wakes its mailbox by itself. What this loop finds out is that the station is at
another, living pod: then its commands are forwarded. Or that nobody has it: then those that do not wait end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, Incarnation, PodName
from ocpp_contract.names import MAX_HOP
from ocpp_gateway.core.directory import Directory
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import GetConn, GetPods, Procedure, Unknown, Wait
from ocpp_gateway.core.flight import Flight
from ocpp_gateway.core.ownership import Ownership
from ocpp_gateway.core.routing import Deliver, Park, route
from ocpp_gateway.core.runs import Runs
from ocpp_gateway.core.turns import Turns


class Parking:
    """The look-up loop."""

    def __init__(
        self,
        settings: DownlinkSettings,
        ownership: Ownership,
        directory: Directory,
        runs: Runs,
        turns: Turns,
    ) -> None:
        self._settings = settings
        self._ownership = ownership
        self._directory = directory
        self._runs = runs
        self._turns = turns
        self._looked_up_to = ChargePointId("")

    def looking_up(self, now: float) -> Procedure[None]:
        """New stations at once, all that still wait every `look_again`."""
        next_round = now
        while True:
            due = self._turns.to_look_up
            self._turns.to_look_up = set()
            if now >= next_round:
                due.update(self._round())
                next_round = now + self._settings.look_again
            away = sorted(station for station in due if self._directory.current(station) is None)
            for start in range(0, len(away), self._settings.poll_batch):
                batch = away[start : start + self._settings.poll_batch]
                try:
                    now = yield from self._look_up(batch, now)
                except Unknown as unknown:
                    now = unknown.now
            now, _ = yield Wait(self._turns.lookup, next_round)

    def _round(self) -> list[ChargePointId]:
        """Whose turn it is to be looked up again: everybody, or the next so many in the order of ids."""
        stations = list(self._turns.mailboxes)
        if len(stations) > self._settings.poll_most:
            stations.sort()
            start = bisect_right(stations, self._looked_up_to)
            stations = (stations[start:] + stations[:start])[: self._settings.poll_most]
            self._looked_up_to = stations[-1]
        return stations

    def _look_up(self, stations: Sequence[ChargePointId], now: float) -> Procedure[float]:
        losses = self._runs.losses
        now, entries = yield GetConn(tuple(stations))
        owners = sorted({entry.incarnation.pod for entry in entries if entry is not None and self._elsewhere(entry)})
        living: frozenset[Incarnation] = frozenset()
        if owners:
            now, shown = yield GetPods(tuple(PodName(pod) for pod in owners))
            living = frozenset(incarnation for incarnation in shown if incarnation is not None)
        if losses != self._runs.losses or self._runs.quiet(now):
            return now  # an entry that is missing now may be one that Redis forgot
        for station, entry in zip(stations, entries, strict=True):
            for flight in self._turns.waiting_for(station):
                self._decide(flight, entry, living, now)
        return now

    def _elsewhere(self, entry: ConnectionRecord) -> bool:
        return entry.incarnation != self._ownership.incarnation and entry.partition not in self._ownership.owned

    def _decide(
        self, flight: Flight, entry: ConnectionRecord | None, living: frozenset[Incarnation], now: float
    ) -> None:
        last_hop = flight.travelled.hop >= MAX_HOP
        if last_hop and entry is not None and flight.travelled.first_seen is None and self._elsewhere(entry):
            flight.travelled = flight.travelled.saw(entry)
        if last_hop and now - flight.received_at < self._settings.hop_interval:
            return
        where = route(
            flight.travelled,
            flight.command.wait_for_station,
            self._directory.current(flight.key.charge_point_id) is not None,
            entry,
            entry is not None and entry.incarnation in living,
            self._ownership.incarnation,
            self._ownership.owned,
        )
        if not isinstance(where, Deliver | Park):
            flight.route = where
            flight.wake.fire()
