"""Our answers to the station: made, checked, and kept for a retry.

A check that fails must not withhold the .conf of a transaction message: the station would repeat it for ever and never
come to the ones queued behind it. So a decision that does not fit the version is left out there, and an answer that is still
not sound is sent all the same. For every other message no answer is better than a wrong one (an Authorize!).
"""

from __future__ import annotations

from typing import Any, Final

from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.inbound import MAPPING_ERRORS, Inbound
from ocpp_gateway.core.policy import SessionPolicy

EMPTY: Final = b"{}"
_KEPT: Final = 8


def make_answer(
    dialect: Dialect, inbound: Inbound, charge_point_id: str, policy: SessionPolicy, at: str
) -> tuple[dict[str, Any] | None, bool]:
    """The payload of the CALLRESULT (None: there is none that may be sent) and whether it was sound at once."""
    row = inbound.route.row
    payload = None
    try:
        payload = row.answer(inbound.payload, inbound.context(charge_point_id, policy.heartbeat_interval, at))
        if dialect.check_answer(inbound.route, payload) is None:
            return payload, True
    except MAPPING_ERRORS:
        pass
    if not row.transaction:
        return None, False
    if inbound.decision is not None:
        # It is in the event, for whoever made it.
        inbound.decision = None
        return make_answer(dialect, inbound, charge_point_id, policy, at)[0], False
    return payload, False


class StoredAnswers:
    """The last answers of a connection, for a station that sends the same message once more."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, bytes]] = {}

    def find(self, message_id: str, fingerprint: int) -> bytes | None:
        """`fingerprint`: of the whole frame. The same id with another payload is no repetition."""
        kept = self._kept.get(message_id)
        return kept[1] if kept is not None and kept[0] == fingerprint else None

    def store(self, message_id: str, fingerprint: int, answer: bytes) -> None:
        kept = self._kept
        kept.pop(message_id, None)
        if len(kept) >= _KEPT:
            del kept[next(iter(kept))]
        # A copy: what orjson returns holds on to the 4 KiB it was written in.
        kept[message_id] = (fingerprint, EMPTY if answer is EMPTY else bytes(memoryview(answer)))
