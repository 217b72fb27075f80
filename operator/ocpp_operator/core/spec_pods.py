"""The pods: image, what one bears, how many there are, how they leave, and the curated part of their template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from ocpp_operator.core.fields import (
    BY_NAME,
    Annotations,
    Duration,
    Group,
    Labels,
    PassedThrough,
    Quantity,
    Rule,
    SecretRef,
    duration,
    kubernetes_keys,
    not_the_operators,
)

_ENVELOPE = 8_192
"""More than an event adds to the message that it carries whole."""
_MAX_RECORD = 1_048_576
_PART = "[a-z0-9]+(([.]|__?|-+)[a-z0-9]+)*"
_REPOSITORY = f"([a-zA-Z0-9]+(([.]|-+)[a-zA-Z0-9]+)*(:[0-9]{{1,5}})?/)?{_PART}(/{_PART})*"
"""As container runtimes read one: a host, which alone may have a port, and parts in lower case."""

Switch = Literal["Enabled", "Disabled"]


class Image(Group):
    """The gateway's image."""

    repository: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        pattern=r"^[a-z0-9]([a-zA-Z0-9._/:@-]*[a-zA-Z0-9])?$",
        description="Image repository of the gateway, without a tag: the tag is the version. By default the one that the "
        "operator was installed with.",
    )
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="When the kubelet pulls the image."
    )
    pull_secrets: tuple[SecretRef, ...] = Field(
        (),
        max_length=8,
        json_schema_extra=BY_NAME,
        description="Secrets with which the image is pulled (kubernetes.io/dockerconfigjson).",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!has(self.repository) || self.repository.matches('^{_REPOSITORY}$')",
            "repository must be an image without tag or digest, such as registry.example:5000/team/gateway: the tag is "
            "spec.version",
            ".repository",
            lambda self: self.repository is None or re.fullmatch(_REPOSITORY, self.repository) is not None,
        ),
    )


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
    """A HorizontalPodAutoscaler by connections: the pods' metric chargegateway_connections, served as custom.metrics.k8s.io."""

    min_replicas: int = Field(2, ge=1, le=1023, description="Fewest pods.")
    max_replicas: int = Field(ge=1, le=1023, description="Most pods.")
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
    operator: Literal["Equal", "Exists"] = Field("Equal", description="Equal compares the value, Exists takes any.")
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
        kubernetes_keys("labels"),
        not_the_operators("labels", ("chargegateway.io/", "app.kubernetes.io/"), "it finds its pods by them"),
        kubernetes_keys("annotations"),
        not_the_operators("annotations", ("chargegateway.io/",), "they tell pods what to serve"),
        kubernetes_keys("node_selector"),
        kubernetes_keys("service_account_annotations"),
        not_the_operators("service_account_annotations", ("chargegateway.io/",), "it knows by them what it wrote"),
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
        json_schema_extra=BY_NAME,
        description="Further environment variables, such as TZ; none that begins CHARGEGATEWAY_. The gateway's own settings "
        "are fields of this resource, and it uses no proxy.",
    )


class Template(Group):
    """Pods and container."""

    pod: PodTemplate = Field(PodTemplate(), description="Labels, placement and priority of the pods.")
    container: ContainerTemplate = Field(
        ContainerTemplate(), description="Resources and environment of the gateway's container."
    )


class Monitoring(Group):
    """How the gateway is watched."""

    pod_monitor: Switch = Field(
        "Enabled", description="A PodMonitor for the Prometheus operator, where that kind exists."
    )
