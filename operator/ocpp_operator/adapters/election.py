"""The Lease that says which replica leads: the pure elector's steps, carried out against the API server.

A request takes a third of the renew deadline at most, so that one that hangs leaves time for another, and the leader's ends with
its right: the loss is noticed on time with an API server that refuses, and with one that does not answer at all.

The Lease is patched, not replaced: labels that others put on it stay. A patch carries the resource version, so it is refused
like a replacement when somebody else was faster.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from ocpp_operator.adapters.api_errors import ClusterError, Conflict, NotFound
from ocpp_operator.adapters.cluster import path
from ocpp_operator.adapters.connection import MERGE_PATCH, Connection
from ocpp_operator.core import names
from ocpp_operator.core.election import Elector, Lease, Leave, NotLeader, Read, Stored, Timing, Wait, Write
from ocpp_operator.core.kinds import Kind

log = logging.getLogger(__name__)

LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
_OWNER = (("fieldManager", names.FIELD_OWNER),)
_OVERTAKEN = 3
"""Renewals of ours that a hanging API server may do one after another, when it goes on."""


def boottime() -> float:
    """CLOCK_BOOTTIME in seconds: goes on while the machine sleeps, is never set back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaderElection:
    """One candidate of this process. `replica` is its pod's name, `annotations` are written on the Lease with it.

    `leading` is set once it leads; `lost` is set when it leads no more, and then the process is to leave. `attempted` is called
    after each request, whatever came of it.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        name: str,
        replica: str,
        timing: Timing,
        attempted: Callable[[], None] = lambda: None,
        annotations: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._connection = connection
        self._annotations = dict(annotations)
        self._namespace, self._name = namespace, name
        self._timing = timing
        self._attempted = attempted
        # A container that restarts keeps its pod's name, and its predecessor's requests may still be under way.
        self._elector = Elector(f"{replica}_{uuid4()}", timing)
        self._told = ""
        self.leading = asyncio.Event()
        self.lost = asyncio.Event()

    @property
    def identity(self) -> str:
        """As the Lease names it."""
        return self._elector.identity

    def leads(self) -> bool:
        """Whether this replica may write, now."""
        return self._elector.leads(boottime())

    def check(self) -> None:
        """The guard of every outside write: raises NotLeader."""
        if not self.leads():
            raise NotLeader(self._elector.lost or f"{self.identity} does not lead")

    async def run(self) -> None:
        """Try to lead, then lead; returns when the lease is lost."""
        while True:
            step = self._elector.step(boottime(), datetime.now(UTC))
            match step:
                case Leave(reason):
                    log.error("no longer the leader: %s", reason)
                    self.lost.set()
                    return
                case Wait(until):
                    await asyncio.sleep(max(0.0, until - boottime()))
                case Read() | Write():
                    await self._carry_out(step)
                    self._attempted()
                    if self.leads() and not self.leading.is_set():
                        log.info("leading as %s", self.identity)
                        self.leading.set()

    async def resign(self) -> None:
        """Lead no more and, as far as the API server can be reached, let another replica take over at once.

        After an outage in which the right lapsed this is tried again and again for a while. End `run` before, and all work. Writes
        of ours that are under way may still be done by the API server.
        """
        self._elector.resign()
        self.lost.set()
        deadline, overtaken = boottime() + (self._timing.parting if self._elector.lapsed else 0.0), 0
        while (farewell := self._elector.farewell(datetime.now(UTC))) is not None:
            try:
                await self._write(farewell, self._timing.renew_deadline / 3)
            except Conflict as error:
                overtaken += 1
                await self._carry_out(Read())  # a renewal whose answer we did not see: release that one
                if overtaken <= _OVERTAKEN:
                    continue
                trouble: ClusterError = error
            except ClusterError as error:
                trouble = error
            else:
                log.info("the lease is released")
                return
            if boottime() >= deadline:
                log.warning("the lease is not released: %s; another replica takes it when it is over", trouble)
                return
            await asyncio.sleep(self._timing.retry)

    async def _carry_out(self, step: Read | Write) -> None:
        elector, sent = self._elector, boottime()
        limit = self._timing.renew_deadline / 3
        if elector.leads_until is not None:
            limit = max(0.001, min(limit, elector.leads_until - sent))
        try:
            if isinstance(step, Read):
                found = await self._read(limit)
                elector.found(found, boottime())
                self._tell("" if found is None else found.lease.holder)
            else:
                written = await self._write(step, limit)
                elector.stored(written, sent, boottime())
        except (Conflict, NotFound) as error:
            if isinstance(step, Write) and step.version is None and isinstance(error, NotFound):
                self._complain(error)  # it is the namespace that is missing: looking again at once would change nothing
                elector.failed(boottime())
            else:
                elector.refused(boottime())
        except ClusterError as error:
            self._complain(error)
            elector.failed(boottime())

    async def _read(self, limit: float) -> Stored | None:
        where = path(LEASE, self._namespace, self._name)
        try:
            return _stored(await self._connection.request("get", LEASE.plural, "GET", where, timeout=limit))
        except NotFound:
            return None

    async def _write(self, write: Write, limit: float) -> Stored:
        body: dict[str, Any] = {"spec": _spec(write.lease)}
        if write.version is None:
            body |= {"apiVersion": LEASE.api_version, "kind": LEASE.kind}
            body["metadata"] = {"name": self._name, "namespace": self._namespace, "annotations": self._annotations}
            where = path(LEASE, self._namespace)
            request = self._connection.request(
                "create", LEASE.plural, "POST", where, query=_OWNER, body=body, timeout=limit
            )
        else:
            body["metadata"] = {"resourceVersion": write.version, "annotations": self._annotations}
            where = path(LEASE, self._namespace, self._name)
            request = self._connection.request(
                "patch", LEASE.plural, "PATCH", where, query=_OWNER, body=body, content_type=MERGE_PATCH, timeout=limit
            )
        return _stored(await request)

    def _tell(self, holder: str) -> None:
        if holder != self._told and holder != self.identity:
            log.info("standing by: the lease is held by %s", holder or "nobody")
        self._told = holder

    def _complain(self, error: ClusterError) -> None:
        log.warning("the lease %s/%s cannot be read or renewed: %s", self._namespace, self._name, error)


def _spec(lease: Lease) -> dict[str, Any]:
    return {
        "holderIdentity": lease.holder or None,  # in a merge patch: remove it
        "leaseDurationSeconds": lease.duration,
        "acquireTime": _text(lease.acquired),
        "renewTime": _text(lease.renewed),
        "leaseTransitions": lease.transitions,
    }


def _stored(manifest: dict[str, Any]) -> Stored:
    """A Lease as it is there; one that somebody made by hand may lack anything."""
    spec = manifest.get("spec") or {}
    lease = Lease(
        spec.get("holderIdentity") or "",
        spec.get("leaseDurationSeconds") or 0,
        _time(spec.get("acquireTime")),
        _time(spec.get("renewTime")),
        spec.get("leaseTransitions") or 0,
    )
    return Stored(lease, manifest["metadata"]["resourceVersion"])


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
