"""A gateway as a person without the operator would write it: settings, pod, Service. The test then gives out partitions.

What the operator makes stands in its own tests; here only the image is on trial. So the objects are the fewest that do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ocpp_contract.names import ANNOTATIONS_PATH, Topics
from tests.e2e.pods import container, pod, service

PARTITIONS = 8
GRACE_PERIOD = 60
STATIONS_PORT, ADMIN_PORT = 8000, 9090
_SETTINGS = "/etc/chargegateway/settings"
_SECRETS = "/etc/chargegateway/secrets/internal"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Brokers and store, and what is this gateway's own on them."""

    kafka: str
    redis: str
    topics: Topics
    prefix: str


def objects(namespace: str, name: str, image: str, around: Surroundings) -> list[dict[str, Any]]:
    """ConfigMap, Secret, Service and pod, all called `name`."""
    return [
        _object("ConfigMap", namespace, name, data={"settings.json": json.dumps(_settings(around))}),
        _object("Secret", namespace, name, stringData={"token": "of the internal API"}),
        service(namespace, name, 80, STATIONS_PORT),
        _pod(namespace, name, image),
    ]


def _settings(around: Surroundings) -> dict[str, Any]:
    return {
        "pod": {"resource_uid": "11111111-2222-4333-8444-555555555555"},
        "kafka": {"bootstrap_servers": [around.kafka], "consumer_group": f"commands-{around.topics.commands_down}"},
        "topics": {name: getattr(around.topics, name) for name in Topics.__slots__},
        "redis": {"addresses": [around.redis], "key_prefix": around.prefix},
        "listeners": [{"name": "ws", "port": STATIONS_PORT}],
        "admin": {"token_file": f"{_SECRETS}/token"},
        "stations": {"unknown": "Accept"},
        "decisions": {"type": "Accept"},
        "drain": {"load_balancer_wait": "1s", "force_after": "30s"},
    }


def _pod(namespace: str, name: str, image: str) -> dict[str, Any]:
    volumes = {
        "settings": (_SETTINGS, {"configMap": {"name": name}}),
        "internal": (_SECRETS, {"secret": {"secretName": name}}),
        "podinfo": (
            ANNOTATIONS_PATH.rpartition("/")[0],
            {"downwardAPI": {"items": [{"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}]}},
        ),
    }
    main = container(
        image,
        env=[
            {"name": "CHARGEGATEWAY_SETTINGS_FILE", "value": f"{_SETTINGS}/settings.json"},
            _variable("CHARGEGATEWAY_POD__NAME", "metadata.name"),
            _variable("CHARGEGATEWAY_POD__UID", "metadata.uid"),
        ],
        ports=[{"name": "ws", "containerPort": STATIONS_PORT}, {"name": "admin", "containerPort": ADMIN_PORT}],
        startupProbe={"httpGet": {"path": "/livez", "port": "admin"}, "periodSeconds": 1, "failureThreshold": 120},
        readinessProbe={"httpGet": {"path": "/readyz", "port": "admin"}, "periodSeconds": 1, "failureThreshold": 2},
        volumeMounts=[{"name": volume, "mountPath": path} for volume, (path, _) in volumes.items()],
    )
    found = pod(
        namespace,
        name,
        main,
        terminationGracePeriodSeconds=GRACE_PERIOD,
        volumes=[{"name": volume, **source} for volume, (_, source) in volumes.items()],
    )
    # The test looks at the pod's end before the pod is gone.
    found["metadata"]["finalizers"] = [FINALIZER]
    return found


FINALIZER = "tests.chargegateway.io/looked-at"


def _variable(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _object(kind: str, namespace: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, **content}
