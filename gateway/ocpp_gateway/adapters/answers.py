"""What admission answers to a handshake, and how it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.transport import ConnectionHandler
from ocpp_gateway.core.admission import Handshake


@dataclass(frozen=True, slots=True)
class Accept:
    """Answer 101. `open` is called with the socket right after it and gives the handler, whose `on_closed` is then certain."""

    subprotocol: str | None
    """In the station's own spelling."""
    open: Callable[[ChargePointSocket], ConnectionHandler]
    keepalive: bool = True
    abandoned: Callable[[], None] = lambda: None
    """Called instead of `open` when the peer was gone before the 101: undo the registration."""


@dataclass(frozen=True, slots=True)
class Refuse:
    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AcceptAndClose:
    """Answer 101 without a subprotocol, then close."""

    code: int
    reason: str


Answer: TypeAlias = Accept | Refuse | AcceptAndClose


class Admit(Protocol):
    def __call__(self, handshake: Handshake, peer_gone: Callable[[], bool]) -> Awaitable[Answer]: ...
