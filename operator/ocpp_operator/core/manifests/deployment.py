"""The Deployment: rolls without ever having fewer pods than wished."""

from __future__ import annotations

from typing import Final

from ocpp_operator.core import kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.template import Rendered

_START: Final = 600
"""Seconds that a new pod may take from its creation to readiness before the roll is called stuck: a node may have to be
bought and an image pulled."""
_HISTORY: Final = 3
"""ReplicaSets kept. Going back is done by the resource; these are for people to compare."""


def build(resource: Resource, rendered: Rendered, replicas: int, paused: bool) -> Manifest:
    """`replicas` are always ours to say: an autoscaler scales the resource, so that scale-down passes through our drain.

    `paused`: enough pods are leaving (`core.pacing`); a roll goes on when they have left. Said also when it is not so: what
    is not said is not looked for, and who paused it by hand would have paused it for ever.
    """
    spec = resource.spec
    return {
        **child(resource, kinds.DEPLOYMENT, names.gateway(resource.name)),
        "spec": {
            "replicas": replicas,
            "paused": paused,
            "selector": {"matchLabels": names.pod_labels(resource.name)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": spec.rollout.max_surge},
            },
            "revisionHistoryLimit": _HISTORY,
            # A full cluster has no room for the next pod until an old one has drained.
            "progressDeadlineSeconds": spec.grace_period + _START,
            "template": rendered.template,
        },
    }
