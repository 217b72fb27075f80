"""Names, labels and annotations of everything the operator makes, in one place: builders, watches and selectors agree by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GROUP: Final = "chargegateway.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "ChargeGateway"
PLURAL: Final = "chargegateways"

FIELD_OWNER: Final = "chargegateway-operator"
"""Of every server-side apply. One owner: what we no longer wish goes, what others own stays."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
INSTANCE: Final = "app.kubernetes.io/instance"
MANAGED_SELECTOR: Final = f"{MANAGED_BY}={FIELD_OWNER}"
POOL_LABEL: Final = "chargegateway.io/pool"
POOL: Final = "default"
"""The one pool for now. Status and plan are per pool, so that zones and canaries can come without a new API."""

PAUSE_ANNOTATION: Final = "chargegateway.io/pause-reconciliation"
APPLIED_ANNOTATION: Final = "chargegateway.io/applied"
"""Fingerprint of the manifest that was applied last: tells that a field went out of the wish."""
SETTINGS_ANNOTATION: Final = "chargegateway.io/settings"
"""On the pod template: fingerprint of the settings, so that a change of settings rolls the pods."""
INPUTS_ANNOTATION: Final = "chargegateway.io/template-inputs"
"""On a ControllerRevision: fingerprint of the spec fields that its template was rendered from."""
REMINDERS_ANNOTATION: Final = "chargegateway.io/assignment-reminders"
"""On a pod: how often its kubelet was made to look at its annotations again (`reminders`)."""
SERVES_ANNOTATION: Final = "chargegateway.io/watch-namespaces"
"""On an operator's Lease: the namespaces that it serves, separated by commas, or `EVERYWHERE`. Two that serve one would fight."""
EVERYWHERE: Final = "*"
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"

ADMIN_PORT: Final = 9090
FIRST_PORT: Final = 8000
"""Containers listen on this plus the listener's index: unprivileged, and the Service maps its own port to it."""


def labels(instance: str) -> dict[str, str]:
    """Of every child."""
    return {
        "app.kubernetes.io/name": "chargegateway",
        INSTANCE: instance,
        MANAGED_BY: FIELD_OWNER,
        "app.kubernetes.io/component": "gateway",
    }


def pod_labels(instance: str) -> dict[str, str]:
    """What selects the pods. A Deployment's selector never changes, so neither do these."""
    return {**labels(instance), POOL_LABEL: POOL}


def selector_text(instance: str) -> str:
    """The same for the scale subresource (`status.selector`), which is a string."""
    return ",".join(f"{key}={value}" for key, value in sorted(pod_labels(instance).items()))


def instance_of(child_labels: Mapping[str, str]) -> str | None:
    """The resource that a child belongs to; None: it is not ours."""
    return child_labels.get(INSTANCE) if child_labels.get(MANAGED_BY) == FIELD_OWNER else None


def gateway(instance: str) -> str:
    """Deployment, Service, PodDisruptionBudget, ServiceAccount, NetworkPolicy, PodMonitor."""
    return f"{instance}-gateway"


def settings(instance: str) -> str:
    """ConfigMap with the gateways' settings."""
    return f"{instance}-settings"


def plan(instance: str) -> str:
    """ConfigMap with the plan in force."""
    return f"{instance}-plan"


def farewell(instance: str) -> str:
    """ConfigMap that outlives the resource, with what is needed to clean up after it."""
    return f"{instance}-farewell"


def internal_token(instance: str) -> str:
    """Secret with the token of the pods' internal API."""
    return f"{instance}-internal"


def autoscaler(instance: str) -> str:
    """HorizontalPodAutoscaler; it targets the resource, not the Deployment."""
    return instance


def revision(instance: str, fingerprint: str) -> str:
    """ControllerRevision: its data cannot change, so each has a name of its own."""
    return f"{instance}-{fingerprint[:10]}"
