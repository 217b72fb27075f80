"""What a gateway tells the business: the envelope of every event and the table of event types.

The gateway itself builds plain dicts (the hot path); these models say what those dicts are. They serve consumers and
schemas, and tests hold every version table to them. ``.v1`` grows by addition only, so readers ignore unknown fields and
take unknown event types as they are.

A message may break its OCPP schema and still become an event (``schemaErrors``): its data then need not fit the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from ocpp_contract import decoding
from ocpp_contract.errors import ContractError
from ocpp_contract.events import device, transactions
from ocpp_contract.ids import ChargePointId, MessageId
from ocpp_contract.payloads.parts import Part
from ocpp_contract.validation import first_error

CE_TYPE_PREFIX: Final = "io.chargegateway."
CE_TYPE_SUFFIX: Final = ".v1"

EVENT_TYPES: Final[Mapping[str, type[Part]]] = MappingProxyType(
    {
        model.__name__: model
        for model in (
            device.DeviceOnline,
            device.DeviceOffline,
            device.DeviceBooted,
            device.ConnectorStatusChanged,
            device.FirmwareStatusChanged,
            device.LogStatusChanged,
            device.SecurityEventReported,
            device.CertificateSigningRequested,
            device.ReportReceived,
            device.MonitoringEventReported,
            device.DataTransferReceived,
            device.IdentityConflict,
            device.OcppMessageReceived,
            transactions.AuthorizationRequested,
            transactions.TransactionStarted,
            transactions.TransactionUpdated,
            transactions.TransactionEnded,
            transactions.MeterValues,
            transactions.ReservationStatusChanged,
            transactions.ChargingNeedsReported,
        )
    }
)
"""By short name: ``MeterValues`` is the ``ce_type`` ``io.chargegateway.MeterValues.v1``."""


def ce_type(event: str) -> str:
    return f"{CE_TYPE_PREFIX}{event}{CE_TYPE_SUFFIX}"


def short_type(ce_type: str) -> str | None:
    """The short name of a ce_type; None when it is not one of ours."""
    if not ce_type.startswith(CE_TYPE_PREFIX) or not ce_type.endswith(CE_TYPE_SUFFIX):
        return None
    return ce_type[len(CE_TYPE_PREFIX) : -len(CE_TYPE_SUFFIX)] or None


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Times are RFC 3339 texts in UTC; ``data`` is the JSON object, `typed_data` checks it.

    ``message_id`` is absent where no message of the station caused the event, ``ocpp_version`` where none was negotiated
    (IdentityConflict); ``epoch`` is the connection's: order holds
    within one, and Online/Offline of a lower epoch than the highest seen is to be ignored.
    """

    type: str
    charge_point_id: ChargePointId
    occurred_at: str
    received_at: str
    epoch: int
    data: dict[str, Any]
    ocpp_version: str | None = None
    message_id: MessageId | None = None
    schema_errors: tuple[str, ...] = ()
    time_assumed_utc: bool = False

    @classmethod
    def from_json(cls, event: str, raw: bytes | str) -> Event:
        """``event`` is the short type. Raises ContractError."""
        # The data of an OcppMessageReceived nests as deep as a station's frame may.
        fields = decoding.decode_object(raw, max_depth=250)
        data = fields.get("data")
        if not isinstance(data, dict):
            raise ContractError("data", "is missing" if data is None else "must be an object")
        message_id = decoding.optional_text(fields, "messageId")
        return cls(
            type=event,
            charge_point_id=ChargePointId(decoding.text(fields, "chargePointId")),
            occurred_at=decoding.text(fields, "occurredAt"),
            received_at=decoding.text(fields, "receivedAt"),
            epoch=decoding.integer(fields, "epoch"),
            data=data,
            ocpp_version=decoding.optional_text(fields, "ocppVersion"),
            message_id=None if message_id is None else MessageId(message_id),
            schema_errors=decoding.strings(fields, "schemaErrors"),
            time_assumed_utc=decoding.boolean(fields, "timeAssumedUtc", default=False),
        )

    def to_json(self) -> bytes:
        return decoding.encode(
            {
                "chargePointId": self.charge_point_id,
                "occurredAt": self.occurred_at,
                "receivedAt": self.received_at,
                "ocppVersion": self.ocpp_version,
                "messageId": self.message_id,
                "epoch": self.epoch,
                "data": self.data,
                "schemaErrors": list(self.schema_errors) or None,
                "timeAssumedUtc": self.time_assumed_utc or None,
            }
        )

    def typed_data(self) -> Part:
        """``data`` as the model of this type; raises ContractError when it does not fit or the type is unknown."""
        model = EVENT_TYPES.get(self.type)
        if model is None:
            raise ContractError("type", f"{self.type[:50]!r} is no event type")
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise first_error(error).under("data") from None
