"""The conditions that follow from what a pass has found.

Nothing is guessed: what could not be looked at (the store is away, the brokers refuse us) makes its condition Unknown or False with
the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from ocpp_operator.core.conditions import Condition, Type, judge
from ocpp_operator.core.found import Found, Trouble
from ocpp_operator.core.spec import Resource


def conditions(resource: Resource, found: Found) -> list[Condition]:
    """All of them that hold or can be told."""
    return [
        _ready(resource, found),
        _progressing(resource, found),
        degraded(found.troubles),
        *_kstatus(resource, found),
        converged(found),
        judge(Type.TOPICS_READY, found.topics.ready, found.topics.reason, found.topics.message),
        _hardened(resource),
        _upgrade(found),
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


def _kstatus(resource: Resource, found: Found) -> list[Condition]:
    """Whether the resource is on its way to what its spec says, or kept from it; neither when it is there.

    Not on its way is who only lets pods leave: what is wished is there and serves, and a fleet drains for an hour.
    """
    if found.hindrance is not None:
        kind = Type.STALLED if found.stalled else Type.RECONCILING
        return [judge(kind, True, found.hindrance.reason, found.hindrance.message)]
    unwritten = next((trouble for trouble in found.troubles if trouble.reason == "ChildrenNotWritten"), None)
    if unwritten is not None:
        return [judge(Type.RECONCILING, True, unwritten.reason, unwritten.message)]
    if not found.written or found.deployment is None:
        return [judge(Type.RECONCILING, True, "ChildrenNotWritten", "children are being written")]
    deployed, wished = found.deployment.get("status") or {}, resource.spec.replicas
    updated, replicas = deployed.get("updatedReplicas", 0), deployed.get("replicas", 0)
    if deployed.get("observedGeneration", 0) < found.deployment["metadata"]["generation"]:
        return [judge(Type.RECONCILING, True, "Rolling", "Kubernetes has not taken up the latest Deployment yet")]
    if updated < max(wished, replicas):
        told = f"{updated} of {wished} pods run the latest template, {replicas - updated} another"
        return [judge(Type.RECONCILING, True, "Rolling", told)]
    if (ready := deployed.get("readyReplicas", 0)) < wished:
        return [judge(Type.RECONCILING, True, "Starting", f"{ready} of {wished} pods are ready")]
    return []


def degraded(troubles: Sequence[Trouble]) -> Condition:
    """By the worst, which stands first."""
    if not troubles:
        return judge(Type.DEGRADED, False, "AsWished")
    worst = troubles[0]
    more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
    return judge(Type.DEGRADED, True, worst.reason, worst.message + more)


def converged(found: Found) -> Condition:
    """Whether each partition is where the plan wishes it."""
    kind = Type.ASSIGNMENT_CONVERGED
    if found.possession is None:
        return judge(kind, None, "StoreUnavailable", _store(found))
    if found.possession.unowned:
        return judge(kind, False, "PartitionsUnowned" if found.pods else "NoPods", str(found.possession))
    settled = found.possession.converged
    return judge(kind, settled, "Converged" if settled else "Moving", str(found.possession))


def _upgrade(found: Found) -> Condition:
    if found.upgrade is None:
        return judge(Type.UPGRADE_AVAILABLE, False, "Current")
    return judge(Type.UPGRADE_AVAILABLE, found.upgrade.forwards, found.upgrade.reason, str(found.upgrade))


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
