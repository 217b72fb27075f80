"""Reading a ChargeGateway: what follows from its fields, and what is said about one that makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from ocpp_contract.ids import ChargePointId, Partition, PodName
from ocpp_contract.names import Keys, Topics
from ocpp_gateway import settings as gateway
from ocpp_operator.core import gateway_settings
from ocpp_operator.core.fields import seconds
from ocpp_operator.core.spec import Resource, Spec, SpecError, container_port

MINIMAL: dict[str, Any] = {
    "kafka": {"bootstrapServers": "kafka:9092"},
    "redis": {"addresses": ["redis:6379"]},
    "decisions": {"type": "Accept"},
}


def read(**groups: Any) -> Spec:
    return Resource.parse(
        {"metadata": {"name": "city", "namespace": "data", "uid": "u"}, "spec": MINIMAL | groups}
    ).spec


def complaints(**groups: Any) -> tuple[str, ...]:
    with pytest.raises(SpecError) as mistake:
        read(**groups)
    return mistake.value.lines


@pytest.mark.parametrize(
    ("text", "value"),
    [("0s", 0.0), ("500ms", 0.5), ("30s", 30.0), ("10m", 600.0), ("168h", 604_800.0), ("1h30m15s", 5415.0)],
)
def test_durations_are_seconds(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "30", "1.5s", "-1s", "1d", "1 s", "s", "100000s", "1s1s1s1s1s"])
def test_other_words_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        seconds(text)


def test_metadata_is_read() -> None:
    raw = {
        "metadata": {
            "name": "city",
            "namespace": "data",
            "uid": "7",
            "generation": 3,
            "creationTimestamp": "2026-11-22T10:00:00Z",
            "deletionTimestamp": "2026-11-22T11:00:00Z",
            "annotations": {"chargegateway.io/pause-reconciliation": "true"},
        },
        "spec": MINIMAL,
        "status": {"replicas": 2},
    }
    resource = Resource.parse(raw)
    assert (resource.namespace, resource.name, resource.uid, resource.generation) == ("data", "city", "7", 3)
    assert (resource.created, resource.deleting, resource.paused) == ("2026-11-22T10:00:00Z", True, True)
    assert (resource.status, resource.raw) == ({"replicas": 2}, raw)


def test_an_object_without_anything_is_a_mistake_and_no_crash() -> None:
    with pytest.raises(SpecError) as mistake:
        Resource.parse({})
    assert mistake.value.lines == ("spec.decisions: is needed", "spec.kafka: is needed", "spec.redis: is needed")


def test_fields_of_newer_versions_are_left_aside() -> None:
    assert read(later={"field": 1}, limits={"connectionsPerPod": 7, "later": 1}).limits.connections_per_pod == 7


def test_every_mistake_has_its_line_and_names_its_field() -> None:
    said = complaints(
        listeners=[{"name": "ws", "port": 0}, {"name": "wss", "port": 443, "securityProfiles": [1, 2]}],
        kafka={"bootstrapServers": "kafka"},
        commands={"defaultDeadline": "20m", "retention": "1s"},
        replicas="many",
    )
    assert "spec.listeners[0].port: Input should be greater than or equal to 1" in said
    assert "spec.listeners[1].tls: security profile 2 needs tls" in said
    assert "spec.kafka.bootstrapServers: bootstrapServers must be host:port, several separated by commas" in said
    assert "spec.commands.retention: must be at least 3600s" in said
    assert any(line.startswith("spec.replicas: Input should be a valid integer") for line in said)
    assert len(said) == 5


def test_two_broken_rules_of_one_group_are_two_lines() -> None:
    assert complaints(redis={"addresses": ["a", "b:1"], "username": "me"}) == (
        "spec.redis.addresses: each address must be host:port",
        "spec.redis.addresses: mode Standalone takes one address; write `mode: Cluster` for several",
        "spec.redis.passwordSecretRef: username needs passwordSecretRef",
    )


def test_a_name_that_an_older_crd_let_in_is_a_mistake() -> None:
    with pytest.raises(SpecError, match=r"^metadata\.name: the name must have at most 40 characters"):
        Resource.parse({"metadata": {"name": "c" * 41}, "spec": MINIMAL})


def test_pods_that_may_leave_together_share_the_rate() -> None:
    spec = read(drain={"connectionsPerSecond": 90}, rollout={"maxSurge": 2}, disruption={"maxUnavailable": 1})
    assert spec.drain_rate == 30.0


def test_the_ceiling_of_a_drain_follows_from_the_spec_alone() -> None:
    assert read().force_after == 15 + 10_000 / (50 / 2) + 60
    assert read().grace_period == 490
    spec = read(drain={"forceAfter": "10m"})
    assert (spec.force_after, spec.grace_period) == (600.0, 615)
    assert read(drain={"connectionsPerSecond": 7}).grace_period == 2948  # rounded up


def test_the_autoscaler_aims_below_the_limit() -> None:
    assert read(autoscaling={"maxReplicas": 9}).target_connections == 8000
    assert read(autoscaling={"maxReplicas": 9, "targetConnectionsPerPod": 100}).target_connections == 100
    assert read(autoscaling={"maxReplicas": 9}, limits={"connectionsPerPod": 1}).target_connections == 1


def test_topics_have_the_names_of_the_contract_unless_told_otherwise() -> None:
    assert read().topic_names == Topics()
    named = read(kafka=MINIMAL["kafka"] | {"topics": {"stations": {"name": "city-stations"}}})
    assert named.topic_names == Topics(stations="city-stations")


def test_listeners_are_served_above_the_privileged_ports() -> None:
    assert [container_port(index) for index in range(3)] == [8000, 8001, 8002]


def test_every_secret_that_is_read_is_known() -> None:
    spec = read(
        image={"pullSecrets": [{"name": "not-read-by-us"}]},
        listeners=[
            {
                "name": "wss",
                "port": 1,
                "securityProfiles": [2],
                "tls": {"certificateRefs": [{"name": "a"}, {"name": "b"}]},
            }
        ],
        decisions={
            "type": "Webhook",
            "webhook": {"url": "http://b", "authorizationSecretRef": {"name": "c", "key": "k"}},
        },
        kafka=MINIMAL["kafka"]
        | {
            "tls": {"caSecretRef": {"name": "d", "key": "k"}},
            "authentication": {"type": "TLS", "certificateRef": {"name": "e"}},
        },
        redis=MINIMAL["redis"] | {"passwordSecretRef": {"name": "f", "key": "k"}},
    )
    assert spec.secrets() == set("abcdef")


@pytest.mark.parametrize(
    "key",
    [
        Keys().conn(ChargePointId("CP1")),
        Keys().pod(PodName("city-1")),
        Keys().partition(Partition(7)),
        Keys().station(ChargePointId("CP1")),
        Keys().run("0123"),
    ],
)
def test_a_prefix_under_which_another_resource_would_find_keys_of_its_own_is_refused(key: str) -> None:
    """`eu:` beside `eu:conn:`: the sweep of the former would take `eu:conn:conn:CP1` for a station whose pod is gone."""
    kind = key[: key.index(":") + 1]
    for prefix in (kind, f"eu:{kind}", f"eu:{kind}west:"):
        assert complaints(redis={"addresses": ["a:1"], "keyPrefix": prefix})[0].startswith("spec.redis.keyPrefix:")
    assert read(redis={"addresses": ["a:1"], "keyPrefix": "eu:west:"}).redis.key_prefix == "eu:west:"


@pytest.mark.parametrize(
    ("kafka", "protocol", "mechanism"),
    [
        ({}, "PLAINTEXT", None),
        ({"tls": {}}, "SSL", None),
        ({"tls": {}, "authentication": {"type": "TLS", "certificateRef": {"name": "c"}}}, "SSL", None),
        ({"authentication": "Plain"}, "SASL_PLAINTEXT", "PLAIN"),
        ({"tls": {}, "authentication": "ScramSha256"}, "SASL_SSL", "SCRAM-SHA-256"),
        ({"tls": {}, "authentication": "ScramSha512"}, "SASL_SSL", "SCRAM-SHA-512"),
    ],
)
def test_kafka_in_the_words_of_its_clients(kafka: dict[str, Any], protocol: str, mechanism: str | None) -> None:
    if isinstance(kind := kafka.get("authentication"), str):
        password = {"name": "cg", "key": "password"}
        kafka = kafka | {"authentication": {"type": kind, "username": "cg", "passwordSecretRef": password}}
    found = read(kafka={"bootstrapServers": "a:1, b:2"} | kafka).kafka
    assert (found.servers, found.security_protocol) == (("a:1", "b:2"), protocol)
    assert (found.authentication and found.authentication.mechanism) == mechanism


def test_records_of_commands_outlive_whatever_can_be_read_again() -> None:
    assert read().commands.record_ttl == 28_800.0  # the gateway's default
    commands = read(commands={"retention": "168h"}).commands
    assert commands.record_ttl > commands.retention + commands.segment


def test_defaults_are_those_of_the_gateway() -> None:
    """Where the operator writes a setting that nobody asked for, it writes the gateway's own default."""
    resource = Resource.parse({"metadata": {"name": "city", "uid": "u"}, "spec": MINIMAL})
    rendered = gateway_settings.render(resource)
    settings = gateway.Settings(**rendered | {"pod": {"name": "city-1", "uid": "u", **rendered["pod"]}})
    for group in ("ocpp", "commands", "limits", "stations", "topics"):
        assert getattr(settings, group) == type(getattr(settings, group))(), group
    assert settings.drain.load_balancer_wait == gateway.Drain().load_balancer_wait
    assert resource.spec.drain.connections_per_second == gateway.Drain().connections_per_second
