"""The phases as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ALL = ("alone", "many", "idle", "change", "restart", "loss")
_PHASES = ("many", "idle", "restart", "loss")
_KINDS = 12
"""Rows of requests and commands; what is rarer is added up."""


def operator_tables(found: Mapping[str, Any]) -> list[str]:
    """All of it, line by line."""
    return [*_times(found), "", *_passes(found), "", *_memory(found), "", *_idle(found)]


def _times(found: Mapping[str, Any]) -> list[str]:
    many, restart, loss = found["many"], found["restart"], found["loss"]
    others = found["resources"] - 1
    rows = [
        ("alone: a resource applied, until it is Ready", f"{found['alone']['ready']:.1f} s"),
        (
            "alone: its pod template changed, until the first new pod / all pods replaced and settled",
            f"{found['alone']['first_pod']:.1f} s / {found['alone']['rolled']:.1f} s",
        ),
        (
            f"many: {others} resources applied at once, until all are Ready",
            f"{many['all_ready']:.1f} s (each: p50 {many['each']['p50']:.1f}, p95 {many['each']['p95']:.1f})",
        ),
        (
            "many: operator's CPU and API requests per resource",
            f"{many['cpu_each']:.2f} s, {many['requests_each']:.0f}",
        ),
        (
            f"change: one template changed beside {others} idle ones, the same two times",
            f"{found['change']['first_pod']:.1f} s / {found['change']['rolled']:.1f} s",
        ),
        (
            "restart: operator told to leave, until it has ended / from its start until it has looked at all",
            f"{restart['left']:.1f} s / {restart['all_seen']:.1f} s",
        ),
        (
            "restart: API requests of the new one in its first time / writes to children",
            f"{restart['requests']} / {restart['writes']}",
        ),
        (
            f"loss: {loss['pods']} pods of {loss['resources']} resources killed, until every partition is owned / all is as before",
            f"{loss['owned']:.1f} s / {loss['as_before']:.1f} s",
        ),
    ]
    loads = ", ".join(f"{phase} {found[phase]['load'][0]} to {found[phase]['load'][1]}" for phase in _ALL)
    ended = ", ".join(f"{phase} {found[phase]['ended']}" for phase in _ALL if found[phase]["ended"])
    told = f" The operator lost its lease and was started again: {ended} times." if ended else ""
    return [
        "| what | seen |",
        "| --- | --- |",
        *(f"| {what} | {seen} |" for what, seen in rows),
        "",
        f"Load averages: {loads}.{told}",
    ]


def _passes(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "| passes over a resource (the operator's own histogram) | number | mean ms | p50 ms | p95 ms | none longer than |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for phase in _PHASES:
        seen = found[phase]["passes"]
        most = "?" if seen["at_most"] < 0 else f"{seen['at_most']:.0f} ms"
        lines.append(
            f"| {phase} | {seen['count']:.0f} | {seen['mean']:.1f} | {seen['p50']:.1f} | {seen['p95']:.1f} | {most} |"
        )
    return lines


def _memory(found: Mapping[str, Any]) -> list[str]:
    lines = ["| the operator's process | RSS | peak | threads | open files |", "| --- | --- | --- | --- | --- |"]
    lines.append(f"| leading, without a resource | {found['empty']['rss']:.0f} | | | |")
    for phase in ("many", "idle", "restart"):
        seen = found[phase]
        lines.append(f"| {phase} | {seen['rss']:.0f} | {seen['peak']:.0f} | {seen['threads']} | {seen['files']} |")
    return lines


def _idle(found: Mapping[str, Any]) -> list[str]:
    idle = found["idle"]
    cores = ", ".join(f"{name} {share * 100:.0f} %" for name, share in idle["cpu"].items())
    return [
        f"Idle for {idle['seconds']:.0f} s: {idle['requests']:.1f} API requests a minute, {idle['watches_begun']:.1f} watches begun, "
        f"{idle['lease']:.0f} requests for the Lease; {sum(idle['redis'].values()):,.0f} commands in Redis a minute. CPU: {cores}.",
        "",
        "| API requests a minute, idle | | commands in Redis a minute, idle | |",
        "| --- | --- | --- | --- |",
        *_side_by_side(_most(idle["by_kind"]), _most(idle["redis"])),
    ]


def _most(numbers: Mapping[str, float]) -> list[tuple[str, float]]:
    ordered = sorted(numbers.items(), key=lambda item: -item[1])
    rest = sum(number for _, number in ordered[_KINDS:])
    return ordered[:_KINDS] + ([("others", rest)] if rest else [])


def _side_by_side(left: list[tuple[str, float]], right: list[tuple[str, float]]) -> list[str]:
    nothing = ("", None)
    lines = []
    for index in range(max(len(left), len(right))):
        cells = []
        for what, number in (side[index] if index < len(side) else nothing for side in (left, right)):
            cells += [what, "" if number is None else f"{number:,.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
