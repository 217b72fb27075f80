"""Reads what `chargegateway doctor` judges. Nothing is written, and of Secrets nothing but their keys' presence is told.

Whoever asks may have few rights: what cannot be read is named and left out, but for the resource itself.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ocpp_operator.adapters.api_errors import Forbidden, NotFound
from ocpp_operator.adapters.cluster import Cluster
from ocpp_operator.adapters.election import LEASE
from ocpp_operator.adapters.event_log import EVENT
from ocpp_operator.core import kinds, names
from ocpp_operator.core.diagnosis import Seen, stale
from ocpp_operator.core.kinds import Kind

Json = dict[str, Any]
Missing = Callable[[Json, Callable[[str], Mapping[str, bytes] | None]], list[str]]
"""missing(resource, contents): a sentence for each Secret that the resource needs and that is not whole."""

_PATIENCE = 5
"""Looks, a second apart, at a resource whose latest spec has not been taken up: it may have been written just now."""


async def resources(cluster: Cluster, namespace: str, name: str | None) -> list[Json]:
    """One, or all of the namespace. Raises NotFound (also where there is no such kind), Forbidden, ApiUnavailable."""
    if name is None:
        listing = await cluster.list(kinds.RESOURCE, namespace)
        return sorted(listing.items, key=lambda resource: str(resource["metadata"]["name"]))
    return [await cluster.get(kinds.RESOURCE, namespace, name)]


async def examine(cluster: Cluster, resource: Json, secrets: Iterable[str], missing: Missing) -> Seen:
    """All that belongs to `resource`; `secrets` are the names of those that it needs. Raises NotFound, ApiUnavailable."""
    namespace, name = resource["metadata"]["namespace"], resource["metadata"]["name"]
    for _ in range(_PATIENCE):
        if not stale(resource):
            break
        await asyncio.sleep(1.0)
        resource = await cluster.get(kinds.RESOURCE, namespace, name)
    look = _Look(cluster, namespace)
    deployment = await look.one(kinds.DEPLOYMENT, names.gateway(name))
    pods = await look.all(kinds.POD, f"{names.MANAGED_SELECTOR},{names.INSTANCE}={name}")
    events = await look.all(EVENT)
    found = {secret: await look.one(kinds.SECRET, secret) for secret in sorted(set(secrets))}

    def contents(secret: str) -> Mapping[str, bytes] | None:
        there = found.get(secret)
        return None if there is None else {key: b64decode(text) for key, text in (there.get("data") or {}).items()}

    unreadable = look.unreadable
    lines = [
        line
        for line in missing(resource, contents)
        if not any(line.startswith(f"Secret {each} ") for each in unreadable)
    ]
    return Seen(resource, deployment, pods, events, lines, look.hidden)


async def leases(cluster: Cluster, namespace: str | None) -> list[Json] | None:
    """Those of operators in `namespace`, None: in all; as the chart names each after its release, by who wrote them.

    Returns None where we may not look.
    """
    try:
        listing = await cluster.list(LEASE, namespace)
    except Forbidden:
        return None
    return [
        lease
        for lease in listing.items
        if any(each.get("manager") == names.FIELD_OWNER for each in lease["metadata"].get("managedFields") or ())
    ]


class _Look:
    """Reading that goes on without a right."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.hidden: list[str] = []
        self.unreadable: set[str] = set()
        """Names of single objects."""

    async def one(self, kind: Kind, name: str) -> Json | None:
        try:
            return await self._cluster.get(kind, self._namespace, name)
        except NotFound:
            return None
        except Forbidden as error:
            self.hidden.append(f"{kind} {name}: {error}")
            self.unreadable.add(name)
            return None

    async def all(self, kind: Kind, labels: str | None = None) -> tuple[Json, ...]:
        try:
            return (await self._cluster.list(kind, self._namespace, labels)).items
        except Forbidden as error:
            self.hidden.append(f"{kind.plural}: {error}")
            return ()
