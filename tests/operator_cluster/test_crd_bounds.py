"""Each bound of the CRD's spec on a real API server: the last value that it admits and the first that it refuses.

The bounds are read from crds/chargegateways.yaml, and the values are made from them: a field that the full object does not
have, or a bound of a kind that is not known here, fails. Every object is also read by ourselves: what the API server admits
we understand, with the same defaults, and a gateway starts with it; what it refuses for a value we would refuse too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from ocpp_operator.core import crd as rendered
from ocpp_operator.core.fields import BETWEEN, DURATION_PATTERN, seconds
from ocpp_operator.core.spec import Resource, SpecError
from tests.operator_cluster.crd_objects import COLLECTION, FULL_SPEC, REMOVED, gateway, gateway_takes, get, shown
from tests.operator_core.publish import CRD
from tests.testbed.kubernetes import ApiError, KubernetesServer

CREATE = f"{COLLECTION}?dryRun=All&fieldValidation=Strict"
AUTHENTICATION = "spec.kafka.authentication"

NO_BOUNDS = {
    "description", "type", "default", "properties", "items", "additionalProperties", "x-kubernetes-validations",
    "x-kubernetes-list-map-keys", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string",
}  # fmt: skip

TLS_CLIENT = {AUTHENTICATION: {"type": "TLS", "certificateRef": {"name": "client"}}}
OTHER_BASES: dict[str, Mapping[str, object]] = {
    f"{AUTHENTICATION}.certificateRef": TLS_CLIENT,
    "spec.template.container.env[].valueFrom": {
        "spec.template.container.env": FULL_SPEC["template"]["container"]["env"][1:]
    },
}
"""Fields that cannot stand in the full object, by the beginning of their path."""

MANY_PODS = {"spec.autoscaling": REMOVED, "spec.rollout": {"maxSurge": 1}}
ALONGSIDE: dict[str, Mapping[str, object]] = {
    "spec.replicas": MANY_PODS,
    "spec.autoscaling.minReplicas": {"spec.autoscaling.maxReplicas": 1023, "spec.rollout.maxSurge": 1},
    "spec.autoscaling.maxReplicas": {"spec.autoscaling.minReplicas": 1, "spec.rollout.maxSurge": 1},
    "spec.autoscaling.targetConnectionsPerPod": {"spec.limits.connectionsPerPod": 100_000},
    "spec.limits.connectionsPerPod": {"spec.autoscaling.targetConnectionsPerPod": 1},
    "spec.commands.partitions": {**MANY_PODS, "spec.replicas": 0, "spec.kafka.topics.stations.partitions": 1},
    "spec.commands.defaultDeadline": {"spec.commands.maxDeadline": "24h", "spec.commands.retention": "24h"},
    "spec.commands.maxDeadline": {"spec.commands.defaultDeadline": "1s", "spec.commands.retention": "24h"},
    "spec.drain.forceAfter": {"spec.drain.loadBalancerWait": "0s"},
    "spec.drain.loadBalancerWait": {"spec.drain.forceAfter": "24h"},
    "spec.kafka.topics.replicas": {"spec.kafka.topics.minInSyncReplicas": 1},
    "spec.kafka.topics.minInSyncReplicas": {"spec.kafka.topics.replicas": 32},
    "spec.redis.addresses": {"spec.redis.mode": "Cluster"},
}
"""What other rules ask for when the field takes the values of its bounds."""

ONLY_BY_DEFAULT = {"spec.service.proxyProtocol", "spec.template.pod.tolerations[].operator"}
"""Fields whose other value is refused, or would not go with their neighbours."""

TEXTS: dict[str, Callable[[int], str]] = {
    "spec.kafka.bootstrapServers": lambda size: "a" * (size - 2) + ":1",
    "spec.redis.addresses[]": lambda size: "a" * (size - 2) + ":1",
    "spec.service.sourceRanges[]": lambda size: "a" * (size - 4) + "/128",
    "spec.decisions.webhook.url": lambda size: "http://" + "a" * (size - 7),
}
"""Texts of a length, where letters alone are refused."""

ITEMS: dict[str, Callable[[int], Any]] = {
    "spec.listeners": lambda n: {"name": f"l{n}", "port": 1000 + n},
    "spec.listeners[].tls.certificateRefs": lambda n: {"name": f"s{n}"},
    "spec.image.pullSecrets": lambda n: {"name": f"s{n}"},
    "spec.service.sourceRanges": lambda n: f"10.0.0.{n}/32",
    "spec.redis.addresses": lambda n: f"r{n}:6379",
    "spec.template.pod.tolerations": lambda n: {"key": f"k{n}"},
    "spec.template.container.env": lambda n: {"name": f"E{n}", "value": ""},
}
FEW: dict[str, list[Any]] = {
    "spec.listeners[].securityProfiles": [2, 3, 1, 0],
    "spec.ocpp.versions": ["OCPP16", "OCPP201", "OCPP21", "OCPP21"],
}
"""Lists that are bounded by their vocabulary: all of it and one too many."""

WRONG_TEXTS: dict[str, tuple[str, ...]] = {
    "spec.ocpp.heartbeatInterval": ("300", "5 s", "1.5s", "1d", "", "-1s", "100000s"),
    "spec.listeners[].name": ("Ws", "8080", "ws-", "w--s"),
    "spec.decisions.webhook.url": ("backend", "ftp://backend", "https://", "https://a b"),
    "spec.redis.keyPrefix": ("{a}", "a b"),
    "spec.version": ("a/b", "-x", ".x"),
    "spec.image.repository": ("Registry/x", "x:", "a b"),
    "spec.kafka.topics.eventsUp.name": ("..", "a b", "ä"),
    "spec.template.container.resources.requests.*": ("1 Gi", "-1", "x"),
    "spec.template.container.env[].name": ("1X", "A=B"),
}
"""Beside `{`, which no pattern admits."""


@dataclass(frozen=True)
class Bound:
    """One bound: of which field, of which kind, and its value in the schema."""

    path: str
    keyword: str
    value: Any
    node: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.path}: {self.keyword}"


def bounds() -> Iterator[Bound]:
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node, needed in rendered.fields(schema["properties"]["spec"], "spec"):
        if needed:
            yield Bound(path, "required", True, node)
        for keyword, value in node.items():
            if keyword == "x-kubernetes-list-type" or keyword not in {*NO_BOUNDS, "required"}:
                yield Bound(path, keyword, value, node)
        for validation in node.get("x-kubernetes-validations", ()):
            if validation["message"].startswith(BETWEEN):
                yield Bound(path, "between", validation["message"], node)


BOUNDS = list(bounds())


def candidates(bound: Bound) -> tuple[list[Any], list[Any], str]:
    """Values that the bound admits and values that it refuses, as far as it can be told from it, and what is said of the latter.

    No admitted value: the full object's own is one.
    """
    path, value = bound.path, bound.value
    match bound.keyword:
        case "required":
            return [], [REMOVED], "Required value"
        case "minimum":
            return [value], [value - 1], f"greater than or equal to {value}"
        case "maximum":
            return [value], [value + 1], f"less than or equal to {value}"
        case "minLength":
            return [], ["a" * (value - 1)], f"at least {value} chars long"
        case "maxLength" if bound.node.get("pattern") == DURATION_PATTERN:  # which implies the length
            return [], ["0" * (value - 1) + "1s"], f"Too long: may not be more than {value} bytes"
        case "maxLength":
            return [text(bound, value)], [text(bound, value + 1)], f"Too long: may not be more than {value} bytes"
        case "pattern":
            return [], ["{", *WRONG_TEXTS.get(path, ())], "should match"
        case "enum":
            return [], [99 if bound.node["type"] == "integer" else "Other"], "Unsupported value"
        case "minItems":
            return [], [[]], f"should have at least {value} items"
        case "maxItems" if path in FEW:
            return [], [FEW[path]], f"must have at most {value} items"
        case "maxItems":
            many = [ITEMS[path](n) for n in range(value + 1)]
            return [many[:-1]], [many], f"must have at most {value} items"
        case "maxProperties":
            names = {f"n{n}": "1" for n in range(value + 1)}
            return [dict(list(names.items())[:-1])], [names], f"must have at most {value} items"
        case "x-kubernetes-list-type":
            item = get(gateway(FULL_SPEC, base(path)), f"{path}[0]")
            return [], [[item, item]], "Duplicate value"
        case "between":
            least, most = value.removeprefix(BETWEEN).split(" and ")
            below = ["999ms" if least == "1s" else "99ms" if least == "100ms" else "59m59s"] if least != "0s" else []
            return [least, most], [*below, f"{most}1ms"], value
        case unknown:
            raise AssertionError(f"{path}: {unknown} is no bound that this table knows")


def text(bound: Bound, size: int) -> str:
    if (make := TEXTS.get(bound.path)) is not None:
        return make(size)
    return "1" * size if "x-kubernetes-int-or-string" in bound.node else "a" * size


def base(path: str) -> Mapping[str, object]:
    return next((changes for begins, changes in OTHER_BASES.items() if path.startswith(begins)), {})


def test_the_full_object_has_every_field_of_the_schema() -> None:
    schema = rendered.manifest()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node, _ in rendered.fields(schema["properties"]["spec"], "spec"):
        value = get(gateway(FULL_SPEC, base(path)), path)
        if node.get("default", {}) not in ({}, []) and path not in ONLY_BY_DEFAULT:
            assert value != node["default"] or node.get("enum") == [value], f"{path} has its default"


def test_a_duration_of_each_field_is_read_as_the_bound_says() -> None:
    assert (seconds("100ms"), seconds("1h30m"), seconds("168h")) == (0.1, 5400.0, 604_800.0)


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_a_bound_admits_its_last_value_and_refuses_the_next(
    bound: Bound, kubernetes: KubernetesServer, crd: str
) -> None:
    admitted, refused, says = candidates(bound)
    around = {**base(bound.path), **ALONGSIDE.get(bound.path, {})}

    for value in admitted or [get(gateway(FULL_SPEC, base(bound.path)), bound.path)]:
        document = gateway(FULL_SPEC, {**around, bound.path: value})
        stored = kubernetes.request("POST", CREATE, document)
        resource = Resource.parse(stored)
        assert resource.spec == Resource.parse(document).spec
        gateway_takes(resource)

    for value in refused:
        document = gateway(FULL_SPEC, {**around, bound.path: value})
        with pytest.raises(ApiError) as refusal:
            kubernetes.request("POST", CREATE, document)
        assert refusal.value.status == 422
        assert shown(bound.path) in refusal.value.message
        assert says in refusal.value.message
        if bound.keyword != "x-kubernetes-list-type" and "x-kubernetes-int-or-string" not in bound.node:
            with pytest.raises(SpecError):
                Resource.parse(document)
