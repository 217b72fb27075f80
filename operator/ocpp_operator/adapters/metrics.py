"""What the operator counts, for Prometheus. Labels are words of ours, never names of resources, pods or Secrets: their number is
bounded, whatever the cluster holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

_PREFIX = "chargegateway_operator"


class Metrics:
    """A registry of its own per object, so that tests and several operators of one process stay apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconcile_seconds = Histogram(
            f"{_PREFIX}_reconcile_seconds",
            "One pass over one resource, by how it ended (done, failed)",
            ("outcome",),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self._errors = self._counter("errors", "Passes and requests that failed, by kind", "kind")
        self._moves = self._counter("partition_moves", "Partitions that got another owner, by cause", "cause")
        self._writes = self._counter("writes", "Objects written, by kind of object and reason", "object", "reason")
        self._requests = self._counter("api_requests", "Requests to the Kubernetes API", "verb", "resource", "code")
        self._swept = self._counter("swept_entries", "Entries of the directory, by what became of them", "outcome")
        self._swept.labels("scanned")
        self._swept.labels("removed")
        self.sweep_seconds = Histogram(
            f"{_PREFIX}_sweep_seconds",
            "One sweep of a resource's directory",
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300),
            registry=self.registry,
        )
        self._leader = Gauge(f"{_PREFIX}_leader", "1 while this replica leads", registry=self.registry)
        self._resources = Gauge(
            f"{_PREFIX}_resources",
            "Resources by condition type and status (True, False, Unknown)",
            ("condition", "status"),
            registry=self.registry,
        )
        self._unowned = Gauge(f"{_PREFIX}_partitions_unowned", "Partitions that no pod owns", registry=self.registry)
        self._refused = Gauge(
            f"{_PREFIX}_namespaces_refused", "Namespaces to be served that do not let us in", registry=self.registry
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def request(self, verb: str, resource: str, code: str) -> None:
        """One request to the Kubernetes API: what `Connection` counts."""
        self._requests.labels(verb, resource, code).inc()

    def error(self, kind: str) -> None:
        """`kind` is the name of a type of error, or a word of ours."""
        self._errors.labels(kind).inc()

    def passed(self, seconds: float, outcome: str) -> None:
        """A pass over a resource ended."""
        self.reconcile_seconds.labels(outcome).observe(seconds)

    def wrote(self, kind: str, reason: str) -> None:
        """An object of `kind` was written; `reason` is one of few words (missing, drift, changed)."""
        self._writes.labels(kind, reason).inc()

    def moved(self, cause: str, by: int = 1) -> None:
        """Partitions got another owner."""
        self._moves.labels(cause).inc(by)

    def swept(self, scanned: int, removed: int, seconds: float) -> None:
        """A sweep of one resource's directory ended."""
        self._swept.labels("scanned").inc(scanned)
        self._swept.labels("removed").inc(removed)
        self.sweep_seconds.observe(seconds)

    def leader(self, read: Callable[[], bool]) -> None:
        """Let the gauge show what `read` returns at each scrape."""
        self._leader.set_function(lambda: float(read()))

    def unowned(self, read: Callable[[], float]) -> None:
        """The same for the partitions without an owner, of all resources together."""
        self._unowned.set_function(read)

    def resources(self, numbers: Mapping[tuple[str, str], int]) -> None:
        """How many resources have each (condition type, status) now; what is not named is 0."""
        self._resources.clear()
        for (condition, status), number in numbers.items():
            self._resources.labels(condition, status).set(number)

    def refused(self, number: int) -> None:
        """How many namespaces are to be served and refuse us now."""
        self._refused.set(number)

    def page(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
