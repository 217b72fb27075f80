"""The operator's side of a real Redis: a look, releases, the claim, and what is said when it cannot be used."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import redis
import trustme

from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_operator.adapters.directory import Directory
from ocpp_operator.adapters.redis_access import Address, Fault, RedisAccess, StoreUnavailable
from ocpp_operator.core.claims import LEASE_US, Keep, Refresh, SeenClaim, Taken, judge_store
from tests.operator_adapters.store import CITY, FLEET, PATIENT, A, B, Store, access, cluster_client, opened
from tests.testbed.processes import free_port
from tests.testbed.redis import RedisCluster, RedisServer


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """Servers started with options of a test's own."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["Standalone", "Cluster"])
def both(request: pytest.FixtureRequest, redis_prefix: str) -> Iterator[tuple[Store, Directory]]:
    """A store in each mode."""
    if request.param == "Standalone":
        server: RedisServer = request.getfixturevalue("redis_server")
        with server.client() as client:
            yield Store(client, redis_prefix), Directory(access(server.port), redis_prefix)
    else:
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        ports = [port for _, port in cluster.startup_nodes]
        with cluster_client(ports) as client:
            yield Store(client, redis_prefix), Directory(access(ports[1], cluster=True), redis_prefix)


# --- one look ---------------------------------------------------------------------------------------------------------


async def test_a_look_shows_who_lives_who_holds_what_and_which_runs_these_are(both: tuple[Store, Directory]) -> None:
    store, directory = both
    mine = store.lives(A, generation=7, connections=3)
    store.lives(B)
    store.takes(A, 0, 2)
    store.client.set(store.keys.pod(PodName("gw-odd")), "no record")
    store.client.lpush(store.keys.partition(Partition(3)), "no record either")
    try:
        view = await directory.observe([A.pod, PodName("gw-odd"), PodName("gw-away")], partitions=5)
        assert view.records == {A.pod: mine}
        assert {number: record.incarnation for number, record in view.holders.items()} == {0: A, 2: A}
        assert all(record.lease_until_us > view.time_us for record in view.holders.values())
        assert view.claim is None
        assert view.unreadable == 2
        assert len(view.runs) == (3 if isinstance(store.client, redis.RedisCluster) else 1)
        assert (await directory.observe([], 0)).runs == view.runs
    finally:
        await directory.close()


async def test_a_server_that_came_back_empty_is_another_run(private_redis: RedisServer) -> None:
    async with opened(access(private_redis.port)) as directory:
        with private_redis.client() as client:
            Store(client, "").lives(A)
        before = await directory.observe([A.pod], 1)
        assert before.runs == {private_redis.run_id()}
        await private_redis.restart_empty_async()
        after = await directory.observe([A.pod], 1)  # the connection of before is dead: that is not an outage
        assert (after.runs, after.records) == ({private_redis.run_id()}, {})
        assert after.runs != before.runs


async def test_a_replica_is_refused_and_its_promotion_is_another_run(servers: ExitStack) -> None:
    master = servers.enter_context(RedisServer("--repl-diskless-sync-delay", "0"))
    replica = servers.enter_context(RedisServer("--replicaof", "127.0.0.1", str(master.port)))
    async with opened(access(replica.port)) as directory:
        with pytest.raises(StoreUnavailable, match="is a replica: give the address of the master"):
            await directory.observe([], 1)
        with replica.client() as client:
            client.execute_command("REPLICAOF NO ONE")
        [run] = (await directory.observe([], 1)).runs
        assert run.startswith(replica.run_id() + ".")


# --- releases ---------------------------------------------------------------------------------------------------------


async def test_exactly_what_the_dead_incarnation_holds_is_released(both: tuple[Store, Directory]) -> None:
    store, directory = both
    store.takes(A, 0, 1, 2)
    store.takes(B, 3)
    dead = {Partition(number): A for number in range(5)}
    try:
        assert await directory.release(dead) == 3
        assert await directory.release(dead) == 0  # repeating it harms nobody
        assert await directory.release({}) == 0
        holders = (await directory.observe([], 5)).holders
        assert {number: record.incarnation for number, record in holders.items()} == {0: None, 1: None, 2: None, 3: B}
    finally:
        await directory.close()


async def test_scripts_that_the_server_has_forgotten_are_handed_over(private_redis: RedisServer) -> None:
    async with opened(access(private_redis.port)) as directory:
        with private_redis.client() as client:
            store = Store(client, "")
            for _ in range(2):
                store.takes(A, 0, 1)
                client.script_flush()
                assert await directory.release({Partition(0): A, Partition(1): A}) == 2


async def test_who_is_no_longer_the_leader_writes_nothing(redis_server: RedisServer, redis_prefix: str) -> None:
    class NotLeading(Exception):
        pass

    def guard() -> None:
        raise NotLeading

    async with opened(access(redis_server.port), redis_prefix, guard=guard) as directory:
        with redis_server.client() as client:
            store = Store(client, redis_prefix)
            store.takes(A, 0)
            store.registers(A, "CP1")
            before = {key: client.get(key) for key in store.all_keys()}
            assert (await directory.observe([], 1)).holders
            with pytest.raises(NotLeading):
                await directory.release({Partition(0): A})
            with pytest.raises(NotLeading):
                await directory.claim(CITY, None)
            with pytest.raises(NotLeading):
                await directory.sweep_pods([A])
            assert {key: client.get(key) for key in store.all_keys()} == before


# --- the claim --------------------------------------------------------------------------------------------------------


async def pass_of(directory: Directory, mine: object) -> Keep | Refresh | Taken:
    """What the loop does: look, judge, write."""
    view = await directory.observe([], 4)
    verdict = judge_store(mine, view.claim, view.holders, (), view.time_us)  # type: ignore[arg-type]
    if isinstance(verdict, Refresh):
        assert await directory.claim(mine, view.claim)  # type: ignore[arg-type]
    return verdict


async def test_of_two_resources_on_one_prefix_the_older_has_it_and_the_younger_sees_whose(
    both: tuple[Store, Directory],
) -> None:
    _, directory = both
    try:
        assert await pass_of(directory, CITY) == Refresh()
        assert await pass_of(directory, CITY) == Keep()
        assert await pass_of(directory, FLEET) == Refresh()  # it is the older one
        assert await pass_of(directory, FLEET) == Keep()
        taken = await pass_of(directory, CITY)
        assert isinstance(taken, Taken)
        assert "depot/fleet" in taken.message
        await directory.clean(FLEET.uid, PATIENT)
        assert await pass_of(directory, CITY) == Refresh()
    finally:
        await directory.close()


async def test_a_claim_that_was_lost_is_written_again_and_one_decided_on_an_old_look_is_not(
    private_redis: RedisServer,
) -> None:
    async with opened(access(private_redis.port)) as directory:
        assert await pass_of(directory, FLEET) == Refresh()
        await private_redis.restart_empty_async()
        assert await pass_of(directory, FLEET) == Refresh()
        assert not await directory.claim(CITY, None)
        claim = (await directory.observe([], 1)).claim
        assert claim is not None
        assert claim.claim is not None
        assert replace(claim.claim, lease_until_us=0) == FLEET


async def test_a_lapsed_claim_gives_way_unless_its_pods_live(redis_server: RedisServer, redis_prefix: str) -> None:
    async with opened(access(redis_server.port), redis_prefix) as directory:
        with redis_server.client() as client:
            store = Store(client, redis_prefix)
            store.client.set(store.keys.claim, FLEET.to_json())  # its lease ended in 1970
            store.takes(Incarnation(PodName("fleet-gateway-x"), "u", "00000001"), 3)
            taken = await pass_of(directory, CITY)
            assert isinstance(taken, Taken)
            assert taken.uid == FLEET.uid
            client.delete(store.keys.partition(Partition(3)))
            before = (await directory.observe([], 1)).time_us
            assert await pass_of(directory, CITY) == Refresh()
            written = (await directory.observe([], 1)).claim
            assert written is not None
            assert written.claim is not None
            assert written.claim.lease_until_us >= before + LEASE_US


@pytest.mark.parametrize("text", [None, "another application's"])
async def test_another_application_s_key_is_no_claim_and_stays(
    redis_server: RedisServer, redis_prefix: str, text: str | None
) -> None:
    async with opened(access(redis_server.port), redis_prefix) as directory:
        with redis_server.client() as client:
            key = f"{redis_prefix}claim"
            client.set(key, text) if text else client.sadd(key, "member")
            view = await directory.observe([], 1)
            assert view.claim == SeenClaim(text.encode() if text else None, None)
            assert isinstance(await pass_of(directory, CITY), Taken)


# --- what cannot be used, in words ------------------------------------------------------------------------------------


async def refused(reach: RedisAccess) -> tuple[Fault, str]:
    async with opened(reach) as directory:
        with pytest.raises(StoreUnavailable) as caught:
            await directory.observe([A.pod], 2)
        return caught.value.reason, str(caught.value)


async def test_passwords(servers: ExitStack, redis_server: RedisServer) -> None:
    server = servers.enter_context(_Locked())
    async with opened(access(server.port, password=b"open sesame\n")) as directory:
        assert (await directory.observe([], 1)).holders == {}
    reason, said = await refused(access(server.port))
    assert reason is Fault.AUTHENTICATION
    assert "asks for a password and none is given" in said
    reason, said = await refused(access(server.port, password="wrong word"))
    assert reason is Fault.AUTHENTICATION
    assert "refuses the password of the default user" in said
    assert "wrong word" not in said
    reason, said = await refused(access(server.port, username="ann", password=b"\xff\xfe"))
    assert "refuses the password of user ann" in said
    reason, said = await refused(access(redis_server.port, password="x"))
    assert reason is Fault.AUTHENTICATION
    assert "has no password" in said


class _Locked(RedisServer):
    """A server that asks for a password."""

    def __init__(self) -> None:
        super().__init__("--requirepass", "open sesame")

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password="open sesame", decode_responses=True)


async def test_a_password_changed_under_an_open_connection_is_asked_for_at_the_next_one(servers: ExitStack) -> None:
    server = servers.enter_context(_Locked())
    async with opened(access(server.port, password="open sesame")) as directory:
        await directory.observe([], 1)
        with server.client() as client:
            client.config_set("requirepass", "another")
            client.client_kill_filter(_type="normal", skipme=True)
            try:
                with pytest.raises(StoreUnavailable, match="refuses the password"):
                    await directory.observe([], 1)
            finally:
                client.config_set("requirepass", "open sesame")


async def test_tls(servers: ExitStack, redis_server: RedisServer, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "no.pem").write_text("no PEM")
    port = free_port()
    servers.enter_context(
        RedisServer(
            "--tls-port", str(port), "--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file",
            str(tmp_path / "key.pem"), "--tls-auth-clients", "no",
        )
    )  # fmt: skip
    pem = authority.cert_pem.bytes().decode()
    here = RedisAccess((Address("localhost", port),), tls=True, timeout=PATIENT)
    for trusted in (replace(here, ca_pem=pem), replace(here, ca_file=tmp_path / "ca.pem")):
        async with opened(trusted) as directory:
            assert len((await directory.observe([], 1)).runs) == 1
    for reach, text in [
        (here, "a certificate that is not trusted"),
        (replace(here, ca_pem=stranger.cert_pem.bytes().decode()), "a certificate that is not trusted"),
        (replace(here, ca_pem=pem, addresses=(Address("127.0.0.1", port),)), "IP address mismatch"),
        (replace(here, ca_pem="no PEM"), "is no certificate in PEM"),
        (replace(here, ca_file=tmp_path / "no.pem"), "is no certificate in PEM"),
        (replace(here, ca_file=tmp_path / "none.pem"), "none.pem is not there"),
    ]:
        reason, said = await refused(reach)
        assert reason is Fault.TLS, said
        assert text in said
    reason, said = await refused(access(port))
    assert reason is Fault.UNREACHABLE
    assert "does this port expect TLS?" in said
    plain = Address("localhost", redis_server.port)
    reason, said = await refused(replace(here, ca_pem=pem, addresses=(plain,), timeout=1.0))
    assert reason is Fault.UNREACHABLE
    assert "does this port speak TLS?" in said


async def test_addresses(redis_server: RedisServer, redis_cluster: RedisCluster) -> None:
    nobody = free_port()
    node = redis_cluster.nodes[0].port
    for reach, expected, text in [
        (access(nobody), Fault.UNREACHABLE, f"127.0.0.1:{nobody} cannot be used"),
        (
            RedisAccess((Address("no-such-name.invalid", 6379),), timeout=PATIENT),
            Fault.UNREACHABLE,
            "no-such-name.invalid cannot be resolved",
        ),
        (access(redis_server.port, cluster=True), Fault.WRONG_MODE, "set redis.mode to Standalone"),
        (access(node), Fault.WRONG_MODE, "set redis.mode to Cluster"),
        (access(nobody, cluster=True), Fault.UNREACHABLE, "cannot be used"),
    ]:
        reason, said = await refused(reach)
        assert (reason, text in said) == (expected, True), said
    async with opened(access(nobody, node, cluster=True)) as directory:  # one of the nodes named is enough
        assert len((await directory.observe([], 1)).runs) == 3


async def test_the_acl_of_the_docs_is_enough_and_what_it_lacks_is_named(servers: ExitStack) -> None:
    server = servers.enter_context(RedisServer())
    [line] = re.findall(r"ACL SETUSER gateway .*", Path("docs/redis.md").read_text())
    with server.client() as client:
        client.execute_command(*line.split(), "-scan")
        reach = access(server.port, username="gateway", password="PASSWORD")
        async with opened(reach) as directory:
            Store(client, "").takes(A, 0)
            assert await directory.release({Partition(0): A}) == 1
            assert await pass_of(directory, CITY) == Refresh()
            with pytest.raises(StoreUnavailable, match=r"user gateway .*docs/redis.md.*scan") as caught:
                await directory.sweep_pods([A])
            assert caught.value.reason is Fault.PERMISSION
            client.execute_command("ACL SETUSER gateway +scan")
            Store(client, "").registers(A, "CP1")
            assert (await directory.sweep_pods([A])).removed == 1
            assert (await directory.clean(CITY.uid, PATIENT)).finished
        assert client.keys("*") == []


async def test_a_server_that_is_frozen_is_given_up_in_time_and_used_again_later(private_redis: RedisServer) -> None:
    async with opened(access(private_redis.port, timeout=1.5)) as directory:
        await directory.observe([], 1)
        private_redis.pause()
        try:
            async with asyncio.timeout(20):
                with pytest.raises(StoreUnavailable, match=r"does not answer within 1\.5 s"):
                    await directory.observe([], 1)
                with pytest.raises(StoreUnavailable, match=r"does not answer within 1\.5 s"):
                    await directory.sweep_pods([A])
        finally:
            private_redis.resume()
    async with opened(access(private_redis.port)) as directory:
        assert (await directory.observe([], 1)).unreadable == 0


async def test_a_look_that_is_cancelled_leaves_no_reply_for_the_next(private_redis: RedisServer) -> None:
    async with opened(access(private_redis.port)) as directory:
        await directory.observe([], 1)
        private_redis.pause()
        look = asyncio.create_task(directory.observe([], 1))
        await asyncio.sleep(0.05)  # into the middle of it
        look.cancel()
        await asyncio.wait([look])
        assert look.cancelled()
        private_redis.resume()
        assert (await directory.observe([A.pod], 3)).records == {}


async def test_a_server_that_takes_no_writes_says_so(servers: ExitStack) -> None:
    server = servers.enter_context(RedisServer("--maxmemory", "1"))
    async with opened(access(server.port)) as directory:
        with pytest.raises(StoreUnavailable, match="takes no writes") as caught:
            await directory.claim(CITY, None)
        assert caught.value.reason is Fault.NOT_WRITABLE


async def test_slots_that_moved_are_followed(redis_cluster: RedisCluster, redis_prefix: str) -> None:
    ports = [port for _, port in redis_cluster.startup_nodes]
    with cluster_client(ports) as client:
        store = Store(client, redis_prefix)
        key = store.keys.partition(Partition(0))
        slot = client.keyslot(key)
        owner = ports.index(client.get_node_from_key(key).port)
        ids = [node.client().execute_command("CLUSTER MYID") for node in redis_cluster.nodes]
        store.takes(A, 0)
        text = client.get(key)
        client.delete(key)  # the slot moves empty: nothing has to migrate
        async with opened(access(*ports, cluster=True), redis_prefix) as directory:
            await directory.observe([], 1)
            for target in ((owner + 1) % 3, owner):
                for node in redis_cluster.nodes:
                    with node.client() as one:
                        one.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])
                with redis_cluster.nodes[target].client() as one:
                    one.set(key, text)
                assert (await directory.observe([], 1)).holders[Partition(0)].incarnation == A
                assert await directory.release({Partition(0): A}) == 1
                with redis_cluster.nodes[target].client() as one:
                    one.delete(key)


async def test_a_shard_that_is_frozen_is_told_and_found_again(redis_cluster: RedisCluster, redis_prefix: str) -> None:
    ports = [port for _, port in redis_cluster.startup_nodes]
    frozen = redis_cluster.nodes[1]
    async with opened(access(*ports, cluster=True, timeout=1.5), redis_prefix) as directory:
        before = (await directory.observe([A.pod], 40)).runs
        frozen.pause()
        try:
            async with asyncio.timeout(30):
                with pytest.raises(StoreUnavailable) as caught:
                    await directory.observe([A.pod], 40)
            assert caught.value.reason is Fault.UNREACHABLE
        finally:
            frozen.resume()
        async with asyncio.timeout(60):
            while True:
                try:
                    assert (await directory.observe([A.pod], 40)).runs == before
                    break
                except StoreUnavailable:  # the nodes have to find each other again
                    await asyncio.sleep(0.1)
