"""The ChargeGateway resource, typed: every field with description, default and bounds, and the rules beside the fields.

This is the source of the CRD (`core/crd.py`) and of docs/resource.md, so descriptions are written for `kubectl explain`.
Bounds admit nothing that the gateway's settings refuse. What Kubernetes calls a duration (`30s`) is seconds here.

`Resource.parse` reads an object as the API server gives it. The API server has judged it by the same rules, but maybe by
those of an older CRD: a mistake is a `SpecError`, which names each field, and never a crash.

Values that follow from others are properties at the end of their group: rates, ceilings, names of topics.
The groups stand in `spec_*.py`, by subject.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError

from ocpp_contract import names
from ocpp_operator.core.fields import BROKEN_RULES, BY_NAME, Group, Rule, SecretKeyRef, SecretRef
from ocpp_operator.core.names import PAUSE_ANNOTATION
from ocpp_operator.core.spec_commands import Commands, Redis, RedisTls
from ocpp_operator.core.spec_kafka import (
    Authentication,
    CommandResults,
    CommandsDlq,
    CommandsDown,
    CommandsUrgent,
    EventsUp,
    Kafka,
    KafkaTls,
    RecordTopic,
    StationsTopic,
    Topic,
    Topics,
)
from ocpp_operator.core.spec_pods import (
    Autoscaling,
    ContainerTemplate,
    Disruption,
    Drain,
    EnvVar,
    Image,
    Limits,
    Monitoring,
    PodTemplate,
    Resources,
    Rollout,
    Switch,
    Template,
    Toleration,
)
from ocpp_operator.core.spec_stations import (
    Decisions,
    Listener,
    ListenerTls,
    Ocpp,
    OnFailure,
    Service,
    Stations,
    Validation,
    Webhook,
    container_port,
)

__all__ = [
    "MAX_NAME",
    "Authentication",
    "Autoscaling",
    "CommandResults",
    "Commands",
    "CommandsDlq",
    "CommandsDown",
    "CommandsUrgent",
    "ContainerTemplate",
    "Decisions",
    "Disruption",
    "Drain",
    "EnvVar",
    "EventsUp",
    "Image",
    "Kafka",
    "KafkaTls",
    "Limits",
    "Listener",
    "ListenerTls",
    "Monitoring",
    "Ocpp",
    "OnFailure",
    "PodTemplate",
    "RecordTopic",
    "Redis",
    "RedisTls",
    "Resource",
    "Resources",
    "Rollout",
    "Service",
    "Spec",
    "SpecError",
    "Stations",
    "StationsTopic",
    "Switch",
    "Template",
    "Toleration",
    "Topic",
    "Topics",
    "Validation",
    "Webhook",
    "container_port",
]

MAX_NAME = 40
"""Names of children add a suffix to the resource's, and pods two hashes more; the whole is a label (63 characters)."""


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
        le=1023,
        description="Pods. With autoscaling set the autoscaler writes it. 0 stops the gateway: stations are refused and "
        "commands wait.",
    )
    image: Image = Field(Image(), description="Where the gateway's image comes from.")
    listeners: tuple[Listener, ...] = Field(
        (Listener(name="ws", port=80),),
        min_length=1,
        max_length=8,
        description="Ports for stations. Names and ports differ; what holds for one port (TLS, security profiles) stands with it.",
        json_schema_extra={
            **BY_NAME,
            "default": [{"name": "ws", "port": 80, "securityProfiles": [0, 1]}],
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
    limits: Limits = Field(Limits(), description="What one pod bears; beyond it stations are delayed or refused.")
    drain: Drain = Field(
        Drain(), description="How stations are moved off a pod that leaves: scale-down, upgrade and eviction alike."
    )
    rollout: Rollout = Field(Rollout(), description="How pods are replaced when image or settings change.")
    autoscaling: Autoscaling | None = Field(
        None,
        description="A HorizontalPodAutoscaler by connections; without it spec.replicas is yours. The cluster must serve the pods' "
        "metric chargegateway_connections as custom.metrics.k8s.io (docs/kubernetes.md).",
    )
    disruption: Disruption = Field(Disruption(), description="What evictions may do at once.")
    template: Template = Field(
        Template(), description="Pods and container: the part of the pod template that is yours."
    )
    network_policy: Switch = Field(
        "Enabled",
        description="A NetworkPolicy that lets in stations on the listeners' ports, and pods of this cluster on the admin port; "
        "and out to pods of this cluster, DNS and the ports that this resource names.",
    )
    monitoring: Monitoring = Field(Monitoring(), description="How the gateway is watched.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.listeners.all(one, self.listeners.exists_one(other, other.port == one.port))",
            "two listeners have the same port",
            ".listeners",
            lambda self: len({listener.port for listener in self.listeners}) == len(self.listeners),
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
            lambda metadata: len(metadata.get("name", "")) <= MAX_NAME,
        ),
    )

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """Raises SpecError."""
        metadata = raw.get("metadata") or {}
        lines = [
            f"metadata.name: {rule.message}"
            for rule in cls.rules
            if rule.holds is not None and not rule.holds(metadata)
        ]
        try:
            spec = Spec.model_validate(raw.get("spec") or {})
        except ValidationError as error:
            lines += _lines(error)
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


def _lines(error: ValidationError) -> Iterator[str]:
    """What a validation error says, in the words of the YAML: `spec.listeners[0].port: ...`."""
    mistakes = error.errors()
    for mistake in mistakes:
        location = mistake["loc"]
        if mistake["type"] == "too_short" and any(_below(other["loc"], location) for other in mistakes):
            continue  # the list is short only because its items are wrong, and that is said
        path = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
        context: Mapping[str, Any] = mistake.get("ctx", {})
        limit = context.get("ge", context.get("le"))
        if mistake["type"] == BROKEN_RULES:
            yield from (f"{path}{at}: {message}" for at, message in context["broken"])
        elif mistake["type"] == "missing":
            yield f"{path}: is needed"
        elif isinstance(limit, float):  # only durations are floats
            yield f"{path}: must be at {'least' if 'ge' in context else 'most'} {limit:g}s"
        else:
            yield f"{path}: {mistake['msg'].removeprefix('Value error, ')}"


def _below(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer
