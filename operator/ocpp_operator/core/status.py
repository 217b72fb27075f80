"""The shape of a ChargeGateway's status: source of its half of the CRD.

What is not in here the API server drops when the status is written. Nothing but keys of lists and what makes a condition is
needed, so that a status that knows little (Redis away) can still be written.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from ocpp_operator.core.fields import BY_NAME, Group

Count = Annotated[int, Field(ge=0)]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class Condition(Group):
    """One aspect of the state, as kstatus and `kubectl wait` read it."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)] = Field(description="Which aspect.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="Why, in one CamelCase word, for programs."
    )
    message: Annotated[str, StringConstraints(max_length=32_768)] = Field(description="Why, for people.")
    observed_generation: Count | None = Field(None, description="The metadata.generation that was judged.")
    last_transition_time: Time = Field(description="When status changed last.")


class Address(Group):
    """Where stations reach a listener."""

    listener: str = Field(description="Name of the listener.")
    url: str = Field(description="WebSocket URL; stations append their id.")


class Partitions(Group):
    """Mailbox partitions."""

    assigned: Count | None = Field(None, description="Partitions that a living pod holds: a lease on each is running.")
    unowned: Count | None = Field(
        None, description="Partitions that no pod is able to serve: commands in them wait. Above 0 somebody must look."
    )
    generation: Count | None = Field(None, description="Generation of the plan.")


class Pool(Group):
    """One set of pods."""

    name: str = Field(description="Name of the pool (label chargegateway.io/pool).")
    replicas: Count | None = Field(None, description="Pods.")
    ready_replicas: Count | None = Field(None, description="Pods that serve stations.")
    connections: Count | None = Field(None, description="Stations connected.")
    partitions: Partitions | None = Field(None, description="Mailbox partitions of this pool.")


class PodReport(Group):
    """A pod that needs a look."""

    name: str = Field(description="Name of the pod.")
    pool: str | None = Field(None, description="Its pool.")
    reason: str | None = Field(
        None, description="What is the matter, in one CamelCase word (Waiting, Draining, AssignmentPending, NotReady)."
    )
    message: str | None = Field(None, description="What is the matter, for people.")
    connections: Count | None = Field(None, description="Stations still connected; falls while the pod drains.")
    partitions: str | None = Field(None, description='Partitions it was told to serve, as in "0-41,96".')


class Sweep(Group):
    """The last search for stale entries in the directory."""

    scanned: Count | None = Field(None, description="Entries looked at.")
    removed: Count | None = Field(None, description="Stale entries removed: their pod is gone.")
    at: Time | None = Field(None, description="When it ended.")


class Status(Group):
    """What the gateway is, as the operator saw it last."""

    conditions: tuple[Condition, ...] = Field(
        (),
        max_length=16,
        description="Ready, Progressing, Degraded, AssignmentConverged, TopicsReady, Hardened, UpgradeAvailable; and while they hold "
        "Reconciling (on its way to what the spec says) or Stalled (kept from it until somebody acts).",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    observed_generation: Count | None = Field(None, description="The metadata.generation that this status is about.")
    version: str | None = Field(None, description="Version of the gateway that the pods run.")
    addresses: tuple[Address, ...] = Field(
        (),
        max_length=16,
        description="Where stations reach the listeners.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["listener"]},
    )
    replicas: Count | None = Field(None, description="Pods.")
    ready_replicas: Count | None = Field(None, description="Pods that serve stations.")
    selector: str | None = Field(None, description="Label selector of the pods, for autoscalers.")
    connections: Count | None = Field(None, description="Stations connected.")
    partitions: Partitions | None = Field(None, description="Mailbox partitions.")
    pools: tuple[Pool, ...] = Field(
        (), max_length=32, description="The same per set of pods.", json_schema_extra=BY_NAME
    )
    pods: tuple[PodReport, ...] = Field(
        (), max_length=32, description="Pods that need a look, at most 32.", json_schema_extra=BY_NAME
    )
    sweep: Sweep | None = Field(None, description="The last search for stale entries in the directory.")
