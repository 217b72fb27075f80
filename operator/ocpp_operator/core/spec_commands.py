"""The store, and the way of commands that it remembers."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from ocpp_contract import names
from ocpp_operator.core.fields import SERVER, SET, Duration, Group, Rule, SecretKeyRef, duration

_KINDS = "(conn|pod|partition|station|run):"
"""What keys go on with behind the prefix (`ocpp_contract.names.Keys`)."""


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
        json_schema_extra=SET,
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
            f"!self.keyPrefix.matches('{_KINDS}')",
            "keyPrefix must not contain conn:, pod:, partition:, station: or run: - keys under it would be taken for those of "
            "a resource whose prefix is what stands before",
            ".keyPrefix",
            lambda self: re.search(_KINDS, self.key_prefix) is None,
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
