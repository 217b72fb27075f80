"""The ChargeGateway resource, typed: every field with description, default and bounds, and the rules beside the fields.

This is the source of the CRD (`core/crd.py`) and of docs/resource.md, so descriptions are written for `kubectl explain`.
Bounds admit nothing that the gateway's settings refuse. What Kubernetes calls a duration (`30s`) is seconds here.

`Resource.parse` reads an object as the API server gives it. The API server has judged it by the same rules, but maybe by
those of an older CRD: a mistake is a `SpecError`, which names each field, and never a crash.

Values that follow from others are properties at the end of their group: rates, ceilings, names of topics.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, ValidationError

from ocpp_contract import names
from ocpp_operator.core.fields import (
    BROKEN_RULES,
    LABEL_KEY,
    SERVER,
    Annotations,
    Duration,
    Group,
    Labels,
    PassedThrough,
    Quantity,
    Rule,
    SecretKeyRef,
    SecretRef,
    duration,
    keys_are_labels,
)

GROUP, VERSION, KIND, PLURAL = "chargegateway.io", "v1alpha1", "ChargeGateway", "chargegateways"
PAUSE_ANNOTATION = "chargegateway.io/pause-reconciliation"
DEFAULT_REPOSITORY = "chargegateway/gateway"
MAX_NAME = 40
"""Names of children add a suffix to the resource's, and pods two hashes more; the whole is a label (63 characters)."""
FIRST_CONTAINER_PORT = 8000
_ENVELOPE = 8_192
_MAX_RECORD = 1_048_576
_SUBPROTOCOLS = {"OCPP16": names.OCPP16, "OCPP201": names.OCPP201, "OCPP21": names.OCPP21}

Switch = Literal["Enabled", "Disabled"]


def container_port(index: int) -> int:
    """Port on which a pod serves the listener at `index` of the list: above 1024, so that no capability is needed."""
    return FIRST_CONTAINER_PORT + index


class Image(Group):
    """The gateway's image."""

    repository: str = Field(
        DEFAULT_REPOSITORY,
        min_length=1,
        max_length=255,
        pattern=r"^[a-z0-9]([a-zA-Z0-9._/:-]*[a-zA-Z0-9])?$",
        description="Image repository of the gateway, without a tag: the tag is the version.",
    )
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="When the kubelet pulls the image."
    )
    pull_secrets: tuple[SecretRef, ...] = Field(
        (), max_length=8, description="Secrets of type kubernetes.io/dockerconfigjson with which the image is pulled."
    )

    def reference(self, version: str) -> str:
        return f"{self.repository}:{version}"


# --- towards the stations ---------------------------------------------------------------------------------------------


class ListenerTls(Group):
    """TLS of a listener. It ends in the pod; certificates are re-read when their Secrets change."""

    certificate_refs: tuple[SecretRef, ...] = Field(
        min_length=1,
        max_length=4,
        description="Secrets of type kubernetes.io/tls. An RSA and an ECDSA certificate may stand side by side: "
        "each station gets the one it can use.",
    )
    min_version: Literal["1.2", "1.3"] = Field("1.2", description="Lowest TLS version that is spoken.")
    cipher_suites: Literal["Compatible", "Modern"] = Field(
        "Compatible",
        description="Compatible offers all suites that OCPP demands, TLS_RSA ones included, which old stations need; "
        "Modern leaves those out.",
    )


class Listener(Group):
    """One port for stations."""

    name: str = Field(
        min_length=1,
        max_length=15,
        pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
        description="Name of the port in Service, logs and metrics.",
    )
    port: int = Field(ge=1, le=65_535, description="Port of the Service. Pods listen on 8000 and upwards.")
    security_profiles: tuple[Literal[0, 1, 2, 3], ...] = Field(
        (0, 1),
        min_length=1,
        max_length=4,
        description="OCPP security profiles that are served here: 0 no password, 1 password, 2 password over TLS. "
        "Profile 3, client certificates, is not available yet and refused.",
    )
    tls: ListenerTls | None = Field(None, description="TLS of this listener; profile 2 needs it.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.name != 'admin'",
            "name admin is taken by the port for health and metrics",
            ".name",
            lambda self: self.name != "admin",
        ),
        Rule(
            "!(3 in self.securityProfiles)",
            "security profile 3 is not available yet: client certificates of stations would not be checked",
            ".securityProfiles",
            lambda self: 3 not in self.security_profiles,
            "FieldValueForbidden",
        ),
        Rule(
            "has(self.tls) || self.securityProfiles.all(profile, profile < 2)",
            "security profile 2 needs tls",
            ".tls",
            lambda self: self.tls is not None or max(self.security_profiles) < 2,
            "FieldValueRequired",
        ),
        Rule(
            "!has(self.tls) || self.securityProfiles.all(profile, profile >= 2)",
            "security profiles 0 and 1 are without TLS: give them a listener of their own",
            ".securityProfiles",
            lambda self: self.tls is None or min(self.security_profiles) >= 2,
        ),
    )


class Service(Group):
    """The Service through which stations come in."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        "ClusterIP",
        description="ClusterIP is reached from inside the cluster only, also by a gateway or proxy of your own; "
        "LoadBalancer and NodePort from outside.",
    )
    load_balancer_class: str | None = Field(
        None,
        min_length=1,
        max_length=253,
        description="Which load balancer implementation serves it, for type LoadBalancer; the cluster's own by default.",
    )
    annotations: Annotations = Field(
        {}, max_length=64, description="Annotations of the Service: what cloud load balancers are configured by."
    )
    external_traffic_policy: Literal["Local", "Cluster"] = Field(
        "Local",
        description="Local keeps the stations' addresses and goes only to nodes that have a pod; Cluster spreads evenly. "
        "Without meaning for type ClusterIP.",
    )
    source_ranges: tuple[
        Annotated[str, StringConstraints(max_length=43, pattern=r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$")], ...
    ] = Field(
        (),
        max_length=64,
        description="Networks (CIDR) that the load balancer lets in, for type LoadBalancer; empty: everybody.",
    )
    proxy_protocol: Literal["None", "V2"] = Field(
        "None",
        description="Whether the load balancer puts a PROXY protocol header before the stations' bytes. "
        "V2 is not available yet and refused.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.loadBalancerClass) || self.type == 'LoadBalancer'",
            "loadBalancerClass is for type LoadBalancer",
            ".loadBalancerClass",
            lambda self: self.load_balancer_class is None or self.type == "LoadBalancer",
        ),
        Rule(
            "size(self.sourceRanges) == 0 || self.type == 'LoadBalancer'",
            "sourceRanges are for type LoadBalancer; nobody would enforce them",
            ".sourceRanges",
            lambda self: not self.source_ranges or self.type == "LoadBalancer",
        ),
        Rule(
            "self.proxyProtocol != 'V2'",
            "PROXY protocol is not available yet: leave it at None",
            ".proxyProtocol",
            lambda self: self.proxy_protocol != "V2",
            "FieldValueForbidden",
        ),
    )


class Validation(Group):
    """What becomes of messages that break their OCPP schema."""

    inbound: Literal["Strict", "KeepTransactions", "Lenient"] = Field(
        "KeepTransactions",
        description="Messages of stations. Strict answers with an error; KeepTransactions keeps what is billed: a "
        "transaction message that can be identified is answered and published with its schema errors; Lenient does so "
        "with every readable message.",
    )
    outbound: Literal["Strict", "Off"] = Field("Strict", description="Whether our own messages are checked.")


class Ocpp(Group):
    """How stations are spoken to."""

    versions: tuple[Literal["OCPP16", "OCPP201", "OCPP21"], ...] = Field(
        ("OCPP21", "OCPP201", "OCPP16"),
        min_length=1,
        max_length=3,
        description="OCPP versions that are admitted, on every listener alike; the station's preference decides.",
    )
    no_common_version: Literal["Reject", "CompleteAndClose"] = Field(
        "Reject",
        description="A station that speaks none of them: Reject with HTTP 400, or complete the WebSocket upgrade without "
        "a version and close, which some stations understand better.",
    )
    heartbeat_interval: Duration = duration(
        "300s", "1s", "24h", "Interval of heartbeats, told to stations when they boot."
    )
    call_timeout: Duration = duration("30s", "1s", "10m", "Longest wait for a station's answer to a command.")
    ping_interval: Duration = duration("25s", "0s", "1h", "Interval of WebSocket pings; 0s switches them off.")
    validation: Validation = Field(Validation(), description="What becomes of messages that break their OCPP schema.")

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The versions as the gateway's settings and the wire call them (`ocpp1.6`)."""
        return tuple(_SUBPROTOCOLS[version] for version in self.versions)


class Stations(Group):
    """Which stations may connect."""

    unknown: Literal["Reject", "Accept"] = Field(
        "Reject",
        description="Stations that are not in the registry. Accept lets in everybody who knows the address, without a "
        "password: for development and closed networks; the condition Hardened says so.",
    )


# --- decisions --------------------------------------------------------------------------------------------------------


class OnFailure(Group):
    """What stations are told when the webhook gives no decision in time."""

    boot: Literal["Accepted", "Pending", "Rejected"] = Field(
        "Pending", description="BootNotification. Pending keeps the station asking again."
    )
    authorize: Literal["Accept", "Reject"] = Field("Reject", description="Authorize.")
    transaction: Literal["Accept", "Reject"] = Field(
        "Accept", description="Start of a transaction. Accept keeps the energy billable."
    )
    data_transfer: Literal["Accept", "Reject"] = Field("Reject", description="DataTransfer.")
    certificate: Literal["Reject"] = Field("Reject", description="Requests about certificates; always Reject.")


class Webhook(Group):
    """A backend that decides, asked over HTTP."""

    url: str = Field(
        max_length=2048,
        pattern=r"^https?://[^\s/?#]+[^\s]*$",
        description="Decision requests are POSTed here.",
    )
    timeout: Duration = duration("3s", "100ms", "30s", "Longest wait for a decision, retries included.")
    authorization_secret_ref: SecretKeyRef | None = Field(
        None, description="Value of the Authorization header, `Bearer ...` for example."
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        None, description="CA certificates (PEM) of the backend; the well-known ones by default."
    )
    on_failure: OnFailure = Field(
        OnFailure(), description="What stations are told when the webhook gives no decision in time."
    )


class Decisions(Group):
    """Who decides what needs an answer from the business."""

    type: Literal["Accept", "Webhook"] = Field(
        description="Accept says yes to every station, token and transaction: for development. Webhook asks a backend. "
        "There is no default: nobody gets Accept by silence."
    )
    webhook: Webhook | None = Field(None, description="The backend; for type Webhook.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type != 'Webhook' || has(self.webhook)",
            "type Webhook needs webhook",
            ".webhook",
            lambda self: self.type != "Webhook" or self.webhook is not None,
            "FieldValueRequired",
        ),
        Rule(
            "self.type == 'Webhook' || !has(self.webhook)",
            "webhook is for type Webhook",
            ".webhook",
            lambda self: self.type == "Webhook" or self.webhook is None,
            "FieldValueForbidden",
        ),
    )


# --- Kafka ------------------------------------------------------------------------------------------------------------

TopicName = Annotated[str, StringConstraints(min_length=1, max_length=249, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]


def _topic_name(default: str) -> Any:
    return Field(default, description="Name of the topic; cannot be changed.")


def _partitions(default: int) -> Any:
    return Field(
        default,
        ge=1,
        le=1024,
        description="Partitions that the topic is created with. The operator changes no topic that exists.",
    )


class Topic(Group):
    """A topic whose shape follows from other fields."""

    name: TopicName

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.name == oldSelf.name",
            "the name of a topic cannot be changed: what is in the old one would be lost",
            ".name",
        ),
    )


class RecordTopic(Topic):
    """A topic that consumers read at their pace."""

    partitions: int
    retention: Duration

    rules: ClassVar[tuple[Rule, ...]] = (
        *Topic.rules,
        Rule(
            "self.partitions >= oldSelf.partitions",
            "Kafka cannot take partitions away from a topic",
            ".partitions",
        ),
    )


class EventsUp(RecordTopic):
    """Events of stations."""

    name: TopicName = _topic_name(names.Topics().events_up)
    partitions: int = _partitions(24)
    retention: Duration = duration("168h", "1h", "87600h", "How long events stay in Kafka.")


class CommandsDown(Topic):
    """Commands, normal lane."""

    name: TopicName = _topic_name(names.Topics().commands_down)


class CommandsUrgent(Topic):
    """Commands, urgent lane."""

    name: TopicName = _topic_name(names.Topics().commands_urgent)


class CommandResults(RecordTopic):
    """Outcomes of commands."""

    name: TopicName = _topic_name(names.Topics().command_results)
    partitions: int = _partitions(12)
    retention: Duration = duration("168h", "1h", "87600h", "How long outcomes stay in Kafka.")


class CommandsDlq(RecordTopic):
    """Commands that could not be carried out."""

    name: TopicName = _topic_name(names.Topics().commands_dlq)
    partitions: int = _partitions(3)
    retention: Duration = duration("720h", "1h", "87600h", "How long they stay in Kafka.")


class StationsTopic(Topic):
    """The registry of stations."""

    name: TopicName = _topic_name(names.Topics().stations)
    partitions: int = Field(
        4,
        ge=1,
        le=1024,
        description="Partitions of the registry, at most as many as commands.partitions; cannot be changed, "
        "since a station's records would be in two of them.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *Topic.rules,
        Rule(
            "self.partitions == oldSelf.partitions",
            "the partitions of the registry cannot be changed: a station's records would be in two of them",
            ".partitions",
        ),
    )


class Topics(Group):
    """The six topics."""

    management: Literal["Direct", "None", "Strimzi"] = Field(
        "Direct",
        description="Direct: the operator creates topics that are missing and reports those that differ; None: it only "
        "reports. Strimzi is not available yet and refused.",
    )
    replicas: int = Field(3, ge=1, le=32, description="Replication factor of topics that are created.")
    min_in_sync_replicas: int = Field(
        2,
        ge=1,
        le=32,
        description="Replicas that must have a record before it counts as written. With one replica in all, "
        "a lost broker loses records.",
    )
    events_up: EventsUp = Field(EventsUp(), description="Events of stations.")
    commands_down: CommandsDown = Field(
        CommandsDown(), description="Commands, normal lane. Partitions and retention: spec.commands."
    )
    commands_urgent: CommandsUrgent = Field(
        CommandsUrgent(), description="Commands, urgent lane. Partitions and retention: spec.commands."
    )
    command_results: CommandResults = Field(CommandResults(), description="Outcomes of commands.")
    commands_dlq: CommandsDlq = Field(
        CommandsDlq(), description="Commands that could not be carried out, with the reason (dead letters)."
    )
    stations: StationsTopic = Field(StationsTopic(), description="The registry of stations, a compacted topic.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.management != 'Strimzi'",
            "management Strimzi is not available yet: use Direct, or None and topics of your own",
            ".management",
            lambda self: self.management != "Strimzi",
            "FieldValueForbidden",
        ),
        Rule(
            "self.minInSyncReplicas <= self.replicas",
            "minInSyncReplicas must not exceed replicas: nothing could be written",
            ".minInSyncReplicas",
            lambda self: self.min_in_sync_replicas <= self.replicas,
        ),
        Rule(
            "[self.eventsUp.name, self.commandsDown.name, self.commandsUrgent.name, self.commandResults.name,"
            " self.commandsDlq.name, self.stations.name].all(name, [self.eventsUp.name, self.commandsDown.name,"
            " self.commandsUrgent.name, self.commandResults.name, self.commandsDlq.name, self.stations.name]"
            ".exists_one(other, other == name))",
            "two topics have the same name",
            "",
            lambda self: len(set(self.names())) == 6,
            "FieldValueDuplicate",
        ),
    )

    def names(self) -> tuple[str, ...]:
        return (
            self.events_up.name,
            self.commands_down.name,
            self.commands_urgent.name,
            self.command_results.name,
            self.commands_dlq.name,
            self.stations.name,
        )


class KafkaTls(Group):
    """TLS towards the brokers."""

    ca_secret_ref: SecretKeyRef | None = Field(
        None, description="CA certificates (PEM) of the brokers; the well-known ones by default."
    )


class Authentication(Group):
    """Who we are to the brokers."""

    type: Literal["Plain", "ScramSha256", "ScramSha512", "TLS", "OAuthBearer"] = Field(
        description="Plain, ScramSha256 and ScramSha512 take username and passwordSecretRef; TLS takes certificateRef. "
        "OAuthBearer is not available yet and refused."
    )
    username: str | None = Field(None, min_length=1, max_length=256, description="Name of the user.")
    password_secret_ref: SecretKeyRef | None = Field(None, description="Password of the user.")
    certificate_ref: SecretRef | None = Field(
        None, description="Secret of type kubernetes.io/tls with our client certificate."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type != 'OAuthBearer'",
            "authentication OAuthBearer is not available yet: use ScramSha512 or TLS",
            ".type",
            lambda self: self.type != "OAuthBearer",
            "FieldValueForbidden",
        ),
        Rule(
            "self.type in ['TLS', 'OAuthBearer'] || (has(self.username) && has(self.passwordSecretRef))",
            "types Plain, ScramSha256 and ScramSha512 need username and passwordSecretRef",
            "",
            lambda self: not self.is_sasl or (self.username is not None and self.password_secret_ref is not None),
            "FieldValueRequired",
        ),
        Rule(
            "!(self.type in ['TLS', 'OAuthBearer']) || !(has(self.username) || has(self.passwordSecretRef))",
            "username and passwordSecretRef are for types Plain, ScramSha256 and ScramSha512",
            "",
            lambda self: self.is_sasl or (self.username is None and self.password_secret_ref is None),
            "FieldValueForbidden",
        ),
        Rule(
            "self.type != 'TLS' || has(self.certificateRef)",
            "type TLS needs certificateRef",
            ".certificateRef",
            lambda self: self.type != "TLS" or self.certificate_ref is not None,
            "FieldValueRequired",
        ),
        Rule(
            "self.type == 'TLS' || !has(self.certificateRef)",
            "certificateRef is for type TLS",
            ".certificateRef",
            lambda self: self.type == "TLS" or self.certificate_ref is None,
            "FieldValueForbidden",
        ),
    )

    @property
    def is_sasl(self) -> bool:
        return self.type in ("Plain", "ScramSha256", "ScramSha512")

    @property
    def mechanism(self) -> Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None:
        """The SASL mechanism; None for a client certificate."""
        match self.type:
            case "Plain":
                return "PLAIN"
            case "ScramSha256":
                return "SCRAM-SHA-256"
            case "ScramSha512":
                return "SCRAM-SHA-512"
            case _:
                return None


class Kafka(Group):
    """The brokers."""

    bootstrap_servers: str = Field(
        min_length=1, max_length=1024, description="Brokers to begin with: `host:port`, several separated by commas."
    )
    tls: KafkaTls | None = Field(None, description="Talk TLS to the brokers; `{}` suffices for well-known CAs.")
    authentication: Authentication | None = Field(
        None, description="Who we are to the brokers; without it they must let in anybody."
    )
    topics: Topics = Field(Topics(), description="The six topics.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.bootstrapServers.matches(r'^{SERVER}(, ?{SERVER})*$')",
            "bootstrapServers must be host:port, several separated by commas",
            ".bootstrapServers",
            lambda self: re.fullmatch(f"{SERVER}(, ?{SERVER})*", self.bootstrap_servers) is not None,
        ),
        Rule(
            "!has(self.authentication) || self.authentication.type != 'TLS' || has(self.tls)",
            "authentication TLS needs kafka.tls (`tls: {}` suffices for well-known CAs)",
            ".tls",
            lambda self: self.authentication is None or self.authentication.type != "TLS" or self.tls is not None,
            "FieldValueRequired",
        ),
    )

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(server.strip() for server in self.bootstrap_servers.split(","))

    @property
    def security_protocol(self) -> Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]:
        """As Kafka's clients call it."""
        if self.authentication is not None and self.authentication.is_sasl:
            return "SASL_PLAINTEXT" if self.tls is None else "SASL_SSL"
        return "PLAINTEXT" if self.tls is None else "SSL"


# --- Redis and commands -----------------------------------------------------------------------------------------------


class RedisTls(Group):
    """TLS towards the store."""

    ca_secret_ref: SecretKeyRef | None = Field(
        None, description="CA certificates (PEM) of the store; the well-known ones by default."
    )


class Redis(Group):
    """The store of directory, ownership and command records."""

    mode: Literal["Standalone", "Cluster"] = Field("Standalone", description="One server, or Redis Cluster.")
    addresses: tuple[Annotated[str, StringConstraints(min_length=1, max_length=262)], ...] = Field(
        min_length=1,
        max_length=16,
        description="`host:port` of the server, or of some nodes of the cluster, which name the others.",
    )
    key_prefix: str = Field(
        "",
        max_length=64,
        pattern=r"^[^{}\s]*$",
        description="Put before every key, so that several systems may share a store; no braces. Cannot be changed.",
    )
    username: str | None = Field(
        None, min_length=1, max_length=256, description="ACL user; the default user when absent."
    )
    password_secret_ref: SecretKeyRef | None = Field(None, description="Password of the user.")
    tls: RedisTls | None = Field(None, description="Talk TLS to the store; `{}` suffices for well-known CAs.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.addresses.all(address, address.matches(r'^{SERVER}$'))",
            "each address must be host:port",
            ".addresses",
            lambda self: all(re.fullmatch(SERVER, address) for address in self.addresses),
        ),
        Rule(
            "self.mode != 'Standalone' || size(self.addresses) == 1",
            "mode Standalone takes one address; write `mode: Cluster` for several",
            ".addresses",
            lambda self: self.mode != "Standalone" or len(self.addresses) == 1,
        ),
        Rule(
            "!has(self.username) || has(self.passwordSecretRef)",
            "username needs passwordSecretRef",
            ".passwordSecretRef",
            lambda self: self.username is None or self.password_secret_ref is not None,
            "FieldValueRequired",
        ),
        Rule(
            "self.keyPrefix == oldSelf.keyPrefix",
            "keyPrefix cannot be changed: directory and command records under the old one would be lost",
            ".keyPrefix",
        ),
    )


class Commands(Group):
    """The way down to the stations."""

    partitions: int = Field(
        names.DEFAULT_COMMAND_PARTITIONS,
        ge=1,
        le=1024,
        description="Mailbox partitions: each pod owns some, so no more pods than this can ever serve. Cannot be changed.",
    )
    default_deadline: Duration = duration(
        "60s", "1s", "24h", "Deadline of a command that names none, counted from its arrival in Kafka."
    )
    max_deadline: Duration = duration("10m", "1s", "24h", "Longest deadline; later ones are cut to it.")
    late_window: Duration = duration(
        "60s", "0s", "1h", "How long after a call time-out a station's late answer still decides the outcome."
    )
    retention: Duration = duration(
        "6h", "1h", "168h", "How long commands stay in Kafka; at least as long as the longest deadline."
    )
    mailbox_size: int = Field(
        64, ge=1, le=10_000, description="Commands that may wait for one connected station; further ones end as Busy."
    )
    max_parked_per_pod: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Commands that may wait in one pod for stations that are away; further ones end as Busy.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.partitions == oldSelf.partitions",
            "partitions cannot be changed: commands on their way would get lost. Make a new resource with topics of its own",
            ".partitions",
        ),
        Rule(
            "duration(self.defaultDeadline) <= duration(self.maxDeadline)",
            "defaultDeadline must not be longer than maxDeadline",
            ".defaultDeadline",
            lambda self: self.default_deadline <= self.max_deadline,
        ),
        Rule(
            "duration(self.maxDeadline) <= duration(self.retention)",
            "maxDeadline must not be longer than retention: Kafka would delete commands that still wait",
            ".maxDeadline",
            lambda self: self.max_deadline <= self.retention,
        ),
    )

    @property
    def segment(self) -> float:
        """Segment length of the command topics, seconds: Kafka deletes whole segments, so retention may be exceeded by it."""
        return 3_600.0

    @property
    def record_ttl(self) -> float:
        """How long command records outlive the deadline, seconds: an hour more than any command can be read again."""
        return self.retention + self.segment + 3_600.0


# --- pods -------------------------------------------------------------------------------------------------------------


class Limits(Group):
    """What one pod bears."""

    connections_per_pod: int = Field(
        10_000, ge=1, le=100_000, description="Stations connected to one pod at once; further ones are refused."
    )
    accept_rate_per_second: int = Field(
        200, ge=1, le=10_000, description="Stations that one pod admits per second; faster ones are delayed."
    )
    max_message_bytes: int = Field(
        262_144,
        ge=1_024,
        le=_MAX_RECORD - _ENVELOPE,
        description="Largest message of a station; a larger one closes its connection. Whole messages must fit into one "
        "Kafka record of 1 MiB.",
    )
    messages_per_second: int = Field(
        20, ge=1, le=10_000, description="Messages of one station per second; a faster one is read more slowly."
    )


class Drain(Group):
    """How stations are moved off a pod that leaves, whatever makes it leave."""

    connections_per_second: int = Field(
        50,
        ge=1,
        le=10_000,
        description="Connections closed per second, over all pods that leave together; the stations come back elsewhere.",
    )
    load_balancer_wait: Duration = duration(
        "15s",
        "0s",
        "10m",
        "How long a leaving pod is unready before it closes the first connection, so that load balancers send no new ones.",
    )
    force_after: Duration | None = duration(
        None,
        "1s",
        "48h",
        "Longest drain of one pod. By default loadBalancerWait, plus the time that connectionsPerPod take at the rate, "
        "plus 60s.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.forceAfter) || duration(self.forceAfter) > duration(self.loadBalancerWait)",
            "forceAfter must be longer than loadBalancerWait: no connection would be closed in order",
            ".forceAfter",
            lambda self: self.force_after is None or self.force_after > self.load_balancer_wait,
        ),
    )


class Rollout(Group):
    """How pods are replaced."""

    max_surge: int = Field(
        1, ge=1, le=100, description="Pods above spec.replicas while pods are replaced. None is taken away before."
    )


class Autoscaling(Group):
    """A HorizontalPodAutoscaler by connections."""

    min_replicas: int = Field(2, ge=1, le=1024, description="Fewest pods.")
    max_replicas: int = Field(ge=1, le=1024, description="Most pods.")
    target_connections_per_pod: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Connections per pod that are aimed at. By default four fifths of limits.connectionsPerPod.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not exceed maxReplicas",
            ".minReplicas",
            lambda self: self.min_replicas <= self.max_replicas,
        ),
    )


class Disruption(Group):
    """What evictions may do at once."""

    max_unavailable: int = Field(
        1, ge=1, le=100, description="Pods that evictions (drained nodes) may take away at once: a PodDisruptionBudget."
    )


class Toleration(Group):
    """A taint that pods bear."""

    key: str | None = Field(None, max_length=316, description="Key of the taint; all keys when absent.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="Whether the value must be equal.")
    value: str | None = Field(None, max_length=63, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Effect of the taint; all effects when absent."
    )
    toleration_seconds: int | None = Field(
        None, ge=0, le=86_400, description="How long a NoExecute taint is borne, seconds; for ever when absent."
    )


class PodTemplate(Group):
    """The pods. No free merge: each field is one that the operator can stand for."""

    labels: Labels = Field({}, max_length=32, description="Further labels of the pods.")
    annotations: Annotations = Field({}, max_length=32, description="Further annotations of the pods.")
    node_selector: Labels = Field({}, max_length=32, description="Labels that nodes must have.")
    tolerations: tuple[Toleration, ...] = Field((), max_length=32, description="Taints of nodes that the pods bear.")
    affinity: PassedThrough | None = Field(
        None, description="Affinity as in a pod's spec; the spread over zones and hosts stands beside it."
    )
    topology_spread: Literal["Preferred", "Required", "None"] = Field(
        "Preferred",
        description="Spread over zones and hosts: Preferred tries to, Required lets a pod wait rather than break it, "
        "None leaves it to affinity.",
    )
    priority_class_name: str = Field(
        "",
        max_length=253,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$",
        description="PriorityClass of the pods; empty: the cluster's default.",
    )
    service_account_annotations: Annotations = Field(
        {}, max_length=32, description="Annotations of the pods' ServiceAccount, which has no token and no rights."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.labels.all(key, key.matches('^{LABEL_KEY}$'))",
            "keys of labels must be such as Kubernetes allows (prefix/name)",
            ".labels",
            lambda self: keys_are_labels(self.labels),
        ),
        Rule(
            "self.labels.all(key, !key.startsWith('chargegateway.io/') && !key.startsWith('app.kubernetes.io/'))",
            "labels under chargegateway.io/ and app.kubernetes.io/ are the operator's: it finds its pods by them",
            ".labels",
            lambda self: not any(key.startswith(("chargegateway.io/", "app.kubernetes.io/")) for key in self.labels),
            "FieldValueForbidden",
        ),
        Rule(
            f"self.annotations.all(key, key.matches('^{LABEL_KEY}$'))",
            "keys of annotations must be such as Kubernetes allows (prefix/name)",
            ".annotations",
            lambda self: keys_are_labels(self.annotations),
        ),
        Rule(
            "self.annotations.all(key, !key.startsWith('chargegateway.io/'))",
            "annotations under chargegateway.io/ are the operator's: they tell pods what to serve",
            ".annotations",
            lambda self: not any(key.startswith("chargegateway.io/") for key in self.annotations),
            "FieldValueForbidden",
        ),
    )


class EnvVar(Group):
    """An environment variable."""

    name: str = Field(
        min_length=1, max_length=128, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", description="Name of the variable."
    )
    value: str | None = Field(None, max_length=4096, description="Its value.")
    value_from: PassedThrough | None = Field(
        None,
        description="Where its value comes from, as in a container's env (secretKeyRef, configMapKeyRef, fieldRef).",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.name.startsWith('CHARGEGATEWAY_')",
            "CHARGEGATEWAY_ variables are the operator's: use the fields of this resource",
            ".name",
            lambda self: not self.name.startswith("CHARGEGATEWAY_"),
            "FieldValueForbidden",
        ),
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "value and valueFrom exclude each other",
            ".valueFrom",
            lambda self: self.value is None or self.value_from is None,
            "FieldValueForbidden",
        ),
    )


class Resources(Group):
    """Compute resources of a container."""

    requests: Mapping[str, Quantity] = Field({}, max_length=16, description="What the scheduler sets aside.")
    limits: Mapping[str, Quantity] = Field({}, max_length=16, description="What the container may not exceed.")


class ContainerTemplate(Group):
    """The gateway's container."""

    resources: Resources = Field(Resources(), description="Compute resources (cpu, memory).")
    env: tuple[EnvVar, ...] = Field(
        (),
        max_length=64,
        description="Further environment variables, such as proxies; none that begins CHARGEGATEWAY_.",
    )


class Template(Group):
    """Pods and container."""

    pod: PodTemplate = Field(PodTemplate(), description="The pods.")
    container: ContainerTemplate = Field(ContainerTemplate(), description="The gateway's container.")


class Monitoring(Group):
    """Who looks."""

    pod_monitor: Switch = Field(
        "Enabled", description="A PodMonitor for the Prometheus operator, where that kind exists."
    )


# --- the whole --------------------------------------------------------------------------------------------------------


class Spec(Group):
    """What the gateway should be."""

    version: str | None = Field(
        None,
        max_length=128,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$",
        description="Version of the gateway, the tag of its image. By default the operator's own; status.version has the "
        "one that runs.",
    )
    replicas: int = Field(
        2,
        ge=0,
        le=1024,
        description="Pods. With autoscaling set the autoscaler writes it. 0 stops the gateway: stations are refused and "
        "commands wait.",
    )
    image: Image = Field(Image(), description="The gateway's image.")
    listeners: tuple[Listener, ...] = Field(
        (Listener(name="ws", port=80),),
        min_length=1,
        max_length=8,
        description="Ports for stations, by name.",
        json_schema_extra={
            "default": [{"name": "ws", "port": 80, "securityProfiles": [0, 1]}],
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    service: Service = Field(Service(), description="The Service through which stations come in.")
    ocpp: Ocpp = Field(Ocpp(), description="How stations are spoken to.")
    stations: Stations = Field(Stations(), description="Which stations may connect.")
    decisions: Decisions = Field(
        description="Who decides what needs an answer from the business: boot, authorization, transactions, data transfer, "
        "certificates."
    )
    kafka: Kafka = Field(description="The brokers that carry events and commands.")
    redis: Redis = Field(description="The store of directory, ownership and command records: Redis 7 or Valkey.")
    commands: Commands = Field(Commands(), description="The way down to the stations.")
    limits: Limits = Field(Limits(), description="What one pod bears.")
    drain: Drain = Field(
        Drain(), description="How stations are moved off a pod that leaves: scale-down, upgrade and eviction alike."
    )
    rollout: Rollout = Field(Rollout(), description="How pods are replaced when image or settings change.")
    autoscaling: Autoscaling | None = Field(
        None, description="A HorizontalPodAutoscaler by connections; without it spec.replicas is yours."
    )
    disruption: Disruption = Field(Disruption(), description="What evictions may do at once.")
    template: Template = Field(Template(), description="Pods and container: a curated part of the pod template.")
    network_policy: Switch = Field(
        "Enabled",
        description="A NetworkPolicy that lets in stations on the listeners' ports, and the operator and Prometheus on the "
        "admin port.",
    )
    monitoring: Monitoring = Field(Monitoring(), description="Who looks.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.listeners.all(one, self.listeners.exists_one(other, other.port == one.port))",
            "two listeners have the same port",
            ".listeners",
            lambda self: len({listener.port for listener in self.listeners}) == len(self.listeners),
            "FieldValueDuplicate",
        ),
        Rule(
            "self.stations.unknown != 'Accept' || self.listeners.exists(listener, 0 in listener.securityProfiles)",
            "unknown Accept needs a listener with security profile 0: an unknown station has no password",
            ".stations.unknown",
            lambda self: self.stations.unknown != "Accept" or any(0 in one.security_profiles for one in self.listeners),
        ),
        Rule(
            "self.replicas + self.rollout.maxSurge <= self.commands.partitions",
            "replicas plus rollout.maxSurge must not exceed commands.partitions: a pod without a partition serves nobody",
            ".replicas",
            lambda self: self.replicas + self.rollout.max_surge <= self.commands.partitions,
        ),
        Rule(
            "!has(self.autoscaling) || self.autoscaling.maxReplicas + self.rollout.maxSurge <= self.commands.partitions",
            "maxReplicas plus rollout.maxSurge must not exceed commands.partitions: a pod without a partition serves nobody",
            ".autoscaling.maxReplicas",
            lambda self: (
                self.autoscaling is None
                or self.autoscaling.max_replicas + self.rollout.max_surge <= self.commands.partitions
            ),
        ),
        Rule(
            "!has(self.autoscaling) || !has(self.autoscaling.targetConnectionsPerPod)"
            " || self.autoscaling.targetConnectionsPerPod <= self.limits.connectionsPerPod",
            "targetConnectionsPerPod must not exceed limits.connectionsPerPod: no pod would be added in time",
            ".autoscaling.targetConnectionsPerPod",
            lambda self: (
                self.autoscaling is None
                or (self.autoscaling.target_connections_per_pod or 0) <= self.limits.connections_per_pod
            ),
        ),
        Rule(
            "self.kafka.topics.stations.partitions <= self.commands.partitions",
            "the registry must not have more partitions than commands.partitions: nobody would read the others",
            ".kafka.topics.stations.partitions",
            lambda self: self.kafka.topics.stations.partitions <= self.commands.partitions,
        ),
    )

    @property
    def drain_rate(self) -> float:
        """Connections that one leaving pod closes per second: the fleet's rate shared by all that may leave at once."""
        return self.drain.connections_per_second / (self.rollout.max_surge + self.disruption.max_unavailable)

    @property
    def force_after(self) -> float:
        """Ceiling of one pod's drain, seconds; from the spec alone, since live figures would roll the fleet."""
        if self.drain.force_after is not None:
            return self.drain.force_after
        return self.drain.load_balancer_wait + self.limits.connections_per_pod / self.drain_rate + 60.0

    @property
    def grace_period(self) -> int:
        """terminationGracePeriodSeconds: the ceiling, and time to commit, release and exit."""
        return math.ceil(self.force_after + 15.0)

    @property
    def target_connections(self) -> int:
        """Connections per pod that the autoscaler aims at."""
        wished = self.autoscaling.target_connections_per_pod if self.autoscaling is not None else None
        return max(1, self.limits.connections_per_pod * 4 // 5) if wished is None else wished

    @property
    def topic_names(self) -> names.Topics:
        return names.Topics(*self.kafka.topics.names())

    def secrets(self) -> frozenset[str]:
        """Names of all Secrets whose content the pods or the operator read."""
        return frozenset(_secrets((self.listeners, self.decisions, self.kafka, self.redis)))


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretRef | SecretKeyRef):
        yield value.name
    elif isinstance(value, Group):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets(item)


class SpecError(ValueError):
    """The resource makes no sense; the message has one line per mistake, each naming its field."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Resource:
    """One ChargeGateway as the API server gives it."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    """creationTimestamp, RFC 3339: who was first decides who keeps mailboxes that two resources want."""
    spec: Spec
    annotations: Mapping[str, str] = field(default_factory=dict)
    deleting: bool = False
    status: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"size(self.metadata.name) <= {MAX_NAME}",
            f"the name must have at most {MAX_NAME} characters: names of children and labels are made of it",
            "",
            lambda self: len(self.name) <= MAX_NAME,
        ),
    )

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """Raises SpecError."""
        metadata = raw.get("metadata") or {}
        lines = [
            f"metadata.name: {rule.message}"
            for rule in cls.rules
            if rule.holds is not None and len(str(metadata.get("name", ""))) > MAX_NAME
        ]
        try:
            spec = Spec.model_validate(raw.get("spec") or {})
        except ValidationError as error:
            lines += [line for item in error.errors() for line in _lines(item)]
            raise SpecError(tuple(lines)) from None
        if lines:
            raise SpecError(tuple(lines))
        return cls(
            namespace=metadata.get("namespace", ""),
            name=metadata.get("name", ""),
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            created=metadata.get("creationTimestamp", ""),
            spec=spec,
            annotations=metadata.get("annotations") or {},
            deleting="deletionTimestamp" in metadata,
            status=raw.get("status") or {},
            raw=raw,
        )

    @property
    def paused(self) -> bool:
        return self.annotations.get(PAUSE_ANNOTATION) == "true"


def _lines(error: Any) -> Iterator[str]:
    """What a validation error says, in the words of the YAML: `spec.listeners[0].port: ...`."""
    path = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    context = error.get("ctx", {})
    if error["type"] == BROKEN_RULES:
        yield from (f"{path}{at}: {message}" for at, message in context["broken"])
    elif error["type"] == "missing":
        yield f"{path}: is needed"
    elif isinstance(limit := context.get("ge", context.get("le")), float):  # only durations are floats
        yield f"{path}: must be at {'least' if 'ge' in context else 'most'} {limit:g}s"
    else:
        yield f"{path}: {error['msg'].removeprefix('Value error, ')}"
