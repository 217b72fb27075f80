"""What counts as drift, value by value."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_operator.core.drift import differences, fingerprint, needs_apply, stamped, unstamped

Json = dict[str, Any]


def container(**fields: Any) -> Json:
    return {"spec": {"containers": [{"name": "gateway", **fields}]}}


SAME: dict[str, tuple[Json, Json]] = {
    "the server added defaults": ({"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}, "status": {}}),
    "items of a list do not say what they are": ({"apiVersion": "v1", "kind": "Pod", "spec": {}}, {"spec": {}}),
    "others' labels": ({"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"a": "1", "b": "2"}}}),
    "quantities": (
        container(resources={"limits": {"cpu": "1000m", "memory": "1Gi"}, "requests": {"cpu": 0.5}}),
        container(resources={"limits": {"cpu": "1", "memory": "1024Mi"}, "requests": {"cpu": "500m"}}),
    ),
    "a quantity with an exponent": ({"averageValue": "8e3"}, {"averageValue": "8k"}),
    "number or text": ({"maxUnavailable": "1"}, {"maxUnavailable": 1}),
    "null, empty map, empty list": (
        {"spec": {"a": None, "nodeSelector": {}, "loadBalancerSourceRanges": []}},
        {"spec": {}},
    ),
    "empty text": ({"spec": {"priorityClassName": ""}}, {"spec": {}}),
    "a zero that the API leaves out": ({"initialDelaySeconds": 0, "hostNetwork": False}, {}),
    "a container more, and in another order": (
        container(image="x"),
        {"spec": {"containers": [{"name": "proxy", "image": "y"}, {"name": "gateway", "image": "x"}]}},
    ),
    "the default protocol": (
        container(ports=[{"containerPort": 8000}]),
        container(ports=[{"containerPort": 9090, "protocol": "TCP"}, {"containerPort": 8000, "protocol": "TCP"}]),
    ),
    "a port of two protocols": (
        {"spec": {"ports": [{"port": 53, "protocol": "UDP", "name": "u"}, {"port": 53, "name": "t"}]}},
        {
            "spec": {
                "ports": [{"port": 53, "protocol": "TCP", "name": "t"}, {"port": 53, "protocol": "UDP", "name": "u"}]
            }
        },
    ),
    "another's finalizer": ({"metadata": {"finalizers": ["a"]}}, {"metadata": {"finalizers": ["b", "a"]}}),
    "a rule without what means the same": (
        {"spec": {"ingress": [{"ports": [{"port": 8000}], "from": []}]}},
        {"spec": {"ingress": [{"ports": [{"port": 8000, "protocol": "TCP"}]}]}},
    ),
    "kubectl rollout restart": (
        {"spec": {"template": {"metadata": {"annotations": {"a": "1"}}}}},
        {"spec": {"template": {"metadata": {"annotations": {"a": "1", "kubectl.kubernetes.io/restartedAt": "now"}}}}},
    ),
    "a Secret written as text": (
        {"kind": "Secret", "stringData": {"token": "ü"}},
        {"kind": "Secret", "data": {"token": "w7w="}},
    ),
}

DRIFTED: dict[str, tuple[Json, Json, list[str]]] = {
    "a value": ({"spec": {"replicas": 3}}, {"spec": {"replicas": 2}}, ["spec.replicas"]),
    "a value that is gone": ({"spec": {"replicas": 3}}, {"spec": {}}, ["spec.replicas"]),
    "false is not absence": (
        {"automountServiceAccountToken": False},
        {},
        ["automountServiceAccountToken"],
    ),
    "true is not 1": ({"a": True}, {"a": 1}, ["a"]),
    "an image": (container(image="x"), container(image="y"), ["spec.containers[gateway].image"]),
    "a container that is gone": (
        container(image="x"),
        {"spec": {"containers": [{"name": "proxy"}]}},
        ["spec.containers[gateway]"],
    ),
    "a quantity": (
        container(resources={"limits": {"memory": "1Gi"}}),
        container(resources={"limits": {"memory": "1G"}}),
        ["spec.containers[gateway].resources.limits.memory"],
    ),
    "texts that only look like quantities": (
        {"data": {"limits": "1", "port": "80", "gone": ""}},
        {"data": {"limits": "1000m", "port": 80}},
        ["data.limits", "data.port", "data.gone"],
    ),
    "an environment variable that looks like a quantity": (
        container(env=[{"name": "A", "value": "1"}]),
        container(env=[{"name": "A", "value": "1000m"}]),
        ["spec.containers[gateway].env[A].value"],
    ),
    "an annotation": (
        {"metadata": {"annotations": {"chargegateway.io/a": "1"}}},
        {"metadata": {"annotations": {"chargegateway.io/a": "2"}}},
        ["metadata.annotations[chargegateway.io/a]"],
    ),
    "a selector that somebody narrowed": (
        {"spec": {"selector": {"app": "a"}}},
        {"spec": {"selector": {"app": "a", "pod": "one"}}},
        ["spec.selector.pod"],
    ),
    "an empty selector that somebody narrowed": (
        {"spec": {"podSelector": {}}},
        {"spec": {"podSelector": {"matchLabels": {"a": "1"}}}},
        ["spec.podSelector"],
    ),
    "a list that is one value": (
        {"spec": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}},
        {"spec": {"loadBalancerSourceRanges": ["10.0.0.0/8", "0.0.0.0/0"]}},
        ["spec.loadBalancerSourceRanges"],
    ),
    "a list that is to be empty": ({"spec": {"args": []}}, {"spec": {"args": ["-v"]}}, ["spec.args"]),
    "the kind of a volume": (
        {"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}},
        {"spec": {"volumes": [{"name": "tmp", "hostPath": {"path": "/"}}]}},
        ["spec.volumes[tmp].emptyDir"],
    ),
    "a rule with one peer more": (
        {"spec": {"ingress": [{"ports": [{"port": 9090}], "from": [{"podSelector": {}}]}]}},
        {"spec": {"ingress": [{"ports": [{"port": 9090}], "from": [{"podSelector": {}}, {"namespaceSelector": {}}]}]}},
        ["spec.ingress"],
    ),
    "a rule with a port more": (
        {"spec": {"ingress": [{"ports": [{"port": 9090}]}]}},
        {"spec": {"ingress": [{"ports": [{"port": 9090}, {"port": 22}]}]}},
        ["spec.ingress"],
    ),
    "everybody was let in": (
        {"spec": {"egress": []}},
        {"spec": {"egress": [{}]}},
        ["spec.egress"],
    ),
    "not even of the same form": (
        {"spec": {"a": {"b": 1}, "c": [1]}},
        {"spec": {"a": 1, "c": {}}},
        ["spec.a", "spec.c"],
    ),
}


@pytest.mark.parametrize(("wished", "seen"), SAME.values(), ids=SAME.keys())
def test_it_is_there(wished: Json, seen: Json) -> None:
    assert differences(wished, seen) == []


@pytest.mark.parametrize(("wished", "seen", "where"), DRIFTED.values(), ids=DRIFTED.keys())
def test_it_has_drifted(wished: Json, seen: Json, where: list[str]) -> None:
    assert differences(wished, seen) == where


CHILD: Json = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "annotations": {"a": "1"}},
    "data": {"x": "1", "y": "2"},
}


def test_the_reason_of_a_write_is_told() -> None:
    assert needs_apply(CHILD, None) == "is not there"
    assert needs_apply(CHILD, stamped(CHILD)) is None
    assert needs_apply(stamped(CHILD), stamped(CHILD)) is None
    assert needs_apply(CHILD, {**stamped(CHILD), "data": {"x": "1"}}) == "differs in data.y"


def test_a_field_that_went_out_of_the_wish_is_noticed() -> None:
    wished = {**CHILD, "data": {"x": "1"}}
    assert differences(wished, stamped(CHILD)) == []
    assert needs_apply(wished, stamped(CHILD)) == "the wish has changed"


def test_a_child_whose_stamp_somebody_removed_is_applied_again() -> None:
    assert needs_apply(CHILD, CHILD) == "the wish has changed"


def test_a_fingerprint_knows_content_and_not_order() -> None:
    turned = {key: CHILD[key] for key in reversed(CHILD)}
    assert fingerprint(turned) == fingerprint(CHILD) == fingerprint(stamped(CHILD))
    assert fingerprint({**CHILD, "data": {"x": "1"}}) != fingerprint(CHILD)


def test_a_stamp_can_be_taken_off_again() -> None:
    bare = {**CHILD, "metadata": {"name": "settings"}}
    assert unstamped(stamped(CHILD)) == CHILD
    assert unstamped(stamped(bare)) == bare


def test_a_fingerprint_says_nothing_of_a_secrets_values() -> None:
    def secret(**data: str) -> Json:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": data}

    assert fingerprint(secret(token="a")) == fingerprint(secret(token="b"))
    assert fingerprint(secret(token="a")) != fingerprint(secret(token="a", other="b"))
    seen = {**stamped(secret(token="b")), "data": {"token": "Yg=="}}
    assert needs_apply(secret(token="a"), seen) == "differs in data.token"
    assert needs_apply(secret(token="b"), seen) is None
