"""Every setting of a gateway pod: environment variables (`CHARGEGATEWAY_...`, groups joined by `__`) and one optional file.

The environment wins over the file named by `CHARGEGATEWAY_SETTINGS_FILE` (TOML or JSON). Secrets are read from files that
Kubernetes mounts, named by `..._file` settings. Nonsense refuses to start: `load()` raises `SettingsError`, one line per
mistake, each naming the setting and the reason. `reference()` renders docs/settings.md.

Durations are written `250ms`, `30s`, `10m`, `6h`, `7d`, or a plain number of seconds.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Incarnation
from ocpp_contract.names import Keys
from ocpp_contract.names import Topics as TopicNames

PREFIX = "CHARGEGATEWAY_"
FILE_VARIABLE = "CHARGEGATEWAY_SETTINGS_FILE"
_ENVELOPE = 8_192
"""More than an event adds to the payload that it carries whole."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class SettingsError(ValueError):
    """The settings make no sense; the message has one line per mistake."""


def _duration(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", value)
        if not match:
            raise ValueError(f"{value!r} is no duration: write 250ms, 30s, 10m, 6h or 7d")
        return float(match[1]) * _UNITS[match[2] or "s"]
    return value


def _listed(value: object) -> object:
    """`a,b` as well as a JSON list, since people type the former."""
    if isinstance(value, str):
        return (
            json.loads(value)
            if value.lstrip().startswith("[")
            else [part.strip() for part in value.split(",") if part.strip()]
        )
    return value


def _servers(names: tuple[str, ...]) -> tuple[str, ...]:
    """`host:port` each; an IPv6 address stands in brackets."""
    for name in names:
        host, _, port = name.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= 65_535:
            raise ValueError(f"{name!r} is no host:port")
    return names


Duration = Annotated[float, BeforeValidator(_duration), Field(ge=0)]
Servers = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_servers)]
TopicName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,249}$")]  # what Kafka allows
Subprotocol = Literal["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pod(_Group):
    """Who this process is. Kubernetes gives name and uid through the Downward API; `chargegateway up` makes its own."""

    name: str = Field(description="Pod name.", min_length=1, max_length=253, pattern=r"^[^/{}\s]+$")
    uid: str = Field(description="Pod uid.", min_length=1, pattern=r"^[^/{}\s]+$")
    resource_uid: str = Field(
        description="uid of the ChargeGateway resource: two resources never share mailboxes.", min_length=1
    )
    annotations_file: Path = Field(
        Path("/etc/chargegateway/podinfo/annotations"),
        description="Downward API file with the assignment annotations.",
    )

    @model_validator(mode="after")
    def _make_an_incarnation(self) -> Self:
        try:
            Incarnation.parse(f"{self.name}/{self.uid}/00000000")
        except ContractError as error:
            raise ValueError(f"name and uid must be those of a Kubernetes pod: {error.reason}") from None
        return self


class Kafka(_Group):
    """The brokers."""

    bootstrap_servers: Servers = Field(description="`host:port`, several separated by commas.", min_length=1)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism."
    )
    username: str | None = Field(None, description="SASL user name.")
    password_file: Path | None = Field(None, description="File with the SASL password.")
    ca_file: Path | None = Field(None, description="CA certificates of the brokers (PEM); the system's when absent.")
    certificate_file: Path | None = Field(None, description="Client certificate for mutual TLS (PEM).")
    key_file: Path | None = Field(None, description="Key of the client certificate (PEM).")
    request_timeout: Duration = Field(5.0, gt=0, description="Longest wait for one broker request.")
    metadata_max_age: Duration = Field(20.0, description="Age at which topic metadata is fetched anew.")
    linger: Duration = Field(0.01, description="How long events gather before all partitions are flushed together.")
    max_request_bytes: int = Field(1_048_576, ge=16_384, description="Largest record that is produced.")
    consumer_group: str = Field(
        "chargegateway.commands", min_length=1, description="Group id under which command offsets are committed."
    )
    fetch_max_wait: Duration = Field(0.5, description="Longest wait of the broker for a fetch without data.")

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> Self:
        if self.security_protocol.startswith("SASL") and (self.username is None or self.password_file is None):
            raise ValueError(f"security_protocol {self.security_protocol} needs username and password_file")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file come together")
        return self


class TopicSettings(_Group):
    """Topic names; everybody on the same broker must agree on them."""

    events_up: TopicName = Field(TopicNames().events_up, description="Events of stations.")
    commands_down: TopicName = Field(TopicNames().commands_down, description="Commands, normal lane.")
    commands_urgent: TopicName = Field(
        TopicNames().commands_urgent, description="Commands, urgent lane; as many partitions as commands-down."
    )
    command_results: TopicName = Field(TopicNames().command_results, description="Outcomes of commands.")
    commands_dlq: TopicName = Field(
        TopicNames().commands_dlq, description="Commands that could not be carried out, original bytes."
    )
    stations: TopicName = Field(TopicNames().stations, description="Compacted station registry.")


class Redis(_Group):
    """The store of directory, ownership and command records."""

    mode: Literal["Standalone", "Cluster"] = Field("Standalone", description="One server, or Redis Cluster.")
    addresses: Servers = Field(
        description="`host:port`, several separated by commas (Cluster: any of its nodes).", min_length=1
    )
    key_prefix: str = Field("", description="Put before every key; no braces.")
    username: str | None = Field(None, description="ACL user.")
    password_file: Path | None = Field(None, description="File with the password.")
    tls: bool = Field(False, description="Talk TLS.")
    ca_file: Path | None = Field(None, description="CA certificates of the store (PEM); the system's when absent.")
    socket_timeout: Duration = Field(0.8, description="Longest wait for one reply.", gt=0)
    wait_replicas: int = Field(
        0,
        ge=0,
        le=5,
        description="Replicas that must confirm a claim of a command that is never safe to repeat (WAIT); 0: none.",
    )

    @model_validator(mode="after")
    def _sane(self) -> Self:
        try:
            Keys(self.key_prefix)
        except ContractError as error:
            raise ValueError(f"key_prefix: {error.reason}") from None
        if self.mode == "Standalone" and len(self.addresses) > 1:
            raise ValueError("addresses: mode Standalone takes one address; write mode: Cluster for several")
        return self


class Tls(_Group):
    """Certificates of a listener; like all files with secrets they are read anew when they change."""

    certificates: tuple[tuple[Path, Path], ...] = Field(
        description="Pairs of certificate chain and key (PEM); RSA and ECDSA may stand side by side.", min_length=1
    )
    cipher_suites: Literal["Compatible", "Modern"] = Field(
        "Compatible", description="Compatible adds the TLS_RSA suites that OCPP demands."
    )
    minimum_version: Literal["1.2", "1.3"] = Field("1.2", description="Lowest TLS version.")


class Listener(_Group):
    """One port for stations."""

    name: str = Field(description="Name in logs and metrics.", min_length=1, max_length=63)
    host: str = Field("0.0.0.0", description="Address to bind.")
    port: int = Field(ge=0, le=65_535, description="Port to bind; 0 takes a free one.")
    security_profiles: tuple[Literal[0, 1, 2], ...] = Field(
        (0, 1),
        description="OCPP security profiles served here; 2 needs tls. Profile 3 is not available yet.",
        min_length=1,
    )
    tls: Tls | None = Field(None, description="TLS of this listener.")
    reuse_port: bool = Field(False, description="Share the port with other gateways of this machine (SO_REUSEPORT).")

    @model_validator(mode="after")
    def _tls_fits_profiles(self) -> Self:
        if self.tls is None and 2 in self.security_profiles:
            raise ValueError(f"listener {self.name}: security profile 2 needs tls")
        if self.tls is not None and set(self.security_profiles) & {0, 1}:
            raise ValueError(
                f"listener {self.name}: security profiles 0 and 1 are without TLS; give them a listener of their own"
            )
        return self


class Admin(_Group):
    """Health, metrics and the internal API; never exposed outside the cluster."""

    host: str = Field("0.0.0.0", description="Address to bind.")
    port: int = Field(9090, ge=0, le=65_535, description="Port to bind; 0 takes a free one.")
    token_file: Path | None = Field(
        None, description="File with the bearer token of the internal API; without it the internal API answers 401."
    )


class Ocpp(_Group):
    """How stations are spoken to."""

    versions: Annotated[tuple[Subprotocol, ...], BeforeValidator(_listed)] = Field(
        ("ocpp2.1", "ocpp2.0.1", "ocpp1.6"), description="Subprotocols that are admitted.", min_length=1
    )
    no_common_version: Literal["Reject", "CompleteAndClose"] = Field(
        "Reject", description="No common subprotocol: HTTP 400, or complete the upgrade and close."
    )
    heartbeat_interval: Duration = Field(300.0, ge=1, description="Interval told to stations at BootNotification.")
    call_timeout: Duration = Field(30.0, gt=0, description="Longest wait for a station's answer to our CALL.")
    inbound: Literal["Strict", "KeepTransactions", "Lenient"] = Field(
        "KeepTransactions", description="What becomes of station messages that break their schema."
    )
    outbound: Literal["Strict", "Off"] = Field(
        "Strict", description="Whether our own messages are checked against their schema."
    )
    ping_interval: Duration = Field(25.0, description="WebSocket ping, +-20 % jitter; 0 switches it off.")
    missed_pings: int = Field(3, ge=1, description="Unanswered pings after which a socket is closed.")
    write_timeout: Duration = Field(20.0, gt=0, description="A station that takes nothing for so long is cut off.")
    handshake_timeout: Duration = Field(10.0, gt=0, description="Longest TLS and HTTP handshake.")
    permessage_deflate: bool = Field(True, description="Grant permessage-deflate to those who ask.")


class Stations(_Group):
    """Who may connect."""

    unknown: Literal["Reject", "Accept"] = Field(
        "Reject",
        description="Stations that the registry does not know. Accept needs security profile 0 on some listener.",
    )
    minimum_security_profile: int = Field(
        0, ge=0, le=2, description="Lowest profile of a station whose record names none."
    )


class Webhook(_Group):
    """Decisions asked of a backend over HTTP."""

    url: str = Field(description="Decision requests are POSTed here.", pattern=r"^https?://")
    timeout: Duration = Field(3.0, gt=0, description="Longest wait for a decision.")
    authorization_file: Path | None = Field(None, description="File with the value of the Authorization header.")
    ca_file: Path | None = Field(None, description="CA certificates of the webhook (PEM).")
    max_concurrent: int = Field(
        256, ge=1, description="Requests under way at once; later ones wait within their timeout."
    )
    breaker_failures: int = Field(10, ge=1, description="Failures in a row that open the circuit breaker.")
    breaker_pause: Duration = Field(5.0, description="How long an open breaker answers by on_failure at once.")
    on_failure_boot: Literal["Accepted", "Pending", "Rejected"] = Field(
        "Pending", description="BootNotification without a decision."
    )
    on_failure_authorize: Literal["Accept", "Reject"] = Field("Reject", description="Authorize without a decision.")
    on_failure_transaction: Literal["Accept", "Reject"] = Field(
        "Accept", description="Start of a transaction without a decision."
    )
    on_failure_data_transfer: Literal["Accept", "Reject"] = Field(
        "Reject", description="DataTransfer without a decision."
    )
    on_failure_certificate: Literal["Reject"] = Field("Reject", description="Certificate requests without a decision.")


class Decisions(_Group):
    """Who answers what needs an answer from the business. No default: nobody gets "accept everyone" by silence."""

    type: Literal["Accept", "Webhook"] = Field(description="Accept (development) or Webhook.")
    webhook: Webhook | None = Field(None, description="Needed by type Webhook.")

    @model_validator(mode="after")
    def _union(self) -> Self:
        if (self.type == "Webhook") != (self.webhook is not None):
            raise ValueError("type Webhook and the group webhook come together")
        return self


class Commands(_Group):
    """The way down."""

    default_deadline: Duration = Field(
        60.0, gt=0, description="Deadline of a command without expiresAt, from its record's time."
    )
    max_deadline: Duration = Field(600.0, gt=0, description="Longest deadline; later ones are cut to it.")
    late_window: Duration = Field(60.0, description="After a call time-out, how long a late answer still counts.")
    retention: Duration = Field(21_600.0, gt=0, description="Retention of the command topics.")
    segment: Duration = Field(3_600.0, description="Segment length of the command topics.")
    record_ttl: Duration = Field(
        28_800.0, description="How long command records outlive the deadline; more than retention + segment."
    )
    mailbox_size: int = Field(64, ge=1, description="Commands waiting for one connected station; beyond that Busy.")
    max_parked: int = Field(
        20_000, ge=1, description="Commands waiting for stations that are away, per pod; beyond that Busy."
    )
    max_parked_bytes: int = Field(
        67_108_864,
        ge=1_048_576,
        description="Bytes of the records of those commands, per pod; beyond that Busy. Decoded they take some times as much.",
    )

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.default_deadline > self.max_deadline:
            raise ValueError(
                f"default_deadline {self.default_deadline:g}s is longer than max_deadline {self.max_deadline:g}s"
            )
        if self.record_ttl <= self.retention + self.segment:
            raise ValueError(
                f"record_ttl {self.record_ttl:g}s must exceed retention + segment ({self.retention + self.segment:g}s): "
                "a record read again after its state expired would be executed twice"
            )
        return self


class Ownership(_Group):
    """Leases on partitions."""

    lease: Duration = Field(15.0, gt=0, description="Lease on a partition.")
    renew_interval: Duration = Field(5.0, gt=0, description="How often leases are renewed.")
    margin: Duration = Field(3.0, gt=0, description="How much earlier than its lease a pod stops delivering.")
    lonely_close: Duration = Field(
        60.0, description="Without any partition for so long, sockets are closed at the drain rate."
    )
    entry_ttl: Duration = Field(900.0, gt=0, description="Life of a conn: entry.")
    entry_refresh: Duration = Field(300.0, gt=0, description="How often conn: entries are refreshed, with jitter.")
    commit_interval: Duration = Field(
        60.0, gt=0, description="Offsets are committed again after so long, also unchanged."
    )

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.renew_interval * 2 + self.margin > self.lease:
            raise ValueError(
                f"renew_interval {self.renew_interval:g}s twice plus margin {self.margin:g}s must fit into the lease of {self.lease:g}s"
            )
        if self.entry_refresh * 2 > self.entry_ttl:
            raise ValueError("entry_refresh must be at most half of entry_ttl")
        return self


class Limits(_Group):
    """What one pod bears."""

    connections: int = Field(10_000, ge=1, description="Stations connected at once.")
    accept_rate: float = Field(200.0, gt=0, description="Admissions per second; faster ones are delayed.")
    accept_waiting: int = Field(
        2_000, ge=1, description="Handshakes that may wait for the accept rate; beyond that 503."
    )
    pending_handshakes: int = Field(4_000, ge=1, description="Sockets that have not finished their handshake.")
    message_bytes: int = Field(
        262_144, ge=1_024, description="Largest message of a station; larger ones close its socket with 1009."
    )
    json_depth: int = Field(64, ge=4, le=240, description="Deepest nesting of a message.")
    messages_per_second: float = Field(
        20.0, gt=0, description="Messages of one station per second; beyond the burst reading stops for a while."
    )
    message_burst: int = Field(100, ge=1, description="Messages that one station may send at once.")
    connects_per_minute: float = Field(
        30.0, gt=0, description="Connections of one identity per minute; beyond that 503 for a while."
    )


class Uplink(_Group):
    """Kafka away: hold, stop reading, close, refuse."""

    hold: Duration = Field(
        15.0, description="Age of the oldest unacknowledged event from which stations are no longer read."
    )
    close: Duration = Field(
        60.0,
        description="Age from which sockets are closed with 1013 and handshakes refused, so that stations queue offline.",
    )

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.hold > self.close:
            raise ValueError("hold must not be longer than close")
        return self


class Drain(_Group):
    """Leaving on SIGTERM."""

    load_balancer_wait: Duration = Field(15.0, description="Not ready for so long before the first socket is closed.")
    connections_per_second: float = Field(50.0, gt=0, description="Sockets closed per second.")
    force_after: Duration = Field(600.0, gt=0, description="Latest end of a drain.")


class Log(_Group):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level.")
    format: Literal["json", "text"] = Field("json", description="JSON lines, or text for people.")


class Settings(BaseSettings):
    """All groups. Needed without default: pod, kafka.bootstrap_servers, redis.addresses, decisions.type."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    pod: Pod
    kafka: Kafka
    topics: TopicSettings = TopicSettings()
    redis: Redis
    listeners: Annotated[tuple[Listener, ...], BeforeValidator(_listed)] = Field(
        (Listener(name="ws", port=8000, security_profiles=(0, 1)),),
        min_length=1,
        description="Ports for stations, a JSON list.",
    )
    admin: Admin = Admin()
    ocpp: Ocpp = Ocpp()
    stations: Stations = Stations()
    decisions: Decisions
    commands: Commands = Commands()
    ownership: Ownership = Ownership()
    limits: Limits = Limits()
    uplink: Uplink = Uplink()
    drain: Drain = Drain()
    log: Log = Log()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        ports = [(listener.host, listener.port) for listener in self.listeners if listener.port]
        if self.admin.port:
            ports.append((self.admin.host, self.admin.port))
        if len(ports) != len(set(ports)):
            raise ValueError("listeners and admin: two of them name the same port")
        names = [listener.name for listener in self.listeners]
        if len(names) != len(set(names)):
            raise ValueError("listeners: names must differ")
        if self.stations.unknown == "Accept" and self.stations.minimum_security_profile != 0:
            raise ValueError("stations: unknown Accept is possible only where minimum_security_profile is 0")
        if self.limits.message_bytes + _ENVELOPE > self.kafka.max_request_bytes:
            raise ValueError(
                f"limits.message_bytes {self.limits.message_bytes} plus {_ENVELOPE} must fit into "
                f"kafka.max_request_bytes {self.kafka.max_request_bytes}: a larger message could never be answered"
            )
        topics = list(self.topics.model_dump().values())
        if len(topics) != len(set(topics)):
            raise ValueError("topics: two of them have the same name")
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
        return (init_settings,)  # `load` is given the environment; nothing is read behind its back


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from the file named in `environ` and from `environ` (as os.environ).

    Raises SettingsError with one line per mistake.
    """
    values: dict[str, Any] = {}
    name = environ.get(FILE_VARIABLE)
    if name:
        try:
            text = Path(name).read_text(encoding="utf-8")
            values = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
        except (OSError, ValueError) as error:
            raise SettingsError(f"{FILE_VARIABLE}={name}: {error}") from None
    variables = _variables()
    unknown = sorted(key for key in environ if key.startswith(PREFIX) and key != FILE_VARIABLE and key not in variables)
    if unknown:
        raise SettingsError("\n".join(f"{key}: no such setting" for key in unknown))
    for variable, path in variables.items():
        if variable in environ:  # nearer to the process than a file: it wins
            values = _with(values, path, environ[variable])
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(_line(item["loc"], _words(item)) for item in error.errors())) from None


def _words(mistake: ErrorDetails) -> str:
    """A setting that is not known may be one of a newer version, and one that protects: never to be left aside in silence."""
    if mistake["type"] == "extra_forbidden":
        return f"no such setting in version {metadata.version('chargegateway')} of the gateway"
    return mistake["msg"]


def _with(values: Mapping[str, Any], path: tuple[str, ...], value: str) -> dict[str, Any]:
    """`values` with one more in its group, which the file may not have or may have written as no group."""
    first, *rest = path
    inner = values.get(first)
    group = inner if isinstance(inner, dict) else {}
    return {**values, first: _with(group, tuple(rest), value) if rest else value}


def _line(location: tuple[str | int, ...], message: str) -> str:
    groups = [str(part) for part in location]
    return (
        f"{PREFIX}{'__'.join(groups).upper()}: {message.removeprefix('Value error, ')}"
        if groups
        else message.removeprefix("Value error, ")
    )


def _group(annotation: Any) -> type[_Group] | None:
    """The group behind an annotation, also inside `Group | None`; None for a plain setting."""
    if get_origin(annotation) in (Union, UnionType):
        return next((found for item in get_args(annotation) if (found := _group(item))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, _Group) else None


def _leaves(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, field in model.model_fields.items():
        group = _group(field.annotation)
        if group is None:
            yield (*path, name), field
        else:
            yield from _leaves(group, (*path, name))


def _variables() -> dict[str, tuple[str, ...]]:
    return {PREFIX + "__".join(path).upper(): path for path, _ in _leaves(Settings)}


def reference() -> str:
    """docs/settings.md: every setting with its default, generated."""
    lines = [
        "# Settings of the gateway",
        "",
        "Generated from `ocpp_gateway.settings`; do not edit. Environment variables win over the file that",
        f"`{FILE_VARIABLE}` names (TOML or JSON, groups as tables). Durations: `250ms`, `30s`, `10m`, `6h`, `7d`.",
        "A setting nobody knows, or one that makes no sense, refuses to start and says why.",
    ]
    group: tuple[str, ...] = ()
    for path, field in _leaves(Settings):
        if path[:-1] != group or len(lines) == 5:
            group = path[:-1]
            lines += [
                "",
                f"## {'.'.join(group) or path[0]}",
                "",
                "| variable | default | meaning |",
                "| --- | --- | --- |",
            ]
        default = "**needed**" if field.is_required() else f"`{_shown(field.default)}`"
        lines.append(f"| `{PREFIX}{'__'.join(path).upper()}` | {default} | {_meaning(field)} |")
    lines += ["", "## A listener", "", "| field | default | meaning |", "| --- | --- | --- |"]
    for path, field in _leaves(Listener):
        default = "**needed**" if field.is_required() else f"`{_shown(field.default)}`"
        lines.append(f"| `{'.'.join(path)}` | {default} | {_meaning(field)} |")
    return "\n".join(lines) + "\n"


def _meaning(field: Any) -> str:
    choices = [str(choice) for choice in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []
    return (field.description or "") + (f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else "")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return json.dumps([item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in value])
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)
