"""Pods that no list of ours shows: gone, or living without our labels?

Lists and watches select pods by label, so one whose labels somebody edited vanishes from them like one that was deleted, lives and
delivers. Were its partitions released, another pod would deliver beside it; so before that the API server is asked for each pod by its
name. One that lives keeps what it holds until it is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from ocpp_contract.ids import Incarnation
from ocpp_operator.adapters.api_errors import ClusterError
from ocpp_operator.core import fleet, kinds
from ocpp_operator.core.mirror import Key
from ocpp_operator.reconcile.surroundings import Surroundings

log = logging.getLogger(__name__)

_AGAIN = 5.0
"""Seconds between questions about one that lives: it is met in each pass."""


class Unlisted:
    """Those of one resource."""

    def __init__(self, around: Surroundings, key: Key) -> None:
        self._around = around
        self._key = key
        self._living: dict[str, float] = {}
        """By uid, when to ask again."""

    async def gone(self, holders: Collection[Incarnation]) -> set[Incarnation]:
        """Those of them whose pods exist no more, or run nothing any more. Who cannot be asked for is not among them."""
        found = set()
        for holder in sorted(holders, key=str):
            if self._around.monotonic() < self._living.get(holder.uid, float("-inf")):
                continue
            try:
                lives = await self._lives(holder)
            except ClusterError as error:  # its leases tell, some seconds later
                log.info("pod %s may be gone: %s", holder.pod, error, extra={"resource": str(self._key)})
                break
            if not lives:
                found.add(holder)
                self._living.pop(holder.uid, None)
                continue
            if holder.uid not in self._living:
                log.warning(
                    "pod %s lives without our labels: it keeps its partitions until it is gone", holder.pod,
                    extra={"resource": str(self._key)},
                )  # fmt: skip
            self._living[holder.uid] = self._around.monotonic() + _AGAIN
        return found

    def living(self, holders: Collection[Incarnation]) -> set[Incarnation]:
        """Those of them whose pods lived when they were last asked for."""
        return {holder for holder in holders if holder.uid in self._living}

    async def _lives(self, holder: Incarnation) -> bool:
        # A list of one: we have no right to get pods, and need none.
        named = await self._around.cluster.list(kinds.POD, self._key.namespace, fields=f"metadata.name={holder.pod}")
        return any(pod.uid == holder.uid for pod in fleet.pods_of(named.items))
