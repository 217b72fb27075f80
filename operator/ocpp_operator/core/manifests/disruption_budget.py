"""The PodDisruptionBudget: how many pods drained nodes may take away at once, those that leave already included.

Kubernetes does not count a pod that leaves: it takes what is replaced for whole, though it drains for minutes. So the number
written here shrinks by those that leave (`core.pacing`), down to 0, and grows again as they end.

Pods that are not ready count as already taken away (`unhealthyPodEvictionPolicy` stays at its default): with Kafka or Redis out of
reach all pods are unready, yet they hold their stations and take their events, so a drained node had better wait.
"""

from __future__ import annotations

from ocpp_operator.core import kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Resource


def build(resource: Resource, evictable: int) -> Manifest:
    """`evictable`: how many pods evictions may take now."""
    return {
        **child(resource, kinds.DISRUPTION_BUDGET, names.gateway(resource.name)),
        "spec": {
            "maxUnavailable": evictable,
            "selector": {"matchLabels": names.pod_labels(resource.name)},
        },
    }
