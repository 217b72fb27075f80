"""``conn:<charge point id>``: which pod holds a station, and which mailbox partition reaches it.

A backend reads this one entry and produces to ``partition``; nothing has to be recomputed when pods come and go (ADR 1).
"""

from __future__ import annotations

from dataclasses import dataclass

from ocpp_contract import decoding
from ocpp_contract.ids import Incarnation, Partition, PodName


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """One live socket of one station. ``epoch`` grows with every connection, also after Redis lost data.

    ``connection`` is a random id per socket, ``version`` the negotiated subprotocol, ``since`` RFC 3339.
    """

    pod: PodName
    incarnation: Incarnation
    partition: Partition
    epoch: int
    connection: str
    version: str
    since: str

    def to_json(self) -> bytes:
        return decoding.encode(
            {
                "pod": self.pod,
                "incarnation": str(self.incarnation),
                "partition": self.partition,
                "epoch": self.epoch,
                "connection": self.connection,
                "version": self.version,
                "since": self.since,
            }
        )

    @classmethod
    def from_json(cls, raw: bytes | str) -> ConnectionRecord:
        """Raises ContractError."""
        fields = decoding.decode_object(raw)
        return cls(
            pod=PodName(decoding.text(fields, "pod")),
            incarnation=Incarnation.parse(decoding.text(fields, "incarnation")),
            partition=Partition(decoding.integer(fields, "partition")),
            epoch=decoding.integer(fields, "epoch"),
            connection=decoding.text(fields, "connection"),
            version=decoding.text(fields, "version"),
            since=decoding.text(fields, "since"),
        )
