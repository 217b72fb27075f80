"""What a resource wishes of its topics, and what follows from what the brokers show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.names import Topics
from ocpp_operator.core.topics import Management, SeenTopic, TopicsWish, WishedTopic, wished_topics
from ocpp_operator.core.topics_verdict import Ailment, TopicsVerdict, compare

WISH = TopicsWish(events_partitions=48, results_partitions=24, dlq_partitions=6, stations_partitions=12)
NAMES = Topics()
COMMAND_TOPICS = (NAMES.commands_down, NAMES.commands_urgent)


def as_wished(wish: TopicsWish = WISH) -> dict[str, SeenTopic | None]:
    return {topic.name: as_created(topic) for topic in wished_topics(wish)}


def as_created(topic: WishedTopic) -> SeenTopic:
    everywhere = (topic.replicas,) * topic.partitions
    return SeenTopic(topic.partitions, everywhere, everywhere, configs=dict(topic.configs))


def with_partitions(topic: SeenTopic, partitions: int) -> SeenTopic:
    return replace(
        topic, partitions=partitions, replicas=topic.replicas[:1] * partitions, in_sync=topic.in_sync[:1] * partitions
    )


def changed(name: str, **changes: object) -> dict[str, SeenTopic | None]:
    """All as wished but for one topic. A `configs` is laid over what is there."""
    seen = as_wished()
    topic = seen[name]
    assert topic is not None
    partitions = changes.pop("partitions", None)
    if isinstance(partitions, int):
        topic = with_partitions(topic, partitions)
    if isinstance(configs := changes.get("configs"), Mapping):
        changes["configs"] = {**(topic.configs or {}), **configs}
    seen[name] = replace(topic, **changes)  # type: ignore[arg-type]
    return seen


def only(verdict: TopicsVerdict) -> tuple[bool, str]:
    [difference] = verdict.differences
    return difference.breaks_contract, difference.message


# --- wishes -----------------------------------------------------------------------------------------------------------


def test_the_six_topics_of_the_contract() -> None:
    wished = {topic.name: topic for topic in wished_topics(WISH)}
    assert {name: topic.partitions for name, topic in wished.items()} == {
        "commands-down": 128,
        "commands-urgent": 128,
        "ocpp-events-up": 48,
        "command-results": 24,
        "commands-dlq": 6,
        "ocpp-stations": 12,
    }
    durable = {
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
        "max.message.bytes": "1048588",
    }
    for name in COMMAND_TOPICS:
        assert wished[name].replicas == 3
        assert wished[name].configs == durable | {
            "cleanup.policy": "delete",
            "retention.ms": "21600000",
            "segment.ms": "3600000",
            "retention.bytes": "-1",
            "message.timestamp.type": "LogAppendTime",
        }
    assert wished["ocpp-events-up"].configs == durable | {"cleanup.policy": "delete", "retention.ms": "604800000"}
    assert wished["commands-dlq"].configs["retention.ms"] == "2592000000"
    assert wished["ocpp-stations"].configs == durable | {"cleanup.policy": "compact"}


def test_large_records_of_gateways_fit_into_every_topic() -> None:
    for topic in wished_topics(replace(WISH, max_record_bytes=4_194_304)):
        assert topic.configs["max.message.bytes"] == "4194304"


def test_the_registry_has_no_partition_that_nobody_would_read() -> None:
    *_, stations = wished_topics(replace(WISH, command_partitions=8))
    assert (stations.name, stations.partitions) == ("ocpp-stations", 8)


# --- creating ---------------------------------------------------------------------------------------------------------


def test_all_as_wished_is_ready_and_nothing_is_said() -> None:
    verdict = compare(WISH, as_wished())
    assert verdict == TopicsVerdict((), (), ())
    assert (verdict.ready, verdict.reason, verdict.message) == (True, "AsWished", "all topics are as wished")


def test_missing_topics_are_created_and_until_then_the_resource_is_not_ready() -> None:
    verdict = compare(WISH, {})
    assert verdict.to_create == wished_topics(WISH)
    assert (verdict.ready, verdict.reason) == (False, "TopicsBeingCreated")
    assert verdict.message.startswith("to be created: commands-down, commands-urgent, ")


def test_with_management_none_missing_topics_are_named_and_nothing_is_created() -> None:
    verdict = compare(WISH, as_wished() | {"commands-dlq": None}, Management.NONE)
    assert verdict.to_create == ()
    assert (verdict.ready, verdict.reason) == (False, "TopicsMissing")
    assert verdict.message == (
        "topic commands-dlq is missing (6 partitions, 3 replicas): topics.management is None, so it is yours to create"
    )


@pytest.mark.parametrize(("there", "absent"), [COMMAND_TOPICS, COMMAND_TOPICS[::-1]])
def test_a_lane_is_not_created_beside_one_that_has_another_number(there: str, absent: str) -> None:
    verdict = compare(WISH, changed(there, partitions=64) | {absent: None})
    assert verdict.to_create == ()
    assert not verdict.ready
    assert f"topic {absent} is missing" in verdict.message
    assert f"not created while {there} has 64 partitions" in verdict.message


def test_a_lane_is_created_beside_one_that_is_as_wished() -> None:
    verdict = compare(WISH, as_wished() | {"commands-urgent": None})
    assert [topic.name for topic in verdict.to_create] == ["commands-urgent"]


# --- partitions and replicas ------------------------------------------------------------------------------------------


def test_the_urgent_lane_is_measured_by_the_other_one() -> None:
    breaks, message = only(compare(WISH, changed("commands-urgent", partitions=64)))
    assert breaks
    assert message.startswith("topic commands-urgent has 64 partitions, commands-down has 128: both are lanes")
    assert compare(WISH, changed("commands-urgent", partitions=64)).reason == "TopicsDiffer"


def test_another_number_of_mailboxes_is_one_difference_when_both_lanes_agree() -> None:
    seen = changed("commands-down", partitions=64)
    seen["commands-urgent"] = seen["commands-down"]
    breaks, message = only(compare(WISH, seen))
    assert breaks
    assert message.startswith("topic commands-down has 64 partitions, 128 are wished: the number of mailboxes never")


@pytest.mark.parametrize("partitions", [12, 96])
def test_backends_topics_may_have_any_number_of_partitions(partitions: int) -> None:
    breaks, message = only(compare(WISH, changed("ocpp-events-up", partitions=partitions)))
    assert not breaks
    assert message == f"topic ocpp-events-up has {partitions} partitions, 48 are wished: left as it is"


def test_a_registry_with_more_partitions_than_mailboxes_hides_stations() -> None:
    breaks, message = only(compare(WISH, changed("ocpp-stations", partitions=200)))
    assert breaks
    assert "only the first 128 are read" in message
    assert not only(compare(WISH, changed("ocpp-stations", partitions=64)))[0]


def test_fewer_replicas_break_the_promise_and_more_do_not() -> None:
    fewer = changed("commands-dlq", replicas=(3, 3, 2, 3, 3, 3), in_sync=(3, 3, 2, 3, 3, 3))
    breaks, message = only(compare(WISH, fewer))
    assert breaks
    assert message.startswith("topic commands-dlq has 2 replicas, 3 are wished")
    more = compare(WISH, changed("commands-dlq", replicas=(5,) * 6, in_sync=(5,) * 6))
    assert not only(more)[0]
    assert (more.ready, more.reason) == (True, "AsWishedWithNotes")
    assert more.message.startswith("note: topic commands-dlq has 5 replicas")


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "setting", "value", "breaks", "words"),
    [
        # What was chosen on purpose and breaks nothing is only told.
        ("ocpp-events-up", "retention.ms", "2592000000", False, "retention.ms=30d, 7d is wished: left as it is"),
        ("ocpp-events-up", "retention.ms", "3600000", False, "retention.ms=1h, 7d is wished"),
        ("command-results", "retention.ms", "-1", False, "retention.ms=unlimited, 7d is wished"),
        ("commands-down", "retention.ms", "5400000", False, "retention.ms=90m, 6h is wished: left as it is"),
        ("commands-down", "segment.ms", "600000", False, "segment.ms=10m, 1h is wished: left as it is"),
        ("commands-dlq", "min.insync.replicas", "3", False, "writes stop sooner"),
        ("commands-down", "max.message.bytes", "4194304", False, "large enough"),
        ("commands-down", "max.message.bytes", "1048576", False, "large enough"),
        # Each of these breaks a promise.
        ("commands-down", "retention.ms", "86400000", True, "read again after its state is gone (8h"),
        ("commands-urgent", "retention.ms", "-1", True, "executed twice"),
        ("commands-down", "segment.ms", "604800000", True, "executed twice"),
        ("commands-down", "retention.bytes", "1073741824", True, "would be deleted unread, without an outcome"),
        ("commands-down", "retention.ms", "60000", True, "deleted before their deadline (10m)"),
        ("commands-urgent", "message.timestamp.type", "CreateTime", True, "its backend's clock"),
        ("commands-down", "cleanup.policy", "compact", True, "only the latest record of each station"),
        ("ocpp-events-up", "cleanup.policy", "compact,delete", True, "only the latest record of each station"),
        ("ocpp-stations", "cleanup.policy", "delete", True, "would be forgotten"),
        ("ocpp-stations", "cleanup.policy", "compact,delete", True, "would be forgotten"),
        ("command-results", "min.insync.replicas", "1", True, "fewer copies than promised"),
        ("command-results", "min.insync.replicas", "4", True, "nothing can be written"),
        ("command-results", "unclean.leader.election.enable", "true", True, "they are lost"),
        ("ocpp-events-up", "max.message.bytes", "65536", True, "never be answered"),
    ],
)
def test_a_setting_that_differs(topic: str, setting: str, value: str, breaks: bool, words: str) -> None:
    verdict = compare(WISH, changed(topic, configs={setting: value}))
    found, message = only(verdict)
    assert message.startswith(f"topic {topic} has {setting}=")
    assert words in message
    assert found is breaks
    assert verdict.ready is not breaks


def test_the_same_value_written_otherwise_is_no_difference() -> None:
    seen = changed("ocpp-stations", configs={"cleanup.policy": " compact ", "unclean.leader.election.enable": "FALSE"})
    assert compare(WISH, seen).reason == "AsWished"


def test_settings_that_we_may_not_read_are_a_note() -> None:
    breaks, message = only(compare(WISH, changed("commands-down", configs=None)))
    assert not breaks
    assert "DescribeConfigs" in message


def test_a_setting_that_the_broker_does_not_know_is_no_difference() -> None:
    seen = as_wished()
    dlq = seen["commands-dlq"]
    assert dlq is not None
    seen["commands-dlq"] = replace(dlq, configs={"cleanup.policy": "delete"})
    assert compare(WISH, seen).reason == "AsWished"


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_each_partition_shows_under_its_worst_ailment() -> None:
    sick = changed("commands-dlq", in_sync=(3, 2, 1, 1, 0, 3), leaderless=frozenset({4}))
    verdict = compare(WISH, sick)
    assert {trouble.ailment: trouble.partitions for trouble in verdict.troubles} == {
        Ailment.LEADERLESS: (4,),
        Ailment.UNDER_MIN_IN_SYNC: (2, 3),
        Ailment.UNDER_REPLICATED: (1,),
    }
    assert (verdict.ready, verdict.reason) == (False, "PartitionsWithoutLeader")
    assert verdict.differences == ()
    assert "topic commands-dlq: 2 of 6 partitions have fewer than 2 replicas in sync: not writable" in verdict.message


def test_too_few_in_sync_stops_and_one_broker_away_does_not() -> None:
    stopped = compare(WISH, changed("commands-dlq", in_sync=(1,) * 6))
    assert (stopped.ready, stopped.reason) == (False, "TooFewInSyncReplicas")
    away = compare(WISH, changed("commands-dlq", in_sync=(2,) * 6))
    assert (away.ready, away.reason) == (True, "AsWishedWithNotes")
    assert "still readable and writable" in away.message


def test_the_setting_in_force_decides_what_is_too_few() -> None:
    seen = changed("commands-dlq", in_sync=(2,) * 6, configs={"min.insync.replicas": "3"})
    assert compare(WISH, seen).reason == "TooFewInSyncReplicas"


def test_one_replica_is_enough_where_the_resource_says_so() -> None:
    single = replace(WISH, replicas=1, min_in_sync=1)
    assert compare(single, as_wished(single)).reason == "AsWished"


def test_a_difference_that_needs_a_person_is_told_before_what_passes() -> None:
    seen = changed("commands-dlq", in_sync=(1,) * 6, configs={"cleanup.policy": "compact", "retention.ms": "1000"})
    verdict = compare(WISH, seen | {"command-results": None})
    assert verdict.reason == "TopicsDiffer"
    kinds = ["cleanup.policy", "to be created", "in sync", "note: "]
    assert sorted(kinds, key=verdict.message.index) == kinds


# --- whatever is there ------------------------------------------------------------------------------------------------


def seen_topics() -> st.SearchStrategy[SeenTopic]:
    def build(sizes: list[tuple[int, int]], leaderless: set[int], configs: dict[str, str] | None) -> SeenTopic:
        return SeenTopic(
            len(sizes),
            tuple(replicas for replicas, _ in sizes),
            tuple(min(replicas, in_sync) for replicas, in_sync in sizes),
            frozenset(number for number in leaderless if number < len(sizes)),
            configs,
        )

    settings_seen = sorted({name for topic in wished_topics(WISH) for name in topic.configs})
    return st.builds(
        build,
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=5),
        st.sets(st.integers(0, 5)),
        st.none()
        | st.dictionaries(st.sampled_from(settings_seen), st.sampled_from(["", "-1", "0", "7", "10000000", "delete"])),
    )


@given(
    st.dictionaries(st.sampled_from([topic.name for topic in wished_topics(WISH)]), st.none() | seen_topics()),
    st.sampled_from(Management),
)
def test_nothing_that_exists_is_created_and_every_verdict_can_be_told(
    seen: dict[str, SeenTopic | None], management: Management
) -> None:
    verdict = compare(WISH, seen, management)
    assert not {topic.name for topic in verdict.to_create} & {name for name, topic in seen.items() if topic}
    if management is Management.NONE:
        assert verdict.to_create == ()
    stops = bool(verdict.to_create) or any(trouble.stops for trouble in verdict.troubles)
    stops = stops or any(difference.breaks_contract for difference in verdict.differences)
    assert verdict.ready is not stops
    for each in (*verdict.differences, *verdict.troubles):
        assert each.message in verdict.message
