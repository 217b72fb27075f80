"""One bound port for charge points."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass

from ocpp_gateway.adapters.tls import ListenerTls
from ocpp_gateway.core.admission import ListenerFacts


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """One port. `security_profiles` as in the settings."""

    name: str
    host: str
    port: int
    security_profiles: frozenset[int]
    tls: ListenerTls | None = None
    reuse_port: bool = False


class StationPort:
    """A listening socket; raises OSError naming listener and address."""

    __slots__ = ("address", "facts", "options", "socket")

    def __init__(self, options: ListenerOptions, backlog: int) -> None:
        bound = _bind(options, backlog)
        self.options = options
        self.socket = bound
        name = bound.getsockname()
        self.address = (str(name[0]), int(name[1]))
        self.facts = ListenerFacts(options.name, options.tls is not None, options.security_profiles)

    def somebody_waits(self) -> bool:
        """Whether an accept would give a connection now."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))


def _bind(options: ListenerOptions, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Inherited by every accepted socket. Answers are small and must not wait for more; a peer that never reads must
        # not be given megabytes of kernel memory.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 131_072)
        bound.bind((options.host, options.port))
        bound.listen(backlog)
    except OSError as error:
        bound.close()
        raise OSError(
            error.errno, f"listener {options.name}, {options.host}:{options.port}: {error.strerror}"
        ) from None
    return bound
