"""The evaluator of NetworkPolicies, by tables. No node is needed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.network_policy import Connection, allows

PODS: dict[str, Any] = {"namespaceSelector": {}}
POLICY: dict[str, Any] = {
    "spec": {
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"ports": [{"port": 8000, "protocol": "TCP"}]},
            {"from": [PODS], "ports": [{"port": 9090, "protocol": "TCP"}]},
        ],
        "egress": [{"to": [PODS]}, {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 9092, "protocol": "TCP"}]}],
    }
}


@pytest.mark.parametrize(
    ("connection", "allowed"),
    [
        (Connection("ingress", "outside", 8000), True),
        (Connection("ingress", "pod", 8000), True),
        (Connection("ingress", "pod", 9090), True),
        (Connection("ingress", "outside", 9090), False),
        (Connection("ingress", "node", 9090), False),
        (Connection("ingress", "pod", 9091), False),
        (Connection("egress", "pod", 12345), True),
        (Connection("egress", "outside", 9092), True),
        (Connection("egress", "outside", 6443), False),
        (Connection("egress", "outside", 53), False),  # by UDP only
    ],
)
def test_rules_add_up(connection: Connection, allowed: bool) -> None:
    assert allows(POLICY, connection) is allowed


def test_what_is_not_a_type_of_the_policy_is_free() -> None:
    inward = {"spec": {"policyTypes": ["Ingress"], "ingress": []}}
    assert allows(inward, Connection("egress", "outside", 1))
    assert not allows(inward, Connection("ingress", "pod", 1))


@pytest.mark.parametrize(
    "rule",
    [
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        {"from": [PODS], "ports": [{"port": 1, "endPort": 9}]},
        {"from": [PODS], "other": 1},
    ],
)
def test_what_it_does_not_know_it_does_not_judge(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown"):
        allows({"spec": {"policyTypes": ["Ingress"], "ingress": [rule]}}, Connection("ingress", "pod", 1))
