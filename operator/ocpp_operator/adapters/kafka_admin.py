"""Kafka as the operator needs it: which topics are there and how they fare, creation, and what commits say about their owner.

Nothing here alters a topic that exists. Every call is one use of the brokers (`kafka_session`): bounded in time, closed at its
end, failures as KafkaUnavailable or KafkaDenied with a reason for people.

aiokafka's admin client lacks what is needed: its describe_topics lets the brokers create what it asks for, and
list_consumer_group_offsets raises NoError for a partition's error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    InvalidTopicError,
    NotCoordinatorForGroupError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest

from ocpp_operator.adapters.kafka_session import (
    Address,
    KafkaAccess,
    KafkaDenied,
    KafkaSession,
    KafkaUnavailable,
    session,
)
from ocpp_operator.core.topics import SETTINGS, SeenTopic, WishedTopic

__all__ = ["Broker", "Commit", "KafkaAccess", "KafkaAdmin", "KafkaDenied", "KafkaUnavailable"]

_TOPIC = 2
"""Resource type of DescribeConfigs."""
_GROUP = 0
"""Coordinator type of FindCoordinator."""
_NOT_AUTHORIZED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError, GroupAuthorizationFailedError)
_COORDINATOR_MOVES = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
_AGAIN_AFTER = 0.2


class Broker(NamedTuple):
    """A broker as it advertises itself."""

    id: int
    host: str
    port: int
    rack: str | None


class Commit(NamedTuple):
    """What a group committed for one partition."""

    offset: int
    metadata: str


class KafkaAdmin:
    """The brokers of one resource. `guard` raises when nothing may be written: it is asked right before each request that writes."""

    def __init__(self, access: KafkaAccess, guard: Callable[[], None] = lambda: None) -> None:
        self._access = access
        self._guard = guard

    async def brokers(self) -> tuple[Broker, ...]:
        """Those alive, as one of them sees it."""
        async with session(self._access) as kafka:
            return _brokers(await kafka.ask(_metadata(())))

    async def observe(self, names: Collection[str]) -> dict[str, SeenTopic | None]:
        """Each of the topics as the brokers show it; None: there is no such topic. Creates nothing, whatever the brokers'
        `auto.create.topics.enable` says."""
        async with session(self._access) as kafka:
            response = await kafka.ask(_metadata(names))
            _refuse(response.topics)
            rows = {topic: partitions for code, topic, _, partitions in response.topics if not code}
            configs = await _configs(kafka, list(rows))
            return {name: _seen(rows[name], configs[name]) if name in configs else None for name in names}

    async def create(self, topics: Sequence[WishedTopic]) -> dict[str, str]:
        """Create them, and say why where that was refused (name -> reason). A topic that exists is fine, and left as it is.

        A new topic shows in `observe` a moment later. Raises KafkaDenied when our user may not create topics.
        """
        if not topics:
            return {}
        no_assignment: list[object] = []  # the brokers choose where replicas live
        wanted = [
            (topic.name, topic.partitions, topic.replicas, no_assignment, list(topic.configs.items()))
            for topic in topics
        ]
        request = CreateTopicsRequest(wanted, round(self._access.timeout * 1000), False)
        async with session(self._access) as kafka:
            response = await kafka.ask(request, at=await _controller(kafka), guard=self._guard)
        failures, unauthorized = {}, []
        for name, code, *message in response.topic_errors:
            error = for_code(code)
            if error in _NOT_AUTHORIZED:
                unauthorized.append(name)
            elif code and error is not TopicAlreadyExistsError:
                failures[name] = _reason(error, *message)
        if unauthorized:
            raise KafkaDenied(
                f"not authorised to create {', '.join(unauthorized)}: allow our user Create, Describe and "
                "DescribeConfigs on them, or create them and set kafka.topics.management: None"
            )
        return failures

    async def commits(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, Commit]:
        """The group's committed offsets and what stands beside them. A partition that was never committed is left out."""
        async with session(self._access) as kafka:
            request = OffsetFetchRequest(group, [(topic, list(partitions))])
            response = await self._of_coordinator(kafka, group, request, lambda: None)
        found = {}
        for _, rows in response.topics:
            for partition, offset, metadata, code in rows:
                if for_code(code) in _NOT_AUTHORIZED:
                    raise KafkaDenied(f"not authorised to read what group {group} committed: allow Describe on {topic}")
                if code == 0 and offset >= 0:
                    found[partition] = Commit(offset, metadata or "")
        return found

    async def commit(self, group: str, topic: str, commits: Mapping[int, Commit]) -> None:
        """Commit for the group; only for partitions that nobody consumes."""
        rows = [(partition, each.offset, each.metadata) for partition, each in commits.items()]
        request = OffsetCommitRequest(group, -1, "", -1, [(topic, rows)])  # as no member, as the gateways do
        async with session(self._access) as kafka:
            response = await self._of_coordinator(kafka, group, request, self._guard)
        for _, answers in response.topics:
            for partition, code in answers:
                if for_code(code) in _NOT_AUTHORIZED:
                    raise KafkaDenied(
                        f"not authorised to take over what group {group} committed: allow Read on it and {topic}"
                    )
                if code:
                    raise KafkaUnavailable(f"commit of {topic}/{partition}: {_reason(for_code(code))}")

    async def _of_coordinator(
        self,
        kafka: KafkaSession,
        group: str,
        request: OffsetFetchRequest | OffsetCommitRequest,
        guard: Callable[[], None],
    ) -> Any:
        # A cluster that has just begun to keep offsets takes a second or two.
        patience = asyncio.get_running_loop().time() + self._access.timeout / 2
        while (response := await _ask_coordinator(kafka, group, request, guard)) is None:
            if asyncio.get_running_loop().time() > patience:
                raise KafkaUnavailable(f"group {group} has no coordinator: see the topic __consumer_offsets")
            await asyncio.sleep(_AGAIN_AFTER)
        return response


def _metadata(names: Iterable[str]) -> MetadataRequest:
    # The default of aiokafka allows it: asking for a topic that is not there would make one with the brokers' defaults.
    return MetadataRequest(list(names), allow_auto_topic_creation=False)


def _brokers(response: Any) -> tuple[Broker, ...]:
    return tuple(Broker(*each) for each in response.brokers)


async def _controller(kafka: KafkaSession) -> Address | None:
    """Where topics are created. With KRaft any broker forwards that, and names any as the controller."""
    response = await kafka.ask(_metadata(()))
    addresses = {broker.id: (broker.host, broker.port) for broker in _brokers(response)}
    return addresses.get(response.controller_id)


async def _configs(kafka: KafkaSession, names: Sequence[str]) -> dict[str, Mapping[str, str] | None]:
    """The settings in force, of those that the contract speaks of; None: we may not read them."""
    if not names:
        return {}
    response = await kafka.ask(DescribeConfigsRequest([(_TOPIC, name, list(SETTINGS)) for name in names]))
    configs: dict[str, Mapping[str, str] | None] = {}
    for code, message, _, name, entries in response.resources:
        error = for_code(code)
        if error in _NOT_AUTHORIZED:
            configs[name] = None
        elif error is UnknownTopicOrPartitionError:
            continue  # it went in between: absent
        elif code:
            raise KafkaUnavailable(f"settings of topic {name}: {_reason(error, message)}")
        else:
            configs[name] = {key: value for key, value, *_ in entries if value is not None}
    return configs


async def _ask_coordinator(
    kafka: KafkaSession, group: str, request: OffsetFetchRequest | OffsetCommitRequest, guard: Callable[[], None]
) -> Any:
    """The answer; None: there is no coordinator at the moment."""
    found = await kafka.ask(FindCoordinatorRequest(group, _GROUP))
    error = for_code(found.error_code)
    if not found.error_code:
        response = await kafka.ask(request, at=(found.host, found.port), guard=guard)
        codes = [code for _, rows in response.topics for *_, code in rows]
        whole = getattr(response, "error_code", 0)  # brokers before 0.10.2 answer without one
        error = next((for_code(code) for code in (whole, *codes) if code), for_code(0))
        if error not in (*_COORDINATOR_MOVES, GroupAuthorizationFailedError):
            return response
    if error in _NOT_AUTHORIZED:
        raise KafkaDenied(f"not authorised to read what group {group} committed: allow our user Describe on the group")
    if error in _COORDINATOR_MOVES:
        return None
    raise KafkaUnavailable(f"group {group}: {_reason(error)}")


def _refuse(topics: Sequence[Any]) -> None:
    """Raise for what is neither there nor absent."""
    errors = {topic: for_code(code) for code, topic, *_ in topics if code}
    hidden = [topic for topic, error in errors.items() if error in _NOT_AUTHORIZED]
    if hidden:
        raise KafkaDenied(f"not authorised to see {', '.join(hidden)}: allow our user Describe on them")
    for topic, error in errors.items():
        if error is InvalidTopicError:
            raise KafkaDenied(f"{topic!r} is no valid name of a topic")
        if error is not UnknownTopicOrPartitionError:
            raise KafkaUnavailable(f"topic {topic}: {_reason(error)}")


def _seen(rows: Sequence[Any], configs: Mapping[str, str] | None) -> SeenTopic:
    ordered = sorted(rows, key=lambda row: row[1])
    return SeenTopic(
        partitions=len(ordered),
        replicas=tuple(len(replicas) for _, _, _, replicas, *_ in ordered),
        in_sync=tuple(len(in_sync) for _, _, _, _, in_sync, *_ in ordered),
        leaderless=frozenset(number for _, number, leader, *_ in ordered if leader < 0),
        configs=configs,
    )


def _reason(error: Any, message: str | None = None) -> str:
    return message or error.description or error.__name__
