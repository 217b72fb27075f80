"""What is wrong with a resource, out of what the API server shows of it: the pure half of `chargegateway doctor`.

Everything is judged from the outside, as a person with kubectl would: the operator may be dead, of another version, or not
look at this namespace at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ocpp_operator.core import names
from ocpp_operator.core.advice import ANY_POD, PODS, REASONS, Advice, Level, addressed
from ocpp_operator.core.conditions import GOOD, Type
from ocpp_operator.core.fleet import pods_of

Json = Mapping[str, Any]
_MOST_PODS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: about what, in a word, in a sentence, and what to do."""

    level: Level
    subject: str
    reason: str
    message: str
    step: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """One resource and what belongs to it, raw. What could not be looked at is in `hidden`, a sentence each."""

    resource: Json
    deployment: Json | None = None
    pods: Sequence[Json] = ()
    events: Sequence[Json] = ()
    """Of the pods."""
    secrets: Sequence[str] = ()
    """What is missing, a sentence each."""
    hidden: Sequence[str] = ()

    @property
    def name(self) -> str:
        return str(self.resource["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.resource["metadata"]["namespace"])


def stale(resource: Json) -> bool:
    """Whether the status is not about the present spec."""
    observed = (resource.get("status") or {}).get("observedGeneration")
    return bool(observed != resource["metadata"].get("generation"))


def diagnose(seen: Seen) -> list[Finding]:
    """All findings about one resource, in the order in which they are read."""
    found = [*_attention(seen.resource), *_conditions(seen.resource)]
    # The condition names the worst alone.
    found += [_told(Level.TROUBLE, "secrets", "SecretMissing", line, REASONS["SecretMissing"]) for line in seen.secrets]
    found += [*_deployment(seen), *_pods(seen), *_address(seen.resource)]
    found += [Finding(Level.NOTE, "not looked at", "Forbidden", line) for line in seen.hidden]
    return [_named(finding, seen) for finding in found]


def summary(resource: Json) -> str:
    """The figures of the status in one line."""
    status, spec = resource.get("status") or {}, resource.get("spec") or {}
    parts = [f"version {status['version']}"] if "version" in status else []
    if "readyReplicas" in status:
        parts.append(f"{status['readyReplicas']} of {spec.get('replicas', status.get('replicas', 0))} pods ready")
    if "connections" in status:
        parts.append(f"{status['connections']} stations")
    if partitions := status.get("partitions"):
        parts.append(f"{partitions.get('assigned', 0)} partitions assigned, {partitions.get('unowned', 0)} unowned")
    return "; ".join(parts) or "no status"


def _attention(resource: Json) -> Iterator[Finding]:
    """Whether the operator looks at the resource at all."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    if "deletionTimestamp" in metadata:
        yield Finding(Level.NOTE, "resource", "Deleting", "it is being deleted")
    if not status.get("observedGeneration") and not status.get("conditions"):
        yield Finding(
            Level.TROUBLE,
            "operator",
            "NeverSeen",
            "no operator has looked at this resource",
            "does one run (below), and does it serve this namespace (chart: watchNamespaces)?",
        )
    elif stale(resource) and not _is_paused(metadata):
        seen, now = status.get("observedGeneration", 0), metadata.get("generation")
        yield Finding(
            Level.TROUBLE,
            "operator",
            "Stale",
            f"generation {now} of the spec is not taken up: the status is about generation {seen}",
            "does an operator run (below), and does it serve this namespace (chart: watchNamespaces)? Its log names the resource",
        )


def _is_paused(metadata: Json) -> bool:
    return (metadata.get("annotations") or {}).get(names.PAUSE_ANNOTATION) == "true"


def _conditions(resource: Json) -> Iterator[Finding]:
    conditions = (resource.get("status") or {}).get("conditions") or ()
    for condition in conditions:
        kind, reason, status = condition["type"], condition["reason"], condition["status"]
        if kind in (Type.RECONCILING, Type.STALLED):
            continue  # for programs: what they say of is told by the others
        advice = REASONS.get(reason)
        if advice is None:  # of another version's operator
            good = GOOD.get(Type(kind)) if kind in set(Type) else None
            level = Level.NOTE if good is None else Level.OK if status == good else Level.TROUBLE
            advice = Advice(level, "")
        yield _told(advice.level, kind, reason, condition.get("message") or advice.meaning, advice)


def _deployment(seen: Seen) -> Iterator[Finding]:
    conditions = ((seen.deployment or {}).get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield _told(Level.TROUBLE, "pods", condition["reason"], condition.get("message", ""), PODS["FailedCreate"])


def _pods(seen: Seen) -> Iterator[Finding]:
    raws = {raw["metadata"]["name"]: raw for raw in seen.pods}
    troubled = []
    for pod in pods_of(seen.pods):
        if pod.deleting or (pod.ready and not _killed(raws[pod.name])):
            continue
        warning = _last_warning(seen.events, pod.uid)
        if pod.trouble is not None:
            reason, _, message = pod.trouble.partition(": ")
        elif pod.ready or _killed(raws[pod.name]):
            reason, message = "OOMKilled", "a container was ended for its memory and started again"
        elif warning is not None and warning.get("reason") in PODS:
            reason, message = str(warning["reason"]), str(warning.get("note", ""))
        else:
            reason, message = "NotReady", str((warning or {}).get("note") or "it is not ready")
        advice = PODS.get(reason, ANY_POD)
        told = _told(advice.level, f"pod {pod.name}", reason, message or advice.meaning, advice)
        troubled.append(
            Finding(told.level, told.subject, told.reason, told.message, told.step.replace("POD", pod.name))
        )
    yield from troubled[:_MOST_PODS]
    if len(troubled) > _MOST_PODS:
        yield Finding(Level.NOTE, "pods", "More", f"{len(troubled) - _MOST_PODS} more pods have a trouble")


def _killed(raw: Json) -> bool:
    """Whether a container of it was ended for its memory, and runs again."""
    for container in (raw.get("status") or {}).get("containerStatuses") or ():
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            return True
    return False


def _last_warning(events: Sequence[Json], uid: str) -> Json | None:
    about = [
        event for event in events if event.get("type") == "Warning" and (event.get("regarding") or {}).get("uid") == uid
    ]
    return max(about, key=_when, default=None)


def _when(event: Json) -> str:
    """RFC 3339 in UTC sorts as text."""
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime") or "")


def _address(resource: Json) -> Iterator[Finding]:
    service = ((resource.get("spec") or {}).get("service") or {}).get("type")
    status = resource.get("status") or {}
    if service == "LoadBalancer" and status and not status.get("addresses"):
        yield Finding(
            Level.NOTE,
            "address",
            "NoAddress",
            "the load balancer has no address yet",
            f"kubectl -n NAMESPACE describe service {names.gateway('NAME')}: does this cluster give addresses to load balancers?",
        )


def _told(level: Level, subject: str, reason: str, message: str, advice: Advice) -> Finding:
    return Finding(level, subject, reason, message, advice.step)


def _named(finding: Finding, seen: Seen) -> Finding:
    step = addressed(finding.step, seen.namespace, seen.name)
    return Finding(finding.level, finding.subject, finding.reason, finding.message, step)


# --- the operator -----------------------------------------------------------------------------------------------------


def operators(leases: Sequence[Json], now: datetime, namespace: str) -> list[Finding]:
    """Who leads in `namespace`, by the Leases of operators."""
    found = [(_lease(lease, now), _serves(lease, namespace)) for lease in leases]
    if not found:
        return [
            Finding(
                Level.TROUBLE,
                "operator",
                "NoOperator",
                "no Lease of an operator was found: none has ever run here",
                "helm install chargegateway charts/chargegateway --namespace chargegateway-system --create-namespace",
            )
        ]
    living = [(finding, serves) for finding, serves in found if finding.level is Level.OK]
    if not living:
        return [finding for finding, _ in found]
    ours = [finding for finding, serves in living if serves is not False]
    if not ours:
        told = f"operators run, and none serves namespace {namespace}"
        return [Finding(Level.TROUBLE, "operator", "NotServed", told, "chart: add it to watchNamespaces")]
    if sum(serves is True for _, serves in living) > 1:
        told = f"more than one operator serves namespace {namespace}; they undo each other's work"
        step = "uninstall one, or give them watchNamespaces that have nothing in common"
        return [*ours, Finding(Level.TROUBLE, "operator", "SeveralOperators", told, step)]
    return ours


def _serves(lease: Json, namespace: str) -> bool | None:
    """None: that is not on the Lease, which an earlier version wrote."""
    told = (lease["metadata"].get("annotations") or {}).get(names.SERVES_ANNOTATION)
    return None if told is None else told == names.EVERYWHERE or namespace in told.split(",")


def _lease(lease: Json, now: datetime) -> Finding:
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    where = f"{metadata['namespace']}/{metadata['name']}"
    step = (
        f"kubectl -n {metadata['namespace']} get pods -l app.kubernetes.io/name=chargegateway-operator, then their logs"
    )
    holder = spec.get("holderIdentity")
    if not holder:
        return Finding(Level.TROUBLE, "operator", "NoLeader", f"nobody holds the Lease {where}: no operator runs", step)
    replica = str(holder).partition("_")[0]
    renewed = datetime.fromisoformat(spec["renewTime"]) if spec.get("renewTime") else None
    age = None if renewed is None else (now - renewed).total_seconds()
    if age is None or age > 2 * (spec.get("leaseDurationSeconds") or 15):
        since = "never" if age is None else f"last {_span(age)} ago, by the clock here"
        told = f"{replica} holds the Lease {where} and does not renew it ({since}): no operator runs"
        return Finding(Level.TROUBLE, "operator", "LeaseNotRenewed", told, step)
    return Finding(Level.OK, "operator", "Leads", f"{replica} leads (Lease {where}), renewed {_span(max(0, age))} ago")


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
