"""What the pod does while Kafka does not acknowledge: hold, then stop reading, then close and refuse.

An answered transaction message must be in Kafka (invariant 5), so nothing is answered early and nothing is dropped. A station
has at most one held answer; it queues the rest itself, at last offline, as OCPP provides for. The judge is the age of the
oldest event that Kafka has not acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Flow(IntEnum):
    """What stations experience; each level includes the ones before it."""

    OPEN = 0
    HELD = 1  # sockets stay, nothing is read from them
    CLOSED = 2  # sockets are closed with 1013, upgrades answered 503


@dataclass(frozen=True, slots=True)
class UplinkGate:
    """Ages in seconds. `hold` <= `close`."""

    hold: float
    close: float

    def judge(self, before: Flow, oldest: float | None) -> Flow:
        """The level after `before`, given the age of the oldest unacknowledged event (None: nothing waits).

        HELD and CLOSED end only when Kafka acknowledges again (the age falls below `hold`): otherwise a reconnecting
        fleet would be let in, hold one event each and be thrown out again.
        """
        if oldest is None or oldest < self.hold:
            return Flow.OPEN
        if oldest >= self.close:
            return Flow.CLOSED
        return max(before, Flow.HELD)
