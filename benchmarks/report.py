"""RESULTS.md: what `record` keeps, as tables, each figure beside its goal."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.operator_scale.tables import operator_tables
from benchmarks.servers import GATEWAY, NAMES

FILE = Path(__file__).with_name("RESULTS.md")
READING = Path(__file__).with_name("reading.md")
"""What a person has to say about the figures; appended as it is."""

_GOALS = {
    ("heartbeat", "saturated"): "35 *",
    ("heartbeat", "500/s"): "100",
    ("metervalues", "saturated"): "60 *",
    ("metervalues", "500/s"): "200 *",
    ("memory", "plain"): "10",
    ("memory", "TLS"): "40",
}
_MESSAGES = {"heartbeat": "Heartbeat", "metervalues": "MeterValues, 3 values"}


def write() -> None:
    """Make RESULTS.md anew."""
    parts = record.load()
    sections = [_head(parts)]
    sections += [part(name, parts[name]["figures"]) for name in _ORDER if name in parts]
    sections.append(READING.read_text().strip())
    FILE.write_text("\n\n".join(sections) + "\n")


def part(name: str, figures: dict[str, Any]) -> str:
    """One part as Markdown."""
    return _ORDER[name](name, figures)


def _head(parts: dict[str, Any]) -> str:
    lines = [
        "# Results",
        "",
        "Made by `make bench` and `make bench-operator`; the figures are in `results.json`. The gateway runs with Apache Kafka and Redis,",
        "validates, unifies and answers MeterValues after Kafka has the event; the peers validate and answer at once. All servers are one",
        "process each, the load comes from other processes. Cells: minimum / median of the rounds; rivals took turns within each round.",
        "Goals marked * are stretches: at or below what a bare probe of the path reached.",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in parts["surroundings"].items()),
        "",
        "| part | measured at | load average | command |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {parts[name]['at']} | {parts[name]['load']} | `{parts[name]['command']}` |"
            for name in _ORDER
            if name in parts
        ),
    ]
    return "\n".join(lines)


def _cell(values: list[float], digits: int = 0) -> str:
    return f"{min(values):.{digits}f} / {statistics.median(values):.{digits}f}"


def _cpu(name: str, figures: dict[str, Any]) -> str:
    lines = [
        f"## {_MESSAGES[name]}: server CPU per message, us",
        "",
        f"| load | goal | {' | '.join(NAMES)} |",
        f"| --- | --- | {' | '.join('---' for _ in NAMES)} |",
    ]
    for way, rivals in figures["ways"].items():
        cells = [_cell([each["microseconds"] for each in rivals[rival]]) for rival in NAMES]
        lines.append(f"| {way} | {_GOALS.get((name, way), '')} | {' | '.join(cells)} |")
    lines += [
        "",
        "What else was seen (medians):",
        "",
        "| load | server | messages | per second | cores | kernel us | p50 ms | p99 ms |",
    ]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for way, rivals in figures["ways"].items():
        for rival in NAMES:
            rounds = rivals[rival]
            seen = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
            lines.append(
                f"| {way} | {rival} | {len(rounds)} x {seen['messages']:.0f} | {seen['per_second']:.0f} | {seen['busy']:.2f}"
                f" | {seen['kernel']:.0f} | {seen['p50']:.1f} | {seen['p99']:.1f} |"
            )
    lines += [
        "",
        f"With 1,000 silent stations {GATEWAY} uses {figures['background'] * 100:.1f} % of a core (leases, fetches, pings): at 500"
        f" messages a second {figures['background'] / 500 * 1e6:.0f} us of each figure above.",
    ]
    return "\n".join(lines)


def _memory(name: str, figures: dict[str, Any]) -> str:
    lines = [
        f"## Memory per idle connection, KiB (PSS, {figures['connections']:,} connections, fresh process)",
        "",
        f"| | goal | {' | '.join(NAMES)} |",
        f"| --- | --- | {' | '.join('---' for _ in NAMES)} |",
    ]
    for way, rivals in figures["ways"].items():
        lines.append(f"| {way} | {_GOALS[name, way]} | {' | '.join(_cell(rivals[rival], 1) for rival in NAMES)} |")
    return "\n".join(lines)


def _commands(name: str, figures: dict[str, Any]) -> str:
    lines = [
        "## Command latency, ms: the backend's produce call (acks=all) to the CALL's frame at the station",
        "",
        "RequestStartTransaction (never sent twice, so claimed in Redis first), 50 a second over 100 stations.",
        "",
        "| | commands | p50 (goal 5) | p99 (goal 15) | longest |",
        "| --- | --- | --- | --- | --- |",
    ]
    for way, rounds in figures["ways"].items():
        cells = [_cell([each[key] for each in rounds], 1) for key in ("p50", "p99", "longest")]
        lines.append(f"| {way} | {len(rounds)} x {rounds[0]['commands']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _crowd(name: str, figures: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"## {figures['connections']:,} connections in one process",
            "",
            "| connected in | CPU per connection | RSS | PSS per connection | p99 of 500 Heartbeats/s over all |",
            "| --- | --- | --- | --- | --- |",
            f"| {figures['seconds']:.0f} s | {figures['cpu_per_connection']:.2f} ms | {figures['rss']:.0f} MiB"
            f" | {figures['per_connection']:.1f} KiB | {figures['heartbeat_p99']:.1f} ms |",
            "",
            "CPU per connection: accept, upgrade, admission, registration in Redis, boot, and the events of both.",
        ]
    )


def _profile(name: str, figures: dict[str, Any]) -> str:
    lines = [
        "## Where the gateway's time goes",
        "",
        "py-spy, 500 samples a second, idle time not counted; per cent. Self: in the function or in C code that it called (a socket write",
        "counts for whoever called it). Total: anywhere on the stack.",
    ]
    for load, rows in figures.items():
        lines += ["", f"### {load}", "", "| self | total | function |", "| --- | --- | --- |"]
        lines += [f"| {row['self_share']:.1f} | {row['total_share']:.1f} | `{row['where']}` |" for row in rows]
    return "\n".join(lines)


def _operator(name: str, figures: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"## One operator, {figures['resources']} resources of {figures['pods']} pods",
            "",
            "A real API server with scheduler and controllers, real Kafka and Redis; kubelets by KWOK, and what gateways write into",
            f"Redis is played (no stations). {figures['partitions']} mailbox partitions each; the operator has the settings as shipped.",
            "`make bench-operator`.",
            "",
            *operator_tables(figures),
        ]
    )


def _sweep(name: str, figures: dict[str, Any]) -> str:
    lines = [
        f"## Sweep of {figures['entries']:,} entries in Redis",
        "",
        f"The operator looks through all entries and removes those of pods that are gone ({figures['gone']:.0%}, in the third row).",
        "What another client of the same server feels: milliseconds of a GET and an EVALSHA, a pair every 2 ms. Minimum / median.",
        "",
        "| | entries | removed | seconds | operator's CPU, s | others' p50 ms | p99 ms | longest ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for way, rounds in figures["ways"].items():
        if "seconds" in rounds[0]:
            cells = [f"{rounds[0]['scanned']:,}", f"{rounds[0]['removed']:,}"]
            cells += [_cell([each[key] for each in rounds], 1) for key in ("seconds", "cpu")]
        else:
            cells = [""] * 4
        cells += [_cell([each["felt"][key] for each in rounds], 2) for key in ("p50", "p99", "longest")]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


_ORDER = {
    "heartbeat": _cpu,
    "metervalues": _cpu,
    "memory": _memory,
    "commands": _commands,
    "crowd": _crowd,
    "profile": _profile,
    "operator": _operator,
    "sweep": _sweep,
}


if __name__ == "__main__":
    write()  # `python -m benchmarks.report`: the same figures, after `reading.md` was changed
