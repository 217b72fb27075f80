"""Times, lives and limits of ownership, directory and delivery. Seconds unless the name says otherwise.

Core reads no environment: the composition root fills this from `ocpp_gateway.settings`, tests make their own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DownlinkSettings:
    """Defaults are those of the protocol."""

    # ownership
    lease: float = 15.0
    margin: float = 3.0
    """How much earlier than its lease a pod stops delivering."""
    renew_interval: float = 5.0
    retry_interval: float = 0.5
    """After an unknown outcome of something that may be repeated."""
    placement_interval: float = 1.0
    """How often the wish is compared with what is held."""
    commit_interval: float = 1.0
    """How often progress is committed."""
    recommit_interval: float = 60.0
    """Commit again after so long although unchanged: a zombie's older commit may have landed meanwhile."""
    foreign_backoff_first: float = 1.0
    """Before a partition whose metadata names another resource is looked at again; doubled each time, up to the next."""
    foreign_backoff: float = 60.0
    lonely_close: float = 60.0
    """Without any partition for so long, the sockets are closed at the drain rate."""

    # directory
    entry_refresh: float = 300.0
    entry_batch: int = 500
    ping_timeout: float = 10.0
    register_window: float = 1.0
    """How long after its sending a registration may still take effect; also, how long none is made after a data loss. Not
    below the store's time-out."""

    # commands
    call_timeout: float = 30.0
    late_window: float = 60.0
    default_deadline: float = 60.0
    max_deadline: float = 600.0
    record_ttl: float = 28_800.0
    """Life of a command record after the deadline."""
    claim_window: float = 1.0
    """How long after its sending a claim may still take effect."""
    claim_replicas: int = 0
    """WAIT for so many replicas at claims of types that are never repeated blindly."""
    look_again: float = 1.0
    """Pause before a claim of a living pod, an entry or a moved socket is looked at again."""
    hop_interval: float = 1.0
    """At the last hop a command is forwarded at most so often."""
    mailbox_size: int = 64
    max_parked: int = 100_000
    max_parked_bytes: int = 64 << 20
    """Of their records; decoded they take some times as much."""
    max_remembered: int = 200_000
    """Command states kept in memory."""
    span_limit: int = 10_000
    """Records between watermark and position beyond which the oldest parked are appended again."""
    assert_batch: int = 500
    """Own records re-asserted in one pipeline after data loss."""
    assert_pause: float = 0.005
    """Between two pipelines; everything must be said again well within a lease."""
    poll_batch: int = 500
    poll_most: int = 4_000
    """Parked stations looked up per `look_again`; with more of them each is looked up less often."""

    # drain
    load_balancer_wait: float = 15.0
    closes_per_second: float = 50.0
    force_after: float = 600.0

    @property
    def right(self) -> float:
        """How long the right to deliver lasts, counted from before the renewal was sent."""
        return self.lease - self.margin

    @property
    def stale_claim(self) -> float:
        """Age beyond which a claim counts as a dead one's, whoever holds it."""
        return self.call_timeout + self.late_window + self.lease
