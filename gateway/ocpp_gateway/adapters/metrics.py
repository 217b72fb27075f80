"""What the pod counts, for Prometheus. No station id is ever a label; children are looked up once and kept.

Core's `Count(name, labels)` becomes `chargegateway_downlink_total{what,which}` or `..._session_total{what,which}`.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

_COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "admission": ("Handshakes: admitted by version, refused by reason, quirks by kind", ("what", "which")),
    "transport": ("Sockets: aborts, refused frames, throttled stations, failed handshakes", ("what", "which")),
    "session": (
        "Conversations: bad messages, schema violations, duplicates, late and unasked answers",
        ("what", "which"),
    ),
    "downlink": ("Commands, partitions and entries, as core counts them", ("what", "which")),
    "events_published": ("Events acknowledged by Kafka", ("type",)),
    "events_refused": ("Events that Kafka refused for good", ("type",)),
    "commands_received": ("Command records read", ("lane",)),
    "store_trouble": ("Redis requests with unknown outcome, and data losses seen", ("kind",)),
    "registry": ("Station registry: records projected, unusable ones", ("what",)),
    "assignment_broken": ("Assignment files that could not be used", ()),
    "assignment_ignored": ("Assignments older than the one in force", ()),
    "decisions": ("Decisions by kind and source (webhook, failure)", ("kind", "source")),
    "procedure_failures": ("Procedures of the downlink that ended by a mistake of ours", ("procedure",)),
}

_GAUGES: dict[str, str] = {
    "connections": "Stations connected",
    "pending_handshakes": "Sockets that have not finished their handshake",
    "partitions_held": "Command partitions held by this pod",
    "parked_commands": "Commands that wait for a station that is away",
    "parked_bytes": "Bytes of their records",
    "unacknowledged_events": "Events that Kafka has not acknowledged",
    "oldest_unacknowledged_seconds": "Age of the oldest of them",
    "ready": "1 while the pod is ready",
    "draining": "1 while the pod drains",
}


class Metrics:
    """A registry of its own per pod object, so that tests and several pods of one process stay apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {
            name: Counter(f"chargegateway_{name}", text, labels, registry=self.registry)
            for name, (text, labels) in _COUNTERS.items()
        }
        self._children: dict[tuple[str, ...], Callable[[float], None]] = {}
        self.command_seconds = Histogram(
            "chargegateway_command_seconds",
            "From the command's record in Kafka to the CALL on the socket",
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        self._gauges = {
            name: Gauge(f"chargegateway_{name}", text, registry=self.registry) for name, text in _GAUGES.items()
        }

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Add `by` to counter `name`; `labels` in the order of the table above."""
        key = (name, *labels)
        child = self._children.get(key)
        if child is None:
            counter = self._counters[name]
            child = self._children[key] = (counter.labels(*labels) if labels else counter).inc
        child(by)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Let gauge `name` show what `read` returns at each scrape."""
        self._gauges[name].set_function(read)

    def page(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
