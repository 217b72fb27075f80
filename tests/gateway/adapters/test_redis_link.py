"""One connection to one server process: TLS and ACL, which run it is, replicas, and who answers when nobody does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
import trustme
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from ocpp_contract import scripts
from ocpp_contract.ids import ChargePointId
from ocpp_gateway.adapters.redis_link import Address, Link, LinkLost, RedisAccess, WrongServer
from ocpp_gateway.adapters.secret_files import followed_authorities, followed_text
from ocpp_gateway.adapters.station_projection import Applied, StationProjection
from ocpp_gateway.core import effects
from tests.gateway.adapters.test_redis_store import FAR, PATIENT, A, P, command_id, opened, registration, until
from tests.testbed.processes import free_port
from tests.testbed.redis import RedisCluster, RedisServer


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """Servers started with options of a test's own."""
    with ExitStack() as stack:
        yield stack


async def test_what_is_asked_in_one_turn_is_answered_in_order(redis_server: RedisServer) -> None:
    link = await Link.open(Address("127.0.0.1", redis_server.port), RedisAccess(timeout=PATIENT))
    try:
        futures = [link.request(("ECHO", str(n)))[0] for n in range(500)]
        assert [await future for future in futures] == [str(n).encode() for n in range(500)]
        error, reply = link.request(("NOSUCH",), ("ECHO", "on"))
        assert isinstance(await error, ResponseError)  # an answer as good as any: the link goes on
        assert await reply == b"on"
    finally:
        await link.close()


async def test_every_script_is_known_to_the_server_once_the_link_is_open(redis_server: RedisServer) -> None:
    link = await Link.open(Address("127.0.0.1", redis_server.port), RedisAccess(timeout=PATIENT))
    try:
        [known] = link.request(("SCRIPT", "EXISTS", *(script.sha1 for script in scripts.ALL)))
        assert await known == [1] * len(scripts.ALL)
    finally:
        await link.close()


async def test_a_silent_server_ends_the_link_and_everything_on_it(private_redis: RedisServer) -> None:
    link = await Link.open(Address("127.0.0.1", private_redis.port), RedisAccess(timeout=1.0))
    try:
        private_redis.pause()
        futures = link.request(("ECHO", "1"), ("ECHO", "2"))
        assert [isinstance(await future, LinkLost) for future in futures] == [True, True]
        assert link.lost.is_set()
        assert isinstance(await link.request(("ECHO", "3"))[0], LinkLost)
        with pytest.raises(TimeoutError):
            await Link.open(Address("127.0.0.1", private_redis.port), RedisAccess(timeout=1.0))
    finally:
        private_redis.resume()
        await link.close()


async def test_our_own_stall_is_not_the_server_s_silence(redis_server: RedisServer) -> None:
    link = await Link.open(Address("127.0.0.1", redis_server.port), RedisAccess(timeout=0.5))
    try:
        [future] = link.request(("ECHO", "1"))
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        stalled_until = loop.time() + 1.0
        while loop.time() < stalled_until:  # as a long computation on the loop does
            pass
        assert await future == b"1"
    finally:
        await link.close()


async def test_tls_and_acl(servers: ExitStack, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    port = free_port()
    server = servers.enter_context(
        RedisServer(
            "--tls-port", str(port), "--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file",
            str(tmp_path / "key.pem"), "--tls-auth-clients", "no",
        )
    )  # fmt: skip
    with server.client() as client:
        client.acl_setuser(
            "gateway", enabled=True, passwords=["+open sesame"], keys=["*"], commands=["+@all", "-@admin", "-script"]
        )
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    access = RedisAccess(
        username="gateway",
        password=followed_text(password),
        tls=True,
        authorities=followed_authorities(tmp_path / "ca.pem"),
        timeout=PATIENT,
    )
    link = await Link.open(Address("localhost", port), access)
    assert await link.request(("ACL", "WHOAMI"))[0] == b"gateway"
    # SCRIPT LOAD was not allowed: EVAL hands a script over when it is needed.
    assert isinstance(await link.request(("EVALSHA", scripts.MARK_RUN.sha1, 1, "k"))[0], ResponseError)
    await link.close()
    with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        await Link.open(Address("localhost", port), RedisAccess(tls=True, timeout=PATIENT))
    password.write_text("wrong")
    with pytest.raises(AuthenticationError):
        await Link.open(Address("localhost", port), access)
    password.write_text("open sesame")
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        await Link.open(Address("localhost", port), access)
    with server.client() as client:  # TLS takes a moment to say goodbye; the test ends when nobody is left
        await until(lambda: client.info("clients")["connected_clients"] == 1)


async def test_the_acl_of_the_docs_is_enough(servers: ExitStack, redis_cluster: RedisCluster, tmp_path: Path) -> None:
    [line] = re.findall(r"ACL SETUSER gateway .*", Path("docs/redis.md").read_text())
    password = tmp_path / "password"
    password.write_text("PASSWORD")
    alone = servers.enter_context(RedisServer())
    for nodes, cluster in (([alone], False), (redis_cluster.nodes, True)):
        for node in nodes:
            with node.client() as client:
                client.execute_command(*line.split())
        access = RedisAccess(
            username="gateway", password=followed_text(password), timeout=2.0
        )  # half is waited out below
        async with opened(*(node.port for node in nodes), cluster=cluster, access=access) as (store, _):
            epoch = (await store.execute(registration())).epoch
            command, station = command_id(), ChargePointId("CP-1")
            claim = (await store.execute(effects.ClaimCommand(station, command, A, epoch, None, FAR, 60))).claim
            assert await store.execute(effects.PutBack(station, command, claim, None)) is True
            taken = await store.execute(effects.Take(P, A, 0, True))
            held = (effects.HeldPartition(P, taken.epoch),)
            assert (await store.execute(effects.Renew(A, held, 1, 1, False))).partitions[0].state == "held"
            await store.execute(effects.MarkRun("x"))
            await store.execute(effects.GetConn((station,)))
            await store.companions.remember(station, "digest", b"value")
            projection = StationProjection(store.shards, store.keys)
            projection.partitions = 1
            await projection.apply([Applied(station, "record", 1, b"{}"), Applied(station, "record", 2, None)])
            await projection.mark(0, 3, projection.runs or "")
            assert await projection.look_up(station) is None
            assert await store.execute(effects.Delete(station, epoch, None)) is True
            assert await store.execute(effects.Release(P, A, taken.epoch)) is True
            epoch = (await store.execute(registration())).epoch
            with pytest.raises(effects.Unknown, match="0 of 1"):
                await store.execute(effects.ClaimCommand(station, command_id(), A, epoch, None, FAR, 60, replicas=1))


async def test_a_server_that_may_evict_is_named(servers: ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    server = servers.enter_context(RedisServer("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"))
    link = await Link.open(Address("127.0.0.1", server.port), RedisAccess(timeout=PATIENT))
    await link.close()
    assert "maxmemory-policy is allkeys-lru" in caplog.text


async def test_a_replica_is_not_served_and_its_promotion_is_another_run(servers: ExitStack) -> None:
    master = servers.enter_context(RedisServer("--repl-diskless-sync-delay", "0"))
    replica = servers.enter_context(RedisServer("--replicaof", "127.0.0.1", str(master.port)))
    # A replica counts for WAIT at offset 0 as soon as the snapshot was sent to it. It confirms writes only when it has loaded
    # that, so one write has to be confirmed before the claim's WAIT, which is not asked twice, can be expected to succeed.
    with master.client() as client:
        client.set("written", "before the claim")
        await until(lambda: client.wait(1, 100) == 1)

    async with opened(master.port) as (store, _):
        epoch = (await store.execute(registration())).epoch
        claim = effects.ClaimCommand(ChargePointId("CP-1"), command_id(), A, epoch, None, FAR, 60, replicas=1)
        assert isinstance(await store.execute(claim), effects.Claimed)

    with pytest.raises(WrongServer, match="no master but slave"):
        await Link.open(Address("127.0.0.1", replica.port), RedisAccess(timeout=PATIENT))
    with replica.client() as client:
        client.execute_command("REPLICAOF NO ONE")
    link = await Link.open(Address("127.0.0.1", replica.port), RedisAccess(timeout=PATIENT))
    await link.close()
    first = replica.run_id()
    assert link.run_id.startswith(first + ".")

    # Demoted and promoted again: the same process, but what it knew in between is gone.
    with replica.client() as client:
        client.execute_command(f"REPLICAOF 127.0.0.1 {master.port}")
        await until(lambda: client.info("replication")["master_link_status"] == "up")
        client.execute_command("REPLICAOF NO ONE")
    again = await Link.open(Address("127.0.0.1", replica.port), RedisAccess(timeout=PATIENT))
    await again.close()
    assert again.run_id.startswith(first + ".")
    assert again.run_id != link.run_id


async def test_a_master_that_was_demoted_is_left(servers: ExitStack) -> None:
    master, other = servers.enter_context(RedisServer()), servers.enter_context(RedisServer())
    async with opened(master.port) as (store, runs):
        assert isinstance(await store.execute(effects.Take(P, A, 0, True)), effects.Taken)
        with master.client() as client:
            client.execute_command(f"REPLICAOF 127.0.0.1 {other.port}")
        with pytest.raises(effects.Unknown, match="no master any more"):
            await store.execute(registration())
        await until(lambda: not store.available)
        with master.client() as client:
            client.execute_command("REPLICAOF NO ONE")
        await until(lambda: store.available)
        assert len(runs) == 2


@pytest.mark.parametrize("user", [None, "gateway"])
async def test_a_rotated_password_is_used_once_its_file_has_it(
    servers: ExitStack, tmp_path: Path, user: str | None
) -> None:
    """The server wants the new one before the file has it, and again after the link was lost."""
    server = servers.enter_context(RedisServer())

    def rotate(client: redis.Redis, word: str) -> None:
        if user is None:
            client.config_set("requirepass", word)
        else:
            client.acl_setuser(
                user, enabled=True, reset_passwords=True, passwords=["+" + word], keys="*", commands=["+@all"]
            )

    file = tmp_path / "password"
    file.write_text("first")
    with server.client() as client:
        rotate(client, "first")
        async with opened(server.port, access=RedisAccess(user, followed_text(file), timeout=PATIENT)) as (store, _):
            await store.execute(registration())
            rotate(client, "second")
            await store.execute(registration())  # the link that stands is not asked again
            client.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: not store.available)
            file.write_text("second\n")
            await until(lambda: store.available)
            await store.execute(registration())
