"""Decisions of the business: what a backend answers to the webhook, per kind.

The request is the event as a CloudEvent in HTTP binary mode (``ce-*`` headers, the envelope as body) with
``Idempotency-Key: <ce_id>``. The response is JSON; unknown fields are ignored, a field that is not understood in the
station's version is left out of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from ocpp_contract import decoding
from ocpp_contract.cloudevents import CONTENT_TYPE, CloudEvent
from ocpp_contract.errors import ContractError
from ocpp_contract.payloads.parts import IdTokenInfo, MessageContent, Number, Part
from ocpp_contract.validation import first_error

IDEMPOTENCY_KEY: Final = "Idempotency-Key"


class BootDecision(Part):
    """``interval`` in seconds: the heartbeat interval, or after Pending and Rejected the time before the next attempt."""

    status: Literal["Accepted", "Pending", "Rejected"]
    interval: Annotated[int, Field(ge=0)] | None = None


class AuthorizeDecision(Part):
    """``certificateStatus`` answers a contract certificate (2.x)."""

    idTokenInfo: IdTokenInfo
    certificateStatus: str | None = None


class StartDecision(Part):
    """StartTransaction, or a TransactionEvent that carries an idToken.

    ``transactionId`` (1.6 only, decimal): the backend gives the id instead of the gateway. Costs and message: 2.x only.
    """

    idTokenInfo: IdTokenInfo
    transactionId: Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,10}$")] | None = None
    totalCost: Number | None = None
    chargingPriority: Annotated[int, Field(ge=-9, le=9)] | None = None
    updatedPersonalMessage: MessageContent | None = None


class DataTransferDecision(Part):
    """``data``: text for 1.6, any JSON for 2.x."""

    status: Literal["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"]
    data: Any = None


class CertificateDecision(Part):
    """SignCertificate (Accepted: a CertificateSigned command follows), and the certificate requests of ISO 15118.

    ``exiResponse`` answers Get15118EVCertificate, ``ocspResult`` GetCertificateStatus (2.x).
    """

    status: Literal["Accepted", "Rejected", "Failed"]
    exiResponse: str | None = None
    remainingContracts: int | None = None
    ocspResult: str | None = None


DECISIONS: Final[Mapping[str, type[Part]]] = MappingProxyType(
    {
        "boot": BootDecision,
        "authorize": AuthorizeDecision,
        "start": StartDecision,
        "dataTransfer": DataTransferDecision,
        "certificate": CertificateDecision,
    }
)
"""By kind, the name that settings and version tables use."""


def request_headers(event: CloudEvent) -> dict[str, str]:
    """HTTP headers of the request, but for Authorization."""
    headers = event.to_http()
    return {**headers, IDEMPOTENCY_KEY: headers["ce-id"], "Content-Type": CONTENT_TYPE}


def decode_response(kind: str, raw: bytes) -> dict[str, Any]:
    """The decision as a JSON object with the known fields only; raises ContractError naming the field."""
    fields = decoding.decode_object(raw)
    try:
        return DECISIONS[kind].model_validate(fields).model_dump(exclude_none=True)
    except ValidationError as error:
        raise first_error(error) from None
    except KeyError:
        raise ContractError("kind", f"{kind!r} is no kind of decision") from None
