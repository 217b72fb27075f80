"""Events about charging: authorization, transactions, meter values, reservations, charging needs.

Measured values are decimal strings exactly as the station sent them: 0.10 stays "0.10". Transaction ids are strings;
``transactionRef`` is 128 bits (32 hex digits), the same in all events of one transaction.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import StringConstraints

from ocpp_contract.events.message import StationMessage
from ocpp_contract.payloads.parts import Evse, IdToken, IdTokenInfo, Part

TransactionRef = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class SignedMeterValue(Part):
    signedMeterData: str
    encodingMethod: str
    signingMethod: str | None = None
    publicKey: str | None = None


class SampledValue(Part):
    """One value with everything spelled out: the defaults of the specification are filled in.

    ``unit`` is absent where the measurand has none. The value stands for ``value`` x 10^``multiplier``. ``format``
    SignedData (1.6): ``value`` is no number.
    """

    value: str
    measurand: str
    context: str
    location: str
    unit: str | None = None
    multiplier: int | None = None
    phase: str | None = None
    format: str | None = None
    signedMeterValue: SignedMeterValue | None = None


class MeterValue(Part):
    """``timestamp`` as the station sent it."""

    timestamp: str
    sampledValue: list[SampledValue]


class MeterValues(StationMessage):
    """Without ``evse`` the station's main meter. 2.x sends values of a transaction as TransactionUpdated."""

    meterValue: list[MeterValue]
    evse: Evse | None = None
    transactionId: str | None = None
    transactionRef: TransactionRef | None = None


class AuthorizationRequested(StationMessage):
    """Authorize. ``idTokenInfo`` is what it was answered."""

    idToken: IdToken
    idTokenInfo: IdTokenInfo
    certificate: str | None = None
    certificateStatus: str | None = None
    iso15118CertificateHashData: list[dict[str, Any]] | None = None


class Transaction(StationMessage):
    """What the three transaction events share. Fields that 1.6 does not know are absent there."""

    transactionId: str
    transactionRef: TransactionRef
    evse: Evse | None = None
    idToken: IdToken | None = None
    idTokenInfo: IdTokenInfo | None = None
    meterValue: list[MeterValue] | None = None
    reservationId: int | None = None
    seqNo: int | None = None
    triggerReason: str | None = None
    chargingState: str | None = None
    offline: bool | None = None
    remoteStartId: int | None = None
    timeSpentCharging: int | None = None
    numberOfPhasesUsed: int | None = None
    cableMaxCurrent: int | None = None
    operationMode: str | None = None
    tariffId: str | None = None
    transactionLimit: dict[str, Any] | None = None
    costDetails: dict[str, Any] | None = None
    preconditioningStatus: str | None = None
    evseSleep: bool | None = None


class TransactionStarted(Transaction):
    """1.6 StartTransaction (``meterStart`` in Wh, also a meter value of context Transaction.Begin) or TransactionEvent."""

    meterStart: str | None = None


class TransactionUpdated(Transaction):
    """2.x only; in 1.6 the values between start and stop come as MeterValues."""


class TransactionEnded(Transaction):
    """``stoppedReason`` in the words of 2.x, ``stoppedReasonDetail`` keeps the 1.6 one; ``meterStop`` in Wh (1.6)."""

    stoppedReason: str | None = None
    stoppedReasonDetail: str | None = None
    meterStop: str | None = None


class ReservationStatusChanged(StationMessage):
    """ReservationStatusUpdate: Expired, Removed or (2.1) NoTransaction."""

    reservationId: int
    status: str


class ChargingNeedsReported(StationMessage):
    """NotifyEVChargingNeeds; ``chargingNeeds`` as the station sent it."""

    evse: Evse
    chargingNeeds: dict[str, Any]
    maxScheduleTuples: int | None = None
    timestamp: str | None = None
