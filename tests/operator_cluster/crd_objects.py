"""Objects that the tables of the CRD begin from, and how a row changes them."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from ocpp_gateway import settings
from ocpp_operator.core import gateway_settings
from ocpp_operator.core.spec import Resource

Json = dict[str, Any]
COLLECTION = "/apis/chargegateway.io/v1alpha1/namespaces/default/chargegateways"

REMOVED = object()
"""As a new value: the field is not there."""

_LABELS = {"team": "charging"}

FULL_SPEC: Json = {
    "version": "0.3.0",
    "replicas": 6,
    "image": {
        "repository": "registry.example/chargegateway/gateway",
        "pullPolicy": "Always",
        "pullSecrets": [{"name": "regcred"}],
    },
    "listeners": [
        {
            "name": "wss",
            "port": 443,
            "securityProfiles": [2],
            "tls": {
                "certificateRefs": [{"name": "ocpp-ecdsa"}, {"name": "ocpp-rsa"}],
                "minVersion": "1.3",
                "cipherSuites": "Modern",
            },
        },
        {"name": "ws", "port": 80, "securityProfiles": [0, 1]},
    ],
    "service": {
        "type": "LoadBalancer",
        "loadBalancerClass": "example.org/lb",
        "annotations": {"key": "value"},
        "externalTrafficPolicy": "Cluster",
        "sourceRanges": ["10.0.0.0/8"],
        "proxyProtocol": "None",
    },
    "ocpp": {
        "versions": ["OCPP16", "OCPP201"],
        "noCommonVersion": "CompleteAndClose",
        "heartbeatInterval": "10m",
        "callTimeout": "20s",
        "pingInterval": "30s",
        "validation": {"inbound": "Lenient", "outbound": "Disabled"},
    },
    "stations": {"unknown": "Accept"},
    "decisions": {
        "type": "Webhook",
        "webhook": {
            "url": "https://backend/ocpp",
            "timeout": "2s",
            "authorizationSecretRef": {"name": "hook", "key": "token"},
            "caSecretRef": {"name": "hook-ca", "key": "ca.crt"},
            "onFailure": {
                "boot": "Rejected",
                "authorize": "Accept",
                "transaction": "Reject",
                "dataTransfer": "Accept",
                "certificate": "Reject",
            },
        },
    },
    "kafka": {
        "bootstrapServers": "kafka-0.example:9093,[2001:db8::1]:9093",
        "tls": {"caSecretRef": {"name": "kafka-ca", "key": "ca.crt"}},
        "authentication": {
            "type": "ScramSha512",
            "username": "cg",
            "passwordSecretRef": {"name": "cg", "key": "password"},
        },
        "topics": {
            "management": "None",
            "replicas": 5,
            "minInSyncReplicas": 3,
            "eventsUp": {"name": "city.events", "partitions": 48, "retention": "72h"},
            "commandsDown": {"name": "city.commands"},
            "commandsUrgent": {"name": "city.urgent"},
            "commandResults": {"name": "city.results", "partitions": 6, "retention": "72h"},
            "commandsDlq": {"name": "city.dlq", "partitions": 1, "retention": "1000h"},
            "stations": {"name": "city.stations", "partitions": 8},
        },
    },
    "redis": {
        "mode": "Cluster",
        "addresses": ["redis-0.data:6379", "redis-1.data:6379"],
        "keyPrefix": "city:",
        "username": "cg",
        "passwordSecretRef": {"name": "redis", "key": "password"},
        "tls": {"caSecretRef": {"name": "redis-ca", "key": "ca.crt"}},
    },
    "commands": {
        "partitions": 1024,
        "defaultDeadline": "30s",
        "maxDeadline": "20m",
        "lateWindow": "30s",
        "retention": "12h",
        "mailboxSize": 32,
        "maxParkedPerPod": 5000,
    },
    "limits": {
        "connectionsPerPod": 5000,
        "acceptRatePerSecond": 100,
        "maxMessageBytes": 131072,
        "messagesPerSecond": 10,
    },
    "drain": {"connectionsPerSecond": 100, "loadBalancerWait": "20s", "forceAfter": "15m"},
    "rollout": {"maxSurge": 2},
    "autoscaling": {"minReplicas": 4, "maxReplicas": 32, "targetConnectionsPerPod": 4000},
    "disruption": {"maxUnavailable": 2},
    "template": {
        "pod": {
            "labels": {"key": "value"},
            "annotations": {"key": "value"},
            "nodeSelector": {"key": "value"},
            "tolerations": [
                {
                    "key": "dedicated",
                    "operator": "Equal",
                    "value": "ocpp",
                    "effect": "NoExecute",
                    "tolerationSeconds": 60,
                }
            ],
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "topologySpread": "Required",
            "priorityClassName": "high",
            "serviceAccountAnnotations": {"key": "value"},
        },
        "container": {
            "resources": {"requests": {"cpu": "500m", "key": "1Gi"}, "limits": {"key": 2}},
            "env": [
                {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
                {"name": "ZONE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['zone']"}}},
            ],
        },
    },
    "networkPolicy": "Disabled",
    "monitoring": {"podMonitor": "Disabled"},
}
"""Every field that can stand beside the others, away from its default. Maps have a `key`, for the paths `map.*`."""

MINIMAL_SPEC: Json = {
    "kafka": {"bootstrapServers": "my-cluster-kafka-bootstrap.kafka:9092"},
    "redis": {"addresses": ["redis.data:6379"]},
    "stations": {"unknown": "Accept"},
    "decisions": {"type": "Accept"},
}


def gateway_takes(resource: Resource) -> None:
    """What the CRD admits must not be refused by a gateway that starts: raises what it would say."""
    rendered = gateway_settings.render(resource)
    settings.Settings(**rendered | {"pod": {"name": "city-gateway-1", "uid": "u", "resource_uid": "u"}})


def gateway(spec: Mapping[str, Any], changes: Mapping[str, object] | None = None, name: str = "city") -> Json:
    """A ChargeGateway with `spec`, and each path of `changes` (`spec.listeners[0].port`, `metadata.name`) set anew."""
    document: Json = {
        "apiVersion": "chargegateway.io/v1alpha1",
        "kind": "ChargeGateway",
        "metadata": {"name": name},
        "spec": copy.deepcopy(dict(spec)),
    }
    for path, value in (changes or {}).items():
        put(document, path, copy.deepcopy(value) if value is not REMOVED else REMOVED)
    return document


def steps(path: str) -> list[str | int]:
    """`spec.listeners[0].port` -> ["spec", "listeners", 0, "port"]; `[]` is the first item, `.*` the value of `key`."""
    parts: list[str | int] = []
    for word, index in re.findall(r"([^.\[\]]+)|\[(\d*)\]", path):
        parts.append(int(index or 0) if not word else "key" if word == "*" else word)
    return parts


def put(document: Json, path: str, value: object) -> None:
    """Set or remove what is at `path`, making objects on the way."""
    *way, last = steps(path)
    at: Any = document
    for step in way:
        at = at[step] if isinstance(step, int) else at.setdefault(step, {})
    if value is REMOVED:
        del at[last]
    else:
        at[last] = value


def get(document: Any, path: str) -> Any:
    """What is at `path`; KeyError or IndexError where nothing is."""
    for step in steps(path):
        document = document[step]
    return document


def shown(path: str) -> str:
    """A schema's path as the API server names the field of the first item: `spec.env[].name` -> `spec.env[0].name`."""
    return path.replace("[]", "[0]").replace(".*", ".key")
