"""Acting on the children of a resource: write what differs, delete what is no longer wished, touch nothing else.

A child is written when what is there is not what is wished (`core.drift`), which also repairs what people edited by hand. If the API
server stores something else than it was given (it rounds, or a webhook of the cluster rewrites), the difference would be there again
right after the write: then it is told once and left alone until either side changes, instead of writing for ever.

An object that has our name but not our label belongs to somebody else: it is named in a condition and never taken over.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ocpp_operator.adapters.api_errors import Conflict, Forbidden, Invalid, NotFound
from ocpp_operator.core import drift, kinds, names
from ocpp_operator.core.findings import Trouble
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Key
from ocpp_operator.core.spec import Resource
from ocpp_operator.reconcile.surroundings import Surroundings

log = logging.getLogger(__name__)

Manifest = Mapping[str, Any]


class Children:
    """Those of one resource."""

    def __init__(self, around: Surroundings, key: Key) -> None:
        self._around = around
        self._cluster, self._mirror = around.cluster, around.mirror
        self._key = key
        self._futile: dict[tuple[Kind, str], tuple[str, str]] = {}
        """Per child that did not become what was wished: fingerprint of the wish, and the version that came of it."""

    async def make(self, resource: Resource, wished: Sequence[Manifest]) -> list[Trouble]:
        """Write what differs, in the given order. One that is refused does not hold up the others. Raises ApiUnavailable."""
        troubles = []
        for manifest in wished:
            kind, name = kinds.of(dict(manifest)), str(manifest["metadata"]["name"])
            try:
                trouble = await self._make(resource, kind, name, manifest)
            except (Invalid, Forbidden, NotFound, Conflict) as refusal:
                trouble = Trouble("ChildRefused", f"{kind} {name}: {refusal}")
            if trouble is not None:
                troubles.append(trouble)
        return troubles

    async def _make(self, resource: Resource, kind: Kind, name: str, manifest: Manifest) -> Trouble | None:
        there = self._mirror.one(kind, self._key.namespace, name)
        if there is None and await self._is_foreign(resource, kind, name):
            return Trouble(
                "NameTaken", f"{kind} {name} exists and is not ours: rename or delete it, or rename the resource"
            )
        reason = drift.needs_apply(manifest, there)
        if reason is None:
            self._futile.pop((kind, name), None)
            return None
        wish = drift.fingerprint(manifest)
        if there is not None and self._futile.get((kind, name)) == (wish, there["metadata"]["resourceVersion"]):
            return None
        stored = await self._apply(kind, name, drift.stamped(manifest), exists=there is not None)
        log.info("%s %s: %s", kind, name, reason, extra={"resource": str(self._key)})
        self._around.metrics.wrote(
            kind.kind, "missing" if there is None else "changed" if reason.startswith("the wish") else "drift"
        )
        # The watch will bring it, but the next pass may be sooner.
        self._mirror.note(kind, "MODIFIED", stored)
        if (left := drift.needs_apply(manifest, stored)) is not None:
            log.warning(
                "%s %s is stored otherwise than wished and left so: %s",
                kind,
                name,
                left,
                extra={"resource": str(self._key)},
            )
            self._futile[kind, name] = (wish, stored["metadata"]["resourceVersion"])
        return None

    async def _apply(self, kind: Kind, name: str, manifest: Manifest, *, exists: bool) -> Mapping[str, Any]:
        try:
            return await self._cluster.apply(manifest)
        except Invalid as refusal:
            if not exists:
                raise
            # A list entry that somebody changed by hand is theirs to the API server, and stands beside ours: two ports of one
            # name, say. Where that is refused our lists replace the whole.
            log.warning("%s %s is overwritten: %s", kind, name, refusal, extra={"resource": str(self._key)})
            return await self._cluster.overwrite(manifest)

    async def _is_foreign(self, resource: Resource, kind: Kind, name: str) -> bool:
        """Asked only before a child is made. Our own that the watch has not brought yet is taken into the mirror."""
        try:
            there = await self._cluster.get(kind, self._key.namespace, name)
        except NotFound:
            return False
        ours = names.instance_of(there["metadata"].get("labels") or {}) == resource.name
        owners = {owner["uid"] for owner in there["metadata"].get("ownerReferences") or ()}
        if ours or resource.uid in owners:  # the label may have been edited away: the next apply brings it back
            self._mirror.note(kind, "MODIFIED", there)
            return False
        return True

    async def prune(self, resource: Resource, wished: Sequence[Manifest], kept: Sequence[tuple[Kind, str]]) -> None:
        """Delete children that are neither wished nor `kept`. Only what this very resource owns."""
        wanted = {(kinds.of(dict(manifest)), str(manifest["metadata"]["name"])) for manifest in wished} | set(kept)
        for kind in reversed(kinds.CHILDREN):
            for there in self._mirror.of(kind, self._key):
                metadata = there["metadata"]
                owned = any(owner["uid"] == resource.uid for owner in metadata.get("ownerReferences") or ())
                if owned and (kind, metadata["name"]) not in wanted and "deletionTimestamp" not in metadata:
                    log.info("%s %s is no longer wished", kind, metadata["name"], extra={"resource": str(self._key)})
                    await self._cluster.delete(kind, metadata["namespace"], metadata["name"], metadata["uid"])
