"""The Redis of the test bed is real, and loses or keeps exactly what a fault says."""

import pytest
import redis

from tests.testbed.redis import RedisCluster, RedisServer


def test_it_is_redis_7_on_loopback_and_not_on_the_default_port(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        assert client.info("server")["redis_version"].split(".")[0] >= "7"
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
    assert redis_server.port != 6379


def test_a_restart_comes_back_empty_on_the_same_port_as_another_run(private_redis: RedisServer) -> None:
    with private_redis.client() as client:
        client.set("a", "1")
    before = private_redis.run_id()
    private_redis.restart_empty()
    with private_redis.client() as client:
        assert client.get("a") is None
    assert private_redis.run_id() != before


def test_a_kill_after_a_snapshot_loses_only_the_later_writes(private_redis: RedisServer) -> None:
    with private_redis.client() as client:
        client.set("a", "1")
        private_redis.snapshot()
        client.set("a", "2")
    private_redis.kill()
    private_redis.start()
    with private_redis.client() as client:
        assert client.get("a") == "1"


def test_the_cluster_serves_every_slot_and_refuses_keys_of_two(redis_cluster: RedisCluster) -> None:
    host, port = redis_cluster.startup_nodes[0]
    with redis.RedisCluster(host=host, port=port, decode_responses=True) as client:
        for number in range(64):
            assert client.set(f"{{k{number}}}:a", number)
        assert len(client.get_primaries()) == 3
    with redis_cluster.nodes[0].client() as node, pytest.raises(redis.ResponseError, match="same slot"):
        node.mget("{k1}:a", "{k2}:a")
