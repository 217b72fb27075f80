"""The connection to the brokers: TLS and SASL as configured, and clients that can be closed in any state."""

import asyncio
import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ocpp_contract.ids import Partition
from ocpp_gateway.adapters.commands import CommandConsumer
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.adapters.kafka_connection import (
    KafkaConnection,
    KafkaUnknown,
    close_consumer,
    start_client,
)
from ocpp_gateway.adapters.secret_files import followed_context, followed_text
from ocpp_gateway.core.effects import Lane, SourceRecord
from tests.testbed.kafka import KafkaServer, create_topics

PASSWORDS = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_gateway="right";'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEM files of one authority: the broker's and the gateway's."""
    folder = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    broker, gateway = authority.issue_cert("127.0.0.1"), authority.issue_cert("gateway@example.org")
    (folder / "broker.pem").write_bytes(_for_java(broker))
    gateway.private_key_and_cert_chain_pem.write_to_path(folder / "gateway.pem")
    trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
    return folder


def _for_java(issued: trustme.LeafCert) -> bytes:
    """Java reads private keys as PKCS #8 only."""
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    return b"".join(
        (
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            *(certificate.bytes() for certificate in issued.cert_chain_pems),
        )
    )


@pytest.fixture(scope="module")
def secure_kafka(kafka: KafkaServer, folder: Path) -> Iterator[KafkaServer]:
    """A broker with a listener that wants TLS, a client certificate, and a SASL password on top."""
    properties = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": PASSWORDS,
        "listener.name.secure.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
    }
    with KafkaServer(properties, listeners={"SECURE": "SASL_SSL"}) as server:
        yield server


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("right\n")
    return file


@pytest.fixture
def connection(secure_kafka: KafkaServer, folder: Path, password: Path) -> KafkaConnection:
    return KafkaConnection(
        (secure_kafka.addresses["SECURE"],),
        request_timeout=3.0,
        security_protocol="SASL_SSL",
        tls=followed_context(folder / "ca.pem", folder / "gateway.pem"),
        sasl_mechanism="PLAIN",
        username="gateway",
        password=followed_text(password),
    )


async def produced(connection: KafkaConnection, topic: str) -> None:
    producer = EventProducer(connection)
    producer.start()
    try:
        await producer.produce(topic, b"CP1", b"secret", timeout=3.0)
    finally:
        await producer.stop(timeout=0.1)


async def test_producer_and_consumer_speak_tls_with_a_certificate_and_sasl(
    secure_kafka: KafkaServer, connection: KafkaConnection, fresh_name
) -> None:
    topics = {lane: fresh_name(f"commands-{lane}") for lane in Lane}
    await create_topics(secure_kafka.bootstrap, dict.fromkeys(topics.values(), 1))
    read: asyncio.Queue[SourceRecord] = asyncio.Queue()
    consumer = CommandConsumer(connection, topics, fresh_name("group"), read.put_nowait)
    consumer.start()
    try:
        consumer.start_fetch(Partition(0), dict.fromkeys(Lane, 0))
        await produced(connection, topics[Lane.URGENT])
        async with asyncio.timeout(10):
            assert (await read.get()).value == b"secret"
        await consumer.commit(Lane.URGENT, Partition(0), 1, "")
    finally:
        await consumer.stop()


@pytest.mark.parametrize("mistake", ["password", "no certificate", "stranger's authority", "plain text"])
async def test_a_wrong_credential_reaches_nothing(
    secure_kafka: KafkaServer, connection: KafkaConnection, folder: Path, tmp_path: Path, fresh_name, mistake: str
) -> None:
    topic = fresh_name("events")
    await create_topics(secure_kafka.bootstrap, {topic: 1})
    (tmp_path / "wrong").write_text("wrong")
    wrong = {
        "password": replace(connection, password=followed_text(tmp_path / "wrong")),
        "no certificate": replace(connection, tls=followed_context(folder / "ca.pem")),
        "stranger's authority": replace(
            connection, tls=followed_context(folder / "stranger.pem", folder / "gateway.pem")
        ),
        "plain text": replace(connection, security_protocol="SASL_PLAINTEXT", tls=None),
    }[mistake]
    with pytest.raises(KafkaUnknown):
        await produced(wrong, topic)


def test_the_password_is_never_shown(password: Path) -> None:
    assert "right" not in repr(KafkaConnection(("b:9092",), username="gateway", password=followed_text(password)))


async def test_a_consumer_can_be_closed_while_its_fetch_waits_to_be_repeated(private_kafka: KafkaServer) -> None:
    """aiokafka 0.14 ends `stop()` itself as cancelled here; the task that reads commands would die of it in silence."""
    await create_topics(private_kafka.bootstrap, {"t": 1})
    consumer = AIOKafkaConsumer(bootstrap_servers=private_kafka.bootstrap, retry_backoff_ms=60_000)
    await consumer.start()
    consumer.assign([TopicPartition("t", 0)])
    consumer.seek(TopicPartition("t", 0), 0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(consumer.getone(), 1.0)
    private_kafka.kill()
    while consumer._client._conns and any(each.connected() for each in consumer._client._conns.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await close_consumer(consumer)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.parametrize("make", [AIOKafkaConsumer, AIOKafkaAdminClient])
async def test_a_client_that_is_cancelled_while_it_starts_leaves_no_connection(
    kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]
) -> None:
    """aiokafka 0.14 loses the one on which it waits for the first metadata."""
    asked = asyncio.Event()
    send = AIOKafkaConnection.send

    def watched(connection: AIOKafkaConnection, request: Any, **options: Any) -> Any:
        if isinstance(request, MetadataRequest):
            asked.set()
        return send(connection, request, **options)

    async def started_and_closed() -> None:
        connection = KafkaConnection((kafka.bootstrap,))
        client = connection.admin() if make is AIOKafkaAdminClient else connection.consumer()
        try:
            await start_client(client)
        finally:
            await (client.close() if make is AIOKafkaAdminClient else close_consumer(client))

    monkeypatch.setattr(AIOKafkaConnection, "send", watched)
    starting = asyncio.create_task(started_and_closed())
    await asked.wait()
    starting.cancel()
    await asyncio.wait((starting,))
    assert starting.cancelled()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(each.message) for each in told if "AIOKafkaConnection" in str(each.message)] == []
