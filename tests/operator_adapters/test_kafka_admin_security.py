"""TLS, SASL and rights against a broker that wants them, and the words that a person reads when one is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.protocol.metadata import MetadataRequest

from ocpp_operator.adapters.kafka_admin import KafkaAccess, KafkaAdmin, KafkaDenied, KafkaUnavailable
from ocpp_operator.adapters.kafka_session import session
from ocpp_operator.core.topics import WishedTopic
from tests.operator_adapters.kafka_secure import (
    CREATE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUP,
    TOPIC,
    Pems,
    SecureKafka,
    allow,
    make_pems,
)
from tests.operator_adapters.open_sockets import closed, sockets
from tests.testbed.kafka import KafkaServer, create_topics

FreshName = Callable[[str], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pki")


@pytest.fixture(scope="module")
def pems(folder: Path) -> Pems:
    return make_pems(folder)


@pytest.fixture(scope="module")
def secure_kafka(kafka: KafkaServer, pems: Pems, folder: Path) -> Iterator[SecureKafka]:
    """Where the run's Kafka starts, this one does."""
    with SecureKafka(folder) as server:
        yield server


@pytest.fixture
def access(secure_kafka: SecureKafka, pems: Pems) -> Callable[..., KafkaAccess]:
    """`access("SASLTLS", password="wrong")`: right in everything but what is named."""

    def make(listener: str, **changes: object) -> KafkaAccess:
        right = KafkaAccess((secure_kafka.addresses[listener],), timeout=15.0)
        if listener.endswith("TLS"):
            right = replace(right, tls=True, ca_pem=pems.ca)
        if listener == "MTLS":
            right = replace(right, certificate_pem=pems.certificate, key_pem=pems.key)
        if listener.startswith("SASL"):
            right = replace(right, sasl_mechanism="SCRAM-SHA-512", username="gateway", password="right")
        return replace(right, **changes)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(
    ("listener", "changes"),
    [
        ("TLS", {}),
        ("MTLS", {}),
        ("SASLTLS", {"sasl_mechanism": "SCRAM-SHA-512"}),
        ("SASLTLS", {"sasl_mechanism": "SCRAM-SHA-256"}),
        ("SASLTLS", {"sasl_mechanism": "PLAIN"}),
        ("SASL", {"sasl_mechanism": "SCRAM-SHA-512"}),
    ],
)
async def test_whoever_shows_what_is_wanted_may_create_and_see(
    access: Callable[..., KafkaAccess], fresh_name: FreshName, listener: str, changes: dict[str, object]
) -> None:
    admin = KafkaAdmin(access(listener, **changes))
    name = fresh_name("events")
    assert await admin.create([WishedTopic(name, 2, 1, {"retention.ms": "60000"})]) == {}
    seen = None
    while seen is None:
        seen = (await admin.observe([name]))[name]
    assert seen.configs is not None
    assert (seen.partitions, seen.configs["retention.ms"]) == (2, "60000")
    assert len(await admin.brokers()) == 1


@pytest.mark.parametrize(
    ("listener", "changes", "words"),
    [
        ("SASLTLS", {"password": "wrong"}, r"user gateway was refused \(SCRAM-SHA-512\): wrong name or password"),
        ("SASLTLS", {"username": "nobody"}, "user nobody was refused"),
        ("SASLTLS", {"password": "wrong", "sasl_mechanism": "PLAIN"}, r"user gateway was refused \(PLAIN\)"),
        ("SASLTLS", {"ca_pem": "stranger"}, "the broker's certificate is not trusted: .*caSecretRef"),
        ("SASLTLS", {"ca_pem": None}, "the broker's certificate is not trusted"),
        ("TLS", {"ca_pem": "no PEM"}, "the CA of the brokers .* is no PEM certificate"),
        ("TLS", {"ca_pem": ""}, "the CA of the brokers .* is no PEM certificate"),
        ("MTLS", {"certificate_pem": None}, "the broker refuses us without a certificate"),
        ("MTLS", {"key_pem": "encrypted"}, "our certificate and key .* cannot be used: .*encrypted"),
        ("MTLS", {"key_pem": None}, "our certificate and key .* cannot be used"),
        ("TLS", {"sasl_mechanism": "PLAIN", "username": "gateway", "password": "right"}, "this port takes no SASL"),
    ],
)
async def test_a_wrong_credential_is_named(
    access: Callable[..., KafkaAccess], pems: Pems, listener: str, changes: dict[str, object], words: str
) -> None:
    texts = {"stranger": pems.stranger_ca, "encrypted": pems.encrypted_key}
    changes = {key: texts.get(str(value), value) for key, value in changes.items()}
    with pytest.raises(KafkaDenied, match=words) as caught:
        await KafkaAdmin(access(listener, **changes)).brokers()
    for secret in ("right", "PRIVATE KEY"):
        assert secret not in caught.value.reason


async def test_a_name_that_is_not_in_the_certificate_is_not_trusted(
    access: Callable[..., KafkaAccess], secure_kafka: SecureKafka
) -> None:
    port = secure_kafka.addresses["TLS"].rpartition(":")[2]
    with pytest.raises(KafkaDenied, match="not trusted: Hostname mismatch"):
        await KafkaAdmin(access("TLS", bootstrap_servers=(f"localhost:{port}",))).brokers()


@pytest.mark.parametrize("mistake", ["plain text to TLS", "plain text to SASL", "TLS to plain text"])
async def test_the_wrong_protocol_is_hinted_at(
    access: Callable[..., KafkaAccess], secure_kafka: SecureKafka, mistake: str
) -> None:
    wrong = {
        "plain text to TLS": access("TLS", tls=False, timeout=3.0),
        "plain text to SASL": access("SASL", sasl_mechanism=None),
        "TLS to plain text": access("TLS", bootstrap_servers=(secure_kafka.bootstrap,)),
    }[mistake]
    with pytest.raises((KafkaUnavailable, KafkaDenied), match=r"TLS|did not answer"):
        await KafkaAdmin(wrong).brokers()


async def test_a_broker_that_freezes_under_tls_keeps_no_socket(
    access: Callable[..., KafkaAccess], secure_kafka: SecureKafka
) -> None:
    """It answers no goodbye, which asyncio would wait for."""
    before = sockets()
    async with asyncio.timeout(30):
        try:
            with pytest.raises(KafkaUnavailable):
                await ask_while_it_freezes(access("TLS", timeout=3.0), secure_kafka)
        finally:
            secure_kafka.resume()
    await closed(before)


async def ask_while_it_freezes(reach: KafkaAccess, server: KafkaServer) -> None:
    async with session(reach) as kafka:
        server.pause()
        await kafka.ask(MetadataRequest([]))


def test_secrets_are_never_shown(pems: Pems) -> None:
    shown = repr(
        KafkaAccess(("b:9092",), certificate_pem=pems.certificate, key_pem=pems.key, username="u", password="right")
    )
    assert "PRIVATE KEY" not in shown
    assert "right" not in shown


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guest(access: Callable[..., KafkaAccess]) -> KafkaAdmin:
    return KafkaAdmin(access("SASLTLS", sasl_mechanism="PLAIN", username="guest"))


async def test_a_missing_right_is_named(guest: KafkaAdmin, secure_kafka: SecureKafka, fresh_name: FreshName) -> None:
    name = fresh_name("commands")
    await create_topics(secure_kafka.bootstrap, {name: 1})
    with pytest.raises(KafkaDenied, match=f"not authorised to see {name}: allow our user Describe"):
        await guest.observe([name])
    with pytest.raises(KafkaDenied, match=f"not authorised to create {name}: allow our user Create"):
        await guest.create([WishedTopic(name, 1, 1, {})])
    with pytest.raises(KafkaDenied, match="Describe on the group"):
        await guest.commits("g", name, [0])


async def test_settings_that_we_may_not_read_are_unknown_and_not_an_error(
    guest: KafkaAdmin, secure_kafka: SecureKafka, fresh_name: FreshName
) -> None:
    name = fresh_name("commands")
    await create_topics(secure_kafka.bootstrap, {name: 1})
    await allow(secure_kafka, "guest", TOPIC, name, DESCRIBE)
    seen = (await guest.observe([name]))[name]
    assert seen is not None
    assert (seen.partitions, seen.configs) == (1, None)
    await allow(secure_kafka, "guest", TOPIC, name, DESCRIBE_CONFIGS)
    seen = (await guest.observe([name]))[name]
    assert seen is not None
    assert seen.configs is not None
    assert seen.configs["cleanup.policy"] == "delete"


async def test_with_the_rights_that_are_asked_for_everything_works(
    guest: KafkaAdmin, secure_kafka: SecureKafka, fresh_name: FreshName
) -> None:
    name, group = fresh_name("commands"), fresh_name("group")
    await allow(secure_kafka, "guest", TOPIC, name, CREATE, DESCRIBE, DESCRIBE_CONFIGS)
    await allow(secure_kafka, "guest", GROUP, group, DESCRIBE)
    assert await guest.create([WishedTopic(name, 1, 1, {})]) == {}
    assert await guest.commits(group, name, [0]) == {}


async def test_looking_creates_nothing_on_brokers_that_create_what_they_are_asked_for(
    access: Callable[..., KafkaAccess], fresh_name: FreshName
) -> None:
    admin = KafkaAdmin(access("SASLTLS"))
    name = fresh_name("absent")
    for _ in range(2):
        assert await admin.observe([name]) == {name: None}
