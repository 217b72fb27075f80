"""Each CEL rule of the CRD on a real API server: an object that it refuses, with what the user reads, and one that it admits.

The rules are read from crds/chargegateways.yaml: one without a row fails. Where our own reading of the object judges the same
rule (an object that an older CRD let in), the same row asks it too.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import yaml

from ocpp_operator.core import crd as rendered
from ocpp_operator.core.fields import BETWEEN
from ocpp_operator.core.spec import Resource, SpecError
from tests.operator_cluster.crd_objects import COLLECTION, FULL_SPEC, MINIMAL_SPEC, REMOVED, gateway, gateway_takes
from tests.operator_core.publish import CRD
from tests.testbed.kubernetes import ApiError, KubernetesServer

Changes = Mapping[str, object]


@dataclass(frozen=True)
class Row:
    """The rule at `at` with the message that begins `begins`; the changes are to the full object, or to the minimal one."""

    at: str
    begins: str
    refused: Changes
    admitted: Changes = field(default_factory=dict)
    minimal: bool = False

    def object(self, changes: Changes, before: Changes | None = None) -> dict[str, Any]:
        return gateway(MINIMAL_SPEC if self.minimal else FULL_SPEC, {**(before or {}), **changes})


PLAIN, TLS = "spec.listeners[1]", "spec.listeners[0]"
AUTHENTICATION, TOPICS, POD = "spec.kafka.authentication", "spec.kafka.topics", "spec.template.pod"
CERTIFICATE = {"name": "kafka-client"}
MANY_NAMES = {
    f"{TOPICS}.commandsDown.name": "same",
    f"{TOPICS}.commandsUrgent.name": "same",
}

ROWS = [
    Row("", "the name must have at most 40", {"metadata.name": "c" * 41}, {"metadata.name": "c" * 40}),
    # image
    *(
        Row(
            "spec.image",
            "repository must be an image without tag or digest",
            {"spec.image.repository": wrong},
            {"spec.image.repository": right},
        )
        for wrong, right in (
            ("registry.example/gateway:1.0", "registry.example:5000/gateway"),
            ("gateway:1.0", "gateway"),
            ("localhost:5000", "localhost:5000/gateway"),
            ("registry.example/gateway@sha256:00", "registry.example/a/b.c/d_e/f__g/h--i"),
            ("registry.example/Team/gateway", "registry-1.example/team/gateway"),
            ("registry.example//gateway", "10.0.0.1:80/gateway"),
            ("registry.example/team:1/gateway", "team/gateway"),
        )
    ),
    # listeners
    Row("spec.listeners[]", "name admin is taken", {f"{TLS}.name": "admin"}, {f"{TLS}.name": "admins"}),
    Row(
        "spec.listeners[]",
        "security profile 3 is not available yet",
        {f"{TLS}.securityProfiles": [2, 3]},
        {f"{TLS}.securityProfiles": [2]},
    ),
    Row(
        "spec.listeners[]",
        "security profile 2 needs tls",
        {"spec.listeners": [{"name": "wss", "port": 443, "securityProfiles": [2]}]},
        {"spec.listeners": [{"name": "ws", "port": 443, "securityProfiles": [0, 1]}]},
    ),
    Row("spec.listeners[]", "security profiles 0 and 1 are without TLS", {f"{TLS}.securityProfiles": [1, 2]}),
    Row("spec", "two listeners have the same port", {f"{PLAIN}.port": 443}, {f"{PLAIN}.port": 444}),
    Row(
        "spec",
        "unknown Accept needs a listener with security profile 0",
        {"spec.listeners": [{"name": "ws", "port": 80, "securityProfiles": [1]}]},
        {"spec.listeners": [{"name": "ws", "port": 80, "securityProfiles": [0]}]},
        minimal=True,
    ),
    # service
    Row(
        "spec.service",
        "loadBalancerClass is for type LoadBalancer",
        {"spec.service.type": "NodePort"},
        {"spec.service.type": "NodePort", "spec.service.loadBalancerClass": REMOVED, "spec.service.sourceRanges": []},
    ),
    Row(
        "spec.service",
        "sourceRanges are for type LoadBalancer",
        {"spec.service.type": "ClusterIP"},
        {"spec.service.type": "ClusterIP", "spec.service.loadBalancerClass": REMOVED, "spec.service.sourceRanges": []},
    ),
    Row("spec.service", "PROXY protocol is not available yet", {"spec.service.proxyProtocol": "V2"}),
    Row(
        "spec.service",
        "keys of annotations must be",
        {"spec.service.annotations": {"a/b/c": ""}},
        {"spec.service.annotations": {"service.beta.example.org/type_of.lb": "external, x=y"}},
    ),
    Row(
        "spec.service",
        "annotations under chargegateway.io/",
        {"spec.service.annotations": {"chargegateway.io/wish": "x"}},
        {"spec.service.annotations": {"example.org/chargegateway.io": "x"}},
    ),
    # decisions
    Row("spec.decisions", "type Webhook needs webhook", {"spec.decisions.webhook": REMOVED}),
    Row(
        "spec.decisions",
        "webhook is for type Webhook",
        {"spec.decisions.type": "Accept"},
        {"spec.decisions.type": "Accept", "spec.decisions.webhook": REMOVED},
    ),
    # Kafka
    *(
        Row(
            "spec.kafka",
            "bootstrapServers must be host:port",
            {"spec.kafka.bootstrapServers": wrong},
            {"spec.kafka.bootstrapServers": right},
        )
        for wrong, right in (
            ("kafka", "kafka:1"),
            ("kafka:0", "kafka:65535"),
            ("kafka:65536", "127.0.0.1:9092"),
            ("kafka:9092,", "a:1,b:2, c:3"),
            ("a:1 b:2", "[::1]:9092"),
            ("http://kafka:9092", "kafka.example.:9092".replace(".:", ":")),
        )
    ),
    Row(
        "spec.kafka",
        "authentication TLS needs kafka.tls",
        {AUTHENTICATION: {"type": "TLS", "certificateRef": CERTIFICATE}, "spec.kafka.tls": REMOVED},
        {AUTHENTICATION: {"type": "TLS", "certificateRef": CERTIFICATE}, "spec.kafka.tls": {}},
    ),
    Row(
        AUTHENTICATION,
        "authentication OAuthBearer is not available yet",
        {AUTHENTICATION: {"type": "OAuthBearer"}},
        {f"{AUTHENTICATION}.type": "Plain"},
    ),
    Row(
        AUTHENTICATION,
        "types Plain, ScramSha256 and ScramSha512 need username",
        {f"{AUTHENTICATION}.passwordSecretRef": REMOVED},
        {f"{AUTHENTICATION}.type": "ScramSha256"},
    ),
    Row(
        AUTHENTICATION,
        "username and passwordSecretRef are for types",
        {AUTHENTICATION: {"type": "TLS", "certificateRef": CERTIFICATE, "username": "cg"}},
        {AUTHENTICATION: {"type": "TLS", "certificateRef": CERTIFICATE}},
    ),
    Row(
        AUTHENTICATION,
        "type TLS needs certificateRef",
        {AUTHENTICATION: {"type": "TLS"}},
        {AUTHENTICATION: {"type": "TLS", "certificateRef": CERTIFICATE}},
    ),
    Row(AUTHENTICATION, "certificateRef is for type TLS", {f"{AUTHENTICATION}.certificateRef": CERTIFICATE}),
    Row(
        TOPICS,
        "management Strimzi is not available yet",
        {f"{TOPICS}.management": "Strimzi"},
        {f"{TOPICS}.management": "Direct"},
    ),
    Row(
        TOPICS,
        "minInSyncReplicas must not exceed replicas",
        {f"{TOPICS}.replicas": 2},
        {f"{TOPICS}.replicas": 3},
    ),
    Row(TOPICS, "two topics have the same name", MANY_NAMES, {f"{TOPICS}.commandsDown.name": "same"}),
    Row(
        TOPICS,
        "two topics have the same name",  # by a default
        {f"{TOPICS}.eventsUp.name": "commands-down", f"{TOPICS}.commandsDown": {}},
        {f"{TOPICS}.commandsDown": {}},
    ),
    # Redis
    *(
        Row("spec.redis", "each address must be host:port", {"spec.redis.addresses[1]": wrong}, {"spec.redis.addresses[1]": right})
        for wrong, right in (("redis", "redis:6379"), ("redis:70000", "[fe80::1]:6379"), ("redis://r:6379", "r:6379"))
    ),
    Row(
        "spec.redis",
        "mode Standalone takes one address",
        {"spec.redis.mode": "Standalone"},
        {"spec.redis.mode": "Standalone", "spec.redis.addresses": ["redis:6379"]},
    ),
    Row(
        "spec.redis",
        "username needs passwordSecretRef",
        {"spec.redis.passwordSecretRef": REMOVED},
        {"spec.redis.passwordSecretRef": REMOVED, "spec.redis.username": REMOVED},
    ),
    *(
        Row("spec.redis", "keyPrefix must not contain", {"spec.redis.keyPrefix": wrong}, {"spec.redis.keyPrefix": right})
        for wrong, right in (
            ("eu:conn:", "eu:"),
            ("conn:", "conn-"),
            ("eu:pod:1:", "eu:p:1:"),
            ("xpartition:", "xpartition"),
            ("eu.station:", "eu.stations:"),
            ("run:x", "runs:x"),
        )
    ),
    # commands and numbers of pods
    Row(
        "spec.commands",
        "defaultDeadline must not be longer than maxDeadline",
        {"spec.commands.defaultDeadline": "20m1s"},
        {"spec.commands.defaultDeadline": "20m"},
    ),
    Row(
        "spec.commands",
        "defaultDeadline must not be longer than maxDeadline",  # by a default
        {"spec.commands": {"maxDeadline": "59s"}},
        {"spec.commands": {"maxDeadline": "1m"}},
        minimal=True,
    ),
    Row(
        "spec.commands",
        "maxDeadline must not be longer than retention",
        {"spec.commands.maxDeadline": "13h"},
        {"spec.commands.maxDeadline": "12h"},
    ),
    Row(
        "spec",
        "replicas plus rollout.maxSurge must not exceed commands.partitions",
        {"spec.replicas": 128},
        {"spec.replicas": 127},
        minimal=True,
    ),
    Row(
        "spec",
        "replicas plus rollout.maxSurge must not exceed commands.partitions",
        {"spec.replicas": 127, "spec.rollout": {"maxSurge": 2}},
        {"spec.replicas": 126, "spec.rollout": {"maxSurge": 2}},
        minimal=True,
    ),
    Row(
        "spec",
        "maxReplicas plus rollout.maxSurge must not exceed commands.partitions",
        {"spec.autoscaling": {"maxReplicas": 128}},
        {"spec.autoscaling": {"maxReplicas": 127}},
        minimal=True,
    ),
    Row(
        "spec",
        "targetConnectionsPerPod must not exceed limits.connectionsPerPod",
        {"spec.autoscaling.targetConnectionsPerPod": 5001},
        {"spec.autoscaling.targetConnectionsPerPod": 5000},
    ),
    Row(
        "spec",
        "the registry must not have more partitions than commands.partitions",
        {"spec.commands": {"partitions": 3}},
        {"spec.commands": {"partitions": 4}},
        minimal=True,
    ),
    Row(
        "spec.autoscaling",
        "minReplicas must not exceed maxReplicas",
        {"spec.autoscaling.maxReplicas": 3},
        {"spec.autoscaling.maxReplicas": 4},
    ),
    Row(
        "spec.drain",
        "forceAfter must be longer than loadBalancerWait",
        {"spec.drain.forceAfter": "20s"},
        {"spec.drain.forceAfter": "21s"},
    ),
    # template
    Row(POD, "keys of labels must be", {f"{POD}.labels": {"-x": "y"}}, {f"{POD}.labels": {"example.org/X.y_z": "y"}}),
    Row(
        POD,
        "labels under chargegateway.io/",
        {f"{POD}.labels": {"app.kubernetes.io/name": "mine"}},
        {f"{POD}.labels": {"app": "mine"}},
    ),
    Row(POD, "labels under chargegateway.io/", {f"{POD}.labels": {"chargegateway.io/pool": "mine"}}),
    Row(POD, "keys of annotations must be", {f"{POD}.annotations": {"a/b/c": ""}}, {f"{POD}.annotations": {"a/b": "{}"}}),
    Row(
        POD,
        "annotations under chargegateway.io/",
        {f"{POD}.annotations": {"chargegateway.io/command-partitions": "0-127"}},
        {f"{POD}.annotations": {"example.org/chargegateway.io": ""}},
    ),
    Row(POD, "keys of nodeSelector must be", {f"{POD}.nodeSelector": {"disk type": "ssd"}}, {f"{POD}.nodeSelector": {"a.b/disk": "ssd"}}),
    Row(
        POD,
        "keys of serviceAccountAnnotations must be",
        {f"{POD}.serviceAccountAnnotations": {"/role": "x"}},
        {f"{POD}.serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}},
    ),
    Row(
        POD,
        "serviceAccountAnnotations under chargegateway.io/",
        {f"{POD}.serviceAccountAnnotations": {"chargegateway.io/wish": "x"}},
        {f"{POD}.serviceAccountAnnotations": {"chargegateway.io": "x"}},
    ),
    Row(
        "spec.template.container.env[]",
        "CHARGEGATEWAY_ variables are the operator's",
        {"spec.template.container.env[0].name": "CHARGEGATEWAY_LOG__LEVEL"},
        {"spec.template.container.env[0].name": "MY_CHARGEGATEWAY_"},
    ),
    Row(
        "spec.template.container.env[]",
        "value and valueFrom exclude each other",
        {"spec.template.container.env[1].value": "x"},
    ),
]  # fmt: skip

CHANGES = [
    *(
        Row(
            f"{TOPICS}.{topic}",
            "the name of a topic cannot be changed",
            {f"{TOPICS}.{topic}.name": "another"},
            {f"{TOPICS}.{topic}.name": name},
        )
        for topic, name in {name: topic["name"] for name, topic in FULL_SPEC["kafka"]["topics"].items() if isinstance(topic, dict)}.items()
    ),
    Row(f"{TOPICS}.eventsUp", "the name of a topic cannot be changed", {f"{TOPICS}.eventsUp": REMOVED}),
    Row(
        f"{TOPICS}.eventsUp",
        "the name of a topic cannot be changed",
        {TOPICS: {"eventsUp": {"name": "mine"}}},
        {TOPICS: {}},
        minimal=True,
    ),
    *(
        Row(
            f"{TOPICS}.{topic}",
            "Kafka cannot take partitions away",
            {f"{TOPICS}.{topic}.partitions": partitions - 1},
            {f"{TOPICS}.{topic}.partitions": partitions + 1},
        )
        for topic, partitions in {"eventsUp": 48, "commandResults": 6}.items()
    ),
    Row(
        f"{TOPICS}.commandsDlq",
        "Kafka cannot take partitions away",
        {TOPICS: {"commandsDlq": {"partitions": 2}}},
        {TOPICS: {"commandsDlq": {"partitions": 3}}},
        minimal=True,
    ),
    Row(
        f"{TOPICS}.stations",
        "the partitions of the registry cannot be changed",
        {f"{TOPICS}.stations.partitions": 9},
        {f"{TOPICS}.stations.partitions": 8},
    ),
    Row("spec.redis", "keyPrefix cannot be changed", {"spec.redis.keyPrefix": "town:"}, {"spec.redis.mode": "Cluster"}),
    Row("spec.redis", "keyPrefix cannot be changed", {"spec.redis.keyPrefix": REMOVED}),
    Row("spec.redis", "keyPrefix cannot be changed", {"spec.redis.keyPrefix": "town:"}, {"spec.redis.keyPrefix": ""}, minimal=True),
    Row("spec.commands", "partitions cannot be changed", {"spec.commands.partitions": 512}, {"spec.commands.mailboxSize": 1}),
    Row("spec.commands", "partitions cannot be changed", {"spec.commands.partitions": REMOVED}),
    Row(
        "spec.commands",
        "partitions cannot be changed",
        {"spec.commands": {"partitions": 64}},
        {"spec.commands": {"partitions": 128}},
        minimal=True,
    ),
]  # fmt: skip


@cache
def rules() -> list[tuple[str, dict[str, str]]]:
    """Each rule of the published CRD, but for durations' bounds (test_crd_bounds), with its place."""
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    nodes = [("", schema), *((path[1:], node) for path, node, _ in rendered.fields(schema, ""))]
    return [
        (path, validation)
        for path, node in nodes
        for validation in node.get("x-kubernetes-validations", ())
        if not validation["message"].startswith(BETWEEN)
    ]


def rule_of(row: Row) -> dict[str, str]:
    return next(rule for path, rule in rules() if path == row.at and rule["message"].startswith(row.begins))


def test_every_rule_has_a_row() -> None:
    tested = {(row.at, rule_of(row)["message"]) for row in (*ROWS, *CHANGES)}
    assert {(path, rule["message"]) for path, rule in rules()} - tested == set()


def test_rules_about_changes_are_tested_as_changes() -> None:
    assert all("oldSelf" not in rule_of(row)["rule"] for row in ROWS)
    assert all("oldSelf" in rule_of(row)["rule"] for row in CHANGES)


def refusal(kubernetes: KubernetesServer, method: str, path: str, document: Mapping[str, Any]) -> str:
    with pytest.raises(ApiError) as refused:
        kubernetes.request(method, path, document)
    assert refused.value.status == 422
    return refused.value.message


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.at}: {row.begins}")
def test_a_rule_refuses_with_its_message_and_admits(row: Row, kubernetes: KubernetesServer, crd: str) -> None:
    rule = rule_of(row)
    create = f"{COLLECTION}?dryRun=All&fieldValidation=Strict"

    said = refusal(kubernetes, "POST", create, row.object(row.refused))
    assert rule["message"] in said
    kubernetes.request("POST", create, row.object(row.admitted))

    with pytest.raises(SpecError) as mistake:
        Resource.parse(row.object(row.refused))
    assert any(line.endswith(rule["message"]) for line in mistake.value.lines)
    gateway_takes(Resource.parse(row.object(row.admitted)))


@pytest.mark.parametrize("row", CHANGES, ids=lambda row: f"{row.at}: {row.begins}")
def test_a_rule_about_changes_refuses_with_its_message_and_admits(
    row: Row, kubernetes: KubernetesServer, crd: str
) -> None:
    name = f"city-{secrets.token_hex(4)}"
    made = kubernetes.request("POST", COLLECTION, row.object({"metadata.name": name}))
    one = f"{COLLECTION}/{name}?dryRun=All&fieldValidation=Strict"
    version = {"metadata.name": name, "metadata.resourceVersion": made["metadata"]["resourceVersion"]}

    said = refusal(kubernetes, "PUT", one, row.object(row.refused, version))
    assert rule_of(row)["message"] in said
    kubernetes.request("PUT", one, row.object(row.admitted, version))
    kubernetes.request("DELETE", one.partition("?")[0])


def test_what_the_user_reads_names_the_field(kubernetes: KubernetesServer, crd: str) -> None:
    create = f"{COLLECTION}?dryRun=All"
    document = gateway(
        FULL_SPEC, {"spec.listeners[1].port": 443, "spec.template.container.env[0].name": "CHARGEGATEWAY_X"}
    )
    said = refusal(kubernetes, "POST", create, document)
    assert "spec.listeners: Invalid value: two listeners have the same port" in said
    assert "spec.template.container.env[0].name: Forbidden: CHARGEGATEWAY_ variables are the operator's" in said
