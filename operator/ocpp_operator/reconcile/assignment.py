"""Acting on the plan: store it, tell the pods, release what the dead held. The order is the protocol's.

1. The plan is stored before any pod is told, with the version it was read at: of two operators one is refused and looks again. So an
   annotation never says more than the stored plan, and whoever comes next starts from what was told.
2. Each pod is told with its own resource version: what was decided on an older pod is decided anew.
3. A pod that does not acknowledge is reminded: its kubelet may have lost the news (`core.reminders`).
4. A pod that the API server does not let us tell (a policy, a webhook that is away) is named, left alone for a while, and holds nobody up.
5. What pods that are gone held is released last, for exactly their incarnation: by then the successors know their partitions, and a
   release before that would leave them lying free with nobody told to take them.

Nothing here is needed for safety (taking a partition is a compare-and-set of its own), only for promptness.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ocpp_contract.errors import ContractError
from ocpp_operator.adapters.api_errors import ApiUnavailable, ClusterError, Conflict, NotFound
from ocpp_operator.adapters.cluster import Cluster
from ocpp_operator.adapters.directory import StoreView
from ocpp_operator.core import drift, fleet, kinds, names, stored_plan
from ocpp_operator.core import plan as planner
from ocpp_operator.core.findings import Trouble
from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.manifests.plan_config_map import build as plan_config_map
from ocpp_operator.core.mirror import Key, Mirror
from ocpp_operator.core.refusals import Refusals
from ocpp_operator.core.reminders import Reminders
from ocpp_operator.core.spec import Resource
from ocpp_operator.reconcile.children import OF_ONE_KIND, is_ours, name_taken

log = logging.getLogger(__name__)

_TAKEN_AGAIN = 5.0
"""Seconds between looks at a ConfigMap of our name that is somebody else's: no watch of ours shows it."""


class PlanBook:
    """The plan in force, as the ConfigMap keeps it and as this process goes on with it."""

    def __init__(self, cluster: Cluster, mirror: Mirror, key: Key) -> None:
        self._cluster = cluster
        self._mirror = mirror
        self._key = key
        self.plan = planner.Plan()
        self.trouble: Trouble | None = None
        """The ConfigMap is somebody else's: nothing can be stored, so nothing may be planned."""
        self._version: str | None = None
        self._read = False
        self._taken_until = float("-inf")
        self._amiss: str | None = None
        """Why the ConfigMap has to be written even if the plan stays as it is."""
        self._reminders = Reminders()
        self._refused = Refusals[str]()
        """By the pod's uid."""

    async def read(self, resource: Resource, pods: Sequence[GatewayPod], now: float) -> None:
        """What was stored, the first time and after somebody else wrote it. Afterwards there may be `trouble`. Raises ClusterError."""
        if self._read or (self.trouble is not None and now < self._taken_until):
            return
        name = names.plan(self._key.name)
        self._amiss = None
        try:
            there = await self._cluster.get(kinds.CONFIG_MAP, self._key.namespace, name)
        except NotFound:
            # Deleted by hand, or never written. What we went on with is as good; a process that just began has the pods'
            # own annotations, which never say more than was stored.
            self._version = None
            if not self.plan.seats:
                self.plan = fleet.told(pods)
        else:
            if not is_ours(resource, there):
                self.trouble = Trouble("NameTaken", name_taken(kinds.CONFIG_MAP, name))
                self._taken_until = now + _TAKEN_AGAIN
                return
            # Without its labels no watch shows it, and it would be read in each pass.
            if lost := drift.differences(plan_config_map(resource, {}), there):
                self._amiss = f"{', '.join(lost)} set right"
            self._version = there["metadata"]["resourceVersion"]
            self._mirror.note(kinds.CONFIG_MAP, "MODIFIED", there)
            self.plan = self._parsed(there, pods)
        self.trouble, self._read = None, True

    def notice(self) -> None:
        """The ConfigMap may have been edited or deleted by hand: then read it again before anything is decided."""
        there = self._mirror.one(kinds.CONFIG_MAP, self._key.namespace, names.plan(self._key.name))
        seen = None if there is None else there["metadata"]["resourceVersion"]
        if seen != self._version:
            self._read = False

    def _parsed(self, there: Mapping[str, Any], pods: Sequence[GatewayPod]) -> planner.Plan:
        try:
            return stored_plan.from_data(there.get("data") or {}).plan
        except ContractError as error:
            log.error(
                "the stored plan cannot be read, going on from the pods' annotations: %s", error,
                extra={"resource": str(self._key)},
            )  # fmt: skip
            # Not left as it is: with the next restart the pods may have changed, and their annotations be all that is known.
            self._amiss = "what was stored could not be read"
            return fleet.told(pods)

    async def follow(self, resource: Resource, planned: planner.Planned, now: datetime) -> None:
        """Go on with the next plan; stored first if it says something new. Raises Conflict when another operator was faster."""
        following = planned.plan
        changed = (following.generation, following.seats) != (self.plan.generation, self.plan.seats)
        if changed or self._amiss is not None or (self._version is None and following.seats):
            reason = planned.reason if self._amiss is None else f"{planned.reason}; {self._amiss}"
            stored = stored_plan.StoredPlan(following, resource.spec.commands.partitions, reason, now)
            manifest = plan_config_map(resource, stored_plan.to_data(stored))
            try:
                written = await self._cluster.store(manifest, self._version)
            except (Conflict, NotFound):
                self._read = False
                raise
            self._version, self._amiss = written["metadata"]["resourceVersion"], None
            self._mirror.note(kinds.CONFIG_MAP, "MODIFIED", written)
            log.info("plan %d: %s", following.generation, reason, extra={"resource": str(self._key)})
        self.plan = following

    async def tell(self, pods: Sequence[GatewayPod], now: float) -> list[Trouble]:
        """Annotate the pods whose seat changed. One that changed meanwhile is told in the next pass.

        One that cannot be told holds nobody else up, and is a trouble. Raises, at the end, the first error that came of the API server
        itself.
        """
        self._refused.keep({pod.uid for pod in pods})
        troubles, failure = [], None
        for pod, assignment in fleet.to_tell(pods, self.plan):
            try:
                trouble = await self._annotate(pod, assignment.to_annotations(), now)
            except ApiUnavailable as error:
                failure = failure or error
                continue
            if trouble is not None:
                troubles.append(trouble)
        if failure is not None:
            raise failure
        return troubles

    async def remind(self, pods: Sequence[GatewayPod], view: StoreView, now: float) -> list[Trouble]:
        """Pods that were told seconds ago and do not act on it. Raises ApiUnavailable."""
        troubles = []
        for pod, reminder in self._reminders.due(pods, view.records, view.holders, self.plan, now):
            log.info("pod %s is reminded of its partitions", pod.name, extra={"resource": str(self._key)})
            if (trouble := await self._annotate(pod, reminder, now)) is not None:
                troubles.append(trouble)
        return troubles

    async def price(self, costs: Sequence[tuple[GatewayPod, str]], now: float) -> None:
        """Before pods are taken away: the one with the fewest stations becomes the cheapest. A kindness, no promise: raises no
        ClusterError."""
        for pod, cost in costs:
            try:
                await self._annotate(pod, {names.DELETION_COST: cost}, now)
            except ApiUnavailable as error:  # nor would it answer for the others
                log.info("pods are not priced: %s", error, extra={"resource": str(self._key)})
                return

    async def _annotate(self, pod: GatewayPod, annotations: Mapping[str, str], now: float) -> Trouble | None:
        """What keeps us from it, if it stays so. Raises ApiUnavailable where the API server itself does not answer."""
        if (refusal := self._refused.standing(pod.uid, now)) is not None:
            return refusal.trouble
        try:
            patched = await self._cluster.patch_annotations(self._key.namespace, pod.name, annotations, pod.version)
        except (Conflict, NotFound) as error:
            log.info("pod %s is told later: %s", pod.name, error, extra={"resource": str(self._key)})
            return None
        except ClusterError as error:
            if isinstance(error, ApiUnavailable) and error.status not in OF_ONE_KIND:
                raise
            log.warning("pod %s cannot be annotated: %s", pod.name, error, extra={"resource": str(self._key)})
            trouble = Trouble("PodNotTold", f"pod {pod.name}: {error}")
            self._refused.add(pod.uid, trouble, now)
            return trouble
        self._refused.forget(pod.uid)
        self._mirror.note(kinds.POD, "MODIFIED", patched)
        return None
