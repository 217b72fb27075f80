"""The PodMonitor: the Prometheus operator scrapes each pod's metrics."""

from __future__ import annotations

from ocpp_operator.core import kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.manifests.pod_template import ADMIN
from ocpp_operator.core.spec import Resource


def build(resource: Resource) -> Manifest:
    return {
        **child(resource, kinds.POD_MONITOR, names.gateway(resource.name)),
        "spec": {
            "selector": {"matchLabels": names.pod_labels(resource.name)},
            # Which gateway a series is of, where a namespace has several.
            "podTargetLabels": [names.INSTANCE, names.POOL_LABEL],
            "podMetricsEndpoints": [{"port": ADMIN, "path": "/metrics"}],
        },
    }
