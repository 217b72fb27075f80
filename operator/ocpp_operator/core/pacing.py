"""How many pods may leave at once, whatever makes them leave.

A leaving pod closes its stations at the fleet's rate shared by `maxSurge + maxUnavailable` pods (`Spec.drain_rate`). Kubernetes
does not keep to that number: a Deployment counts terminating pods as gone, so with `maxUnavailable: 0` it takes the next old pod away
as soon as the next new one is ready, a few seconds later, while the first still drains for minutes; and a scale-down takes all at
once. The storm of reconnections would be a multiple of the configured rate. So the Deployment is told in steps: it is paused while
enough pods leave, and its replicas go down by no more than may leave now.

A pod on a node that is lost leaves for ever, as far as the API server knows. Once its grace period is over it closes no stations at any
rate, so it no longer counts.
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
    """What the Deployment is told now."""

    replicas: int
    paused: bool
    """No roll goes on; pods that died are replaced and scaling works all the same."""
    takes_away: bool
    """Pods leave by this step: the one with the fewest stations should be the first."""


def step(resource: Resource, deployment: Mapping[str, Any] | None, pods: Sequence[GatewayPod], now: datetime) -> Step:
    """`deployment` as it is there; None: there is none yet."""
    spec = resource.spec
    most = spec.rollout.max_surge + spec.disruption.max_unavailable
    leaving = sum(pod.deleting and not pod.overdue(now) for pod in pods)
    paused = leaving >= most
    if deployment is None:
        return Step(spec.replicas, paused, False)
    there = int((deployment.get("spec") or {}).get("replicas", 1))
    if spec.replicas >= there:
        return Step(spec.replicas, paused, False)
    replicas = max(spec.replicas, there - max(0, most - leaving))
    return Step(replicas, paused, replicas < there)
