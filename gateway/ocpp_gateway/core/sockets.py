"""One registered connection of one station, as the downlink sees it."""

from __future__ import annotations

from typing import Protocol

from ocpp_contract.ids import ChargePointId, CommandId, Partition

REPLACED = 4001
"""Private close code (RFC 6455 section 7.4.2): the station has a newer connection, here or on another pod."""
GOING_AWAY = 1001
SERVICE_RESTART = 1012


class OpenCall(Protocol):
    """A CALL of ours that waits for its answer; `delivery` has the real one."""

    def closed(self) -> None: ...


class Socket:
    """One registered connection of one station."""

    __slots__ = (
        "boot_changes",
        "calls",
        "charge_point_id",
        "connection",
        "epoch",
        "open",
        "partition",
        "refresh_at",
        "refreshing",
        "since",
        "slot",
        "upgraded",
        "version",
    )

    def __init__(
        self,
        charge_point_id: ChargePointId,
        connection: str,
        epoch: int,
        partition: Partition,
        version: str,
        since: str,
    ) -> None:
        self.charge_point_id = charge_point_id
        self.connection = connection
        self.epoch = epoch
        self.partition = partition
        self.version = version
        self.since = since
        self.open = True
        """Not closed as far as this pod knows."""
        self.upgraded = False
        """The 101 was sent: CALLs may go out."""
        self.refresh_at = 0.0
        self.refreshing = False
        self.boot_changes = 0
        """How often the boot state changed: what was held back under an earlier one may be allowed now."""
        self.slot: object | None = None
        """Whose CALL is, or is about to be, outstanding: at most one."""
        self.calls: dict[CommandId, OpenCall] = {}
        """CALLs that an answer may still come for, late ones included."""
