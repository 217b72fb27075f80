"""Answers that need the business: the circuit breaker in front of the webhook, and what is answered when it fails.

`Accept` asks nobody (a decision of None: rows accept by default). With `Webhook` the backend is asked first, its decision
becomes part of the event, then Kafka, then the answer. When no decision can be had, `OnFailure` states what is answered
instead; a transaction is then accepted by default, because a refused .conf would lose billing data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_INVALID = {"idTokenInfo": {"status": "Invalid"}}
_ACCEPTED = {"idTokenInfo": {"status": "Accepted"}}


@dataclass(frozen=True, slots=True)
class OnFailure:
    """The stated policy per kind of decision."""

    boot: str = "Pending"
    authorize: str = "Reject"
    transaction: str = "Accept"
    data_transfer: str = "Reject"
    certificate: str = "Reject"

    def decision(self, kind: str) -> Mapping[str, Any]:
        """What stands in for the backend's decision, in the JSON form of `ocpp_contract.decisions`."""
        if kind == "boot":
            return {"status": self.boot}
        if kind == "authorize":
            return _ACCEPTED if self.authorize == "Accept" else _INVALID
        if kind == "start":
            return _ACCEPTED if self.transaction == "Accept" else _INVALID
        if kind == "dataTransfer":
            return {"status": "Accepted" if self.data_transfer == "Accept" else "Rejected"}
        return {"status": "Rejected"}


class Breaker:
    """Opens after `failures` in a row; then nobody waits for a webhook that is down, and one request per `pause` tries it."""

    __slots__ = ("_failed", "_failures", "_pause", "_retry_at")

    def __init__(self, failures: int, pause: float) -> None:
        self._failures = failures
        self._pause = pause
        self._failed = 0
        self._retry_at = 0.0

    @property
    def open(self) -> bool:
        return self._failed >= self._failures

    def allows(self, now: float) -> bool:
        """Whether a request may be sent; while open this lets one through per pause."""
        if not self.open:
            return True
        if now < self._retry_at:
            return False
        self._retry_at = now + self._pause
        return True

    def succeeded(self) -> None:
        self._failed = 0

    def failed(self, now: float) -> None:
        self._failed += 1
        if self._failed == self._failures:
            self._retry_at = now + self._pause
