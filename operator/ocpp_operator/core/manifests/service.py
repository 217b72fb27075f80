"""The Service through which stations come in. Connections pass through as they are: TLS ends in the pods."""

from __future__ import annotations

from typing import Any

from ocpp_operator.core import kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Resource


def build(resource: Resource) -> Manifest:
    service = resource.spec.service
    spec: dict[str, Any] = {
        "type": service.type,
        "selector": names.pod_labels(resource.name),
        "ports": [
            # By name: during a roll that adds a listener, old and new pods may have the same name on different ports.
            {"name": listener.name, "port": listener.port, "targetPort": listener.name, "protocol": "TCP"}
            for listener in resource.spec.listeners
        ],
        # A pod that is not ready owns no mailbox: a station that connects to it could be sent nothing.
        "publishNotReadyAddresses": False,
    }
    if service.type != "ClusterIP":  # refused there
        spec["externalTrafficPolicy"] = service.external_traffic_policy
    if service.type == "LoadBalancer":
        if service.load_balancer_class is not None:
            spec["loadBalancerClass"] = service.load_balancer_class
        if service.source_ranges:
            spec["loadBalancerSourceRanges"] = list(service.source_ranges)
    return {**child(resource, kinds.SERVICE, names.gateway(resource.name), service.annotations), "spec": spec}
