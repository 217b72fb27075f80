"""How a resource reaches its brokers and its store: the spec's words and the Secrets' contents put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ocpp_operator.adapters.kafka_admin import KafkaAccess
from ocpp_operator.adapters.redis_access import Address, RedisAccess
from ocpp_operator.core.fields import SecretKeyRef, SecretRef
from ocpp_operator.core.findings import Trouble
from ocpp_operator.core.spec import Resource

Contents = Callable[[str], Mapping[str, bytes] | None]
"""What is in the Secret of that name in the resource's namespace; None: there is none."""


@dataclass(frozen=True, slots=True)
class Need:
    """One value that the spec names. `field` says where, for people."""

    field: str
    secret: str
    key: str


class SecretMissing(Exception):
    """A value that is needed is not there."""


def needs(resource: Resource) -> Iterator[Need]:
    """Every value out of a Secret that the pods or the operator read."""
    spec = resource.spec
    for index, listener in enumerate(spec.listeners):
        for ref in listener.tls.certificate_refs if listener.tls is not None else ():
            yield from _pair(f"spec.listeners[{index}].tls.certificateRefs", ref)
    if spec.decisions.webhook is not None:
        yield from _one(
            "spec.decisions.webhook.authorizationSecretRef", spec.decisions.webhook.authorization_secret_ref
        )
        yield from _one("spec.decisions.webhook.caSecretRef", spec.decisions.webhook.ca_secret_ref)
    if spec.kafka.tls is not None:
        yield from _one("spec.kafka.tls.caSecretRef", spec.kafka.tls.ca_secret_ref)
    if spec.kafka.authentication is not None:
        yield from _one("spec.kafka.authentication.passwordSecretRef", spec.kafka.authentication.password_secret_ref)
        if (pair := spec.kafka.authentication.certificate_ref) is not None:
            yield from _pair("spec.kafka.authentication.certificateRef", pair)
    yield from _one("spec.redis.passwordSecretRef", spec.redis.password_secret_ref)
    if spec.redis.tls is not None:
        yield from _one("spec.redis.tls.caSecretRef", spec.redis.tls.ca_secret_ref)


def _one(field: str, ref: SecretKeyRef | None) -> Iterator[Need]:
    if ref is not None:
        yield Need(field, ref.name, ref.key)


def _pair(field: str, ref: SecretRef) -> Iterator[Need]:
    yield Need(field, ref.name, "tls.crt")
    yield Need(field, ref.name, "tls.key")


def missing(resource: Resource, contents: Contents) -> list[Trouble]:
    """What is not there, a line per Secret. Pods wait for it (ContainerCreating) and start when it appears."""
    told: dict[str, str] = {}
    for need in needs(resource):
        there = contents(need.secret)
        if there is None:
            told.setdefault(need.secret, f"Secret {need.secret} ({need.field}) is not there")
        elif need.key not in there:
            told.setdefault(need.secret, f"Secret {need.secret} ({need.field}) has no key {need.key}")
    return [Trouble("SecretMissing", line) for line in told.values()]


def kafka(resource: Resource, contents: Contents, timeout: float) -> KafkaAccess:
    """Raises SecretMissing."""
    spec = resource.spec.kafka
    authentication = spec.authentication
    pair = authentication.certificate_ref if authentication is not None else None
    return KafkaAccess(
        bootstrap_servers=spec.servers,
        tls=spec.tls is not None,
        ca_pem=_text(contents, spec.tls.ca_secret_ref if spec.tls is not None else None),
        certificate_pem=_of(contents, pair.name, "tls.crt") if pair is not None else None,
        key_pem=_of(contents, pair.name, "tls.key") if pair is not None else None,
        sasl_mechanism=authentication.mechanism if authentication is not None else None,
        username=authentication.username if authentication is not None else None,
        password=_text(contents, authentication.password_secret_ref if authentication is not None else None),
        timeout=timeout,
    )


def redis(resource: Resource, contents: Contents) -> RedisAccess:
    """Raises SecretMissing."""
    spec = resource.spec.redis
    return RedisAccess(
        addresses=tuple(_address(text) for text in spec.addresses),
        cluster=spec.mode == "Cluster",
        username=spec.username,
        password=_text(contents, spec.password_secret_ref),
        tls=spec.tls is not None,
        ca_pem=_text(contents, spec.tls.ca_secret_ref if spec.tls is not None else None),
    )


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host, int(port))


def _text(contents: Contents, ref: SecretKeyRef | None) -> str | None:
    return None if ref is None else _of(contents, ref.name, ref.key)


def _of(contents: Contents, secret: str, key: str) -> str:
    value = (contents(secret) or {}).get(key)
    if value is None:
        raise SecretMissing(f"Secret {secret} or its key {key} is not there")
    try:
        # As the gateway reads it: Secrets made from files end with a newline.
        return value.decode().strip()
    except UnicodeDecodeError:
        raise SecretMissing(f"key {key} of Secret {secret} is no UTF-8 text") from None
