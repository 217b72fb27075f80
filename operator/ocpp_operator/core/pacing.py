"""How many pods may leave at once, whatever makes them leave.

A leaving pod closes its stations at the fleet's rate shared by `maxSurge + maxUnavailable` pods (`Spec.drain_rate`). Kubernetes
does not keep to that number, since to it a terminating pod is gone: as soon as the next pod is ready, a few seconds later, a roll
takes the next old one away and a PodDisruptionBudget lets the next one be evicted, while the first still drains for minutes; and a
scale-down takes all at once. The storm of reconnections would be a multiple of the configured rate. So Kubernetes is told in steps: the
Deployment is paused while enough pods leave, its replicas go down by no more than may leave now, and the budget shrinks by
those that leave.

Three things hold nobody up for ever. A pod on a node that is lost leaves for ever, as far as the API server knows: once its grace period
is over it closes no stations at any rate, and no longer counts. A paused Deployment makes no ReplicaSet, so one without a pod of the
latest template is not paused: a resource made anew gets its pods while those of its predecessor drain. And pods that are merely
labelled like the Deployment's are not waited for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.spec import Resource


@dataclass(frozen=True, slots=True)
class Step:
    """What Kubernetes is told now."""

    replicas: int
    paused: bool
    """No roll goes on; pods that died are replaced and scaling works all the same."""
    evictable: int
    """How many pods evictions may take now."""
    takes_away: bool
    """Pods leave by this step: the one with the fewest stations should be the first."""


def step(resource: Resource, deployment: Mapping[str, Any] | None, pods: Sequence[GatewayPod], now: datetime) -> Step:
    """`deployment` as it is there; None: there is none yet."""
    spec, status = resource.spec, (deployment or {}).get("status") or {}
    surge, unavailable = spec.rollout.max_surge, spec.disruption.max_unavailable
    there = spec.replicas if deployment is None else int((deployment.get("spec") or {}).get("replicas", 1))
    total, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
    # Cut by an earlier step and not leaving yet: Kubernetes acts a moment later. Of the two that tell either may be late. In a
    # roll its surge is no surplus.
    staying = sum(not pod.deleting for pod in pods)
    cut = max(0, min(staying, total) - there - (surge if updated < total else 0))
    leaving = cut + sum(pod.deleting and not pod.overdue(now) for pod in pods)
    replicas = spec.replicas
    if deployment is not None and replicas < there:
        done = cut == 0 and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        replicas = max(replicas, there - (max(0, surge + unavailable - leaving) if done else 0))
        leaving += there - replicas
    return Step(
        replicas=replicas,
        # A roll takes as many at once as pods became ready: there has to be room for all of its surge.
        paused=leaving > unavailable and updated > 0,
        evictable=max(0, unavailable - leaving),
        takes_away=replicas < there,
    )
