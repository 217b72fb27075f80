"""The brokers of one resource: looked at now and then, topics created where they are missing.

Brokers are asked every minute, every few seconds while something is not as it should be, and at once when spec or Secrets changed. What was
seen last stands in between: a watch of an idle resource costs the brokers one short connection a minute.
"""

from __future__ import annotations

import logging

from ocpp_contract.ids import Partition
from ocpp_contract.names import GROUP_ID
from ocpp_operator.adapters.kafka_admin import KafkaAccess, KafkaAdmin, KafkaDenied, KafkaUnavailable
from ocpp_operator.core import claims
from ocpp_operator.core.findings import Topics, Trouble
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


class Brokers:
    """What one loop knows of its brokers."""

    def __init__(self, around: Surroundings, key: Key) -> None:
        self._around = around
        self._key = key
        self._asked: tuple[KafkaAccess, TopicsWish, Management] | None = None
        self._next = 0.0
        self.topics = Topics(None, "NotAsked", "the brokers have not been asked yet")
        self.trouble: Trouble | None = None
        """The brokers cannot be asked, refuse us, or the topics are not as they must be."""
        self.taken: claims.Taken | None = None
        """The mailboxes are another resource's."""

    @property
    def next_look(self) -> float:
        """When they are due, by the monotonic clock."""
        return self._next

    async def look(self, resource: Resource, contents: access.Contents, gone: frozenset[str]) -> None:
        """If it is time, or what is asked for changed. `gone`: uids of resources that certainly exist no more."""
        now = self._around.monotonic()
        try:
            reach = access.kafka(resource, contents, TIMEOUT)
        except access.SecretMissing as error:
            self._asked = None
            self._fail("SecretMissing", str(error))
            return
        wish, management = wish_of(resource), Management(resource.spec.kafka.topics.management)
        if (reach, wish, management) == self._asked and now < self._next:
            return
        self._asked = reach, wish, management
        try:
            await self._ask(KafkaAdmin(reach), resource, wish, management, gone)
        except KafkaUnavailable as error:
            self._fail("KafkaUnavailable", str(error))
        except KafkaDenied as error:
            self._fail("KafkaDenied", str(error))
        fine = self.trouble is None and self.taken is None and self.topics.ready is True
        self._next = self._around.monotonic() + (self._around.settings.kafka_interval if fine else IMPATIENT)

    def _fail(self, reason: str, message: str) -> None:
        self._next = self._around.monotonic() + IMPATIENT
        self.topics = Topics(None, reason, message)
        self.trouble = Trouble(reason, message)

    async def _ask(
        self, admin: KafkaAdmin, resource: Resource, wish: TopicsWish, management: Management, gone: frozenset[str]
    ) -> None:
        names = [topic.name for topic in wished_topics(wish)]
        verdict = compare(wish, await admin.observe(names), management)
        failures: dict[str, str] = {}
        if verdict.to_create:
            self._around.guard()
            failures = await admin.create(verdict.to_create)
            for topic in verdict.to_create:
                reason = failures.get(topic.name, "created")
                log.info("topic %s: %s", topic.name, reason, extra={"resource": str(self._key)})
            verdict = compare(wish, await admin.observe(names), management)
        absent = {topic.name for topic in verdict.to_create}
        metadata: dict[claims.TopicPartition, str] = {}
        for lane in (wish.names.commands_down, wish.names.commands_urgent):
            if lane not in absent:
                texts = await admin.group_metadata(GROUP_ID, lane, range(wish.command_partitions))
                metadata |= {(lane, Partition(number)): text for number, text in texts.items()}
        self.taken = claims.judge_mailboxes(resource.uid, metadata, gone).taken
        self._judge(verdict, failures)

    def _judge(self, verdict: TopicsVerdict, failures: dict[str, str]) -> None:
        if failures:
            told = [f"topic {name} cannot be created: {why}" for name, why in sorted(failures.items())]
            self.topics = Topics(False, "TopicsNotCreated", "; ".join([*told, verdict.message]))
        else:
            self.topics = Topics(verdict.ready, verdict.reason, verdict.message)
        passing = self.topics.ready or self.topics.reason == "TopicsBeingCreated"
        self.trouble = None if passing else Trouble(self.topics.reason, self.topics.message)


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
