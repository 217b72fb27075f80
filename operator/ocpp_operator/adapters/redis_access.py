"""How to reach and enter a resource's Redis, and what it means when that fails, in words for a condition.

Everything that goes wrong with the store leaves these modules as StoreUnavailable: a reason that tools can match and a
message that says what to look at. Passwords are in no message.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """As the resource says; the caller reads the Secrets. Made anew when one of them changes."""

    addresses: tuple[Address, ...]
    """Standalone: the first one. Cluster: any masters, to learn the others from."""
    cluster: bool = False
    username: str | None = None
    password: bytes | str | None = field(default=None, repr=False)
    tls: bool = False
    ca_pem: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """Without both the system's authorities count."""
    client_name: str = "chargegateway-operator"
    timeout: float = 1.0
    """Seconds: for a connection with its handshake, and for the replies to what was sent at once."""


class Fault(StrEnum):
    """Why the store cannot be used; a condition's reason."""

    UNREACHABLE = "RedisUnreachable"
    AUTHENTICATION = "RedisAuthenticationFailed"
    PERMISSION = "RedisPermissionDenied"
    TLS = "RedisTlsFailed"
    WRONG_MODE = "RedisWrongMode"
    NOT_WRITABLE = "RedisNotWritable"
    REFUSED = "RedisRefused"


class StoreUnavailable(Exception):
    """The store did not do it, or it is not known whether it did. Everything here may be asked again."""

    def __init__(self, reason: Fault, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def connection(address: Address, access: RedisAccess) -> Connection:
    """Not connected yet. It repeats nothing by itself; time is kept by its user."""
    password = access.password.encode() if isinstance(access.password, str) else access.password
    settings: dict[str, Any] = {
        "host": address.host.strip("[]"),  # as IPv6 addresses are written with a port
        "port": address.port,
        "username": access.username,
        "password": password.strip() if password else None,  # Secrets made from files end with a newline
        "client_name": access.client_name,
        "driver_info": None,  # CLIENT SETINFO is younger than Redis 7.0 and another thing for an ACL to allow
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": access.timeout,
    }
    if not access.tls:
        return Connection(**settings)
    ca_file = str(access.ca_file) if access.ca_file else None
    return SSLConnection(ssl_ca_certs=ca_file, ssl_ca_data=access.ca_pem, **settings)


def explain(error: Exception, address: Address, access: RedisAccess) -> StoreUnavailable:
    """What a failed connection or a refused command means to whoever runs the resource."""
    reason, text = _refused(error, access) or _not_reached(error, address, access)
    return StoreUnavailable(reason, f"Redis at {address} {text}")


def _refused(error: Exception, access: RedisAccess) -> tuple[Fault, str] | None:
    """What the server said, if it said something."""
    user = f"user {access.username}" if access.username else "the default user"
    said = str(error)
    match error:
        case AuthenticationError() if "without any password configured" in said:
            return Fault.AUTHENTICATION, f"has no password for {user}, and one is given"
        case AuthenticationError() if access.password is None:
            return Fault.AUTHENTICATION, f"asks for a password and none is given ({said})"
        case AuthenticationError():
            return Fault.AUTHENTICATION, f"refuses the password of {user} ({said})"
        case NoPermissionError():
            return Fault.PERMISSION, f"does not let {user} do what is needed: see the ACL in docs/redis.md ({said})"
        case MovedError() | AskError() | TryAgainError() | ClusterDownError() if access.cluster:
            return Fault.UNREACHABLE, f"belongs to a cluster that is changing or incomplete ({said})"
        case MovedError() | AskError() | TryAgainError() | ClusterDownError():
            return Fault.WRONG_MODE, "is a node of a Redis Cluster: set redis.mode to Cluster"
        case ReadOnlyError():
            return Fault.NOT_WRITABLE, "is a replica: give the address of the master"
        case OutOfMemoryError():
            return Fault.NOT_WRITABLE, f"takes no writes: its memory is used up ({said})"
        case BusyLoadingError():
            return Fault.UNREACHABLE, "is loading its data"
        case ResponseError() if "cluster support disabled" in said:
            return Fault.WRONG_MODE, "is no node of a Redis Cluster: set redis.mode to Standalone"
        case ResponseError() if said.startswith(("MISCONF", "NOREPLICAS")):
            return Fault.NOT_WRITABLE, f"takes no writes ({said})"
        case ResponseError():
            return Fault.REFUSED, f"refuses a command: {said}"
    return None


def _not_reached(error: Exception, address: Address, access: RedisAccess) -> tuple[Fault, str]:
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case ssl.SSLCertVerificationError():
                return Fault.TLS, f"shows a certificate that is not trusted: {cause.verify_message}"
            case ssl.SSLError() if any(word in str(cause) for word in _NO_PEM):
                return Fault.TLS, "cannot be verified: what is given as its CA certificate is no certificate in PEM"
            case ssl.SSLError():
                return Fault.TLS, f"does not speak TLS as expected on this port ({cause.reason or cause})"
            case socket.gaierror():
                return Fault.UNREACHABLE, f"is not known: {address.host} cannot be resolved ({cause.strerror})"
            case FileNotFoundError() if access.ca_file:
                return Fault.TLS, f"cannot be verified: its CA certificate {access.ca_file} is not there"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        # A plain port waits for the end of a command that never comes, and says nothing.
        hint = ": does this port speak TLS?" if access.tls else ""
        return Fault.UNREACHABLE, f"does not answer within {access.timeout:g} s{hint}"
    said = str(error) or repr(error)
    closed = "closed by server" in said or any(isinstance(cause, ConnectionResetError) for cause in causes)
    if closed and not access.tls:
        return Fault.UNREACHABLE, "closes the connection at once: does this port expect TLS?"
    return Fault.UNREACHABLE, f"cannot be used: {said}"


_NO_PEM: Final = ("no start line", "NO_START_LINE", "NO_CERTIFICATE_OR_CRL_FOUND", "PEM")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from: redis-py wraps, and keeps the original as context only."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
