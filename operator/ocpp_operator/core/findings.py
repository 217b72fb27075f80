"""The status that follows from what a pass has found: figures, addresses, and what is judged (`core.judgement`). Its shape: `core.status`.

Figures that hang on what could not be looked at (the store is away) stay as they were last seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ocpp_contract.names import COMMAND_PARTITIONS_ANNOTATION
from ocpp_operator.core import conditions, judgement, names
from ocpp_operator.core.conditions import Condition, Type, judge
from ocpp_operator.core.found import NOT_ASKED, Found, Swept, Topics, Trouble
from ocpp_operator.core.spec import Resource

__all__ = ["NOT_ASKED", "Found", "Report", "Swept", "Topics", "Trouble", "addresses", "paused", "refusal", "report"]

MOST_PODS: Final = 32
"""Pods in the status: only those that need a look, so that a large fleet does not bloat the object."""


@dataclass(frozen=True, slots=True)
class Report:
    """The status as it goes to the API server, and what deserves an Event."""

    status: dict[str, Any]
    news: list[conditions.News]
    unowned: int | None = None
    """Partitions without an owner; None: not known."""


def report(resource: Resource, found: Found, now: str) -> Report:
    """`now` is RFC 3339 in seconds."""
    judged = judgement.conditions(resource, found)
    before = resource.status.get("conditions") or []
    status: dict[str, Any] = {
        "observedGeneration": resource.generation,
        "version": found.version,
        "selector": names.selector_text(resource.name),
        "addresses": addresses(resource, found.service),
        "conditions": conditions.merge(before, judged, resource.generation, now),
        "pods": _pods(found),
        **_figures(found, resource.status),
    }
    if found.swept is not None:
        status["sweep"] = {"scanned": found.swept.scanned, "removed": found.swept.removed, "at": found.swept.at}
    elif "sweep" in resource.status:
        status["sweep"] = resource.status["sweep"]
    return Report(status, conditions.news(before, judged), _unowned(found))


def _figures(found: Found, before: Mapping[str, Any]) -> dict[str, Any]:
    """Pods, and what they hold; `before` is the status as it is."""
    deployed = (found.deployment or {}).get("status") or {}
    pods = {"replicas": deployed.get("replicas", 0), "readyReplicas": deployed.get("readyReplicas", 0)}
    if found.possession is None:  # as last seen
        return pods | {name: before[name] for name in ("connections", "partitions", "pools") if name in before}
    stations = found.possession.stations
    partitions = {
        "assigned": found.possession.assigned,
        "unowned": len(found.possession.unowned),
        "generation": found.generation,
    }
    pool = {"name": names.POOL, **pods, "connections": stations, "partitions": partitions}
    return {**pods, "connections": stations, "partitions": partitions, "pools": [pool]}


def _unowned(found: Found) -> int | None:
    return None if found.possession is None else len(found.possession.unowned)


def refusal(
    raw: Mapping[str, Any], trouble: Trouble, now: str, *, stalled: bool = False, found: Found | None = None
) -> Report:
    """For a resource whose spec cannot be read: what cannot be judged stays as it was. `stalled`: that has been so for long enough.

    `found`: what is known of its pods and mailboxes, which are looked after all the same; None: they could not be looked at.
    """
    troubles = [trouble, *(found.troubles if found is not None else ())]
    judged = [
        judge(Type.READY, False, trouble.reason, trouble.message),
        judgement.degraded(troubles),
        judge(Type.STALLED if stalled else Type.RECONCILING, True, trouble.reason, trouble.message),
    ]
    if found is not None:
        judged.append(judgement.converged(found))
        raw = {**raw, "status": (raw.get("status") or {}) | _figures(found, raw.get("status") or {})}
    generation = raw["metadata"].get("generation", 0)
    made = _but(raw, judged, {Type.RECONCILING, Type.STALLED}, generation, now)
    return made if found is None else replace(made, unowned=_unowned(found))


def paused(raw: Mapping[str, Any], now: str) -> Report:
    """For a resource that is left alone: everything else stays as it was, also which generation was observed, since nobody looks."""
    told = f"the annotation {names.PAUSE_ANNOTATION} is true: nothing is looked at or written; pods go on as they are"
    observed = (raw.get("status") or {}).get("observedGeneration", 0)
    return _but(raw, [judge(Type.PROGRESSING, False, "Paused", told)], set(), observed, now)


def _but(raw: Mapping[str, Any], judged: list[Condition], without: set[Type], observed: int, now: str) -> Report:
    """The status as it was, but for these conditions."""
    before = (raw.get("status") or {}).get("conditions") or []
    replaced = without | {condition.type for condition in judged}
    merged = conditions.merge(before, judged, raw["metadata"].get("generation", 0), now)
    kept = [dict(each) for each in before if each.get("type") not in replaced]
    status = {
        **(raw.get("status") or {}),
        "observedGeneration": observed,
        "conditions": sorted([*merged, *kept], key=lambda each: conditions.rank(each["type"])),
    }
    return Report(status, conditions.news(before, judged))


# --- addresses and pods -----------------------------------------------------------------------------------------------


def addresses(resource: Resource, service: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Where stations connect, by listener; their id is appended. None before a load balancer has an address."""
    host = None if service is None else _host(resource, service)
    if host is None:
        return []
    found = []
    for listener in resource.spec.listeners:
        scheme, usual = ("ws", 80) if listener.tls is None else ("wss", 443)
        port = "" if listener.port == usual else f":{listener.port}"
        found.append({"listener": listener.name, "url": f"{scheme}://{host}{port}/"})
    return found


def _host(resource: Resource, service: Mapping[str, Any]) -> str | None:
    if resource.spec.service.type != "LoadBalancer":
        return f"{names.gateway(resource.name)}.{resource.namespace}.svc"
    for entry in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []:
        if entry.get("hostname"):
            return str(entry["hostname"])
        if ip := entry.get("ip"):
            return f"[{ip}]" if ":" in ip else str(ip)
    return None


def _pods(found: Found) -> list[dict[str, Any]]:
    """Pods that need a look."""
    lagging = set(found.possession.lagging) if found.possession is not None else set()
    stations = found.possession.connections if found.possession is not None else {}
    told = []
    for pod in found.pods:
        if pod.trouble:
            reason, message = "Waiting", pod.trouble
        elif pod.deleting:
            reason, message = "Draining", "leaving"
        elif pod.name in lagging:
            reason, message = "AssignmentPending", "has not applied its annotation yet"
        elif not pod.ready:
            reason, message = "NotReady", "is not ready"
        else:
            continue
        line: dict[str, Any] = {"name": pod.name, "pool": names.POOL, "reason": reason, "message": message[:1_000]}
        if pod.name in stations:
            line["connections"] = stations[pod.name]
        if partitions := pod.annotations.get(COMMAND_PARTITIONS_ANNOTATION):
            line["partitions"] = partitions
        told.append(line)
    return told[:MOST_PODS]
