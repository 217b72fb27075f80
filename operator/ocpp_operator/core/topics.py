"""The six Kafka topics of a resource: as it wishes them, with everything that the contract demands, and as the brokers show them.

`topics_verdict` compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ocpp_contract.names import DEFAULT_COMMAND_PARTITIONS, Topics

HOUR = 3_600.0
DAY = 24 * HOUR
KAFKA_MESSAGE_BYTES = 1_048_588
"""Kafka's own default of `max.message.bytes`: a mebibyte and the log's overhead of one batch."""

RETENTION, SEGMENT, RETENTION_BYTES = "retention.ms", "segment.ms", "retention.bytes"
MIN_IN_SYNC, UNCLEAN = "min.insync.replicas", "unclean.leader.election.enable"
CLEANUP, TIMESTAMP, MESSAGE_BYTES = "cleanup.policy", "message.timestamp.type", "max.message.bytes"
SETTINGS = (RETENTION, SEGMENT, RETENTION_BYTES, MIN_IN_SYNC, UNCLEAN, CLEANUP, TIMESTAMP, MESSAGE_BYTES)
"""All that the contract speaks of; others are the brokers' business."""


class Management(StrEnum):
    """Who creates topics."""

    DIRECT = "Direct"
    """The operator, through the brokers."""
    NONE = "None"
    """Somebody else: nothing is created, what is missing is named."""


@dataclass(frozen=True, slots=True)
class TopicsWish:
    """What a resource says about its topics. Times in seconds."""

    events_partitions: int
    results_partitions: int
    dlq_partitions: int
    stations_partitions: int
    names: Topics = field(default_factory=Topics)
    command_partitions: int = DEFAULT_COMMAND_PARTITIONS
    replicas: int = 3
    min_in_sync: int = 2
    command_retention: float = 6 * HOUR
    command_segment: float = HOUR
    events_retention: float = 7 * DAY
    results_retention: float = 7 * DAY
    dlq_retention: float = 30 * DAY
    command_state_ttl: float = 8 * HOUR
    """How long the state of a command outlives its deadline (Redis): the retention of the command topics must end before."""
    longest_deadline: float = 600.0
    """Of a command; the retention of the command topics must not end before."""
    max_record_bytes: int = 1_048_576
    """The largest record that a gateway produces."""


@dataclass(frozen=True, slots=True)
class WishedTopic:
    """A topic as it is to be created."""

    name: str
    partitions: int
    replicas: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SeenTopic:
    """A topic as the brokers show it. The tuples have one item per partition, in the order of their numbers."""

    partitions: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    """Sizes of the in-sync sets."""
    leaderless: frozenset[int] = frozenset()
    configs: Mapping[str, str] | None = field(default_factory=dict)
    """Settings in force, the brokers' defaults included; None: we are not allowed to read them."""


def wished_topics(wish: TopicsWish) -> tuple[WishedTopic, ...]:
    """All six of the contract, the command topics first: the stations' topic is measured by them."""
    everywhere = {
        MIN_IN_SYNC: str(wish.min_in_sync),
        UNCLEAN: "false",  # a replica that missed acknowledged records must not become the truth
        # Explicit, so that a lower default of the brokers does not refuse what a gateway has to produce.
        MESSAGE_BYTES: str(max(KAFKA_MESSAGE_BYTES, wish.max_record_bytes)),
    }
    command = {
        CLEANUP: "delete",
        RETENTION: milliseconds(wish.command_retention),
        # A record is deleted with its segment: without this one an idle mailbox would keep commands for a week.
        SEGMENT: milliseconds(wish.command_segment),
        RETENTION_BYTES: "-1",  # a limit by size would delete commands that nobody has read yet
        TIMESTAMP: "LogAppendTime",  # deadlines count from the brokers' clock, not from every backend's own
    }

    def topic(name: str, partitions: int, configs: Mapping[str, str]) -> WishedTopic:
        return WishedTopic(name, partitions, wish.replicas, {**everywhere, **configs})

    def kept(retention: float) -> dict[str, str]:
        return {CLEANUP: "delete", RETENTION: milliseconds(retention)}

    names = wish.names
    return (
        topic(names.commands_down, wish.command_partitions, command),
        topic(names.commands_urgent, wish.command_partitions, command),
        topic(names.events_up, wish.events_partitions, kept(wish.events_retention)),
        topic(names.command_results, wish.results_partitions, kept(wish.results_retention)),
        topic(names.commands_dlq, wish.dlq_partitions, kept(wish.dlq_retention)),
        # The owner of command partition k projects partition k of this one: further ones would be read by nobody.
        topic(names.stations, min(wish.stations_partitions, wish.command_partitions), {CLEANUP: "compact"}),
    )


def milliseconds(seconds: float) -> str:
    """As topic settings have it."""
    return str(round(seconds * 1000))
