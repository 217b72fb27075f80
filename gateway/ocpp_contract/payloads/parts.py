"""The parts that payloads share: times, numbers, tokens, EVSEs, components, texts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)

from ocpp_contract.times import format_time, parse_time


class Part(BaseModel):
    """A JSON object of the contract: strict types, unknown fields ignored, frozen."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


class Payload(Part):
    """The ``payload`` of a command. ``customData`` reaches 2.x stations as it is; 1.6 has no place for it."""

    customData: dict[str, Any] | None = None


def _time(text: str) -> str:
    return format_time(parse_time(text, ""))


def _number(value: object) -> int | float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise ValueError("must be a number")


Time = Annotated[str, AfterValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
"""RFC 3339 with a zone; normalised to UTC, milliseconds, Z, because some stations refuse anything else."""

Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
"""A JSON number; an integer stays one."""

Count = Annotated[int, Field(ge=0)]
Text20 = Annotated[str, StringConstraints(max_length=20)]
Text50 = Annotated[str, StringConstraints(max_length=50)]
Text64 = Annotated[str, StringConstraints(max_length=64)]
Text255 = Annotated[str, StringConstraints(max_length=255)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
TransactionId = Annotated[str, StringConstraints(min_length=1, max_length=36)]
"""A string in every version; 1.6 has integers, written in decimal."""


class Evse(Part):
    """1.6 connector n is EVSE n, connector 1; without an EVSE the station as a whole is meant."""

    id: Annotated[int, Field(ge=0)]
    connectorId: Annotated[int, Field(ge=0)] | None = None


class AdditionalInfo(Part):
    additionalIdToken: Text255
    type: Text50


class IdToken(Part):
    """1.6 has the text alone, which is a token of type Central."""

    idToken: Text255
    type: Text20 = "Central"
    additionalInfo: Annotated[list[AdditionalInfo], Field(min_length=1)] | None = None


AuthorizationStatus = Literal[
    "Accepted",
    "Blocked",
    "ConcurrentTx",
    "Expired",
    "Invalid",
    "NoCredit",
    "NotAllowedTypeEVSE",
    "NotAtThisLocation",
    "NotAtThisTime",
    "Unknown",
]


class MessageContent(Part):
    format: Literal["ASCII", "HTML", "URI", "UTF8", "QRCODE"]
    content: Annotated[str, StringConstraints(max_length=1024)]
    language: Annotated[str, StringConstraints(max_length=8)] | None = None


class IdTokenInfo(Part):
    """What a backend knows of a token. 1.6 has status, cacheExpiryDateTime (expiryDate) and groupIdToken (parentIdTag)."""

    status: AuthorizationStatus
    cacheExpiryDateTime: Time | None = None
    chargingPriority: Annotated[int, Field(ge=-9, le=9)] | None = None
    groupIdToken: IdToken | None = None
    language1: Annotated[str, StringConstraints(max_length=8)] | None = None
    language2: Annotated[str, StringConstraints(max_length=8)] | None = None
    evseId: Annotated[list[Count], Field(min_length=1)] | None = None
    personalMessage: MessageContent | None = None


class Component(Part):
    name: Text50
    instance: Text50 | None = None
    evse: Evse | None = None


class Variable(Part):
    name: Text50
    instance: Text50 | None = None


class ComponentVariable(Part):
    component: Component
    variable: Variable | None = None


class CertificateHashData(Part):
    hashAlgorithm: Literal["SHA256", "SHA384", "SHA512"]
    issuerNameHash: Annotated[str, StringConstraints(max_length=128)]
    issuerKeyHash: Annotated[str, StringConstraints(max_length=128)]
    serialNumber: Annotated[str, StringConstraints(max_length=40)]
