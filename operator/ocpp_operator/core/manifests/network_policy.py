"""The NetworkPolicy: what may be let in and out of the gateway pods, as far as a spec can tell.

In: stations on the listeners' ports, from anywhere. `service.sourceRanges` are not repeated here: load balancers and
`externalTrafficPolicy: Cluster` put addresses of their own before the stations', and the Service enforces them already. The admin
port is open to pods of this cluster: collectors of metrics go by many names in many namespaces, metrics name no station, and
the internal API wants a token. What comes from outside, by a node port or a load balancer somebody makes by mistake, is not.

Out: to pods of this cluster whatever the port, since a policy is applied behind the Service, where ports may be others (brokers,
store, backend and DNS are reached so); to everywhere else only on the ports that the spec names, and DNS. Brokers or cluster nodes
outside that announce further ports need a NetworkPolicy beside this one (policies add up), or `networkPolicy: Disabled`.

Ports are those that pods were told, the revision before included: in a roll its pods still serve stations and publish what they did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ocpp_operator.core import kinds, names
from ocpp_operator.core.manifests.metadata import Manifest, child
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.template import Rendered

_DNS = 53
_PODS_OF_THE_CLUSTER: dict[str, Any] = {"namespaceSelector": {}}


def build(resource: Resource, kept: Sequence[Rendered]) -> Manifest:
    """`kept` begins with the revision in force and the one before."""
    told = [rendered.settings for rendered in kept[:2]]
    listeners = {listener["port"] for settings in told for listener in settings["listeners"]}
    outside = {port for settings in told for port in _outside(settings)} - {_DNS}
    return {
        **child(resource, kinds.NETWORK_POLICY, names.gateway(resource.name)),
        "spec": {
            "podSelector": {"matchLabels": names.pod_labels(resource.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [_port(number) for number in sorted(listeners)]},
                {"from": [_PODS_OF_THE_CLUSTER], "ports": [_port(names.ADMIN_PORT)]},
            ],
            "egress": [
                {"to": [_PODS_OF_THE_CLUSTER]},
                {"ports": [_port(_DNS, "UDP"), _port(_DNS), *(_port(number) for number in sorted(outside))]},
            ],
        },
    }


def _outside(settings: Mapping[str, Any]) -> Iterator[int]:
    """Where brokers, store and backend are reached."""
    for server in (*settings["kafka"]["bootstrap_servers"], *settings["redis"]["addresses"]):
        yield int(server.rpartition(":")[2])
    if (webhook := settings["decisions"].get("webhook")) is not None:
        yield _webhook_port(webhook["url"])


def _webhook_port(url: str) -> int:
    parts = urlsplit(url)
    try:
        return parts.port or {"http": 80, "https": 443}[parts.scheme]
    except ValueError:  # beyond 65535; the gateway will say so
        return 443


def _port(number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": number, "protocol": protocol}
