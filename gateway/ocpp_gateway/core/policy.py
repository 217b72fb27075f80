"""What sessions are told by the settings and by the station's record in the registry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Validation(StrEnum):
    """What becomes of station messages that break their schema."""

    STRICT = "Strict"
    """CALLERROR; harmless deviations (an extra field, a time without zone) count too."""
    KEEP_TRANSACTIONS = "KeepTransactions"
    """CALLERROR, but a transaction message that says which transaction it is about is answered and published."""
    LENIENT = "Lenient"
    """Every readable message of a known action is answered and published, with its `schemaErrors`."""


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """Shared by all sessions with the same settings."""

    validation: Validation = Validation.KEEP_TRANSACTIONS
    asks: frozenset[str] = frozenset()
    """Kinds of decision that a backend takes; all others are accepted by default."""
    heartbeat_interval: int = 300
    """Seconds."""
    json_depth: int = 64
    max_event_bytes: int = 1_000_000
    """What Kafka takes; a larger event carries its message as the station sent it."""
    flood: int = 2_000
    """So many CALLs ahead of their turn close the socket."""
    max_waiting: int = 8
    """CALLs of the station that may wait for their turn before reading stops."""
    max_waiting_bytes: int = 65_536
    """Their bytes: a few of the largest messages of each of many stations would fill a pod's memory."""
