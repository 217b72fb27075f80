"""The gateway's settings file as a resource wants it, and the Secrets that it names files of.

`ocpp_gateway.settings` reads the file; names and units are that module's. Who a pod is (`pod.name`, `pod.uid`) is the same file's
to say for no two pods, so it comes from environment variables instead. Values of Secrets never stand here, only paths: each
reference of the spec is a folder below `SECRETS`, a volume of its own, so that a Secret that is missing one day keeps no other from
being renewed in running pods.

What is not written here is the gateway's own default, and comes and goes with its version. The gateway may be of an older one
(`spec.version`) and refuses what it does not know: a setting that came after 0.1.0 is written only where the resource says something else
than its default (ADR 63).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ocpp_operator.core import names
from ocpp_operator.core.fields import SecretKeyRef, SecretRef
from ocpp_operator.core.spec import Decisions, Kafka, Listener, Redis, Resource, Spec, container_port

SETTINGS_FILE: Final = "/etc/chargegateway/settings/settings.json"
SECRETS: Final = "/etc/chargegateway/secrets"
TOKEN_KEY: Final = "token"
"""Key of the internal API's token in its Secret."""
_LARGEST_RECORD = 1_048_576
"""Bytes; the bounds of limits.maxMessageBytes are made for it."""


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """One Secret as files: the values of `keys` (file -> key) in a folder of their own."""

    folder: str
    """Below SECRETS; also the name of the volume."""
    secret: str
    keys: Mapping[str, str]

    def path(self, file: str) -> str:
        return f"{SECRETS}/{self.folder}/{file}"


def secret_files(resource: Resource) -> tuple[SecretFiles, ...]:
    """Everything that the settings name files of, in a fixed order."""
    kafka, redis, webhook = resource.spec.kafka, resource.spec.redis, resource.spec.decisions.webhook
    login = kafka.authentication
    found = [SecretFiles("internal", names.internal_token(resource.name), {TOKEN_KEY: TOKEN_KEY})]
    for listener in resource.spec.listeners:
        found += _certificates(listener)
    if kafka.tls is not None:
        found += _value("kafka-ca", "ca.crt", kafka.tls.ca_secret_ref)
    if login is not None:
        found += _value("kafka-password", "password", login.password_secret_ref)
        found += [] if login.certificate_ref is None else [_key_pair("kafka-client", login.certificate_ref)]
    if redis.tls is not None:
        found += _value("redis-ca", "ca.crt", redis.tls.ca_secret_ref)
    found += _value("redis-password", "password", redis.password_secret_ref)
    if webhook is not None:
        found += _value("webhook-ca", "ca.crt", webhook.ca_secret_ref)
        found += _value("webhook-authorization", "authorization", webhook.authorization_secret_ref)
    return tuple(found)


def _certificates(listener: Listener) -> list[SecretFiles]:
    references = () if listener.tls is None else listener.tls.certificate_refs
    return [_key_pair(f"listener-{listener.name}-{number}", reference) for number, reference in enumerate(references)]


def _value(folder: str, file: str, reference: SecretKeyRef | None) -> list[SecretFiles]:
    return [] if reference is None else [SecretFiles(folder, reference.name, {file: reference.key})]


def _key_pair(folder: str, reference: SecretRef) -> SecretFiles:
    """A Secret of type kubernetes.io/tls, whose keys Kubernetes demands."""
    return SecretFiles(folder, reference.name, {"tls.crt": "tls.crt", "tls.key": "tls.key"})


def render(resource: Resource) -> dict[str, Any]:
    """The file's content. Equal resources give equal files, to the byte of `text`."""
    spec = resource.spec
    files = {found.folder: found for found in secret_files(resource)}
    return {
        "pod": {"resource_uid": resource.uid},
        "kafka": _kafka(spec.kafka, files),
        "topics": _topics(spec),
        "redis": _redis(spec.redis, files),
        "listeners": [_listener(index, listener) for index, listener in enumerate(spec.listeners)],
        "admin": {"port": names.ADMIN_PORT, "token_file": files["internal"].path(TOKEN_KEY)},
        "ocpp": {
            "versions": list(spec.ocpp.subprotocols),
            "no_common_version": spec.ocpp.no_common_version,
            "heartbeat_interval": _number(spec.ocpp.heartbeat_interval),
            "call_timeout": _number(spec.ocpp.call_timeout),
            "ping_interval": _number(spec.ocpp.ping_interval),
            "inbound": spec.ocpp.validation.inbound,
            "outbound": spec.ocpp.validation.outbound_setting,
        },
        "stations": {
            "unknown": spec.stations.unknown,
            # A station whose record names no profile may use whatever some listener serves.
            "minimum_security_profile": min(min(listener.security_profiles) for listener in spec.listeners),
        },
        "decisions": _decisions(spec.decisions, files),
        "commands": {
            "default_deadline": _number(spec.commands.default_deadline),
            "max_deadline": _number(spec.commands.max_deadline),
            "late_window": _number(spec.commands.late_window),
            "retention": _number(spec.commands.retention),
            "segment": _number(spec.commands.segment),
            "record_ttl": _number(spec.commands.record_ttl),
            "mailbox_size": spec.commands.mailbox_size,
            "max_parked": spec.commands.max_parked_per_pod,
        },
        "limits": {
            "connections": spec.limits.connections_per_pod,
            "accept_rate": spec.limits.accept_rate_per_second,
            "message_bytes": spec.limits.max_message_bytes,
            "messages_per_second": spec.limits.messages_per_second,
        },
        "drain": {
            "load_balancer_wait": _number(spec.drain.load_balancer_wait),
            # One pod's share of the fleet's rate: with it in the settings no coordinator is needed.
            "connections_per_second": _number(spec.drain_rate),
            "force_after": _number(spec.force_after),
        },
    }


def text(settings: Mapping[str, Any]) -> str:
    """The file itself."""
    return json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits that change with the content."""
    return hashlib.sha256(text(settings).encode()).hexdigest()[:10]


# --- groups -----------------------------------------------------------------------------------------------------------


def _paths(files: Mapping[str, SecretFiles], folder: str, **settings: str) -> dict[str, str]:
    """Settings that name files of one folder; none where the spec has no such Secret."""
    found = files.get(folder)
    return {} if found is None else {setting: found.path(file) for setting, file in settings.items()}


def _kafka(kafka: Kafka, files: Mapping[str, SecretFiles]) -> dict[str, Any]:
    group: dict[str, Any] = {
        "bootstrap_servers": list(kafka.servers),
        "security_protocol": kafka.security_protocol,
        "max_request_bytes": _LARGEST_RECORD,
        **_paths(files, "kafka-ca", ca_file="ca.crt"),
        **_paths(files, "kafka-password", password_file="password"),
        **_paths(files, "kafka-client", certificate_file="tls.crt", key_file="tls.key"),
    }
    login = kafka.authentication
    if login is not None and login.mechanism is not None:
        group |= {"sasl_mechanism": login.mechanism, "username": login.username}
    return group


def _topics(spec: Spec) -> dict[str, str]:
    topics = spec.topic_names
    return {
        "events_up": topics.events_up,
        "commands_down": topics.commands_down,
        "commands_urgent": topics.commands_urgent,
        "command_results": topics.command_results,
        "commands_dlq": topics.commands_dlq,
        "stations": topics.stations,
    }


def _redis(redis: Redis, files: Mapping[str, SecretFiles]) -> dict[str, Any]:
    return {
        "mode": redis.mode,
        "addresses": list(redis.addresses),
        "key_prefix": redis.key_prefix,
        "tls": redis.tls is not None,
        **({} if redis.username is None else {"username": redis.username}),
        **_paths(files, "redis-password", password_file="password"),
        **_paths(files, "redis-ca", ca_file="ca.crt"),
    }


def _listener(index: int, listener: Listener) -> dict[str, Any]:
    group: dict[str, Any] = {
        "name": listener.name,
        "port": container_port(index),
        "security_profiles": list(listener.security_profiles),
    }
    if listener.tls is not None:
        group["tls"] = {
            "certificates": [[files.path("tls.crt"), files.path("tls.key")] for files in _certificates(listener)],
            "cipher_suites": listener.tls.cipher_suites,
            "minimum_version": listener.tls.min_version,
        }
    return group


def _decisions(decisions: Decisions, files: Mapping[str, SecretFiles]) -> dict[str, Any]:
    webhook = decisions.webhook
    if webhook is None:
        return {"type": decisions.type}
    return {
        "type": decisions.type,
        "webhook": {
            "url": webhook.url,
            "timeout": _number(webhook.timeout),
            "on_failure_boot": webhook.on_failure.boot,
            "on_failure_authorize": webhook.on_failure.authorize,
            "on_failure_transaction": webhook.on_failure.transaction,
            "on_failure_data_transfer": webhook.on_failure.data_transfer,
            "on_failure_certificate": webhook.on_failure.certificate,
            **_paths(files, "webhook-authorization", authorization_file="authorization"),
            **_paths(files, "webhook-ca", ca_file="ca.crt"),
        },
    }


def _number(value: float) -> int | float:
    """Whole numbers as such: what is stored and read back through Kubernetes then stays the same to the byte."""
    return int(value) if value == int(value) else value
