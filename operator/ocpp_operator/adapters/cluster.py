"""What the operator reads from and writes to the Kubernetes API beside kopf's watches: raw manifests, typed errors.

Every write is preceded by `guard`, synchronously, after everything that waits: a replica that leads no more raises NotLeader
there instead of writing. Every write either states what it was decided on (a resource version, a uid) or may safely be
repeated (server-side apply). One field owner: a field that is no longer applied goes, a field that others own stays, unless
they own one of ours; then they are named in the log and the field is taken back, since drift is repaired.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ocpp_operator.adapters.api_errors import Conflict, Expired, NotFound
from ocpp_operator.adapters.connection import APPLY_PATCH, MERGE_PATCH, Connection
from ocpp_operator.adapters.event_log import EVENT, EventLog
from ocpp_operator.core import kinds, names
from ocpp_operator.core.kinds import Kind

log = logging.getLogger(__name__)

Json = dict[str, Any]
Propagation = Literal["Background", "Foreground", "Orphan"]
PAGE = 500
"""Objects in one answer to a list."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects that there were at one moment. What is not in it did not exist then."""

    items: tuple[Json, ...]
    version: str
    """Resource version of that moment: a watch from here misses nothing."""


def path(kind: Kind, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Of objects in `namespace`; None: in all."""
    parts = ["api", kind.version] if not kind.group else ["apis", kind.group, kind.version]
    if namespace is not None:
        parts += ["namespaces", namespace]
    parts.append(kind.plural)
    parts += [part for part in (name, subresource) if part]
    return "/" + "/".join(parts)


class Cluster:
    """`guard` raises when this replica may not write; `instance` is this replica's name in events. Everything raises ClusterError."""

    def __init__(self, connection: Connection, guard: Callable[[], None], instance: str) -> None:
        self._connection = connection
        self._guard = guard
        self._events = EventLog(self._create, self._patch_event, instance)

    # --- reading --------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """One object. Raises NotFound."""
        return await self._connection.request("get", kind.plural, "GET", path(kind, namespace, name))

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: str | None = None, fields: str | None = None
    ) -> Listing:
        """All objects that match, however many pages they fill. The items have no apiVersion and kind, as the API leaves them out.

        Raises Expired when the list was still being read minutes after it began: begin anew.
        """
        query = [("limit", str(PAGE))]
        query += [("labelSelector", labels)] if labels else []
        query += [("fieldSelector", fields)] if fields else []
        items: list[Json] = []
        more: list[tuple[str, str]] = []
        while True:
            page = await self._connection.request("list", kind.plural, "GET", path(kind, namespace), query=query + more)
            items += page.get("items") or []
            if not (following := page["metadata"].get("continue")):
                return Listing(tuple(items), page["metadata"]["resourceVersion"])
            more = [("continue", following)]

    async def kinds_available(self) -> frozenset[Kind]:
        """Which of the kinds of other projects this cluster has."""
        return frozenset([kind for kind in kinds.OPTIONAL if await self.has(kind)])

    async def has(self, kind: Kind) -> bool:
        """Whether this cluster knows the kind, by what it says of its API."""
        try:
            group = await self._connection.request("get", "discovery", "GET", f"/apis/{kind.api_version}")
        except NotFound:
            return False
        return any(resource["name"] == kind.plural for resource in group["resources"])

    # --- writing --------------------------------------------------------------------------------------------------

    async def apply(self, manifest: Mapping[str, Any]) -> Json:
        """Make the object have what `manifest` says (server-side apply); returns it as stored.

        Raises Conflict only for a resource version or uid in the manifest that does not hold.
        """
        return await self._apply(manifest, None)

    async def apply_status(self, manifest: Mapping[str, Any]) -> Json:
        """The same for its status; `manifest` has apiVersion, kind, metadata and status."""
        return await self._apply(manifest, "status")

    async def _apply(self, manifest: Mapping[str, Any], subresource: str | None) -> Json:
        kind, metadata = kinds.of(dict(manifest)), manifest["metadata"]
        where = path(kind, metadata["namespace"], metadata["name"], subresource)

        async def attempt(force: str) -> Json:
            query = (("fieldManager", names.FIELD_OWNER), ("force", force))
            return await self._write("apply", kind, "PATCH", where, dict(manifest), APPLY_PATCH, query)

        try:
            return await attempt("false")
        except Conflict as conflict:
            if not conflict.owners:
                raise
            log.warning(
                "%s %s/%s: fields of ours are taken back from %s", kind, metadata["namespace"], metadata["name"],
                ", ".join(sorted({owner.manager for owner in conflict.owners})),
                extra={"fields": [owner.field for owner in conflict.owners]},
            )  # fmt: skip
            return await attempt("true")

    async def overwrite(self, manifest: Mapping[str, Any]) -> Json:
        """Make the object have what `manifest` says, its lists whole (merge patch): what others added to them goes.

        For where `apply` is refused because what others added does not go together with what we wish.
        """
        kind, metadata = kinds.of(dict(manifest)), manifest["metadata"]
        where = path(kind, metadata["namespace"], metadata["name"])
        return await self._write("patch", kind, "PATCH", where, dict(manifest), MERGE_PATCH, _OWNER)

    async def patch_annotations(
        self, namespace: str, pod: str, annotations: Mapping[str, str | None], version: str
    ) -> Json:
        """Set annotations of a pod (None removes one) if its resource version is still `version`, else Conflict."""
        body: Json = {"metadata": {"resourceVersion": version, "annotations": dict(annotations)}}
        return await self._write(
            "patch", kinds.POD, "PATCH", path(kinds.POD, namespace, pod), body, MERGE_PATCH, _OWNER
        )

    async def store(self, manifest: Mapping[str, Any], version: str | None) -> Json:
        """Write an object whole, if it still has the resource version `version`; None: if there is none yet.

        Raises Conflict when somebody else was faster, NotFound when it is gone.
        """
        if version is None:
            return await self._create(dict(manifest))
        kind, metadata = kinds.of(dict(manifest)), manifest["metadata"]
        body = {**manifest, "metadata": {**metadata, "resourceVersion": version}}
        return await self._write(
            "update", kind, "PUT", path(kind, metadata["namespace"], metadata["name"]), body, query=_OWNER
        )

    async def delete(
        self, kind: Kind, namespace: str, name: str, uid: str | None = None, propagation: Propagation = "Background"
    ) -> None:
        """Delete it if it is the one with `uid`; one of that name with another uid: Conflict. One that is gone is fine."""
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self._write("delete", kind, "DELETE", path(kind, namespace, name), body)
        except NotFound:
            log.debug("%s %s/%s is gone already", kind, namespace, name)

    async def event(
        self, regarding: Mapping[str, Any], type: Literal["Normal", "Warning"], reason: str, note: str, action: str
    ) -> None:
        """Tell people about `regarding` (a manifest with metadata). `reason` and `action` are CamelCase words, `note` a sentence.

        Repeats are counted in one object. Raises no ClusterError.
        """
        await self._events.tell(regarding, type, reason, note, action)

    async def _create(self, manifest: Json) -> Json:
        kind = EVENT if manifest["kind"] == EVENT.kind else kinds.of(manifest)
        return await self._write(
            "create", kind, "POST", path(kind, manifest["metadata"]["namespace"]), manifest, query=_OWNER
        )

    async def _patch_event(self, namespace: str, name: str, body: Json) -> Json:
        return await self._write("patch", EVENT, "PATCH", path(EVENT, namespace, name), body, MERGE_PATCH, _OWNER)

    async def _write(
        self,
        verb: str,
        kind: Kind,
        method: str,
        where: str,
        body: Json,
        content_type: str = "application/json",
        query: tuple[tuple[str, str], ...] = (),
    ) -> Json:
        return await self._connection.request(
            verb, kind.plural, method, where, query=query, body=body, content_type=content_type, guard=self._guard
        )


_OWNER = (("fieldManager", names.FIELD_OWNER),)

__all__ = ["Cluster", "Expired", "Listing", "Propagation", "path"]
