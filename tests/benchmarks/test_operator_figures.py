"""What `make bench-operator` makes of an audit log, of histograms and of counters."""

from __future__ import annotations

import json

import pytest

from benchmarks.operator_scale.figures import (
    Histogram,
    Request,
    commands,
    per_minute,
    requests,
    spread,
    writes_to_children,
)

USER = "system:serviceaccount:home:operator"


def line(verb: str, resource: str, subresource: str = "", user: str = USER, stage: str = "ResponseComplete") -> str:
    about = {"resource": resource, **({"subresource": subresource} if subresource else {})}
    return json.dumps({"user": {"username": user}, "verb": verb, "stage": stage, "objectRef": about}) + "\n"


def test_requests_of_one_user_are_counted_once() -> None:
    log = [
        line("patch", "chargegateways", "status"),
        line("get", "pods", user="somebody else"),
        line("watch", "pods", stage="ResponseStarted"),
        line("watch", "pods"),  # its end
        line("patch", "leases")[:-10],  # still being written
    ]
    assert requests(log, USER) == [Request("patch", "chargegateways/status"), Request("watch", "pods")]


def test_discovery_is_named_by_its_path() -> None:
    entry = {"user": {"username": USER}, "verb": "get", "stage": "ResponseComplete", "requestURI": "/apis/apps/v1?a=b"}
    assert requests([json.dumps(entry) + "\n"], USER) == [Request("get", "/apis/apps/v1")]


def test_only_writes_to_children_count_as_such() -> None:
    asked = [
        Request("patch", "leases"),
        Request("create", "events"),
        Request("patch", "chargegateways/status"),
        Request("get", "configmaps"),
        Request("watch", "pods"),
        Request("patch", "deployments"),
        Request("patch", "pods"),
        Request("delete", "services"),
    ]
    assert writes_to_children(asked) == 3


def test_rates_come_the_most_frequent_first() -> None:
    asked = [Request("get", "pods"), Request("patch", "leases"), Request("patch", "leases")]
    assert list(per_minute(asked, 30).items()) == [("patch leases", 4.0), ("get pods", 2.0)]


def samples(done: list[float], failed: list[float] | None = None) -> dict[str, float]:
    found = {}
    for outcome, counts in (("done", done), ("failed", failed or [0.0] * len(done))):
        for bound, count in zip(("0.01", "0.1", "+Inf"), counts, strict=True):
            found[f'passes_bucket{{le="{bound}",outcome="{outcome}"}}'] = count
        found[f'passes_sum{{outcome="{outcome}"}}'] = counts[-1] / 10
    return found


def test_a_histogram_adds_its_series_up() -> None:
    seen = Histogram.read(samples([10, 20, 20], [0, 0, 20]), "passes")
    assert (seen.count, seen.total, seen.mean) == (40, 4.0, 0.1)
    assert seen.quantile(0.25) == pytest.approx(0.01)
    assert seen.quantile(0.375) == pytest.approx(0.055)  # half-way through its bucket
    assert seen.quantile(0.95) == 0.1  # beyond the last bound: no more is known
    assert seen.at_most == float("inf")


def test_what_was_before_is_taken_off() -> None:
    before, after = (Histogram.read(samples(counts), "passes") for counts in ([5, 5, 6], [5, 9, 10]))
    since = after.since(before)
    assert (since.count, since.at_most) == (4, 0.1)
    assert since.shown() == pytest.approx({"count": 4, "mean": 100, "p50": 55, "p95": 95.5, "at_most": 100})


def test_a_process_that_began_anew_counts_from_nothing() -> None:
    before, after = (Histogram.read(samples(counts), "passes") for counts in ([5, 9, 10], [1, 2, 3]))
    assert after.since(before) == after


def test_nothing_seen_is_nothing() -> None:
    nothing = Histogram.read({}, "passes")
    assert nothing.shown() == {"count": 0, "mean": 0, "p50": 0, "p95": 0, "at_most": 0}
    assert spread([]) == {"p50": 0, "p95": 0, "longest": 0}


def test_spread_is_of_the_ordered_values() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"p50": 2.0, "p95": 3.0, "longest": 3.0}


def test_commands_are_what_grew() -> None:
    before = {"cmdstat_get": {"calls": 10.0}, "cmdstat_time": {"calls": 4.0}}
    after = {"cmdstat_time": {"calls": 4.0}, "cmdstat_get": {"calls": 15.0}, "cmdstat_info": {"calls": 7.0}}
    assert commands(before, after) == {"info": 7.0, "get": 5.0}
