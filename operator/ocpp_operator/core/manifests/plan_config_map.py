"""The ConfigMap with the plan in force: which pod was told to serve which partitions."""

from __future__ import annotations

from collections.abc import Mapping

from ocpp_operator.core import kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Resource


def build(resource: Resource, data: Mapping[str, str]) -> Manifest:
    """`data` as `core/stored_plan.py` makes it."""
    return {**child(resource, kinds.CONFIG_MAP, names.plan(resource.name)), "data": dict(data)}
