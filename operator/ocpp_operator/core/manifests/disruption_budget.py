"""The PodDisruptionBudget: how many pods drained nodes may take away at once.

Pods that are not ready count as already taken away (`unhealthyPodEvictionPolicy` stays at its default): with Kafka or Redis out of
reach all pods are unready, yet they hold their stations and take their events, so a drained node had better wait.
"""

from __future__ import annotations

from ocpp_operator.core import kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Resource


def build(resource: Resource) -> Manifest:
    return {
        **child(resource, kinds.DISRUPTION_BUDGET, names.gateway(resource.name)),
        "spec": {
            "maxUnavailable": resource.spec.disruption.max_unavailable,
            "selector": {"matchLabels": names.pod_labels(resource.name)},
        },
    }
