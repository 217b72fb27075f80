"""What may be said before the station is accepted.

Unknown counts as accepted: a station that reconnects need not send BootNotification again, and a store that lost its
data must not silence a fleet. Only a recorded Pending or Rejected blocks.

OCPP 1.6 section 4.2, OCPP 2.0.1 and 2.1 use cases B02 and B03.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ocpp_gateway.core.handlers import Version

ACCEPTED: Final = "Accepted"
PENDING: Final = "Pending"
REJECTED: Final = "Rejected"
_BOOT: Final = "BootNotification"
_NOTHING: Final[frozenset[str]] = frozenset()  # one for all: an empty set of its own takes 216 bytes a session
_TRIGGERS: Final = frozenset({"TriggerMessage", "ExtendedTriggerMessage"})


class Boot:
    """The station's standing on this connection."""

    __slots__ = ("_triggered", "status")

    def __init__(self, status: str | None = None) -> None:
        """`status`: what is recorded in `:boot`, None when nothing is."""
        self.status = status
        self._triggered = _NOTHING

    @property
    def blocks(self) -> bool:
        return self.status is not None and self.status != ACCEPTED

    def admits(self, action: str) -> bool:
        """Whether the station may send this now; if not, the answer is SecurityError."""
        return not self.blocks or action == _BOOT or action in self._triggered

    def may_send(self, version: Version, action: str) -> bool:
        """Whether we may send this CALL now: nothing to a rejected station, not everything to a pending one."""
        if not self.blocks:
            return True
        return self.status == PENDING and action not in version.not_while_pending

    def answered(self, status: str) -> None:
        """Our answer to a BootNotification."""
        self.status = status
        self._triggered = _NOTHING

    def trigger_accepted(self, version: Version, action: str, payload: Mapping[str, Any], status: object) -> None:
        """Our TriggerMessage was accepted: what it asked for may now come, one message or several (one per connector).

        So may the parts of a report that we asked for: a Pending station is there to be inspected (2.0.1 B02.FR.01).
        """
        if not self.blocks or status != ACCEPTED:
            return
        if (report := version.reports.get(action)) is not None:
            self._triggered |= {report}
        if action not in _TRIGGERS:
            return
        requested = payload.get("requestedMessage")
        if isinstance(requested, str):
            self._triggered |= {version.trigger_actions.get(requested, requested)}
