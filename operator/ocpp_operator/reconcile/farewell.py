"""Taking leave of a resource that is gone: its mailboxes name nobody any more, and its keys are taken away, best effort.

Kubernetes takes the children away. Its pods drain first, for minutes, and who cleans earlier takes the records of commands from
under them. An operator that ends meanwhile, or was not there at all, leaves this to the next one, which knows of it by the record
(`core.farewell`): written before there are pods, deleted when all is done. An operator that ends right after the first claim, before
it has written the record, leaves the claim alone, which blocks nobody for longer than its lease.

Nothing is cleaned while anybody holds a partition there under a running lease, whatever the lists of pods say; except where the claim
is another's, whose pods these are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from ocpp_operator.adapters.api_errors import ClusterError
from ocpp_operator.adapters.cleaning import Cleaned
from ocpp_operator.adapters.directory import Directory
from ocpp_operator.adapters.redis_access import StoreUnavailable
from ocpp_operator.core import farewell, kinds, names
from ocpp_operator.core.mirror import Key
from ocpp_operator.core.spec import Resource, SpecError
from ocpp_operator.reconcile import access
from ocpp_operator.reconcile.brokers import Brokers
from ocpp_operator.reconcile.surroundings import Surroundings

log = logging.getLogger(__name__)

_CLEAN_LIMIT = 120.0
"""Seconds of deleting; then it is looked whether the resource is back, and gone on."""
_PAUSE, _PAUSE_MAX = 2.0, 60.0
_TRIED_FOR = 600.0
"""Seconds without a key that could be taken away; afterwards it is left to the next operator."""
_NOTHING = Cleaned(0, False)


class Farewell:
    """From one resource. `woken` is set when something of it changes."""

    def __init__(self, around: Surroundings, key: Key, woken: asyncio.Event) -> None:
        self._around = around
        self._key = key
        self._woken = woken
        self._about = {"resource": str(key)}

    def record(self, resource: Resource) -> dict[str, Any]:
        """What is to be kept about it, as a manifest."""
        return farewell.manifest(resource, self._there())

    def notice(self, uid: str) -> None:
        """There is a resource with this uid. One of the same name whose record still stands is gone, so what it left is inherited."""
        before = self._recorded()
        if before is not None and before.uid != uid:
            self._around.mirror.bury(before.uid)

    async def take(self, last: Resource | None, brokers: Brokers, contents: access.Contents) -> None:
        """`last`: as it was seen last; None: by this process never. Raises ClusterError."""
        if last is None and self._is_unfinished():
            # Nobody held anything yet when it was written; a claim that was ends by itself.
            if not await self._uids():
                log.warning("its record was never finished and is of no use: it is taken away", extra=self._about)
                await self._strike()
            return
        resource = last or self._recorded()
        if resource is None or (last is None and resource.uid in await self._uids()):
            return
        log.info("the resource is gone", extra=self._about)
        self._around.secrets.want(self._key, resource.spec.secrets())
        if not await self._pods_went(resource):
            return
        until, pause = self._around.monotonic() + _TRIED_FOR, _PAUSE
        while not self._is_back():
            cleaned = await self._clean(resource, brokers, contents)
            if cleaned.finished:
                await self._strike()
                return
            if cleaned.removed:
                until, pause = self._around.monotonic() + _TRIED_FOR, _PAUSE
            if self._around.monotonic() >= until:
                log.warning("keys or mailboxes are left: the next operator tries again", extra=self._about)
                return
            await self._wait(pause)
            pause = min(2 * pause, _PAUSE_MAX)

    async def _uids(self) -> set[str]:
        """Of the resource of this name, if it lives: the lists of the kinds were read one after the other, and it may have been made in
        between."""
        listing = await self._around.cluster.list(
            kinds.RESOURCE, self._key.namespace, fields=f"metadata.name={self._key.name}"
        )
        return {str(item["metadata"]["uid"]) for item in listing.items}

    async def _pods_went(self, resource: Resource) -> bool:
        """False: not in time, or it was made again."""
        deadline = self._around.monotonic() + resource.spec.grace_period + 60
        while self._has_pods() and self._around.monotonic() < deadline:
            await self._wait(5.0)
            if self._is_back():
                return False  # the next loop goes on, and what the old pods held is released for them
        if self._has_pods():
            # Orphaned on purpose, or on a node that is lost: they may serve, and without its record a command is done twice.
            log.warning("its pods are still there: its mailboxes and keys stay", extra=self._about)
            return False
        return True

    async def _clean(self, resource: Resource, brokers: Brokers, contents: access.Contents) -> Cleaned:
        """Finished: nothing is left, mailboxes included, that could be taken away."""
        if not self._around.secrets.known(self._key):
            return _NOTHING  # their watches have just begun
        try:
            directory = Directory(
                access.redis(resource, contents), resource.spec.redis.key_prefix, guard=self._around.guard
            )
        except access.SecretMissing as error:
            log.warning("its keys and mailboxes stay: %s", error, extra=self._about)
            return _NOTHING
        try:
            view = await directory.observe([], resource.spec.commands.partitions)
            claim = None if view.claim is None else view.claim.claim
            ours = claim is not None and claim.uid == resource.uid
            living = [each for each in view.holders.values() if each.incarnation and each.lease_until_us > view.time_us]
            if living and (ours or claim is None):
                log.info("%d of its partitions are still held: waiting", len(living), extra=self._about)
                return _NOTHING
            # The claim stands until no mailbox names the resource: it is what lets the next one of this name have them.
            freed = await brokers.let_go(resource, contents)
            cleaned = (
                await directory.clean(resource.uid, _CLEAN_LIMIT, leave=freed is True) if ours else Cleaned(0, True)
            )
        except StoreUnavailable as error:
            log.warning("its keys and mailboxes stay: %s", error, extra=self._about)
            return _NOTHING
        finally:
            await directory.close()
        left = "" if cleaned.finished else ", some are left"
        log.info("%d keys removed from the store%s", cleaned.removed, left, extra=self._about)
        return Cleaned(cleaned.removed, cleaned.finished and freed is not None)

    async def _strike(self) -> None:
        """The record has done its service."""
        there = self._there()
        if there is None:
            return
        metadata = there["metadata"]
        try:
            await self._around.cluster.delete(
                kinds.CONFIG_MAP, metadata["namespace"], metadata["name"], metadata["uid"]
            )
        except ClusterError as error:  # the Role may be gone with the namespace
            log.info("its record stays: %s", error, extra=self._about)

    def _recorded(self) -> Resource | None:
        there = self._there()
        if there is None:
            return None
        try:
            return farewell.read(there)
        except (farewell.Unreadable, SpecError) as error:
            log.warning("ConfigMap %s cannot be used: %s", there["metadata"]["name"], error, extra=self._about)
            return None

    def _is_unfinished(self) -> bool:
        if (there := self._there()) is None:
            return False
        try:
            farewell.read(there)
        except farewell.Unfinished:
            return True
        except (farewell.Unreadable, SpecError):
            return False
        return False

    def _there(self) -> Mapping[str, Any] | None:
        return self._around.mirror.one(kinds.CONFIG_MAP, self._key.namespace, names.farewell(self._key.name))

    def _has_pods(self) -> bool:
        return bool(self._around.mirror.of(kinds.POD, self._key))

    def _is_back(self) -> bool:
        return self._around.mirror.resource(self._key) is not None

    async def _wait(self, seconds: float) -> None:
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
