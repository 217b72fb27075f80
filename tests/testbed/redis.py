"""Real Redis on loopback: one server, or a three-node cluster.

    with RedisServer() as redis: ...        # redis.url

Nothing is written to the disk by itself, so a killed server comes back empty - except what `snapshot()` wrote: a
server killed after it comes back as it was then. That is what a failover looks like whose last writes are lost.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import redis

from tests.testbed import components
from tests.testbed.processes import NotReady, ServerProcess, free_port


class RedisServer(ServerProcess):
    """One redis-server. `arguments` are further options, as in `("--maxmemory", "64mb")`.

    `host` is where it listens: the address of a test node's host for clients in its pods.
    """

    name = "redis"
    start_timeout = 20.0

    def __init__(self, *arguments: str, host: str = "127.0.0.1") -> None:
        self._program = components.REDIS.find()
        super().__init__()
        self.port = free_port()
        self.host = host
        self.url = f"redis://{host}:{self.port}/0"
        self._arguments = arguments

    def command(self) -> Sequence[str]:
        # The program knows its role by its own name, which may be that of a link (see components.Redis).
        return [
            str(self._program), "--port", str(self.port), "--bind", self.host, "--save", "", "--appendonly", "no",
            "--dir", str(self.folder), "--dbfilename", "dump.rdb", "--daemonize", "no",
            "--protected-mode", "no", *self._arguments,
        ]  # fmt: skip

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> "redis.Redis":
        """A plain synchronous client for a test's own look at the data; close it (it is a context manager)."""
        return redis.Redis(self.host, self.port, socket_timeout=5.0, socket_connect_timeout=1.0, decode_responses=True)

    def snapshot(self) -> None:
        """Keep the present data: `kill` and `start` after this come back to it."""
        with self.client() as client:
            client.save()

    def forget_data(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "dump.rdb").unlink()

    def run_id(self) -> str:
        with self.client() as client:
            return str(client.info("server")["run_id"])


class RedisCluster:
    """Three masters that share the 16,384 slots, no replicas."""

    def __init__(self, nodes: int = 3) -> None:
        self._bus_ports = [free_port() for _ in range(nodes)]
        self.nodes = [
            RedisServer("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "2000")
            for bus in self._bus_ports
        ]

    @property
    def startup_nodes(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", node.port) for node in self.nodes]

    @property
    def url(self) -> str:
        """Any node will do: a cluster client learns the others from it."""
        return self.nodes[0].url

    @property
    def keep_logs(self) -> bool:
        return any(node.keep_logs for node in self.nodes)

    @keep_logs.setter
    def keep_logs(self, keep: bool) -> None:
        for node in self.nodes:
            node.keep_logs = keep

    @property
    def folders(self) -> list[Path]:
        return [node.folder for node in self.nodes]

    def start(self, timeout: float = 30.0) -> None:
        for node in self.nodes:
            node.start()
        bounds = [16384 * part // len(self.nodes) for part in range(len(self.nodes) + 1)]
        for node, first, end in zip(self.nodes, bounds, bounds[1:], strict=False):
            with node.client() as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", self.nodes.index(node) + 1)
        with self.nodes[0].client() as client:
            for node, bus in zip(self.nodes[1:], self._bus_ports[1:], strict=True):
                client.execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        deadline = time.monotonic() + timeout
        while not all(self._joined(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise NotReady(f"the cluster did not form within {timeout:.0f} s; logs in {self.folders}")
            time.sleep(0.05)

    def _joined(self, node: RedisServer) -> bool:
        with node.client() as client:
            info = client.execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.nodes))

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
