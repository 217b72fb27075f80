"""Topics on a real Kafka: made as wished, seen as they are; and what an unreachable or silent broker costs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import OffsetAndMetadata

from ocpp_contract.names import Topics
from ocpp_operator.adapters import kafka_session
from ocpp_operator.adapters.kafka_admin import Commit, KafkaAccess, KafkaAdmin, KafkaUnavailable
from ocpp_operator.adapters.kafka_session import session
from ocpp_operator.core.election import NotLeader
from ocpp_operator.core.topics import SeenTopic, TopicsWish, WishedTopic, wished_topics
from ocpp_operator.core.topics_verdict import Ailment, compare
from tests.conftest import MakeTopics
from tests.operator_adapters.open_sockets import closed, sockets
from tests.testbed.kafka import KafkaCluster, KafkaServer
from tests.testbed.processes import free_port

FreshName = Callable[[str], str]


@pytest.fixture
def admin(kafka: KafkaServer) -> KafkaAdmin:
    return KafkaAdmin(KafkaAccess((kafka.bootstrap,), timeout=20.0))


@pytest.fixture
def wish(fresh_name: FreshName) -> TopicsWish:
    """For a cluster of one broker, with names of its own."""
    names = Topics(*(fresh_name(name) for name in ("events", "down", "urgent", "results", "dlq", "stations")))
    return TopicsWish(3, 2, 1, 4, names, command_partitions=8, replicas=1, min_in_sync=1)


async def shown(admin: KafkaAdmin, names: list[str]) -> dict[str, SeenTopic | None]:
    """As soon as all are there: a new topic shows a moment after its creation was answered."""
    while None in (seen := await admin.observe(names)).values():  # noqa: ASYNC110 - another process answers
        await asyncio.sleep(0.05)
    return seen


async def test_topics_are_created_exactly_as_wished(admin: KafkaAdmin, wish: TopicsWish) -> None:
    names = [topic.name for topic in wished_topics(wish)]
    before = await admin.observe(names)
    assert before == dict.fromkeys(names)
    assert await admin.create(compare(wish, before).to_create) == {}
    seen = await shown(admin, names)
    assert compare(wish, seen).message == "all topics are as wished"
    down = seen[wish.names.commands_down]
    assert down is not None
    assert down.configs == {
        "retention.ms": "21600000",
        "segment.ms": "3600000",
        "retention.bytes": "-1",
        "min.insync.replicas": "1",
        "unclean.leader.election.enable": "false",
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": "1048588",
    }
    assert (down.replicas, down.in_sync, down.leaderless) == ((1,) * 8, (1,) * 8, frozenset())


async def test_creating_again_is_harmless_and_alters_nothing(admin: KafkaAdmin, fresh_name: FreshName) -> None:
    name = fresh_name("dlq")
    assert await admin.create([WishedTopic(name, 2, 1, {"retention.ms": "60000"})]) == {}
    assert await admin.create([WishedTopic(name, 5, 1, {"retention.ms": "1000"})]) == {}
    seen = (await shown(admin, [name]))[name]
    assert seen is not None
    assert seen.configs is not None
    assert (seen.partitions, seen.configs["retention.ms"]) == (2, "60000")
    assert await admin.create([]) == {}


async def test_what_the_brokers_refuse_is_told_for_each_topic(admin: KafkaAdmin, fresh_name: FreshName) -> None:
    good, lonely, odd = fresh_name("good"), fresh_name("lonely"), fresh_name("odd")
    failures = await admin.create(
        [
            WishedTopic(lonely, 1, 3, {}),
            WishedTopic(odd, 1, 1, {"cleanup.policy": "sweep"}),
            WishedTopic(good, 1, 1, {}),
        ]
    )
    assert set(failures) == {lonely, odd}
    assert "replication factor" in failures[lonely].lower()
    assert "cleanup.policy" in failures[odd]
    await shown(admin, [good])


async def test_differences_are_seen(admin: KafkaAdmin, wish: TopicsWish, make_topics: MakeTopics) -> None:
    [down] = await make_topics({"message.timestamp.type": "LogAppendTime", "retention.ms": "7200000"}, down=8)
    [urgent] = await make_topics({"cleanup.policy": "compact"}, urgent=4)
    names = replace(wish.names, commands_down=down, commands_urgent=urgent)
    wish = replace(wish, names=names)
    verdict = compare(wish, await admin.observe([topic.name for topic in wished_topics(wish)]))
    assert verdict.reason == "TopicsDiffer"
    assert f"topic {urgent} has 4 partitions, {down} has 8" in verdict.message
    found = {(each.topic, each.what): each.breaks_contract for each in verdict.differences}
    assert found == {
        # Kafka's default of a week: records would outlive the state of their commands, whatever the retention is.
        (down, "segment.ms"): True,
        (down, "retention.ms"): True,
        (urgent, "partitions"): True,
        (urgent, "cleanup.policy"): True,
        (urgent, "retention.ms"): True,
        (urgent, "segment.ms"): True,
        (urgent, "message.timestamp.type"): True,
    }
    assert {topic.name for topic in verdict.to_create} == {
        names.events_up,
        names.command_results,
        names.commands_dlq,
        names.stations,
    }


async def test_brokers_are_named(admin: KafkaAdmin, kafka: KafkaServer) -> None:
    [broker] = await admin.brokers()
    assert (broker.id, f"{broker.host}:{broker.port}", broker.rack) == (1, kafka.bootstrap, None)


async def test_commits_are_read_and_committed_anew_as_their_owner_would(
    admin: KafkaAdmin, kafka: KafkaServer, make_topics: MakeTopics, group_name: str
) -> None:
    [down] = await make_topics(down=4)
    assert await admin.commits(group_name, down, range(4)) == {}
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group_name, enable_auto_commit=False)
    consumer.assign([TopicPartition(down, 0), TopicPartition(down, 2)])
    await consumer.start()
    try:
        commits = {
            TopicPartition(down, 0): OffsetAndMetadata(0, "1;uid-of-a-resource;"),
            TopicPartition(down, 2): OffsetAndMetadata(7, ""),
        }
        await consumer.commit(commits)
        assert await admin.commits(group_name, down, range(4)) == {
            0: Commit(0, "1;uid-of-a-resource;"),
            2: Commit(7, ""),
        }
        assert await admin.commits(group_name, down, [1, 2]) == {2: Commit(7, "")}

        # A consumer that assigns by hand is no member of the group: it does not hinder.
        await admin.commit(group_name, down, {0: Commit(0, "1;another;3,1"), 3: Commit(1, "new")})
        assert await admin.commits(group_name, down, range(4)) == {
            0: Commit(0, "1;another;3,1"), 2: Commit(7, ""), 3: Commit(1, "new"),
        }  # fmt: skip
        with pytest.raises(KafkaUnavailable, match="commit of"):
            await admin.commit(group_name, down, {9: Commit(0, "")})
    finally:
        await consumer.stop()


async def test_a_right_that_ends_while_the_last_connection_is_made_writes_nothing(
    admin: KafkaAdmin,
    kafka: KafkaServer,
    make_topics: MakeTopics,
    group_name: str,
    wish: TopicsWish,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [down] = await make_topics(down=1)
    made = 0

    class Counted(kafka_session._Connection):
        async def connect(self) -> Any:
            nonlocal made
            await super().connect()
            made += 1

    def guard() -> None:
        if made == 2:
            raise NotLeader

    monkeypatch.setattr(kafka_session, "_Connection", Counted)
    # By another name than the broker's own: who leads us to the coordinator or controller is not where we write.
    late = KafkaAdmin(KafkaAccess((kafka.bootstrap.replace("127.0.0.1", "localhost"),), timeout=20.0), guard)
    for write in (
        lambda: late.commit(group_name, down, {0: Commit(5, "late")}),
        lambda: late.create(wished_topics(wish)),
    ):
        made = 0
        with pytest.raises(NotLeader):
            await write()
    assert await admin.commits(group_name, down, [0]) == {}
    assert set((await admin.observe([topic.name for topic in wished_topics(wish)])).values()) == {None}


async def test_nothing_stays_open_between_uses(admin: KafkaAdmin, make_topics: MakeTopics) -> None:
    [down] = await make_topics(down=1)
    before = sockets()
    await admin.observe([down])
    await closed(before)


# --- brokers that do not answer ---------------------------------------------------------------------------------------


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """An address that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


async def test_a_refused_address_and_an_unknown_name_are_said() -> None:
    refused = f"127.0.0.1:{free_port()}"
    with pytest.raises(KafkaUnavailable) as caught:
        await KafkaAdmin(KafkaAccess((refused, "kafka.invalid"), timeout=20.0)).brokers()
    assert f"{refused}: connection refused" in caught.value.reason
    assert "the name kafka.invalid is not known" in caught.value.reason


async def test_a_silent_address_leaves_time_for_the_next(kafka: KafkaServer, silent: str) -> None:
    access = KafkaAccess((f"127.0.0.1:{free_port()}", silent, kafka.bootstrap), timeout=4.0)
    assert len(await KafkaAdmin(access).brokers()) == 1


async def test_silence_ends_in_time_and_nothing_stays_open(silent: str) -> None:
    before = sockets()
    async with asyncio.timeout(10):
        with pytest.raises(KafkaUnavailable, match="no answer"):
            await KafkaAdmin(KafkaAccess((silent,), timeout=0.4)).observe(["t"])
    await closed(before)


@pytest.mark.parametrize("tls", [False, True])
async def test_nothing_stays_open_when_the_caller_gives_up(silent: str, tls: bool) -> None:
    before = sockets()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await KafkaAdmin(KafkaAccess((silent,), tls=tls, timeout=60.0)).observe(["t"])
    await closed(before)


Ask = Callable[[KafkaAdmin], Awaitable[object]]


@pytest.mark.parametrize(
    "ask",
    [
        lambda admin: admin.observe(["t"]),
        lambda admin: admin.create([WishedTopic("t", 1, 1, {})]),
        lambda admin: admin.commits("g", "t", [0]),
        lambda admin: admin.brokers(),
    ],
    ids=["observe", "create", "commits", "brokers"],
)
async def test_whoever_speaks_something_else_is_unavailable(ask: Ask) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(KafkaUnavailable):
            await ask(KafkaAdmin(KafkaAccess((f"127.0.0.1:{port}",), timeout=5.0)))


async def test_an_address_that_is_none_is_said() -> None:
    with pytest.raises(Exception, match="'kafka:nine' is no address: host:port is needed"):
        await KafkaAdmin(KafkaAccess(("kafka:nine",))).brokers()


async def ask_while_it_freezes(access: KafkaAccess, server: KafkaServer) -> None:
    async with session(access) as kafka:
        server.pause()
        await kafka.ask(MetadataRequest([]))


async def test_brokers_that_freeze_stop_and_return(private_kafka: KafkaServer) -> None:
    before = sockets()
    access = KafkaAccess((private_kafka.bootstrap,), timeout=3.0)
    admin = KafkaAdmin(access)
    assert len(await admin.brokers()) == 1
    async with asyncio.timeout(30):
        try:
            with pytest.raises(KafkaUnavailable, match=r"did not answer within 3s|no answer in time"):
                await ask_while_it_freezes(access, private_kafka)
            with pytest.raises(KafkaUnavailable, match="no answer"):
                await admin.observe(["t"])
        finally:
            private_kafka.resume()
    await closed(before)
    await private_kafka.stop_async()
    with pytest.raises(KafkaUnavailable, match="connection refused"):
        await admin.observe(["t"])
    await private_kafka.start_async()
    assert len(await admin.brokers()) == 1


async def test_a_broker_that_is_away_shows_in_its_partitions(private_kafka_cluster: KafkaCluster) -> None:
    cluster = private_kafka_cluster
    common = TopicsWish(3, 3, 6, 3, command_partitions=3)
    kinds = {Ailment.UNDER_REPLICATED: "ocpp-events-up", Ailment.UNDER_MIN_IN_SYNC: "command-results"}
    admin = KafkaAdmin(KafkaAccess(tuple(cluster.bootstrap.split(",")), timeout=20.0))
    topics = [*kinds.values(), "commands-dlq"]
    wanted = [
        WishedTopic("ocpp-events-up", 3, 3, {"min.insync.replicas": "2"}),
        WishedTopic("command-results", 3, 3, {"min.insync.replicas": "3"}),
        WishedTopic("commands-dlq", 6, 1, {"min.insync.replicas": "1"}),
    ]
    assert await admin.create(wanted) == {}
    async with asyncio.timeout(30):
        while compare(common, await shown(admin, topics)).troubles:  # noqa: ASYNC110 - other processes elect leaders
            await asyncio.sleep(0.05)
    cluster.node(1).kill()
    async with asyncio.timeout(60):
        while True:
            troubles = compare(common, await admin.observe(topics)).troubles
            found = {(trouble.topic, trouble.ailment): trouble.partitions for trouble in troubles}
            if len(found) == 3 and all(len(found[topic, ailment]) == 3 for ailment, topic in kinds.items()):
                break
            await asyncio.sleep(0.1)
    assert 1 <= len(found["commands-dlq", Ailment.LEADERLESS]) < 6
    assert {broker.id for broker in await admin.brokers()} == {2, 3}
