"""Acting on the children of a resource: write what differs, delete what is no longer wished, touch nothing else.

A child is written when what is there is not what is wished (`core.drift`), which also repairs what people edited by hand. If the API
server stores something else than it was given (it rounds, or a webhook of the cluster rewrites), the difference would be there again
right after the write: then it is told once and left alone until either side changes, instead of writing for ever. What is refused
is tried again in longer and longer pauses, and holds up neither the other children nor the rest of the pass.

An object that has our name but not our label belongs to somebody else: it is named in a condition and never taken over.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ocpp_operator.adapters.api_errors import ApiUnavailable, Conflict, Forbidden, Invalid, NotFound
from ocpp_operator.core import drift, farewell, kinds, names
from ocpp_operator.core.findings import Trouble
from ocpp_operator.core.kinds import Kind
from ocpp_operator.core.mirror import Key
from ocpp_operator.core.refusals import Refusals
from ocpp_operator.core.spec import Resource, SpecError
from ocpp_operator.reconcile.surroundings import Surroundings

log = logging.getLogger(__name__)

Manifest = Mapping[str, Any]

OF_ONE_KIND: Final = (500, 503)
"""What the API server answers when a webhook or the store of one kind is away. Where it is the server itself, each of the others
may take a time-out to find out, and pods that are gone would wait for it."""


class Children:
    """Those of one resource."""

    def __init__(self, around: Surroundings, key: Key) -> None:
        self._around = around
        self._cluster, self._mirror = around.cluster, around.mirror
        self._key = key
        self._futile: dict[tuple[Kind, str], tuple[str, str, str]] = {}
        """Per child that did not become what was wished: fingerprint of the wish, what is left of the difference, and the state
        that came of it."""
        self._refused = Refusals[tuple[Kind, str]]()
        self._in_order: tuple[Sequence[Manifest], list[list[Manifest]]] | None = None
        """What was wished when everything was last found to be so, and what was there."""
        self.again: float | None = None
        """When the next try is due of what the last pass could not write or delete; None: of nothing."""

    async def make(self, resource: Resource, wished: Sequence[Manifest]) -> list[Trouble]:
        """Write what differs, in the given order. One that is refused does not hold up the others. Raises ApiUnavailable.

        What failed before comes last: if the API server answers for everything but that, the others get their turn first.
        """
        self.again = None
        # Passes come every second and find nothing new, and to look for each wished field is most of the work of one. Objects in the
        # mirror are replaced, never changed, so that equal ones are mostly the very same.
        there = self._there()
        if self._in_order == (wished, there):
            return []
        self._in_order = None
        troubles = []
        for manifest in sorted(wished, key=lambda manifest: _place(manifest) in self._refused):
            kind, name = _place(manifest)
            if (known := self._held_off(kind, name, manifest)) is not None:
                troubles.append(known)
                continue
            try:
                trouble = await self._make(resource, kind, name, manifest)
            except (Invalid, Forbidden, NotFound, Conflict) as refusal:
                trouble = Trouble("ChildRefused", f"{kind} {name}: {refusal}")
                self._hold_off(kind, name, manifest, trouble)
            except ApiUnavailable as error:
                trouble = self._later(kind, name, manifest, error)
            if trouble is None:
                self._refused.forget((kind, name))
            else:
                troubles.append(trouble)
        if not troubles and there == self._there():  # nothing was written: what was is not what was found in order
            self._in_order = wished, there
        return troubles

    def _there(self) -> list[list[Manifest]]:
        return [self._mirror.of(kind, self._key) for kind in kinds.CHILDREN]

    def _later(self, kind: Kind, name: str, wished: Manifest | None, error: ApiUnavailable) -> Trouble:
        """It failed for this kind alone, perhaps: then the others go on. Raises `error` where the API server itself does not answer."""
        trouble = Trouble("ChildrenNotWritten", f"{kind} {name}: {error}")
        self._hold_off(kind, name, wished, trouble, error.retry_after)
        if error.status not in OF_ONE_KIND:
            raise error
        log.warning("%s %s is written later: %s", kind, name, error, extra={"resource": str(self._key)})
        self._around.metrics.error(type(error).__name__)
        return trouble

    def _held_off(self, kind: Kind, name: str, wished: Manifest | None) -> Trouble | None:
        """The trouble, while it is not time to try this again. `wished` None: it is to be deleted."""
        if (kind, name) not in self._refused:  # mostly: without a fingerprint then
            return None
        refusal = self._refused.standing((kind, name), self._around.monotonic(), _fingerprint(wished))
        if refusal is None:
            return None
        self._due(refusal.until)
        return refusal.trouble

    def _hold_off(
        self, kind: Kind, name: str, wished: Manifest | None, trouble: Trouble, asked: float | None = None
    ) -> None:
        """`asked`: seconds for which the API server asked."""
        now = self._around.monotonic()
        self._due(self._refused.add((kind, name), trouble, now, _fingerprint(wished), asked))

    def _due(self, until: float) -> None:
        self.again = until if self.again is None else min(self.again, until)

    async def _make(self, resource: Resource, kind: Kind, name: str, manifest: Manifest) -> Trouble | None:
        there = self._mirror.one(kind, self._key.namespace, name)
        if there is None and await self._is_foreign(resource, kind, name):
            trouble = Trouble("NameTaken", name_taken(kind, name))
            self._hold_off(kind, name, manifest, trouble)
            return trouble
        reason = drift.needs_apply(manifest, there)
        if reason is None:
            self._futile.pop((kind, name), None)
            return None
        wish = drift.fingerprint(manifest)
        if there is not None and self._futile.get((kind, name)) == (wish, reason, _state(there)):
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
            self._futile[kind, name] = (wish, left, _state(stored))
        return None

    async def _apply(self, kind: Kind, name: str, manifest: Manifest, *, exists: bool) -> Mapping[str, Any]:
        try:
            # Those that are made for the first time come in crowds: every Service needs an address, and of 200 asked for at once the
            # API server finished hardly one in time. A place is held for one request; who serves already waits for nobody.
            async with contextlib.nullcontext() if exists else self._around.making:
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
        if not is_ours(resource, there):
            return True
        self._mirror.note(kind, "MODIFIED", there)
        return False

    async def prune(
        self, resource: Resource, wished: Sequence[Manifest], kept: Sequence[tuple[Kind, str]]
    ) -> list[Trouble]:
        """Delete children that are neither wished nor `kept`. Only what this very resource owns. Raises ApiUnavailable, Conflict."""
        troubles: list[Trouble | None] = []
        wanted = {_place(manifest) for manifest in wished} | set(kept)
        for kind in reversed(kinds.CHILDREN):
            for there in self._mirror.of(kind, self._key):
                metadata = there["metadata"]
                owned = any(owner["uid"] == resource.uid for owner in metadata.get("ownerReferences") or ())
                if owned and (kind, metadata["name"]) not in wanted and "deletionTimestamp" not in metadata:
                    troubles.append(await self._delete(kind, metadata))
        return [trouble for trouble in troubles if trouble is not None]

    async def _delete(self, kind: Kind, metadata: Mapping[str, Any]) -> Trouble | None:
        name = str(metadata["name"])
        if (known := self._held_off(kind, name, None)) is not None:
            return known
        log.info("%s %s is no longer wished", kind, name, extra={"resource": str(self._key)})
        try:
            await self._cluster.delete(kind, metadata["namespace"], name, metadata["uid"])
        except (Invalid, Forbidden) as refusal:
            trouble = Trouble("ChildrenNotWritten", f"{kind} {name} cannot be deleted: {refusal}")
            self._hold_off(kind, name, None, trouble)
            return trouble
        except ApiUnavailable as error:
            return self._later(kind, name, None, error)
        self._refused.forget((kind, name))
        return None


def is_ours(resource: Resource, there: Mapping[str, Any]) -> bool:
    """Whether an object with a name of ours is the resource's. Its label may have been edited away: then the owner tells, and where
    there is none by intention (`core.farewell`), what it says."""
    metadata = there["metadata"]
    labelled = names.instance_of(metadata.get("labels") or {}) == resource.name
    owned = any(owner["uid"] == resource.uid for owner in metadata.get("ownerReferences") or ())
    return labelled or owned or _is_record(resource, there)


def _is_record(resource: Resource, there: Mapping[str, Any]) -> bool:
    try:
        kept = farewell.read(there)
    except (farewell.Unreadable, SpecError):
        return False
    return (kept.namespace, kept.name) == (resource.namespace, resource.name)


def name_taken(kind: Kind, name: str) -> str:
    """What people are told where it is not."""
    return f"{kind} {name} exists and is not ours: rename or delete it, or rename the resource"


def _place(manifest: Manifest) -> tuple[Kind, str]:
    return kinds.of(dict(manifest)), str(manifest["metadata"]["name"])


def _fingerprint(wished: Manifest | None) -> str:
    return "" if wished is None else drift.fingerprint(wished)


def _state(there: Mapping[str, Any]) -> str:
    """Changes when somebody changes what the child is to be; where Kubernetes counts that, not when its status changes."""
    metadata = there["metadata"]
    return str(metadata.get("generation") or metadata["resourceVersion"])
