"""Transactions, reservations, charging profiles, the local list and the cache."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ocpp_contract.payloads.parts import (
    Count,
    IdToken,
    IdTokenInfo,
    Number,
    Part,
    Payload,
    Text20,
    Time,
    TransactionId,
)

ChargingProfilePurpose = Literal[
    "ChargingStationExternalConstraints",
    "ChargingStationMaxProfile",
    "TxDefaultProfile",
    "TxProfile",
    "PriorityCharging",
    "LocalGeneration",
]
ChargingRateUnit = Literal["W", "A"]
OperationMode = Literal[
    "Idle",
    "ChargingOnly",
    "CentralSetpoint",
    "ExternalSetpoint",
    "ExternalLimits",
    "CentralFrequency",
    "LocalFrequency",
    "LocalLoadBalancing",
]


class V2XFreqWattPoint(Part):
    frequency: Number
    power: Number


class V2XSignalWattPoint(Part):
    signal: int
    power: Number


class PeriodLimits(Part):
    """Limits and setpoints per phase; 1.6 and 2.0.1 have ``limit`` alone."""

    limit: Number | None = None
    limit_L2: Number | None = None
    limit_L3: Number | None = None
    dischargeLimit: Number | None = None
    dischargeLimit_L2: Number | None = None
    dischargeLimit_L3: Number | None = None
    setpoint: Number | None = None
    setpoint_L2: Number | None = None
    setpoint_L3: Number | None = None
    setpointReactive: Number | None = None
    setpointReactive_L2: Number | None = None
    setpointReactive_L3: Number | None = None


class ChargingSchedulePeriod(PeriodLimits):
    startPeriod: Count
    numberPhases: Annotated[int, Field(ge=0, le=3)] | None = None
    phaseToUse: Annotated[int, Field(ge=0, le=3)] | None = None
    preconditioningRequest: bool | None = None
    evseSleep: bool | None = None
    v2xBaseline: Number | None = None
    operationMode: OperationMode | None = None
    v2xFreqWattCurve: Annotated[list[V2XFreqWattPoint], Field(min_length=1, max_length=20)] | None = None
    v2xSignalWattCurve: Annotated[list[V2XSignalWattPoint], Field(min_length=1, max_length=20)] | None = None


class LimitAtSoC(Part):
    soc: Annotated[int, Field(ge=0, le=100)]
    limit: Number


class ChargingSchedule(Part):
    """``id`` is required by 2.x and unknown to 1.6. The three ISO 15118 tariffs are passed through unread."""

    id: int | None = None
    chargingRateUnit: ChargingRateUnit
    chargingSchedulePeriod: Annotated[list[ChargingSchedulePeriod], Field(min_length=1, max_length=1024)]
    startSchedule: Time | None = None
    duration: Count | None = None
    minChargingRate: Number | None = None
    limitAtSoC: LimitAtSoC | None = None
    powerTolerance: Number | None = None
    signatureId: Count | None = None
    digestValue: Annotated[str, StringConstraints(max_length=88)] | None = None
    useLocalTime: bool | None = None
    randomizedDelay: Count | None = None
    salesTariff: dict[str, Any] | None = None
    absolutePriceSchedule: dict[str, Any] | None = None
    priceLevelSchedule: dict[str, Any] | None = None


class ChargingProfile(Part):
    """1.6 takes one schedule, and calls ChargingStationMaxProfile ChargePointMaxProfile."""

    id: int
    stackLevel: Count
    chargingProfilePurpose: ChargingProfilePurpose
    chargingProfileKind: Literal["Absolute", "Recurring", "Relative", "Dynamic"]
    chargingSchedule: Annotated[list[ChargingSchedule], Field(min_length=1, max_length=3)]
    recurrencyKind: Literal["Daily", "Weekly"] | None = None
    validFrom: Time | None = None
    validTo: Time | None = None
    transactionId: TransactionId | None = None
    maxOfflineDuration: int | None = None
    invalidAfterOfflineDuration: bool | None = None
    dynUpdateInterval: int | None = None
    dynUpdateTime: Time | None = None
    priceScheduleSignature: Annotated[str, StringConstraints(max_length=256)] | None = None


class RequestStartTransaction(Payload):
    """1.6: RemoteStartTransaction. ``remoteStartId`` comes back in the transaction's events (2.x)."""

    idToken: IdToken
    remoteStartId: int | None = None
    evseId: Annotated[int, Field(ge=1)] | None = None
    groupIdToken: IdToken | None = None
    chargingProfile: ChargingProfile | None = None


class RequestStopTransaction(Payload):
    """1.6: RemoteStopTransaction."""

    transactionId: TransactionId


class GetTransactionStatus(Payload):
    transactionId: TransactionId | None = None


class CostUpdated(Payload):
    totalCost: Number
    transactionId: TransactionId


class ReserveNow(Payload):
    """1.6 needs ``evseId`` (0: any connector). ``id`` is the backend's own reservation id."""

    id: int
    expiryDateTime: Time
    idToken: IdToken
    evseId: Count | None = None
    connectorType: Text20 | None = None
    groupIdToken: IdToken | None = None


class CancelReservation(Payload):
    reservationId: int


class SetChargingProfile(Payload):
    """``evseId`` 0: the station as a whole."""

    evseId: Count
    chargingProfile: ChargingProfile


class ClearChargingProfileCriteria(Part):
    evseId: Count | None = None
    chargingProfilePurpose: ChargingProfilePurpose | None = None
    stackLevel: Count | None = None


class ClearChargingProfile(Payload):
    chargingProfileId: int | None = None
    chargingProfileCriteria: ClearChargingProfileCriteria | None = None


class ChargingProfileCriterion(Part):
    chargingProfilePurpose: ChargingProfilePurpose | None = None
    stackLevel: Count | None = None
    chargingProfileId: Annotated[list[int], Field(min_length=1)] | None = None
    chargingLimitSource: Annotated[list[Text20], Field(min_length=1, max_length=4)] | None = None


class GetChargingProfiles(Payload):
    chargingProfile: ChargingProfileCriterion
    requestId: int | None = None
    evseId: Count | None = None


class GetCompositeSchedule(Payload):
    """``duration`` in seconds."""

    duration: int
    evseId: Count
    chargingRateUnit: ChargingRateUnit | None = None


class UpdateDynamicSchedule(Payload):
    chargingProfileId: int
    scheduleUpdate: PeriodLimits


class UsePriorityCharging(Payload):
    transactionId: TransactionId
    activate: bool


class NotifyAllowedEnergyTransfer(Payload):
    transactionId: TransactionId
    allowedEnergyTransfer: Annotated[list[str], Field(min_length=1)]


class RequestBatterySwap(Payload):
    idToken: IdToken
    requestId: int | None = None


class AuthorizationData(Part):
    """A Differential entry without ``idTokenInfo`` removes the token."""

    idToken: IdToken
    idTokenInfo: IdTokenInfo | None = None


class SendLocalList(Payload):
    versionNumber: int
    updateType: Literal["Differential", "Full"]
    localAuthorizationList: list[AuthorizationData] | None = None


class GetLocalListVersion(Payload):
    pass


class ClearCache(Payload):
    pass
