"""How many pods may leave at once, whatever makes them leave.

A leaving pod closes its stations at the fleet's rate shared by `maxSurge + maxUnavailable` pods (`Spec.drain_rate`). Kubernetes
does not keep to that number: a Deployment counts terminating pods as gone, so with `maxUnavailable: 0` it takes the next old pod away
as soon as the next new one is ready, a few seconds later, while the first still drains for minutes; and a scale-down takes all at
once. The storm of reconnections would be a multiple of the configured rate. So the Deployment is told in steps: it is paused while
enough pods leave, and its replicas go down by no more than may leave now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def step(resource: Resource, deployment: Mapping[str, Any] | None, pods: Sequence[GatewayPod]) -> Step:
    """`deployment` as it is there; None: there is none yet."""
    spec = resource.spec
    most = spec.rollout.max_surge + spec.disruption.max_unavailable
    leaving = sum(pod.deleting for pod in pods)
    paused = leaving >= most
    if deployment is None:
        return Step(spec.replicas, paused, False)
    now = int((deployment.get("spec") or {}).get("replicas", 1))
    if spec.replicas >= now:
        return Step(spec.replicas, paused, False)
    replicas = max(spec.replicas, now - max(0, most - leaving))
    return Step(replicas, paused, replicas < now)
