"""Apache Kafka in KRaft mode (broker and controller in one JVM), and the embedded broker of `chargegateway demo`.

    with KafkaServer() as kafka:            # or: async with
        await create_topics(kafka.bootstrap, {"commands-down": 128}, {"message.timestamp.type": "LogAppendTime"})

`create_topics` returns when every partition has a leader. Without that the first produces meet NotLeaderForPartition
and a test measures retries.
"""

import asyncio
import base64
import secrets
import shutil
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from tests.testbed import components
from tests.testbed.processes import NotReady, ServerProcess, free_port

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners={listeners}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map={protocols}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A killed broker may register again only when its last session has ended (9 s by default).
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
# Tests make many topics of 128 partitions, and an index file is allocated at its full size.
log.index.size.max.bytes=65536
"""

_LOG4J = """\
Configuration:
  status: error
  Appenders:
    Console:
      name: out
      PatternLayout:
        pattern: "%d{ISO8601} %p %c{1} %m%n"
  Loggers:
    Root:
      level: info
      AppenderRef:
        ref: out
"""


class KafkaServer(ServerProcess):
    """One Kafka node on loopback. Data stays over `stop`, `kill` and `start`; `restart_empty` forgets it.

    `listeners` names further listeners and their protocols, as in `{"SECURE": "SASL_SSL"}`; `addresses` tells where they
    are. What they need stands in `properties`. `host` is the address of all but the controller's: that of a test node's
    host for clients in its pods.
    """

    name = "kafka"
    start_timeout = 90.0
    stop_timeout = 20.0

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        heap: str = "512m",
        host: str = "127.0.0.1",
    ) -> None:
        self.libs = components.KAFKA.find()
        super().__init__()
        self.port, self.controller_port, self.heap = free_port(), free_port(), heap
        self.host = host
        self.bootstrap = f"{host}:{self.port}"
        self._data = self.folder / "data"
        self._configuration = self.folder / "server.properties"
        ports = {"PLAINTEXT": self.port, "CONTROLLER": self.controller_port}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **(listeners or {})}
        self.addresses = {
            name: f"{'127.0.0.1' if name == 'CONTROLLER' else host}:{ports.setdefault(name, free_port())}"
            for name in protocols
        }
        text = _PROPERTIES.format(
            controller=self.controller_port,
            data=self._data,
            listeners=",".join(f"{name}://{address}" for name, address in self.addresses.items()),
            protocols=",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        )
        for key, value in (properties or {}).items():
            text += f"{key}={value}\n"
        self._configuration.write_text(text)
        (self.folder / "log4j2.yaml").write_text(_LOG4J)

    def java(self, *arguments: str) -> list[str]:
        # Serial collector and the first compiler tier only: half the start time and memory, enough for tests.
        return [
            components.java(), f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            "-cp", f"{self.libs}/*", f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}", *arguments,
        ]  # fmt: skip

    def command(self) -> Sequence[str]:
        return self.java("kafka.Kafka", str(self._configuration))

    def spawn(self) -> None:
        if not self._data.exists():
            self._format(_cluster_id(), "--standalone")
        super().spawn()

    def _format(self, cluster: str, *quorum: str) -> None:
        done = subprocess.run(
            self.java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._configuration), *quorum),
            capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip
        if done.returncode:
            self.keep_logs = True
            self.log.write_text(f"format ended with {done.returncode}\n{done.stdout}{done.stderr}")
            raise NotReady(f"Kafka's storage could not be formatted ({done.returncode}):\n{self.log.read_text()}")

    def answers(self) -> bool:
        return _lists_itself(self.host, self.port)

    def forget_data(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)


class _Node(KafkaServer):
    """One of a cluster: same cluster id, fixed voters."""

    def __init__(self, number: int, cluster: str) -> None:
        super().__init__()
        self.number = number
        self._cluster = cluster

    def join(self, voters: str, nodes: int) -> None:
        replicas = min(nodes, 3)
        with self._configuration.open("a") as configuration:
            configuration.write(
                f"node.id={self.number}\n"
                f"controller.quorum.voters={voters}\n"
                f"offsets.topic.replication.factor={replicas}\n"
                f"default.replication.factor={replicas}\n"
                "replica.lag.time.max.ms=3000\n"
                "unclean.leader.election.enable=false\n"
            )

    def spawn(self) -> None:
        if not self._data.exists():
            self._format(self._cluster)
        ServerProcess.spawn(self)


class KafkaCluster:
    """Several Kafka nodes, each broker and controller, for moves of leaders and shrunk in-sync sets.

    `nodes[n]` has the levers of a single server. A JVM each: about a gigabyte for three.
    """

    def __init__(self, nodes: int = 3) -> None:
        cluster = _cluster_id()
        self.nodes = [_Node(number, cluster) for number in range(1, nodes + 1)]
        voters = ",".join(f"{node.number}@127.0.0.1:{node.controller_port}" for node in self.nodes)
        for node in self.nodes:
            node.join(voters, nodes)
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes)
        self.keep_logs = False

    @property
    def folders(self) -> list[Path]:
        return [node.folder for node in self.nodes]

    def node(self, number: int) -> _Node:
        """The node with this broker id."""
        return self.nodes[number - 1]

    def start(self) -> None:
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:  # none is ready before a majority is there
            node.wait_until_ready()

    def close(self) -> None:
        # Together: a controller that lost its majority would wait out its time-out before it ends.
        for node in self.nodes:
            node.keep_logs = node.keep_logs or self.keep_logs
            node.kill()
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


class EmbeddedBroker(ServerProcess):
    """Tansu, the broker that `chargegateway demo` embeds. In memory only: a restart is a restart empty."""

    name = "tansu"
    start_timeout = 20.0

    def __init__(self) -> None:
        self._program = components.TANSU.find()
        super().__init__()
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        url = f"tcp://127.0.0.1:{self.port}"
        return [
            str(self._program), "broker", "--listener-url", url, "--advertised-listener-url", url,
            "--storage-engine", "memory://tansu/",
        ]  # fmt: skip

    def answers(self) -> bool:
        return _lists_itself("127.0.0.1", self.port)

    def forget_data(self) -> None:
        """There is none on the disk."""


async def create_topics(
    bootstrap: str,
    partitions: Mapping[str, int],
    settings: Mapping[str, str] | None = None,
    *,
    replication: int = 1,
    timeout: float = 30.0,
) -> None:
    """Create topics (name -> number of partitions) and wait until every partition has a leader.

    A topic that exists already is left as it is. Raises TimeoutError when a leader is missing at the end.
    """
    async with asyncio.timeout(timeout), _admin(bootstrap) as admin:
        topics = [
            NewTopic(name, number, replication, topic_configs=dict(settings or {}))
            for name, number in partitions.items()
        ]
        answer = await admin.create_topics(topics)
        for topic, code, *_ in answer.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise for_code(code)(topic)
        while not await _all_led(admin, partitions):  # noqa: ASYNC110 - another process answers
            await asyncio.sleep(0.02)
    async with asyncio.timeout(timeout):
        await _leaders_serve(bootstrap, partitions)


async def _all_led(admin: AIOKafkaAdminClient, partitions: Mapping[str, int]) -> bool:
    described = await admin.describe_topics(list(partitions))
    return all(
        not topic["error_code"]
        and len(topic["partitions"]) >= partitions[topic["topic"]]
        and all(not each["error_code"] and each["leader"] >= 0 for each in topic["partitions"])
        for topic in described
    ) and len(described) == len(partitions)


async def _leaders_serve(bootstrap: str, partitions: Mapping[str, int]) -> None:
    """The metadata names a leader a moment before that broker knows it is one: ask it for its end offsets.

    The consumer asks again while it is told NotLeaderForPartition.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, retry_backoff_ms=20, request_timeout_ms=10_000)
    await consumer.start()
    try:
        await consumer.end_offsets(
            [TopicPartition(name, k) for name, number in partitions.items() for k in range(number)]
        )
    finally:
        await consumer.stop()


def _cluster_id() -> str:
    # The two fixed bytes keep its first character from being "-", which the storage tool takes for an option.
    return base64.urlsafe_b64encode(b"cg" + secrets.token_bytes(14)).decode().rstrip("=")


class _admin:
    def __init__(self, bootstrap: str) -> None:
        self._client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


def _lists_itself(host: str, port: int) -> bool:
    """Metadata v1 for no topic, by hand: a broker lists itself once it is registered and unfenced.

    An open port is not enough (KRaft opens it before the broker may lead), and a client library would hide the wait.
    """
    client = b"testbed"
    body = struct.pack(">hhih", 3, 1, 1, len(client)) + client + struct.pack(">i", 0)
    with socket.create_connection((host, port), timeout=1.0) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        answer = connection.makefile("rb")
        size, _correlation, brokers = struct.unpack(">iii", answer.read(12).ljust(12, b"\0"))
        answer.close()
        return size > 8 and brokers > 0
