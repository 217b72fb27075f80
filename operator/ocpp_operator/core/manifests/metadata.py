"""What every child carries: labels to find it by, and an owner whose deletion takes it along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocpp_operator.core import kinds, names
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.spec import Resource

Manifest = dict[str, Any]


def child(resource: Resource, kind: Kind, name: str, annotations: Mapping[str, str] | None = None) -> Manifest:
    """The beginning of a child. Annotations and labels of the resource are not copied: they are said to others."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": resource.namespace,
        "labels": names.labels(resource.name),
        "ownerReferences": [_owner(resource)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _owner(resource: Resource) -> dict[str, Any]:
    return {
        "apiVersion": kinds.RESOURCE.api_version,
        "kind": kinds.RESOURCE.kind,
        "name": resource.name,
        "uid": resource.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
