"""What a NetworkPolicy allows, for connections that pods really had: nothing on the test node enforces one.

Pure, and only for the peers that our operator renders: any pod of the cluster, or anybody. What it does not know it refuses to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["ingress", "egress"]
Peer = Literal["pod", "node", "outside"]
_PEERS = {"ingress": "from", "egress": "to"}
_ANY_POD: dict[str, Any] = {"namespaceSelector": {}}


@dataclass(frozen=True, slots=True, order=True)
class Connection:
    """A TCP connection as a pod sees it. `port` is that of whoever was called."""

    direction: Direction
    peer: Peer
    port: int


def allows(policy: Mapping[str, Any], connection: Connection) -> bool:
    """Whether a rule of the policy lets it through. Raises ValueError for a rule that this module does not know."""
    spec = policy["spec"]
    if connection.direction.capitalize() not in spec["policyTypes"]:
        return True
    return any(_matches(rule, connection) for rule in spec.get(connection.direction, ()))


def _matches(rule: Mapping[str, Any], connection: Connection) -> bool:
    peers = rule.get(_PEERS[connection.direction])
    if strange := set(rule) - {"ports", _PEERS[connection.direction]}:
        raise ValueError(f"unknown in a rule: {sorted(strange)}")
    return (peers is None or _among(peers, connection.peer)) and _port(rule.get("ports"), connection.port)


def _among(peers: Sequence[Mapping[str, Any]], peer: Peer) -> bool:
    for each in peers:
        if each != _ANY_POD:
            raise ValueError(f"unknown peer: {each}")
    return bool(peers) and peer == "pod"


def _port(ports: Sequence[Mapping[str, Any]] | None, port: int) -> bool:
    if ports is None:
        return True
    for each in ports:
        if strange := set(each) - {"port", "protocol"}:
            raise ValueError(f"unknown in a port: {sorted(strange)}")
    return any(each.get("port", port) == port for each in ports if each.get("protocol", "TCP") == "TCP")
