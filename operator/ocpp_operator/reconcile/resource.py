"""The loop of one resource, in reading order: observe -> plan -> act -> report, again and again.

A pass is level-triggered: it looks at everything and does whatever is missing, wherever the last one stopped. It may end at any point
(the process dies, the API server goes away, another replica leads) and the next one goes on from what is there. Passes are woken by
events and by time: the store is asked every second while there are pods, everything else when it is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from ocpp_contract.ids import Incarnation
from ocpp_operator.adapters.api_errors import ApiUnavailable, ClusterError, Conflict, NotFound
from ocpp_operator.adapters.redis_access import StoreUnavailable
from ocpp_operator.core import (
    claims,
    conditions,
    findings,
    fleet,
    hindrance,
    kinds,
    names,
    pacing,
    possession,
    template,
)
from ocpp_operator.core import plan as planner
from ocpp_operator.core.assignable import assignable
from ocpp_operator.core.election import NotLeader
from ocpp_operator.core.findings import Found, Trouble
from ocpp_operator.core.fleet import GatewayPod
from ocpp_operator.core.manifests import assembly
from ocpp_operator.core.mirror import Key, Raw
from ocpp_operator.core.possession import Possession
from ocpp_operator.core.spec import Resource, SpecError
from ocpp_operator.reconcile import access
from ocpp_operator.reconcile.assignment import PlanBook
from ocpp_operator.reconcile.brokers import Brokers
from ocpp_operator.reconcile.children import Children
from ocpp_operator.reconcile.farewell import Farewell
from ocpp_operator.reconcile.report import Reporter
from ocpp_operator.reconcile.store import Store
from ocpp_operator.reconcile.surroundings import Surroundings

log = logging.getLogger(__name__)

_AT_ONCE = 0.1
_BACKOFF = 1.0
_BACKOFF_MAX = 60.0
_FORBIDDEN_AGAIN = 10.0
"""Seconds after which the children are tried again when we may not even read what we need for them."""
_FIRST_PLAN_PATIENCE = 10.0
"""Seconds that the very first plan waits for the wished number of pods, so that nothing moves right after the start."""


class ResourceLoop:
    """See module. `complete` is set while the mirror can be trusted to show everything."""

    def __init__(self, around: Surroundings, key: Key, complete: asyncio.Event) -> None:
        self._around = around
        self._key = key
        self._complete = complete
        self._woken = asyncio.Event()
        self._children = Children(around, key)
        self._book = PlanBook(around.cluster, around.mirror, key)
        self._store = Store(around, key)
        self._brokers = Brokers(around, key, self.wake)
        self._reporter = Reporter(around, key)
        self._farewell = Farewell(around, key, self._woken)
        self._absences = fleet.Absences()
        self._patience = hindrance.Patience(around.settings.stalled_after)
        self._uid: str | None = None
        self._first_able: float | None = None
        self._look_again: float | None = None
        self._children_again: float | None = None
        """When children that could not be written or deleted in the last pass are tried again."""
        self._possession: Possession | None = None
        self._last: Resource | None = None
        self._choice: tuple[Resource, list[Raw], template.Chosen] | None = None
        """The last choice of a template, behind what it was made of: passes come every second, and rendering is work."""
        self._assembled: tuple[tuple[Resource, template.Chosen, str, pacing.Step], list[dict[str, Any]]] | None = None
        """The same of the children's manifests."""

    def wake(self) -> None:
        """Something of this resource changed."""
        self._woken.set()

    async def run(self) -> None:
        """Until the resource is gone and cleaned up after."""
        backoff, at_once = _BACKOFF, _AT_ONCE
        try:
            while True:
                await self._complete.wait()
                self._woken.clear()
                began, outcome = self._around.monotonic(), "failed"
                try:
                    raw = self._around.mirror.resource(self._key)
                    if raw is None:
                        await self._farewell.take(self._last, self._brokers, self._contents)
                        return
                    whole = await self._pass(raw)
                    wait, backoff, at_once = self._until_next(whole), _BACKOFF, _AT_ONCE
                    outcome = "done"
                except NotLeader:
                    log.info("another replica leads: nothing more is written", extra={"resource": str(self._key)})
                    return
                except (Conflict, NotFound) as error:  # decided on something that is no more: look again at once
                    log.info("looking again: %s", error, extra={"resource": str(self._key)})
                    # Not so again and again: a watch that hangs shows what is no more for a minute.
                    wait, at_once = at_once, min(2 * at_once, _BACKOFF_MAX)
                except (ClusterError, StoreUnavailable) as error:
                    log.warning("the pass ended early: %s", error, extra={"resource": str(self._key)})
                    self._around.metrics.error(type(error).__name__)
                    asked = error.retry_after if isinstance(error, ApiUnavailable) else None
                    wait, backoff = min(asked or backoff, _BACKOFF_MAX), min(2 * backoff, _BACKOFF_MAX)
                except Exception:  # a defect concerns this resource alone: it is told and tried again, others go on
                    log.exception("the pass failed", extra={"resource": str(self._key)})
                    self._around.metrics.error("defect")
                    wait, backoff = backoff, min(2 * backoff, _BACKOFF_MAX)
                self._around.metrics.passed(self._around.monotonic() - began, outcome)
                self._around.vitals.passed()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._woken.wait()
        finally:
            self._around.secrets.forget(self._key)
            self._around.vitals.forget(self._key)
            await self._brokers.close()
            await self._store.close()

    def _until_next(self, whole: bool) -> float:
        """`whole`: the last pass looked at everything, and wants to do so again when it is due."""
        now, settings = self._around.monotonic(), self._around.settings
        due = [now + settings.resync]
        if (over := self._patience.ends(now)) is not None:
            due.append(over)
        if whole:
            due.append(self._brokers.next_look)
            if self._around.mirror.of(kinds.POD, self._key):
                due.append(now + settings.store_interval)
            if self._look_again is not None:
                due.append(self._look_again)
            if self._children_again is not None:
                due.append(self._children_again)
        if (write := self._reporter.due) is not None:
            due.append(write)
        return max(0.05, min(due) - now)

    # --- one pass -------------------------------------------------------------------------------------------------

    async def _pass(self, raw: Mapping[str, Any]) -> bool:
        """Whether it looked at everything."""
        self._reporter.due = None  # a status that was held back is made anew, or is of no interest any more
        if raw["metadata"]["uid"] != self._uid:
            await self._begin(raw["metadata"]["uid"])
        try:
            last = self._last
            resource = last if last is not None and last.raw is raw else Resource.parse(raw)
        except SpecError as error:
            return await self._hold(raw, Trouble("InvalidSpec", "; ".join(error.lines)))
        self._last = resource
        if resource.deleting:
            return False
        if resource.paused:
            await self._reporter.report(raw, findings.paused(raw, self._now()))
            return False
        pods = fleet.pods_of(self._around.mirror.of(kinds.POD, self._key))
        if not await self._observe(resource, pods):
            return False
        chosen = self._chosen(resource)
        taken, troubles = self._taken()
        # Before the children, which need nothing of it: each may take a time-out, or wait for its place among those of 200 resources,
        # and what the dead held would wait with them. If it fails they are made all the same, and the pass ends then.
        unassigned, untold = None, list[Trouble]()
        try:
            untold = await self._assign(resource, pods, may_plan=taken is None)
        except (ClusterError, StoreUnavailable) as error:
            unassigned = error
        token, overtaken, self._children_again = None, None, None
        try:
            token = await self._token(resource)
            there = fleet.pods_of(self._around.mirror.of(kinds.POD, self._key))  # with what they were told just now
            troubles += await self._make_children(resource, chosen, token, there, running=claims.may_run(taken, pods))
            self._children_again = self._children.again
        except (Conflict, NotFound) as error:
            overtaken = error
        except ClusterError as error:  # a webhook that is away, say: no reason to leave mailboxes without an owner
            log.warning("children are written later: %s", error, extra={"resource": str(self._key)})
            self._around.metrics.error(type(error).__name__)
            troubles.append(Trouble("ChildrenNotWritten", str(error)))
            pause = (error.retry_after or _BACKOFF) if isinstance(error, ApiUnavailable) else _FORBIDDEN_AGAIN
            self._children_again = self._around.monotonic() + min(pause, _BACKOFF_MAX)
        if unassigned is not None:
            raise unassigned
        if self._store.claimed:  # otherwise the entries may be another resource's
            self._store.keep_sweeping(pods, token)
        troubles += untold
        troubles += self._around.secrets.troubles(self._key) or access.missing(resource, self._contents)
        troubles += self._met()
        found = self._found(resource, chosen, pods, troubles, written=overtaken is None)
        await self._reporter.report(raw, findings.report(resource, found, self._now()))
        if overtaken is not None:
            raise overtaken
        return True

    async def _hold(self, raw: Mapping[str, Any], trouble: Trouble) -> bool:
        """The spec cannot be read: children stay as they are, and mailboxes keep living owners. Whether those could be looked at."""
        self._children_again = None
        resource, whole = assignable(raw, self._last), False
        pods = fleet.pods_of(self._around.mirror.of(kinds.POD, self._key))
        if pods and resource is not None and not resource.deleting and not resource.paused:
            whole = await self._observe(resource, pods)
        found = None
        if whole and resource is not None:
            taken, troubles = self._taken()
            troubles += await self._assign(resource, pods, may_plan=taken is None)
            if self._store.claimed:
                self._store.keep_sweeping(pods, None)
            found = Found(
                version="",  # nobody knows which is wished
                generation=self._book.plan.generation,
                deployment=self._around.mirror.one(
                    kinds.DEPLOYMENT, self._key.namespace, names.gateway(self._key.name)
                ),
                pods=pods,
                possession=self._possession,
                store_trouble=None if self._store.trouble is None else self._store.trouble.message,
                troubles=troubles + self._met(),
            )
        stalled = self._is_stalled(raw, trouble)
        await self._reporter.report(raw, findings.refusal(raw, trouble, self._now(), stalled=stalled, found=found))
        return whole

    async def _observe(self, resource: Resource, pods: list[GatewayPod]) -> bool:
        """Store and brokers. False: the watches of its Secrets have just begun, and wake us with what they find."""
        self._around.secrets.want(self._key, resource.spec.secrets())
        if not self._around.secrets.known(self._key):
            return False
        await self._store.look(resource, self._contents, pods)
        predecessor = self._store.predecessor
        gone = self._around.mirror.gone() | ({predecessor} if predecessor is not None else set())
        held = self._store.held if self._store.claimed else None
        await self._brokers.look(resource, self._contents, gone, held)
        if self._brokers.inherited:
            await self._store.inherit(resource)
        return True

    def _taken(self) -> tuple[claims.Taken | None, list[Trouble]]:
        """Whose store or mailboxes these are if they are another's, and what people are told of it."""
        taken = self._store.taken or self._brokers.taken
        return taken, [] if taken is None else [Trouble("MailboxesTaken", taken.message)]

    def _met(self) -> list[Trouble]:
        """What plan, brokers and store are in trouble by."""
        met = (self._book.trouble, self._brokers.trouble, self._store.trouble)
        return [trouble for trouble in met if trouble is not None]

    async def _begin(self, uid: str) -> None:
        """The first pass over this object. What was known of an earlier one of the same name is not its own."""
        if self._uid is not None:
            self._book = PlanBook(self._around.cluster, self._around.mirror, self._key)
            await self._brokers.close()
            self._brokers = Brokers(self._around, self._key, self.wake)
            self._reporter = Reporter(self._around, self._key)
        self._uid, self._first_able, self._possession = uid, None, None
        self._farewell.notice(uid)

    def _contents(self, secret: str) -> Mapping[str, bytes] | None:
        return self._around.secrets.contents(self._key, secret)

    def _now(self) -> str:
        return self._around.wall().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # --- children -------------------------------------------------------------------------------------------------

    def _chosen(self, resource: Resource) -> template.Chosen:
        settings = self._around.settings
        revisions = self._around.mirror.of(kinds.REVISION, self._key)
        if self._choice is None or self._choice[0] is not resource or self._choice[1] != revisions:
            fresh = template.render(resource, settings.version, settings.gateway_repository)
            self._choice = resource, revisions, template.choose(resource, revisions, fresh)
        return self._choice[2]

    async def _token(self, resource: Resource) -> str:
        """The internal API's, made once and kept in its Secret."""
        name = names.internal_token(resource.name)
        there = self._around.mirror.one(kinds.SECRET, self._key.namespace, name)
        if there is None:
            try:
                there = await self._around.cluster.get(kinds.SECRET, self._key.namespace, name)
            except NotFound:
                return secrets.token_urlsafe(32)
        try:
            token = b64decode((there.get("data") or {}).get("token") or "").decode().strip()
        except ValueError:  # edited by hand: no text
            token = ""
        return token or secrets.token_urlsafe(32)

    async def _make_children(
        self, resource: Resource, chosen: template.Chosen, token: str, pods: list[GatewayPod], *, running: bool
    ) -> list[Trouble]:
        """Everything but the plan. Without mailboxes of its own (`running` False) a resource gets no pods."""
        deployment = self._around.mirror.one(kinds.DEPLOYMENT, self._key.namespace, names.gateway(resource.name))
        step = pacing.step(resource, deployment, pods, self._around.wall())
        made_of = resource, chosen, token, step
        if self._assembled is None or self._assembled[0] != made_of:
            self._assembled = made_of, assembly.children(resource, chosen, token, self._around.kinds, step=step)
        wished = [self._farewell.record(resource), *self._assembled[1]]
        if not running:
            wished = [manifest for manifest in wished if manifest["kind"] != kinds.DEPLOYMENT.kind]
        if step.takes_away and self._store.view is not None:  # otherwise what was last known of their stations stands
            costs = fleet.costs(pods, self._store.view.records)
            await self._book.price(costs, self._around.monotonic())
        troubles = await self._children.make(resource, wished)
        kept = [(kinds.CONFIG_MAP, names.plan(resource.name))]
        kept += [
            (kinds.REVISION, revision["metadata"]["name"])
            for revision in self._around.mirror.of(kinds.REVISION, self._key)
            if revision["metadata"]["name"] not in chosen.stale
        ]
        return troubles + await self._children.prune(resource, wished, kept)

    # --- assignment -----------------------------------------------------------------------------------------------

    async def _assign(self, resource: Resource, pods: list[GatewayPod], *, may_plan: bool) -> list[Trouble]:
        """Store the plan, tell the pods, release what the dead held. Without a look at the store everybody keeps what he has."""
        troubles, unlisted = list[Trouble](), set[Incarnation]()
        view = self._store.view
        self._possession, self._look_again = None, None
        if view is None:
            self._absences.outage()
            return troubles
        now = self._around.monotonic()
        absent = self._absences.look(pods, view.records, view.runs, now)
        if may_plan and self._store.claimed:
            self._book.notice()
            await self._book.read(resource, pods, now)
            seen = fleet.planned(pods, view.records, absent, self._book.plan.generation)
            if self._book.trouble is None and not self._is_early(resource, seen, now):
                planned = planner.plan(self._book.plan, seen, resource.spec.commands.partitions, now)
                await self._book.follow(resource, planned, self._around.wall())
                troubles += await self._book.tell(pods, now)
                troubles += await self._book.remind(pods, view, now)
                self._look_again = planned.look_again_at
                for move in planned.moves:
                    self._around.metrics.moved(move.cause.value)
                holders = {
                    partition: record.incarnation
                    for partition, record in view.holders.items()
                    if record.incarnation is not None
                }
                unlisted = await self._store.release(planner.releasable(holders, seen))
                troubles += [
                    Trouble("PodWithoutLabels", f"pod {each.pod} lives and serves its partitions, but lost our labels")
                    for each in sorted(unlisted, key=str)
                ]
        self._possession = possession.judge(
            self._book.plan, pods, view.records, view.holders, resource.spec.commands.partitions, view.time_us, unlisted
        )
        return troubles

    def _is_early(self, resource: Resource, seen: list[planner.Pod], now: float) -> bool:
        """Nobody has anything yet and more pods are on their way: dealing now would mean moving in a moment."""
        if self._book.plan.seats or not seen:
            return False
        able = sum(pod.incarnation is not None and not pod.leaving for pod in seen)
        if able == 0:
            return True
        if self._first_able is None:
            self._first_able = now
        self._look_again = self._first_able + _FIRST_PLAN_PATIENCE
        return able < resource.spec.replicas and now < self._look_again

    # --- report ---------------------------------------------------------------------------------------------------

    def _found(
        self,
        resource: Resource,
        chosen: template.Chosen,
        pods: list[GatewayPod],
        troubles: list[Trouble],
        *,
        written: bool,
    ) -> Found:
        child = names.gateway(resource.name)
        deployment = self._around.mirror.one(kinds.DEPLOYMENT, self._key.namespace, child)
        hindered = hindrance.find(troubles, deployment, pods)
        stalled = self._is_stalled(resource.raw, hindered)
        if stalled and hindered is not None and hindered not in troubles:
            troubles = [*troubles, hindered]
        return Found(
            version=chosen.rendered.version,
            generation=self._book.plan.generation,
            upgrade=chosen.upgrade,
            deployment=deployment,
            service=self._around.mirror.one(kinds.SERVICE, self._key.namespace, child),
            pods=pods,
            possession=self._possession,
            store_trouble=None if self._store.trouble is None else self._store.trouble.message,
            topics=self._brokers.topics,
            troubles=troubles,
            written=written,
            hindrance=hindered,
            stalled=stalled,
            swept=self._store.swept,
        )

    def _is_stalled(self, raw: Mapping[str, Any], hindered: Trouble | None) -> bool:
        """Whether that has lasted for long enough; one that was called stalled by the process before us stays so."""
        before, generation = (raw.get("status") or {}).get("conditions") or (), raw["metadata"].get("generation", 0)
        said = conditions.holds(before, conditions.Type.STALLED, generation)
        return self._patience.over(raw.get("spec") or {}, hindered, said, self._around.monotonic())
