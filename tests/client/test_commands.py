"""CommandClient against a real Kafka and a real Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer
from redis.asyncio import Redis

from ocpp_client.commands import CommandClient
from ocpp_client.errors import KafkaUnavailable, NoResult, NotSent, ProduceUnknown, StoreUnavailable
from ocpp_client.kafka import KafkaAccess
from ocpp_client.status import CommandStatus, RedisAccess
from ocpp_contract.commands import Command, decode_command
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation
from ocpp_contract.names import Keys, Topics
from ocpp_contract.outcome import CommandResult, CommandState, Outcome
from ocpp_contract.partitioning import partition_for
from ocpp_contract.scripts.records import ClaimedRecord, DoneRecord
from tests.client.conftest import COMMAND_PARTITIONS, CP, Pod, entry, read_all, result
from tests.gateway.adapters.odd_records import odd_batch, produce_batch
from tests.testbed.kafka import KafkaServer, create_topics
from tests.testbed.processes import free_port

RESET = {"type": "OnIdle"}
ID = "6f1f0e0e-5a0c-4d0e-9d57-2f1d6f9f1c11"
BY_HASH = partition_for(CP.encode(), COMMAND_PARTITIONS)
ELSEWHERE = (BY_HASH + 3) % COMMAND_PARTITIONS


async def test_a_command_goes_to_the_partition_that_reaches_its_station(
    access: KafkaAccess, topics: Topics, redis_access: RedisAccess, store: Redis, keys: Keys
) -> None:
    await store.set(keys.conn(CP), entry(ELSEWHERE).to_json())
    async with CommandClient(access, redis_access, topics=topics) as client:
        sent = await client.send(CP, "Reset", RESET, timeout=30, reply_context={"a": 1}, traceparent="00-1-2-01")
    [record] = await read_all(access, topics.commands_down, wanted=1)
    command = decode_command(record.value)
    assert (record.partition, record.key, record.headers) == (ELSEWHERE, b"CP1", (("traceparent", b"00-1-2-01"),))
    assert (command.id, command.type, command.payload, command.reply_context) == (sent, "Reset", RESET, {"a": 1})
    assert command.expires_at is not None


@pytest.mark.parametrize("with_redis", [True, False])
async def test_an_absent_station_and_a_client_without_redis_use_the_hash(
    access: KafkaAccess, topics: Topics, redis_access: RedisAccess, with_redis: bool
) -> None:
    async with CommandClient(access, redis_access if with_redis else None, topics=topics) as client:
        await client.send(CP, "Reset", RESET)
    [record] = await read_all(access, topics.commands_down, wanted=1)
    assert record.partition == BY_HASH


async def test_a_redis_that_is_away_costs_a_hop_and_no_command(access: KafkaAccess, topics: Topics) -> None:
    away = RedisAccess(f"redis://127.0.0.1:{free_port()}", timeout=0.2)
    async with CommandClient(access, away, topics=topics) as client:
        await client.send(CP, "Reset", RESET)
        with pytest.raises(StoreUnavailable):
            await client.status(CP, ID)
    [record] = await read_all(access, topics.commands_down, wanted=1)
    assert record.partition == BY_HASH


async def test_an_urgent_command_takes_its_own_lane_and_says_so(access: KafkaAccess, topics: Topics) -> None:
    async with CommandClient(access, topics=topics) as client:
        await client.send(CP, "Reset", RESET, priority="urgent", wait_for_station=False)
    [record] = await read_all(access, topics.commands_urgent, wanted=1)
    command = decode_command(record.value)
    assert (command.urgent, command.wait_for_station, record.partition) == (True, False, BY_HASH)


async def test_send_and_wait_returns_the_final_result(access: KafkaAccess, topics: Topics) -> None:
    async with Pod(access, topics).running(), CommandClient(access, topics=topics) as client:
        found = await client.send_and_wait(CP, "Reset", RESET, command_id=ID)
    assert (found.command_id, found.outcome, found.status) == (ID, Outcome.ACCEPTED, "Accepted")


async def test_a_time_out_is_told_once_and_the_final_result_still_comes(access: KafkaAccess, topics: Topics) -> None:
    def answer(command: Command) -> list[CommandResult]:
        late = result(command, Outcome.TIMED_OUT)
        return [late, late, result(command), result(command, Outcome.UNCERTAIN)]

    told: list[CommandResult] = []
    async with Pod(access, topics, answer).running(), CommandClient(access, topics=topics) as client:
        found = await client.send_and_wait(CP, "Reset", RESET, on_timed_out=told.append)
    assert found.outcome is Outcome.ACCEPTED
    assert [report.outcome for report in told] == [Outcome.TIMED_OUT]


async def test_many_requests_share_one_consumer(
    access: KafkaAccess, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, ...]] = []
    original = KafkaAccess.consumer

    def counted(self: KafkaAccess, *topics: str, group_id: str | None = None) -> AIOKafkaConsumer:
        made.append(topics)
        return original(self, *topics, group_id=group_id)

    monkeypatch.setattr(KafkaAccess, "consumer", counted)
    async with Pod(access, topics).running(), CommandClient(access, topics=topics) as client:
        stations = [f"CP{number}" for number in range(300)]
        found = await asyncio.gather(*(client.send_and_wait(station, "ClearCache") for station in stations))
    assert [report.charge_point_id for report in found] == stations
    assert len(made) == 1


async def test_garbage_among_the_results_disturbs_nobody(access: KafkaAccess, topics: Topics) -> None:
    async with CommandClient(access, topics=topics) as client:
        waiting = asyncio.create_task(client.send_and_wait(CP, "Reset", RESET, command_id=ID))
        [record] = await read_all(access, topics.commands_down, wanted=1)
        async with access.producer() as producer:
            await producer.send_and_wait(topics.command_results, b"\xff", partition=0)
            answer = result(decode_command(record.value))
            rejected = replace(answer, outcome=Outcome.REJECTED).to_json()
            odd = odd_batch([(b"CP1", rejected, [(b"odd-\xff", b"")])], "gzip")  # aiokafka alone would stop here
            await produce_batch(access.bootstrap_servers[0], topics.command_results, 0, odd)
            await producer.send_and_wait(topics.command_results, answer.to_json(), partition=0)
        assert (await waiting).outcome is Outcome.ACCEPTED


async def test_when_nobody_answers_the_caller_hears_it(access: KafkaAccess, topics: Topics) -> None:
    async with CommandClient(access, topics=topics) as client:
        with pytest.raises(NoResult) as caught:
            await client.send_and_wait(CP, "Reset", RESET, command_id=ID, patience=0.5)
    assert caught.value.command_id == ID


async def test_a_result_that_kafka_did_not_bring_is_found_in_the_store(
    access: KafkaAccess, topics: Topics, redis_access: RedisAccess, store: Redis, keys: Keys
) -> None:
    async with CommandClient(access, redis_access, topics=topics) as client:
        waiting = asyncio.create_task(client.send_and_wait(CP, "Reset", RESET, command_id=ID, patience=2))
        [record] = await read_all(access, topics.commands_down, wanted=1)
        command = decode_command(record.value)
        await store.set(keys.cmd(CP, command.id), DoneRecord(result(command)).to_json())
        assert (await waiting).outcome is Outcome.ACCEPTED


async def test_status_tells_every_stage(
    access: KafkaAccess, topics: Topics, redis_access: RedisAccess, store: Redis, keys: Keys
) -> None:
    command = Command(CommandId(ID), ChargePointId(CP), "Reset", {})
    claimed = ClaimedRecord(Incarnation.parse("gw-0/u/00000001"), 5, 1_763_800_000_000_000)
    done = DoneRecord(result(command, Outcome.REJECTED))
    async with CommandClient(access, redis_access, topics=topics) as client:
        found = [await client.status(CP, ID)]
        for record in (claimed, replace(claimed, timed_out_at_us=1_763_800_030_000_000), done):
            await store.set(keys.cmd(CP, command.id), record.to_json())
            found.append(await client.status(CP, ID.upper()))
    assert found == [
        CommandStatus(CommandState.NOT_SENT),
        CommandStatus(CommandState.SENT),
        CommandStatus(CommandState.TIMED_OUT),
        CommandStatus(CommandState.REJECTED, done.result),
    ]


async def test_status_without_redis_says_what_is_missing(access: KafkaAccess, topics: Topics) -> None:
    async with CommandClient(access, topics=topics) as client:
        with pytest.raises(StoreUnavailable, match="made without it"):
            await client.status(CP, ID)


@pytest.mark.parametrize(
    ("station", "type_name", "payload", "options", "field"),
    [
        ("C{P}1", "Reset", RESET, {}, "chargePointId"),
        (CP, "RemoteStartTransaction", {}, {}, "type"),
        (CP, "Reset", {"type": "Hard"}, {}, "payload.type"),
        (CP, "Reset", RESET, {"command_id": "1"}, "id"),
        (CP, "Reset", RESET, {"timeout": 0}, "timeout"),
    ],
)
async def test_a_mistake_is_told_before_anything_is_sent(
    access: KafkaAccess, topics: Topics, station: str, type_name: str, payload: dict[str, object],
    options: dict[str, object], field: str,
) -> None:  # fmt: skip
    async with CommandClient(access, topics=topics) as client:
        with pytest.raises(ContractError) as caught:
            await client.send(station, type_name, payload, **options)  # type: ignore[arg-type]  # mistakes on purpose
    assert caught.value.field == field


async def test_an_oversized_command_is_certainly_not_sent(access: KafkaAccess, topics: Topics) -> None:
    async with CommandClient(access, topics=topics) as client:
        with pytest.raises(NotSent, match="larger than"):
            await client.send(CP, "DataTransfer", {"vendorId": "v", "data": "x" * 300_000})


async def test_without_a_broker_the_client_does_not_start() -> None:
    nobody = KafkaAccess.of(f"127.0.0.1:{free_port()}")
    with pytest.raises(KafkaUnavailable, match="does not answer"):
        async with CommandClient(nobody):
            pass


async def test_an_unknown_topic_is_told_in_time(access: KafkaAccess) -> None:
    impatient = replace(access, request_timeout=0.5)
    nowhere = Topics(commands_down="no-such-topic")
    async with CommandClient(impatient, topics=nowhere, produce_timeout=1.0) as client:
        with pytest.raises(NotSent):
            await client.send(CP, "Reset", RESET)


async def test_a_frozen_broker_leads_to_copies_of_one_command_never_to_a_lost_one(private_kafka: KafkaServer) -> None:
    topics = Topics()
    await create_topics(private_kafka.bootstrap, {topics.commands_down: 2})
    access = replace(KafkaAccess.of(private_kafka.bootstrap), request_timeout=1.0)
    async with CommandClient(access, topics=topics, produce_timeout=40) as client:
        await client.send(CP, "ClearCache")
        private_kafka.pause()
        sending = asyncio.create_task(client.send(CP, "Reset", RESET, command_id=ID))
        done, _ = await asyncio.wait((sending,), timeout=3.5)
        assert not done, "the broker was frozen for three request time-outs"
        private_kafka.resume()
        assert await sending == ID
    ids = [decode_command(record.value).id for record in await read_all(access, topics.commands_down, wanted=2)]
    assert ID in ids


async def test_a_client_that_gives_up_says_that_it_does_not_know(private_kafka: KafkaServer) -> None:
    topics = Topics()
    await create_topics(private_kafka.bootstrap, {topics.commands_down: 2})
    access = replace(KafkaAccess.of(private_kafka.bootstrap), request_timeout=1.0)
    async with CommandClient(access, topics=topics, produce_timeout=2.5) as client:
        await client.send(CP, "ClearCache")
        private_kafka.pause()
        with pytest.raises(ProduceUnknown) as caught:
            await client.send(CP, "Reset", RESET, command_id=ID)
        assert caught.value.command_id == ID
        private_kafka.resume()
        # The same command again, once Kafka is back: one id, so one execution.
        assert await client.send(CP, "Reset", RESET, command_id=ID) == ID
