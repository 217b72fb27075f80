"""What all loops of one process share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from ocpp_operator.adapters.cluster import Cluster
from ocpp_operator.adapters.election import boottime
from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Mirror
from ocpp_operator.reconcile.secret_book import SecretBook
from ocpp_operator.reconcile.vitals import Vitals
from ocpp_operator.settings import Settings

MADE_AT_ONCE: Final = 16
"""Children of all resources that are made at the same time."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Adapters, settings and clocks."""

    settings: Settings
    cluster: Cluster
    mirror: Mirror
    secrets: SecretBook
    metrics: Metrics
    vitals: Vitals
    guard: Callable[[], None]
    """Raises NotLeader: the adapters of Kafka and Redis call it right before every write. That of the cluster has its own."""
    kinds: frozenset[Kind] = field(default_factory=frozenset)
    """Kinds of other projects that this cluster has."""
    monotonic: Callable[[], float] = boottime
    """Seconds; for everything that waits or is measured."""
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    """For what people read."""
    making: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MADE_AT_ONCE))
    """Held while a child is made that was not there."""
