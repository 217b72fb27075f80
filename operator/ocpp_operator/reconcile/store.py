"""The store of one resource: looked at every second while there are pods, claimed and swept.

Pods appear and vanish in the store without any event of Kubernetes, so it is asked; one look is one pipeline. The walks through all
entries go on beside the loop in tasks of their own and never hold a pass up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.scripts.records import StoreClaim
from ocpp_contract.times import format_time, from_us
from ocpp_operator.adapters.api_errors import ClusterError
from ocpp_operator.adapters.directory import Directory, StoreView
from ocpp_operator.adapters.pods import PodUnreachable
from ocpp_operator.adapters.pods import connections as connections_of
from ocpp_operator.adapters.redis_access import Fault, RedisAccess, StoreUnavailable
from ocpp_operator.core import claims, fleet, kinds, names
from ocpp_operator.core.election import NotLeader
from ocpp_operator.core.findings import Swept, Trouble
from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.mirror import Key
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.sweep import compare
from ocpp_operator.reconcile import access
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.reconcile.unlisted import Unlisted

log = logging.getLogger(__name__)

_COMPARED = 4
"""Pods whose own lists are compared in one sweep: their entries are kept in memory meanwhile."""
_SWEEP_AGAIN = 10.0
"""Seconds after a walk that did not come to its end."""


class Store:
    """What one loop knows of its store."""

    def __init__(self, around: Surroundings, key: Key) -> None:
        self._around = around
        self._key = key
        self._reach: tuple[RedisAccess, str] | None = None
        self._directory: Directory | None = None
        self._walk: asyncio.Task[None] | None = None
        self._unlisted = Unlisted(around, key)
        self._gone: set[Incarnation] = set()
        """Processes that ended and whose entries no walk has taken away yet: those go at once."""
        self._next_sweep = 0.0
        self._next_walk = 0.0
        """Not before, after one that did not come to its end."""
        self._turn = 0
        self._holders: frozenset[Incarnation] | None = None
        """Who held partitions at the last look, if that found the store ours. It stands while the next look is under way, since a walk
        beside it asks at any moment."""
        self.view: StoreView | None = None
        self.trouble: Trouble | None = None
        self.taken: claims.Taken | None = None
        self.predecessor: str | None = None
        """uid of a resource that is gone and whose claim still stands: it is ours once the mailboxes are (`inherit`)."""
        self.claimed = False
        """The store is ours by its claim: nothing is planned or released otherwise, since the holders may be another's pods."""
        self.swept: Swept | None = None

    async def close(self) -> None:
        """End the walk and the connections."""
        if self._walk is not None:
            self._walk.cancel()
            await asyncio.wait((self._walk,))
        if self._directory is not None:
            await self._directory.close()

    async def look(self, resource: Resource, contents: access.Contents, pods: Sequence[GatewayPod]) -> None:
        """One look, and the claim kept. Afterwards `view` is None exactly if it failed, and `trouble` says why."""
        self.view, self.claimed, self.predecessor = None, False, None
        try:
            directory = await self._connected(resource, contents)
            view = await directory.observe([pod.name for pod in pods], resource.spec.commands.partitions)
            await self._claim(resource, directory, view, pods)
        except access.SecretMissing as error:
            self.trouble = Trouble("SecretMissing", str(error))
        except StoreUnavailable as error:
            self.trouble = Trouble(str(error.reason), str(error))
        else:
            self.view, self.trouble = view, None
        if self.claimed and self.view is not None:
            held = (record.incarnation for record in self.view.holders.values())
            self._holders = frozenset(holder for holder in held if holder is not None)
        else:
            self._holders = None
        if not self.claimed and self._walk is not None:
            self._walk.cancel()  # whose entries these are is no longer sure

    async def _connected(self, resource: Resource, contents: access.Contents) -> Directory:
        """Connections by the spec and the Secrets of now: a rotated password makes new ones."""
        reach = access.redis(resource, contents), resource.spec.redis.key_prefix
        if reach != self._reach or self._directory is None:
            if self._directory is not None:
                await self.close()
            self._reach, self._directory = reach, Directory(*reach, guard=self._around.guard)
        return self._directory

    async def _claim(
        self, resource: Resource, directory: Directory, view: StoreView, pods: Sequence[GatewayPod]
    ) -> None:
        mine = StoreClaim(resource.uid, resource.namespace, resource.name, resource.created, 0)
        ours = [(pod.name, pod.uid) for pod in pods]
        gone = self._around.mirror.gone()
        verdict = claims.judge_store(mine, view.claim, view.holders, ours, view.time_us, gone)
        self.taken = verdict if isinstance(verdict, claims.Taken) else None
        self.claimed = isinstance(verdict, claims.Keep)
        if isinstance(verdict, claims.Refresh):
            self.claimed = await directory.claim(mine, view.claim)
        elif isinstance(verdict, claims.Inherit):
            self.claimed, self.predecessor = True, verdict.uid

    @property
    def held(self) -> frozenset[Partition] | None:
        """Partitions under a running lease, whoever holds them; None: not known."""
        if self.view is None:
            return None
        return frozenset(
            partition
            for partition, record in self.view.holders.items()
            if record.incarnation is not None and record.lease_until_us > self.view.time_us
        )

    async def inherit(self, resource: Resource) -> None:
        """No mailbox names the predecessor any more: its claim becomes ours. Raises StoreUnavailable."""
        if self.predecessor is not None and self._directory is not None and self.view is not None:
            mine = StoreClaim(resource.uid, resource.namespace, resource.name, resource.created, 0)
            self.claimed = await self._directory.claim(mine, self.view.claim)
            self.predecessor = None

    async def release(self, releasable: dict[Partition, Incarnation]) -> set[Incarnation]:
        """What exactly these incarnations hold, of whose pods our lists know nothing, if they are gone. Returns those whose pods live.

        Raises StoreUnavailable.
        """
        if not releasable or self._directory is None:
            return set()
        gone = await self._unlisted.gone(set(releasable.values()))
        if gone:
            theirs = {partition: holder for partition, holder in releasable.items() if holder in gone}
            released = await self._directory.release(theirs)
            log.info("released %d partitions of pods that are gone", released, extra={"resource": str(self._key)})
            self._gone |= gone
        return self._unlisted.living(set(releasable.values()))

    # --- stale entries ------------------------------------------------------------------------------------------------

    def keep_sweeping(self, pods: Sequence[GatewayPod], token: str | None) -> None:
        """Begin a walk if one is due: after a pod's death at once, otherwise now and then."""
        if self._directory is None or (self._walk is not None and not self._walk.done()):
            return
        now = self._around.monotonic()
        whole = now >= self._next_sweep
        if now < self._next_walk or not (whole or self._gone):
            return
        gone, directory = frozenset(self._gone), self._directory
        self._next_walk = now + _SWEEP_AGAIN
        # Made only once the task runs: one that is cancelled before leaves no coroutine that nobody awaited.
        walk = partial(self._whole, directory, pods, token) if whole else partial(self._dead, directory, gone)
        following = now + self._around.settings.sweep_interval if whole else self._next_sweep
        self._walk = asyncio.create_task(self._guarded(walk, gone, following), name=f"sweep {self._key}")

    async def _guarded(
        self, walk: Callable[[], Awaitable[None]], gone: Collection[Incarnation], following: float
    ) -> None:
        """Only a walk that came to its end has done its work: after any other, cancelled ones included, it is still to be done."""
        try:
            await walk()
        except (StoreUnavailable, ClusterError) as error:
            log.warning("the sweep ended early: %s", error, extra={"resource": str(self._key)})
        except NotLeader:
            log.info("the sweep ends: another replica leads", extra={"resource": str(self._key)})
        else:
            self._gone.difference_update(gone)
            self._next_sweep, self._next_walk = following, 0.0

    async def _dead(self, directory: Directory, gone: Collection[Incarnation]) -> None:
        began = self._around.monotonic()
        progress = await directory.sweep_pods(gone)
        self._around.metrics.swept(progress.scanned, progress.removed, self._around.monotonic() - began)
        log.info(
            "%d entries of pods that are gone removed",
            progress.removed,
            extra={"resource": str(self._key), "scanned": progress.scanned},
        )

    async def _whole(self, directory: Directory, pods: Sequence[GatewayPod], token: str | None) -> None:
        living, began = self._some_of(pods), self._around.monotonic()
        swept = await directory.sweep(self._list_pods, [record for _, record in living])
        removed, silent = swept.progress.removed, list[str]()
        for pod, incarnation in living:
            if pod.ip is None or token is None:
                continue
            asked_at = asyncio.get_running_loop().time()
            try:
                items = await connections_of(pod.ip, token)
            except PodUnreachable as error:  # a network policy, say: the others are compared all the same
                silent.append(f"{pod.name} ({error})")
                continue
            compared = compare(swept.entries[incarnation], swept.read_by, items, asked_at, swept.began_us)
            removed += await directory.remove(compared.stale)
            if compared.missing:
                log.warning(
                    "%d stations of pod %s are not in the store; it writes them again", len(compared.missing), pod.name,
                    extra={"resource": str(self._key)},
                )  # fmt: skip
        if silent:
            log.warning(
                "%d pods did not show their stations, which are compared another time: %s", len(silent), ", ".join(silent),
                extra={"resource": str(self._key)},
            )  # fmt: skip
        at = from_us(swept.progress.at_us) if swept.progress.at_us else self._around.wall()
        self.swept = Swept(swept.progress.scanned, removed, format_time(at))
        self._around.metrics.swept(swept.progress.scanned, removed, self._around.monotonic() - began)

    def _some_of(self, pods: Sequence[GatewayPod]) -> list[tuple[GatewayPod, Incarnation]]:
        """A few living pods, others each time."""
        if self.view is None or not pods:
            return []
        records = self.view.records
        living = [(pod, record.incarnation) for pod in pods if (record := fleet.own_record(pod, records)) is not None]
        start = self._turn % max(1, len(living))
        self._turn += _COMPARED
        return (living[start:] + living[:start])[:_COMPARED]

    async def _list_pods(self) -> Collection[tuple[PodName, str]]:
        """A complete list as of now, of the API server: the mirror may lag behind the entries. With who holds partitions and lives without
        our labels. Raises StoreUnavailable when that is not known: an empty list would be everybody's death."""
        labels = f"{names.MANAGED_SELECTOR},{names.INSTANCE}={self._key.name}"
        listing = await self._around.cluster.list(kinds.POD, self._key.namespace, labels)
        listed = {(pod.name, pod.uid) for pod in fleet.pods_of(listing.items)}
        if self._holders is None:
            raise StoreUnavailable(Fault.UNREACHABLE, "who holds partitions is not known now")
        unlisted = {holder for holder in self._holders if (holder.pod, holder.uid) not in listed}
        return listed | {(holder.pod, holder.uid) for holder in unlisted - await self._unlisted.gone(unlisted)}
