"""The pod's internal API on the admin port (operator -> pod), guarded by a bearer token that the operator makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ocpp_contract import decoding
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, Partition

CONNECTIONS_PATH: Final = "/internal/v1/connections"
"""GET ?after=&limit=: ConnectionItem of every live connection with an id above ``after``, in order of their ids."""
DRAIN_PATH: Final = "/internal/v1/drain"
"""POST: begin to drain; again changes nothing."""
TRACE_PATH: Final = "/internal/v1/trace/{id}"
"""GET: frames of one station as JSON lines, secrets redacted, until the reader leaves."""


@dataclass(frozen=True, slots=True)
class ConnectionItem:
    """One live connection as its pod sees it."""

    id: ChargePointId
    epoch: int
    connection: str
    partition: Partition

    def to_fields(self) -> dict[str, Any]:
        return {"id": self.id, "epoch": self.epoch, "connection": self.connection, "partition": self.partition}

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> ConnectionItem:
        """Raises ContractError."""
        return cls(
            id=ChargePointId(decoding.text(fields, "id")),
            epoch=decoding.integer(fields, "epoch"),
            connection=decoding.text(fields, "connection"),
            partition=Partition(decoding.integer(fields, "partition")),
        )


def encode_connections(items: Iterable[ConnectionItem]) -> bytes:
    return orjson.dumps([item.to_fields() for item in items])


def decode_connections(raw: bytes) -> tuple[ConnectionItem, ...]:
    """Raises ContractError."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ContractError("", f"is not JSON: {error.msg}") from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ContractError("", "must be a list of objects")
    items = []
    for index, item in enumerate(value):
        try:
            items.append(ConnectionItem.from_fields(item))
        except ContractError as error:
            raise error.under(f"[{index}]") from None
    return tuple(items)
