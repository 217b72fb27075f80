"""The kinds of objects that the operator watches and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ocpp_operator.core import names


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind, as the API's paths and manifests name it."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return self.kind


RESOURCE: Final = Kind(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
POD: Final = Kind("", "v1", "Pod", "pods")
DEPLOYMENT: Final = Kind("apps", "v1", "Deployment", "deployments")
REVISION: Final = Kind("apps", "v1", "ControllerRevision", "controllerrevisions")
SERVICE: Final = Kind("", "v1", "Service", "services")
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps")
SECRET: Final = Kind("", "v1", "Secret", "secrets")
DISRUPTION_BUDGET: Final = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
AUTOSCALER: Final = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
POD_MONITOR: Final = Kind("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors")

CHILDREN: Final = (
    REVISION, SERVICE_ACCOUNT, CONFIG_MAP, SECRET, SERVICE, DISRUPTION_BUDGET, NETWORK_POLICY, AUTOSCALER, POD_MONITOR, DEPLOYMENT,
)  # fmt: skip
"""In the order in which they are written: what pods need comes before the Deployment that starts them."""

OPTIONAL: Final = frozenset({POD_MONITOR})
"""Kinds of other projects: watched and written only where the cluster has them."""

WATCHED: Final = (RESOURCE, POD, *CHILDREN)

BY_NAME: Final = {(kind.api_version, kind.kind): kind for kind in WATCHED}


def of(manifest: dict[str, object]) -> Kind:
    """The kind of a manifest of ours; KeyError for any other."""
    return BY_NAME[str(manifest["apiVersion"]), str(manifest["kind"])]
