"""All children of a resource, in the order in which they are written."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ocpp_operator.core import kinds
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.manifests import (
    autoscaler,
    deployment,
    disruption_budget,
    internal_token,
    network_policy,
    plan_config_map,
    pod_monitor,
    service,
    service_account,
    settings_config_map,
)
from ocpp_operator.core.manifests.metadata import Manifest
from ocpp_operator.core.pacing import Step
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.template import Chosen

ENABLED = "Enabled"


def children(
    resource: Resource,
    chosen: Chosen,
    token: str,
    available: Collection[Kind],
    *,
    step: Step | None = None,
    plan: Mapping[str, str] | None = None,
) -> list[Manifest]:
    """What should be there; whatever else the resource owns should not.

    `token` is that of the internal API, `available` are the kinds that the cluster has. Without `step` nothing is paced, as when
    all is new. Without `plan` its ConfigMap is left out: who stores it by its resource version writes it by himself. The
    revision stands here only when it is to be written.
    """
    spec = resource.spec
    now = step or Step(spec.replicas, paused=False, evictable=spec.disruption.max_unavailable, takes_away=False)
    found = [] if chosen.write is None else [chosen.write]
    found += [
        service_account.build(resource),
        settings_config_map.build(resource, chosen.kept),
        internal_token.build(resource, token),
        service.build(resource),
        disruption_budget.build(resource, now.evictable),
        deployment.build(resource, chosen.rendered, now.replicas, now.paused),
    ]
    if plan is not None:
        found.append(plan_config_map.build(resource, plan))
    if spec.network_policy == ENABLED:
        found.append(network_policy.build(resource, chosen.kept))
    if spec.autoscaling is not None:
        found.append(autoscaler.build(resource, spec.autoscaling))
    if spec.monitoring.pod_monitor == ENABLED and kinds.POD_MONITOR in available:
        found.append(pod_monitor.build(resource))
    return sorted(found, key=lambda manifest: kinds.CHILDREN.index(kinds.of(manifest)))
