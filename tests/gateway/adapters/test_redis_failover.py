"""The store adapter on a real cluster whose master is replaced by its replica: another run of the same shard."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from redis.crc import key_slot

from ocpp_contract.ids import ChargePointId, Partition
from ocpp_gateway.core import effects
from tests.conftest import running
from tests.gateway.adapters.test_redis_store import FAR, A, opened, until
from tests.testbed.processes import free_port
from tests.testbed.redis import RedisCluster, RedisServer

pytestmark = pytest.mark.redis


class Replicated(RedisCluster):
    """Three masters; the first has a replica."""

    def __init__(self) -> None:
        super().__init__()
        self._replica_bus = free_port()
        self.replica = RedisServer("--cluster-enabled", "yes", "--cluster-port", str(self._replica_bus))

    def start(self, timeout: float = 30.0) -> None:
        super().start(timeout)
        self.replica.start()
        with self.nodes[0].client() as master:
            master.execute_command("CLUSTER MEET", "127.0.0.1", self.replica.port, self._replica_bus)

    def follow(self) -> bool:
        """Ask the replica to follow the first master; True once it does and its link is up."""
        with self.nodes[0].client() as master, self.replica.client() as replica:
            if replica.info("replication")["role"] == "master":
                master_id = master.execute_command("CLUSTER MYID")
                if master_id in str(replica.execute_command("CLUSTER NODES")):
                    replica.execute_command("CLUSTER REPLICATE", master_id)
                return False
            return bool(replica.info("replication")["master_link_status"] == "up")

    def close(self) -> None:
        self.replica.close()
        super().close()


@pytest.fixture
def replicated(request: pytest.FixtureRequest) -> Iterator[Replicated]:
    yield from running(request, Replicated)


async def test_what_was_asked_of_the_old_master_is_not_done_by_the_new_one(replicated: Replicated) -> None:
    """The old master answers MOVED: it did nothing. But who asked knew only the old run, and the new one may lack the last
    writes of the old: what was asked on that knowledge must not be carried across."""
    await until(replicated.follow)
    ports = [node.port for node in replicated.nodes]
    async with opened(*ports, cluster=True) as (store, runs):
        await until(lambda: store.available)
        station = next(
            station for station in map(ChargePointId, "abcdefgh") if _is_first(replicated, store.keys.conn(station))
        )
        first = await store.execute(registration(station))
        known = dict(runs)
        with replicated.replica.client() as replica:
            replica.execute_command("CLUSTER FAILOVER", "TAKEOVER")
        await until(lambda: _role(replicated.nodes[0]) == "slave")
        assert dict(runs) == known
        with pytest.raises(effects.Unknown):
            await store.execute(registration(station))
        with replicated.replica.client() as replica:
            assert first.epoch == json.loads(str(replica.get(store.keys.conn(station))))["epoch"]
        await until(lambda: store.available and dict(runs) != known)
        assert {shard for shard, run in runs if known[shard] != run} == {"0"}
        assert (await store.execute(registration(station))).epoch > first.epoch


def registration(station: ChargePointId) -> effects.Register:
    return effects.Register(station, A, Partition(1), "c", "ocpp1.6", "s", 0, FAR)


def _is_first(cluster: RedisCluster, key: str) -> bool:
    """Whether the key lies on the first master."""
    return key_slot(key.encode()) < 16384 // len(cluster.nodes)


def _role(server: RedisServer) -> str:
    with server.client() as client:
        return str(client.info("replication")["role"])
