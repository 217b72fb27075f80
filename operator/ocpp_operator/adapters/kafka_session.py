"""One use of the brokers: connect, ask, leave. Nothing stays open between uses, so an idle resource holds no socket.

aiokafka's client is not used, only its connection (wire format, TLS, SASL) and its requests: the client answers every failure
to connect with the same words ("Unable to bootstrap") after logging the reason, keeps a task and connections, and opens new
ones while it is being closed. The reason is what a person needs, so every failure leaves here as one of two:

- `KafkaUnavailable`: nobody answers, or not in time. It may pass by itself.
- `KafkaDenied`: somebody answered, and refused us, or must not be trusted. A person has to change something.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from aiokafka.conn import AIOKafkaConnection, get_ip_port_afi
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

Address = tuple[str, int]

# What aiokafka raises beside its own errors: a peer that speaks something else breaks its decoders and authenticators.
_FAILURES = (KafkaError, OSError, EOFError, ValueError, LookupError, AssertionError, NotImplementedError)


class KafkaUnavailable(Exception):
    """No broker answers (in time). `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KafkaDenied(Exception):
    """A broker refuses us, or shows that it is not the one we look for. `reason` is for people, and says what to change."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """How one resource reaches its brokers. Key material is PEM text out of Secrets and never touches a disk."""

    bootstrap_servers: tuple[str, ...]
    """`host:port`, IPv6 addresses in brackets; without a port 9092."""
    tls: bool = False
    ca_pem: str | None = None
    """Who may have signed the brokers' certificates; None: whom the system trusts."""
    certificate_pem: str | None = None
    """Shown to the brokers (mutual TLS)."""
    key_pem: str | None = field(default=None, repr=False)
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 10.0
    """Seconds for one use, connecting included."""
    client_id: str = "chargegateway-operator"

    @property
    def security_protocol(self) -> str:
        return ("SASL_" if self.sasl_mechanism else "") + ("SSL" if self.tls else "PLAINTEXT")


class KafkaSession:
    """The connections of one use. Made by `session`."""

    def __init__(self, access: KafkaAccess, context: ssl.SSLContext | None) -> None:
        self._access = access
        self._context = context
        self._open: dict[Address, Any] = {}
        self._entrance: Address | None = None

    async def enter(self) -> None:
        """Connect to the first bootstrap address that answers."""
        failures: list[KafkaUnavailable | KafkaDenied] = []
        servers = self._access.bootstrap_servers
        for server in servers:
            try:
                # A silent address must leave time for the others, and for the questions.
                async with asyncio.timeout(self._access.timeout / (len(servers) + 1)):
                    host, port, _ = get_ip_port_afi(server)
                    await self._connection((host, port))
                self._entrance = (host, port)
                return
            except (KafkaUnavailable, KafkaDenied) as failure:
                failures.append(failure)
            except TimeoutError:
                failures.append(KafkaUnavailable(f"{server}: no answer"))
            except ValueError:
                failures.append(KafkaDenied(f"{server!r} is no address: host:port is needed"))
        reason = "Kafka cannot be reached: " + "; ".join(failure.reason for failure in failures)
        denied = any(isinstance(failure, KafkaDenied) for failure in failures)
        raise KafkaDenied(reason) if denied else KafkaUnavailable(reason)

    async def ask(self, request: Any, at: Address | None = None, guard: Callable[[], None] = lambda: None) -> Any:
        """The response of the broker at `at`, by default of the one that let us in.

        `guard` is asked once the connection stands, and nothing is waited for between it and the request: aiokafka hands that to
        the socket before it waits for the answer.
        """
        address = at or self._entrance
        assert address is not None
        connection = await self._connection(address)
        guard()
        try:
            return await connection.send(request)
        except _FAILURES as error:
            raise _in_words(error, address, self._access) from error

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    async def _connection(self, address: Address) -> Any:
        if address not in self._open:
            access = self._access
            connection = _Connection(
                *address,
                client_id=access.client_id,
                request_timeout_ms=round(access.timeout * 1000),
                security_protocol=access.security_protocol,
                ssl_context=self._context,
                sasl_mechanism=access.sasl_mechanism,
                sasl_plain_username=access.username,
                sasl_plain_password=access.password,
            )
            try:
                await connection.connect()
            except _FAILURES as error:
                raise _in_words(error, address, access) from error
            self._open[address] = connection
        return self._open[address]


@contextlib.asynccontextmanager
async def session(access: KafkaAccess) -> AsyncIterator[KafkaSession]:
    """Raises KafkaUnavailable or KafkaDenied; takes `access.timeout` at most. Closed whatever happens, cancellation included."""
    context = _tls_context(access) if access.tls else None
    current = KafkaSession(access, context)
    try:
        async with asyncio.timeout(access.timeout) as limit:
            await current.enter()
            yield current
    except TimeoutError:
        if not limit.expired():
            raise
        servers = ", ".join(access.bootstrap_servers)
        raise KafkaUnavailable(f"Kafka at {servers} did not answer within {access.timeout:g}s") from None
    finally:
        current.close()


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no type information
    """Closed at once. aiokafka says goodbye in TLS, and a frozen broker would keep that socket for half a minute more."""

    def close(self, reason: Any = None, exc: Any = None) -> Any:
        if self._writer is not None:
            self._writer.transport.abort()
        return super().close(reason, exc)


# --- TLS --------------------------------------------------------------------------------------------------------------


def _tls_context(access: KafkaAccess) -> ssl.SSLContext:
    """Brokers' names are checked. Raises KafkaDenied when what stands in the Secrets is unusable."""
    try:
        if access.ca_pem is not None and not access.ca_pem.strip():
            raise ValueError("it is empty")  # the ssl module would trust the system's authorities instead
        context = ssl.create_default_context(cadata=access.ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise KafkaDenied(f"the CA of the brokers (kafka.tls.caSecretRef) is no PEM certificate: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if access.certificate_pem is not None:
        try:
            with _in_memory(f"{access.certificate_pem}\n{access.key_pem or ''}") as path:
                context.load_cert_chain(path, password=_refuse_password)
        except (OSError, ValueError) as error:
            raise KafkaDenied(f"our certificate and key for the brokers cannot be used: {error}") from None
    return context


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A path to `text` without a file: the ssl module reads keys from paths only, and a key must not touch a disk."""
    descriptor = os.memfd_create("kafka-key")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _refuse_password() -> str:
    raise ValueError("the key is encrypted, which is not supported")  # OpenSSL would ask at the terminal


# --- failures in words ------------------------------------------------------------------------------------------------


def _in_words(error: BaseException, address: Address, access: KafkaAccess) -> KafkaUnavailable | KafkaDenied:
    """The first cause that says something, for a person who sees only the resource."""
    host, port = address
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    denied = _denied(error, access)
    if denied is not None:
        return KafkaDenied(f"{where}: {denied}")
    for each in _causes(error):
        if isinstance(each, UnicodeError):
            return KafkaDenied(f"{where}: {host!r} is no valid name")
        if isinstance(each, ConnectionRefusedError):
            return KafkaUnavailable(f"{where}: connection refused")
        if isinstance(each, socket.gaierror):
            return KafkaUnavailable(f"{where}: the name {host} is not known ({each.strerror})")
        if isinstance(each, EOFError | ConnectionError):
            return KafkaUnavailable(
                f"{where}: the broker closed the connection; one that wants TLS, SASL or a client certificate does that"
            )
        if isinstance(each, TimeoutError):
            return KafkaUnavailable(f"{where}: no answer in time")
        if isinstance(each, OSError):
            return KafkaUnavailable(f"{where}: {each.strerror or each}")
    return KafkaUnavailable(f"{where}: {type(error).__name__}: {error}")


def _denied(error: BaseException, access: KafkaAccess) -> str | None:
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"the broker's certificate is not trusted: {each.verify_message.rstrip('.')} (kafka.tls.caSecretRef)"
        if isinstance(each, ssl.SSLError) and "ALERT" in (each.reason or ""):
            shown = "our certificate" if access.certificate_pem is not None else "us without a certificate"
            return f"the broker refuses {shown}: {each.reason}"
        if isinstance(each, ssl.SSLError):
            return f"no TLS could be agreed on ({each.reason or each}): does this port speak it?"
        if isinstance(each, SaslAuthenticationFailed):
            return f"user {access.username} was refused ({access.sasl_mechanism}): wrong name or password"
        if isinstance(each, UnsupportedSaslMechanismError):
            return f"the broker does not offer {access.sasl_mechanism} here"
        if isinstance(each, IllegalSaslStateError):
            return "this port takes no SASL, but the resource names a user"
    if (
        isinstance(error, ValueError | AssertionError)
        and not isinstance(error, UnicodeError)
        and access.sasl_mechanism is not None
    ):
        return f"the answer to {access.sasl_mechanism} was wrong: this may not be our broker ({error})"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
