"""Leaving in order: not ready -> wait for the load balancer -> close sockets at a rate -> release -> exit.

Deliveries go on until the sockets are gone. Idle stations go first, the newest of them first (they have the least to
lose), stations in a transaction last; nobody while a CALL of ours is open on the socket, until `force_after`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple

from ocpp_gateway.core.downlink_settings import DownlinkSettings


class Phase(Enum):
    """Where a drain stands."""

    SERVING = auto()
    NOT_READY = auto()
    """Readiness is off; the load balancer needs time to notice."""
    CLOSING = auto()
    RELEASING = auto()
    """No station left, or the time is up: commit and release all partitions."""
    DONE = auto()


class Leaving(NamedTuple):
    """One open socket, as far as the order of closing depends on it."""

    connection: str
    epoch: int
    """Grows with time: the highest is the newest connection."""
    in_transaction: bool
    call_open: bool


class Drain:
    """The state machine; `now` is boottime seconds."""

    def __init__(self, settings: DownlinkSettings) -> None:
        self._settings = settings
        self.phase = Phase.SERVING
        self._started_at = 0.0
        self._stepped_at = 0.0
        self._allowance = 1.0
        """Sockets that the rate allows to close now."""
        self._asked: set[str] = set()

    @property
    def draining(self) -> bool:
        return self.phase is not Phase.SERVING

    def start(self, now: float) -> None:
        """SIGTERM, or the operator's order; a second one changes nothing."""
        if self.phase is Phase.SERVING:
            self.phase, self._started_at = Phase.NOT_READY, now

    def step(self, sockets: Iterable[Leaving], now: float) -> list[str]:
        """Advance and return the connections to close now. Called again and again, as often as the pod likes."""
        if self.phase is Phase.NOT_READY and now - self._started_at >= self._settings.load_balancer_wait:
            self.phase, self._stepped_at = Phase.CLOSING, now
        forced = now - self._started_at >= self._settings.force_after
        if self.phase in (Phase.NOT_READY, Phase.CLOSING) and forced:
            self.phase = Phase.RELEASING
            return [socket.connection for socket in closing_order(sockets) if socket.connection not in self._asked]
        if self.phase is not Phase.CLOSING:
            return []
        left = list(sockets)
        if not left:
            self.phase = Phase.RELEASING
            return []
        earned = (now - self._stepped_at) * self._settings.closes_per_second
        # What the rate allowed while nobody could be closed does not pile up into a burst.
        self._allowance = min(self._allowance + earned, max(1.0, earned))
        self._stepped_at = now
        free = [s.connection for s in closing_order(left) if not s.call_open and s.connection not in self._asked]
        chosen = free[: int(self._allowance)]
        self._allowance -= len(chosen)
        self._asked.update(chosen)
        return chosen

    def released(self) -> None:
        """All partitions are committed and released: exit."""
        self.phase = Phase.DONE


def closing_order(sockets: Iterable[Leaving]) -> list[Leaving]:
    """Idle before in-transaction, newest first."""
    return sorted(sockets, key=lambda socket: (socket.in_transaction, -socket.epoch))
