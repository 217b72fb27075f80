"""A whole system under test: gateways as processes on real Kafka and Redis, under the `load` of stations and a plain backend."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from ocpp_local.system import System, Wanted
from tests.system.load import Load, Reach

# Everything that takes its time in production takes less here; the relations between the times stay.
QUICK = {
    "OWNERSHIP__LEASE": "5s",
    "OWNERSHIP__RENEW_INTERVAL": "1500ms",
    "OWNERSHIP__MARGIN": "1s",
    "OWNERSHIP__ENTRY_REFRESH": "5s",
    "OWNERSHIP__ENTRY_TTL": "60s",
    "OCPP__CALL_TIMEOUT": "4s",
    "OCPP__PING_INTERVAL": "2s",
    "COMMANDS__LATE_WINDOW": "4s",
    "COMMANDS__DEFAULT_DEADLINE": "25s",
    "KAFKA__REQUEST_TIMEOUT": "2s",
    "UPLINK__HOLD": "2s",
    "UPLINK__CLOSE": "4s",
    "LIMITS__CONNECTS_PER_MINUTE": "600",
    "LOG__FORMAT": "text",
}


class Rig(Load):
    """See module. Made by `running`."""

    def __init__(self, system: System) -> None:
        super().__init__(Reach(system.kafka, system.redis, system.partitions, lambda _: system.station_url))
        self.system = system


@contextlib.asynccontextmanager
async def running(kafka: str, redis_url: str, pods: int = 2, **settings: str) -> AsyncIterator[Rig]:
    """A started system with `pods` ready gateways."""
    wanted = Wanted(pods=pods, partitions=8, kafka=kafka, redis=redis_url, settings={**QUICK, **settings})
    async with System.started(wanted) as system:
        rig = Rig(system)
        try:
            await rig.remember_ends()
            yield rig
        finally:
            await rig.close()
