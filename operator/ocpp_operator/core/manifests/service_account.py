"""The ServiceAccount of the pods: without rights and without token. It is there for what clouds bind to its annotations."""

from __future__ import annotations

from ocpp_operator.core import kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Resource


def build(resource: Resource) -> Manifest:
    annotations = resource.spec.template.pod.service_account_annotations
    return {
        **child(resource, kinds.SERVICE_ACCOUNT, names.gateway(resource.name), annotations),
        "automountServiceAccountToken": False,
    }
