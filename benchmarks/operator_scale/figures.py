"""What was seen, as figures: requests out of the audit log, durations out of histograms. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

_OWN = {"leases", "events"}
"""Objects that the operator writes for itself and for people: none of a resource's children."""
_READS = {"get", "list", "watch"}


class Request(NamedTuple):
    """What was asked of the API server: a verb, and a resource with its subresource."""

    verb: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def requests(lines: Iterable[str], user: str) -> list[Request]:
    """Those of one user, in the order in which they were answered. A watch counts when it begins."""
    found = []
    for line in lines:
        if not line.endswith("\n"):
            break  # still being written
        entry: dict[str, Any] = json.loads(line)
        if entry["user"]["username"] != user:
            continue
        begins = entry["stage"] == "ResponseStarted"
        if begins != (entry["verb"] == "watch"):
            continue
        about = entry.get("objectRef") or {"resource": entry["requestURI"].partition("?")[0]}
        resource = "/".join(part for part in (about.get("resource"), about.get("subresource")) if part)
        found.append(Request(entry["verb"], resource))
    return found


def per_minute(asked: Iterable[Request], seconds: float) -> dict[str, float]:
    """By verb and resource, the most frequent first."""
    return {str(what): number * 60 / seconds for what, number in Counter(asked).most_common()}


def writes_to_children(asked: Iterable[Request]) -> int:
    """Writes to objects of resources; not to the status of the resources themselves."""
    return sum(
        each.verb not in _READS and each.resource not in _OWN and not each.resource.endswith("/status")
        for each in asked
    )


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulated counts by upper bound, as Prometheus keeps them."""

    buckets: Mapping[float, float]
    total: float = 0.0
    """Sum of all that was observed."""

    @classmethod
    def read(cls, samples: Mapping[str, float], name: str) -> Histogram:
        """All series of `name` together; `samples` as `name{label="value"}` -> value."""
        buckets: Counter[float] = Counter()
        total = 0.0
        for sample, value in samples.items():
            if sample.startswith(f"{name}_bucket{{"):
                buckets[float(sample.partition('le="')[2].partition('"')[0])] += value  # type: ignore[assignment]
            elif sample.startswith(f"{name}_sum"):
                total += value
        return cls(dict(sorted(buckets.items())), total)

    def since(self, before: Histogram) -> Histogram:
        """What was observed after `before`. A process that began anew counts from nothing."""
        if self.count < before.count:
            return self
        return Histogram(
            {bound: count - before.buckets.get(bound, 0.0) for bound, count in self.buckets.items()},
            self.total - before.total,
        )

    @property
    def count(self) -> float:
        return max(self.buckets.values(), default=0.0)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Linear within its bucket, as `histogram_quantile` does; 0 without observations."""
        wanted, below, lower = share * self.count, 0.0, 0.0
        for bound, count in self.buckets.items():
            if count >= wanted and count > below:
                if bound == float("inf"):
                    return lower
                return lower + (bound - lower) * (wanted - below) / (count - below)
            below, lower = count, bound
        return lower

    @property
    def at_most(self) -> float:
        """Upper bound of the slowest: a histogram knows no more."""
        return next((bound for bound, count in self.buckets.items() if count >= self.count), 0.0)

    def shown(self) -> dict[str, float]:
        """For the record, in milliseconds; `at_most` may be infinite, which JSON has no word for."""
        most = self.at_most
        return {
            "count": self.count,
            "mean": self.mean * 1_000,
            "p50": self.quantile(0.5) * 1_000,
            "p95": self.quantile(0.95) * 1_000,
            "at_most": -1 if most == float("inf") else most * 1_000,
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Of what was measured one by one: p50, p95 and the longest."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": 0.0, "p95": 0.0, "longest": 0.0}
    last = len(ordered) - 1
    return {"p50": ordered[round(last * 0.5)], "p95": ordered[round(last * 0.95)], "longest": ordered[-1]}


def commands(before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Calls of each Redis command between two answers to INFO commandstats."""
    grown = {
        name.removeprefix("cmdstat_"): stats["calls"] - before.get(name, {}).get("calls", 0)
        for name, stats in after.items()
    }
    return {name: calls for name, calls in sorted(grown.items(), key=lambda item: -item[1]) if calls}
