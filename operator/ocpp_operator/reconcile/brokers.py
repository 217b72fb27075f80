"""The brokers of one resource: looked at now and then, topics created where they are missing.

Brokers are asked every minute, every few seconds while something is not as it should be, and at once when spec or Secrets changed. What was
seen last stands in between: a watch of an idle resource costs the brokers one short connection a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import TypeAlias

from ocpp_contract.ids import Partition
from ocpp_contract.names import GROUP_ID
from ocpp_operator.adapters.kafka_admin import Commit, KafkaAccess, KafkaAdmin, KafkaDenied, KafkaUnavailable
from ocpp_operator.core import claims
from ocpp_operator.core.findings import NOT_ASKED, Topics, Trouble
from ocpp_operator.core.mirror import Key
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.topics import Management, TopicsWish, wished_topics
from ocpp_operator.core.topics_verdict import TopicsVerdict, compare
from ocpp_operator.reconcile import access
from ocpp_operator.reconcile.surroundings import Surroundings

log = logging.getLogger(__name__)

IMPATIENT = 5.0
"""Seconds between looks while something is not as it should be."""
TIMEOUT = 10.0

Commits: TypeAlias = dict[claims.TopicPartition, Commit]


class Brokers:
    """What one loop knows of its brokers."""

    def __init__(self, around: Surroundings, key: Key, wake: Callable[[], None]) -> None:
        """`wake` is called at the end of a look that nobody waited for."""
        self._around = around
        self._key = key
        self._wake = wake
        self._looking: asyncio.Task[None] | None = None
        self._asked: tuple[KafkaAccess, TopicsWish, Management] | None = None
        self._next = 0.0
        self.topics = NOT_ASKED
        self.trouble: Trouble | None = None
        """The brokers cannot be asked, refuse us, or the topics are not as they must be."""
        self.taken: claims.Taken | None = None
        """The mailboxes are another resource's."""
        self.inherited = False
        """As of the last look every mailbox is ours or nobody's."""

    @property
    def next_look(self) -> float:
        """When they are due, by the monotonic clock."""
        return self._next

    async def look(
        self, resource: Resource, contents: access.Contents, gone: frozenset[str], held: frozenset[Partition] | None
    ) -> None:
        """If it is time, or what is asked for changed. `gone`: uids of resources that certainly exist no more; `held`: partitions that
        somebody holds by the store, None: that is not known.

        Only the very first look is waited for. Later ones go on beside the loop and wake it at their end: brokers that do not
        answer must not hold up the partitions of a dead pod. Raises what an earlier one ended by (NotLeader).
        """
        if self._looking is not None:
            if not self._looking.done():
                return
            looking, self._looking = self._looking, None
            looking.result()
        now = self._around.monotonic()
        try:
            reach = access.kafka(resource, contents, TIMEOUT)
        except access.SecretMissing as error:
            self._asked = None
            self._fail("SecretMissing", str(error))
            self._next = self._around.monotonic() + IMPATIENT
            return
        wish, management = wish_of(resource), Management(resource.spec.kafka.topics.management)
        if (reach, wish, management) == self._asked and now < self._next:
            return
        first, self._asked = self.topics is NOT_ASKED, (reach, wish, management)
        asking = self._ask_and_judge(reach, resource, wish, management, gone, held)
        if first:
            await asking
            return
        self._next = inf  # its end wakes the loop
        self._looking = asyncio.create_task(asking, name=f"brokers {self._key}")
        self._looking.add_done_callback(lambda _: self._wake())

    async def close(self) -> None:
        """End a look that is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))
            if not self._looking.cancelled() and (error := self._looking.exception()) is not None:
                log.info("a look at the brokers ended: %s", error, extra={"resource": str(self._key)})

    async def _ask_and_judge(
        self,
        reach: KafkaAccess,
        resource: Resource,
        wish: TopicsWish,
        management: Management,
        gone: frozenset[str],
        held: frozenset[Partition] | None,
    ) -> None:
        fine = False
        try:
            await self._ask(KafkaAdmin(reach, self._around.guard), resource, wish, management, gone, held)
            fine = self.trouble is None and self.taken is None and self.topics.ready is True and self.inherited
        except KafkaUnavailable as error:
            self._fail("KafkaUnavailable", str(error))
        except KafkaDenied as error:
            self._fail("KafkaDenied", str(error))
        finally:  # however it ended, by a defect too: otherwise they would never be asked again
            self._next = self._around.monotonic() + (self._around.settings.kafka_interval if fine else IMPATIENT)

    def _fail(self, reason: str, message: str) -> None:
        self.inherited = False
        self.topics = Topics(None, reason, message)
        self.trouble = Trouble(reason, message)

    async def _ask(
        self,
        admin: KafkaAdmin,
        resource: Resource,
        wish: TopicsWish,
        management: Management,
        gone: frozenset[str],
        held: frozenset[Partition] | None,
    ) -> None:
        names = [topic.name for topic in wished_topics(wish)]
        verdict = compare(wish, await admin.observe(names), management)
        failures: dict[str, str] = {}
        if verdict.to_create:
            failures = await admin.create(verdict.to_create)
            for topic in verdict.to_create:
                reason = failures.get(topic.name, "created")
                log.info("topic %s: %s", topic.name, reason, extra={"resource": str(self._key)})
            verdict = compare(wish, await admin.observe(names), management)
        absent = {topic.name for topic in verdict.to_create}
        commits = await _commits(admin, wish, absent)
        mailboxes = claims.judge_mailboxes(resource.uid, _texts(commits), gone)
        self.taken = mailboxes.taken
        self.inherited = await self._take_over(admin, resource, commits, mailboxes.left_behind, held)
        self._judge(verdict, failures)

    async def _take_over(
        self,
        admin: KafkaAdmin,
        resource: Resource,
        commits: Commits,
        left_behind: Collection[claims.TopicPartition],
        held: frozenset[Partition] | None,
    ) -> bool:
        """Commit anew what resources left that are gone: our pods refuse it otherwise. Whether every mailbox is ours or nobody's now.

        A mailbox that somebody holds is left to a later look: a pod of the one that is gone still serves it, and commits there.
        """
        if self.taken is not None:  # perhaps by one of which nobody has yet told us that it is gone
            return False
        if held is None:
            return not left_behind
        free = [where for where in left_behind if where[1] not in held]
        await self._commit(
            admin, {where: claims.handed_over(commits[where].metadata, resource.uid) for where in free}, commits
        )
        if free:
            log.info(
                "%d mailboxes of a resource that is gone are taken over", len(free), extra={"resource": str(self._key)}
            )
        return len(free) == len(left_behind)

    async def let_go(self, resource: Resource, contents: access.Contents) -> bool | None:
        """The resource is gone and so are its pods: its mailboxes name nobody any more. Whether none does now; None: that could
        not be done."""
        wish = wish_of(resource)
        try:
            admin = KafkaAdmin(access.kafka(resource, contents, TIMEOUT), self._around.guard)
            seen = await admin.observe([wish.names.commands_down, wish.names.commands_urgent])
            commits = await _commits(admin, wish, {name for name, topic in seen.items() if topic is None})
            free, all_of_them = claims.leaves(resource.uid, _texts(commits))
            await self._commit(admin, dict.fromkeys(free, ""), commits)
        except (access.SecretMissing, KafkaUnavailable, KafkaDenied) as error:
            log.warning("its mailboxes go on naming it: %s", error, extra={"resource": str(self._key)})
            return None
        return all_of_them

    async def _commit(self, admin: KafkaAdmin, texts: Mapping[claims.TopicPartition, str], commits: Commits) -> None:
        """Other texts at the offsets that were read."""
        for lane in sorted({lane for lane, _ in texts}):
            anew = {
                int(number): Commit(commits[topic, number].offset, text)
                for (topic, number), text in texts.items()
                if topic == lane
            }
            await admin.commit(GROUP_ID, lane, anew)

    def _judge(self, verdict: TopicsVerdict, failures: dict[str, str]) -> None:
        if failures:
            told = [f"topic {name} cannot be created: {why}" for name, why in sorted(failures.items())]
            self.topics = Topics(False, "TopicsNotCreated", "; ".join([*told, verdict.message]))
        else:
            self.topics = Topics(verdict.ready, verdict.reason, verdict.message)
        passing = self.topics.ready or self.topics.reason == "TopicsBeingCreated"
        self.trouble = None if passing else Trouble(self.topics.reason, self.topics.message)


async def _commits(admin: KafkaAdmin, wish: TopicsWish, absent: Collection[str]) -> Commits:
    """Of both lanes."""
    found: Commits = {}
    for lane in (wish.names.commands_down, wish.names.commands_urgent):
        if lane not in absent:
            of_lane = await admin.commits(GROUP_ID, lane, range(wish.command_partitions))
            found |= {(lane, Partition(number)): commit for number, commit in of_lane.items()}
    return found


def _texts(commits: Commits) -> dict[claims.TopicPartition, str]:
    return {where: commit.metadata for where, commit in commits.items()}


def wish_of(resource: Resource) -> TopicsWish:
    """The spec's topics."""
    spec, topics = resource.spec, resource.spec.kafka.topics
    return TopicsWish(
        events_partitions=topics.events_up.partitions,
        results_partitions=topics.command_results.partitions,
        dlq_partitions=topics.commands_dlq.partitions,
        stations_partitions=topics.stations.partitions,
        names=spec.topic_names,
        command_partitions=spec.commands.partitions,
        replicas=topics.replicas,
        min_in_sync=topics.min_in_sync_replicas,
        command_retention=spec.commands.retention,
        command_segment=spec.commands.segment,
        events_retention=topics.events_up.retention,
        results_retention=topics.command_results.retention,
        dlq_retention=topics.commands_dlq.retention,
        command_state_ttl=spec.commands.record_ttl,
        longest_deadline=spec.commands.max_deadline,
    )
