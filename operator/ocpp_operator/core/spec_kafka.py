"""The brokers and the six topics."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from ocpp_contract import names
from ocpp_operator.core.fields import SERVER, Duration, Group, Rule, SecretKeyRef, SecretRef, duration

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
    topics: Topics = Field(Topics(), description="The six topics: their names, and how they are created.")

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
