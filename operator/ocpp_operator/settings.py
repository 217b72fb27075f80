"""Every setting of the operator: environment variables `CHARGEGATEWAY_OPERATOR_...`, as the chart writes them.

Nonsense refuses to start: `load()` raises `SettingsError`, one line per mistake, each naming the variable and the reason. `reference()`
renders docs/operator-settings.md. What concerns one gateway is no setting of the operator but a field of its resource.

Durations are seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "CHARGEGATEWAY_OPERATOR_"

Seconds = Annotated[float, Field(gt=0)]


class SettingsError(ValueError):
    """The settings make no sense; the message has one line per mistake."""


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Settings(BaseSettings):
    """All of them. Inside a cluster none is needed but the identity and the namespace of the Lease."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", enable_decoding=False)

    identity: str = Field(
        default_factory=lambda: os.uname().nodename, min_length=1, description="Name of this replica: its pod's name."
    )
    watch_namespaces: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (), description="Namespaces to serve, separated by commas; empty: all (needs the ClusterRole)."
    )
    lease_namespace: str = Field("default", min_length=1, description="Namespace of the Lease: the operator's own.")
    lease_name: str = Field("chargegateway-operator", min_length=1, description="Name of the Lease.")
    lease_duration: Seconds = Field(15.0, description="A silent leader is followed after so long.")
    lease_renew_deadline: Seconds = Field(
        10.0, description="A leader that could not renew for so long stops by itself, before anybody follows it."
    )
    lease_retry: Seconds = Field(2.0, description="Pause between tries to take or renew the Lease.")
    version: str = Field(
        default_factory=lambda: metadata.version("chargegateway"),
        min_length=1,
        description="Version of gateways whose resource names none.",
    )
    gateway_repository: str = Field(
        "chargegateway/gateway",
        min_length=1,
        description="Image of gateways whose resource names none; the tag is the version.",
    )
    request_timeout: Seconds = Field(10.0, description="Longest wait for one answer of the API server.")
    store_interval: Seconds = Field(1.0, description="How often a resource with pods asks Redis who holds what.")
    kafka_interval: Seconds = Field(
        60.0, description="How often topics are looked at; every 5 s while they are not ready."
    )
    resync: Seconds = Field(300.0, description="Longest time between two passes over a resource.")
    sweep_interval: Seconds = Field(
        600.0, description="How often all entries of a resource's Redis are looked through."
    )
    status_interval: Seconds = Field(5.0, description="Shortest time between two writes of one resource's status.")
    stalled_after: Seconds = Field(
        120.0,
        description="What keeps a resource from what its spec says, and has to be mended by somebody, is called Stalled after so long.",
    )
    watch_inactivity: Seconds = Field(
        70.0, description="A watch that brings nothing for so long, bookmarks included, begins anew."
    )
    admin_host: str = Field("0.0.0.0", description="Address of /livez, /readyz and /metrics.")
    admin_port: int = Field(8080, ge=0, le=65_535, description="Their port; 0 takes a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level.")
    log_format: Literal["json", "text"] = Field("json", description="JSON lines, or text for people.")

    @model_validator(mode="after")
    def _lease_order(self) -> Self:
        if not self.lease_retry < self.lease_renew_deadline < self.lease_duration:
            raise ValueError(
                f"lease_retry {self.lease_retry:g} < lease_renew_deadline {self.lease_renew_deadline:g} < "
                f"lease_duration {self.lease_duration:g} must hold: otherwise two replicas could lead at once"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load(environ: Mapping[str, str]) -> Settings:
    """Settings out of `environ` (as os.environ). Raises SettingsError with one line per mistake."""
    values: dict[str, Any] = {}
    unknown = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in Settings.model_fields:
            values[name] = environ[variable]
        else:
            unknown.append(f"{variable}: no such setting")
    if unknown:
        raise SettingsError("\n".join(unknown))
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(_line(item["loc"], item["msg"]) for item in error.errors())) from None


def _line(location: tuple[str | int, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{PREFIX}{str(location[0]).upper()}: {message}" if location else message


def reference() -> str:
    """docs/operator-settings.md: every setting with its default, generated."""
    lines = [
        "# Settings of the operator",
        "",
        "Generated from `ocpp_operator.settings`; do not edit. Environment variables, durations in seconds; the Helm chart writes them.",
        "A setting nobody knows, or one that makes no sense, refuses to start and says why.",
        "",
        "| variable | default | meaning |",
        "| --- | --- | --- |",
    ]
    shown = {"identity": "the host's name", "version": "the operator's own"}
    for name, field in Settings.model_fields.items():
        default = shown.get(name) or f"`{_shown(field.default)}`"
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        one_of = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description}{one_of} |")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
