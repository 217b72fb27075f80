"""The HorizontalPodAutoscaler: as many pods as connections need.

It scales the resource, not the Deployment: replicas have one writer each, and a scale-down passes through our drain.
"""

from __future__ import annotations

import math
from typing import Final

from ocpp_operator.core import kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Autoscaling, Resource

METRIC: Final = "chargegateway_connections"
"""A gauge of each pod; an adapter (prometheus-adapter, KEDA) shows it as custom.metrics.k8s.io."""
_LONGEST_PERIOD: Final = 1_800
"""Kubernetes allows no more."""
_STABLE: Final = 600
"""Seconds for which fewer pods must have been enough: reconnecting stations cost more than a pod's ten minutes."""


def build(resource: Resource, autoscaling: Autoscaling) -> Manifest:
    spec = resource.spec
    # The rate of a drain is shared by so many pods; more of them at once would close connections faster than was wished.
    together = spec.rollout.max_surge + spec.disruption.max_unavailable
    period = min(_LONGEST_PERIOD, math.ceil(spec.force_after))
    return {
        **child(resource, kinds.AUTOSCALER, names.autoscaler(resource.name)),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": kinds.RESOURCE.api_version,
                "kind": kinds.RESOURCE.kind,
                "name": resource.name,
            },
            "minReplicas": autoscaling.min_replicas,
            "maxReplicas": autoscaling.max_replicas,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": METRIC},
                        "target": {"type": "AverageValue", "averageValue": str(spec.target_connections)},
                    },
                }
            ],
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": _STABLE,
                    "policies": [{"type": "Pods", "value": together, "periodSeconds": period}],
                },
            },
        },
    }
