"""What the parts of the process say of themselves, gathered: signs of life for /livez, and the gauges over all resources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.core.liveness import Liveness
from ocpp_operator.core.mirror import Key


class Vitals:
    """`now` is monotonic; `inactivity` (seconds) is that of the watches."""

    def __init__(self, metrics: Metrics, inactivity: float, now: Callable[[], float]) -> None:
        self._metrics = metrics
        self._now = now
        self._life = Liveness(now(), inactivity)
        self._conditions: dict[Key, tuple[tuple[str, str], ...]] = {}
        self._unowned: dict[Key, int] = {}
        metrics.unowned(lambda: float(sum(self._unowned.values())))

    def passed(self) -> None:
        """A pass ended, well or badly."""
        self._life.pass_ended(self._now())

    def heard(self) -> None:
        """A watch brought something, or a list was read."""
        self._life.heard(self._now())

    def elected(self) -> None:
        """A request for the Lease ended."""
        self._life.election_looked(self._now())

    def leads(self) -> None:
        """From now on this replica leads."""
        self._life.leads(self._now())

    def trouble(self) -> str | None:
        """Why this process should be restarted; None: it should not."""
        return self._life.unhealthy(self._now())

    def tell(self, key: Key, conditions: Iterable[Mapping[str, Any]], unowned: int | None) -> None:
        """What a pass found; `unowned` None: not known."""
        judged = tuple((str(each["type"]), str(each["status"])) for each in conditions)
        if unowned is not None:
            self._unowned[key] = unowned
        if self._conditions.get(key) != judged:
            self._conditions[key] = judged
            self._count()

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._unowned.pop(key, None)
        if self._conditions.pop(key, None) is not None:
            self._count()

    def _count(self) -> None:
        self._metrics.resources(Counter(pair for judged in self._conditions.values() for pair in judged))
