"""Towards the stations: listeners, Service, how OCPP is spoken, who may connect, and who decides for the business."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from ocpp_contract import names
from ocpp_operator.core.fields import (
    BY_NAME,
    SET,
    Annotations,
    Duration,
    Group,
    Rule,
    SecretKeyRef,
    SecretRef,
    duration,
    kubernetes_keys,
    not_the_operators,
)
from ocpp_operator.core.names import FIRST_PORT

_SUBPROTOCOLS = {"OCPP16": names.OCPP16, "OCPP201": names.OCPP201, "OCPP21": names.OCPP21}


def container_port(index: int) -> int:
    """Port on which a pod serves the listener at `index` of the list: above 1024, so that no capability is needed."""
    return FIRST_PORT + index


class ListenerTls(Group):
    """TLS of a listener. It ends in the pod; certificates are re-read when their Secrets change."""

    certificate_refs: tuple[SecretRef, ...] = Field(
        min_length=1,
        max_length=4,
        json_schema_extra=BY_NAME,
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
        max_length=3,
        json_schema_extra=SET,
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
        json_schema_extra=SET,
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
        kubernetes_keys("annotations"),
        not_the_operators("annotations", ("chargegateway.io/",), "it knows by them what it wrote"),
    )


class Validation(Group):
    """What becomes of messages that break their OCPP schema."""

    inbound: Literal["Strict", "KeepTransactions", "Lenient"] = Field(
        "KeepTransactions",
        description="Messages of stations. Strict answers with an error; KeepTransactions keeps what is billed: a "
        "transaction message that can be identified is answered and published with its schema errors; Lenient does so "
        "with every readable message.",
    )
    outbound: Literal["Strict", "Disabled"] = Field("Strict", description="Whether our own messages are checked.")

    @property
    def outbound_setting(self) -> Literal["Strict", "Off"]:
        """As the gateway's settings call it; in YAML an unquoted Off would be a boolean."""
        return "Strict" if self.outbound == "Strict" else "Off"


class Ocpp(Group):
    """How stations are spoken to."""

    versions: tuple[Literal["OCPP16", "OCPP201", "OCPP21"], ...] = Field(
        ("OCPP21", "OCPP201", "OCPP16"),
        min_length=1,
        max_length=3,
        json_schema_extra=SET,
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
