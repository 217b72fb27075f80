"""What a pass has found, and the status that follows from it: figures, addresses and conditions (their shape: `core.status`).

Nothing is guessed: what could not be looked at (the store is away, the brokers refuse us) makes its condition Unknown or False with
the reason, and the figures that hang on it stay as they were last seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocpp_contract.names import COMMAND_PARTITIONS_ANNOTATION
from ocpp_operator.core import conditions, names
from ocpp_operator.core.conditions import Condition, Type, judge
from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.possession import Possession
from ocpp_operator.core.spec import Resource

MOST_PODS = 32
"""Pods in the status: only those that need a look, so that a large fleet does not bloat the object."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps the resource from being what it should be. `reason` is a CamelCase word, `message` for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Topics:
    """What is known of the topics. `ready` None: the brokers could not be asked."""

    ready: bool | None
    reason: str
    message: str


NOT_ASKED = Topics(None, "NotAsked", "the brokers have not been asked yet")


@dataclass(frozen=True, slots=True)
class Swept:
    """The last look through all entries; `at` is RFC 3339."""

    scanned: int
    removed: int
    at: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that a pass knows at its end."""

    version: str
    generation: int = 0
    """Of the plan."""
    upgrade: str | None = None
    """What a newer rendering would bring; None: the pods are what this operator would make."""
    deployment: Mapping[str, Any] | None = None
    service: Mapping[str, Any] | None = None
    pods: Sequence[GatewayPod] = ()
    possession: Possession | None = None
    """None: the store could not be asked."""
    store_trouble: str | None = None
    topics: Topics = NOT_ASKED
    troubles: Sequence[Trouble] = ()
    """The worst first."""
    swept: Swept | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The status as it goes to the API server, and what deserves an Event."""

    status: dict[str, Any]
    news: list[conditions.News]
    unowned: int | None = None
    """Partitions without an owner; None: not known."""


def report(resource: Resource, found: Found, now: str) -> Report:
    """`now` is RFC 3339 in seconds."""
    judged = _conditions(resource, found)
    before = resource.status.get("conditions") or []
    deployed = (found.deployment or {}).get("status") or {}
    replicas, ready = deployed.get("replicas", 0), deployed.get("readyReplicas", 0)
    status: dict[str, Any] = {
        "observedGeneration": resource.generation,
        "version": found.version,
        "replicas": replicas,
        "readyReplicas": ready,
        "selector": names.selector_text(resource.name),
        "addresses": addresses(resource, found.service),
        "conditions": conditions.merge(before, judged, resource.generation, now),
        "pods": _pods(found),
    }
    if found.possession is not None:
        stations = found.possession.stations
        partitions = {
            "assigned": found.possession.assigned,
            "unowned": len(found.possession.unowned),
            "generation": found.generation,
        }
        pool = {"name": names.POOL, "replicas": replicas, "readyReplicas": ready, "connections": stations}
        status |= {"connections": stations, "partitions": partitions, "pools": [{**pool, "partitions": partitions}]}
    else:  # as last seen
        kept = ("connections", "partitions", "pools")
        status |= {name: resource.status[name] for name in kept if name in resource.status}
    if found.swept is not None:
        status["sweep"] = {"scanned": found.swept.scanned, "removed": found.swept.removed, "at": found.swept.at}
    elif "sweep" in resource.status:
        status["sweep"] = resource.status["sweep"]
    unowned = None if found.possession is None else len(found.possession.unowned)
    return Report(status, conditions.news(before, judged), unowned)


def refusal(raw: Mapping[str, Any], trouble: Trouble, now: str) -> Report:
    """For a resource whose spec cannot be read: everything but Ready and Degraded stays as it was."""
    return _but(
        raw,
        [
            judge(Type.READY, False, trouble.reason, trouble.message),
            judge(Type.DEGRADED, True, trouble.reason, trouble.message),
        ],
        now,
    )


def paused(raw: Mapping[str, Any], now: str) -> Report:
    """For a resource that is left alone: everything else stays as it was."""
    told = f"the annotation {names.PAUSE_ANNOTATION} is true: nothing is looked at or written; pods go on as they are"
    return _but(raw, [judge(Type.PROGRESSING, False, "Paused", told)], now)


def _but(raw: Mapping[str, Any], judged: Sequence[Condition], now: str) -> Report:
    """The status as it was, but for these conditions."""
    before = (raw.get("status") or {}).get("conditions") or []
    others = set(Type) - {condition.type for condition in judged}
    kept = [
        Condition(Type(each["type"]), each["status"], each["reason"], each.get("message", ""))
        for each in before
        if each.get("type") in others
    ]
    generation = raw["metadata"].get("generation", 0)
    status = {
        **(raw.get("status") or {}),
        "observedGeneration": generation,
        "conditions": conditions.merge(before, [*judged, *kept], generation, now),
    }
    return Report(status, conditions.news(before, judged))


# --- conditions -------------------------------------------------------------------------------------------------------


def _conditions(resource: Resource, found: Found) -> list[Condition]:
    return [
        _ready(resource, found),
        _progressing(resource, found),
        _degraded(found),
        _converged(found),
        judge(Type.TOPICS_READY, found.topics.ready, found.topics.reason, found.topics.message),
        _hardened(resource),
        judge(
            Type.UPGRADE_AVAILABLE,
            found.upgrade is not None,
            "Newer" if found.upgrade else "Current",
            found.upgrade or "",
        ),
    ]


_BLOCKING = {"InvalidSpec", "MailboxesTaken", "ChildRefused", "NameTaken"}


def _ready(resource: Resource, found: Found) -> Condition:
    """Stations can connect and commands reach them. A load balancer's address is not waited for: some clusters have none."""
    blocking = next((trouble for trouble in found.troubles if trouble.reason in _BLOCKING), None)
    if blocking is not None:
        return judge(Type.READY, False, blocking.reason, blocking.message)
    wished = resource.spec.replicas
    if wished == 0:
        return judge(Type.READY, False, "ScaledToZero", "spec.replicas is 0: stations are refused and commands wait")
    ready = ((found.deployment or {}).get("status") or {}).get("readyReplicas", 0)
    if found.topics.ready is False:
        return judge(Type.READY, False, found.topics.reason, found.topics.message)
    if found.possession is None:
        return judge(Type.READY, None if ready else False, "StoreUnavailable", _store(found))
    if ready < wished:
        return judge(Type.READY, False, "PodsNotReady", f"{ready} of {wished} pods are ready{_why(found)}")
    if found.possession.unowned:
        return judge(Type.READY, False, "PartitionsUnowned", str(found.possession))
    return judge(Type.READY, True, "Serving", f"{ready} pods serve {found.possession.partitions} partitions")


def _store(found: Found) -> str:
    return found.store_trouble or "the store has not been asked yet"


def _why(found: Found) -> str:
    trouble = next((pod.trouble for pod in found.pods if pod.trouble), None)
    return f": {trouble}" if trouble else ""


def _progressing(resource: Resource, found: Found) -> Condition:
    """Something is on its way that ends by itself."""
    deployment = found.deployment or {}
    deployed = deployment.get("status") or {}
    wished = resource.spec.replicas
    if deployed.get("observedGeneration", 0) < (deployment.get("metadata") or {}).get("generation", 0):
        return judge(Type.PROGRESSING, True, "Rolling", "Kubernetes has not taken up the latest Deployment yet")
    if deployment and (updated := deployed.get("updatedReplicas", 0)) < wished:
        return judge(Type.PROGRESSING, True, "Rolling", f"{updated} of {wished} pods run the latest template")
    if (replicas := deployed.get("replicas", 0)) > wished:
        return judge(Type.PROGRESSING, True, "Rolling", f"{replicas - wished} pods are being replaced or taken away")
    if leaving := [pod for pod in found.pods if pod.deleting]:
        left = found.possession.connections if found.possession is not None else {}
        told = ", ".join(f"{pod.name} ({left.get(pod.name, 0)} stations left)" for pod in leaving[:3])
        more = f" and {len(leaving) - 3} more" if len(leaving) > 3 else ""
        ceiling = f"at most {resource.spec.grace_period} s each"
        return judge(Type.PROGRESSING, True, "Draining", f"leaving: {told}{more}; {ceiling}")
    if found.possession is not None and (found.possession.elsewhere or found.possession.lagging):
        return judge(Type.PROGRESSING, True, "MovingPartitions", str(found.possession))
    if deployed.get("readyReplicas", 0) < wished:
        return judge(Type.PROGRESSING, True, "Starting", "pods are starting")
    return judge(Type.PROGRESSING, False, "Settled")


def _degraded(found: Found) -> Condition:
    if not found.troubles:
        return judge(Type.DEGRADED, False, "AsWished")
    worst = found.troubles[0]
    more = f" (and {len(found.troubles) - 1} more)" if len(found.troubles) > 1 else ""
    return judge(Type.DEGRADED, True, worst.reason, worst.message + more)


def _converged(found: Found) -> Condition:
    kind = Type.ASSIGNMENT_CONVERGED
    if found.possession is None:
        return judge(kind, None, "StoreUnavailable", _store(found))
    if found.possession.unowned:
        return judge(kind, False, "PartitionsUnowned" if found.pods else "NoPods", str(found.possession))
    converged = found.possession.converged
    return judge(kind, converged, "Converged" if converged else "Moving", str(found.possession))


def _hardened(resource: Resource) -> Condition:
    """What a person in charge of security would ask about. Each is a choice that the spec allows."""
    spec = resource.spec
    open_ends = []
    if spec.stations.unknown == "Accept":
        open_ends.append("stations.unknown Accept lets in everybody who knows the address")
    if spec.decisions.type == "Accept":
        open_ends.append("decisions Accept says yes to every token")
    if plain := [listener.name for listener in spec.listeners if listener.tls is None]:
        open_ends.append(f"stations talk without TLS on {', '.join(plain)}")
    if spec.kafka.tls is None:
        open_ends.append("Kafka is talked to without TLS")
    if spec.kafka.authentication is None:
        open_ends.append("Kafka lets us in without authentication")
    if spec.redis.tls is None:
        open_ends.append("Redis is talked to without TLS")
    if spec.redis.password_secret_ref is None:
        open_ends.append("Redis lets us in without a password")
    if min(spec.kafka.topics.replicas, spec.kafka.topics.min_in_sync_replicas) < 2:
        open_ends.append("one broken broker can lose acknowledged records")
    return judge(Type.HARDENED, not open_ends, "OpenEnds" if open_ends else "Hardened", "; ".join(open_ends))


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
