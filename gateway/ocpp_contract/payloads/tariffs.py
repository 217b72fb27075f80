"""Tariffs and web payment (OCPP 2.1 blocks I and C)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ocpp_contract.payloads.parts import Count, MessageContent, Number, Part, Payload, Text20, Time, TransactionId

DayOfWeek = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
TariffId = Annotated[str, StringConstraints(min_length=1, max_length=60)]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([0-1][0-9]|2[0-3]):[0-5][0-9]$")]
Date = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]


class TaxRate(Part):
    type: Text20
    tax: Number
    stack: Count | None = None


TaxRates = Annotated[list[TaxRate], Field(min_length=1, max_length=5)]


class Price(Part):
    exclTax: Number | None = None
    inclTax: Number | None = None
    taxRates: TaxRates | None = None


class TariffConditionsFixed(Part):
    startTimeOfDay: TimeOfDay | None = None
    endTimeOfDay: TimeOfDay | None = None
    dayOfWeek: Annotated[list[DayOfWeek], Field(min_length=1, max_length=7)] | None = None
    validFromDate: Date | None = None
    validToDate: Date | None = None
    evseKind: Literal["AC", "DC"] | None = None
    paymentBrand: Text20 | None = None
    paymentRecognition: Text20 | None = None


class TariffConditions(Part):
    startTimeOfDay: TimeOfDay | None = None
    endTimeOfDay: TimeOfDay | None = None
    dayOfWeek: Annotated[list[DayOfWeek], Field(min_length=1, max_length=7)] | None = None
    validFromDate: Date | None = None
    validToDate: Date | None = None
    evseKind: Literal["AC", "DC"] | None = None
    minEnergy: Number | None = None
    maxEnergy: Number | None = None
    minCurrent: Number | None = None
    maxCurrent: Number | None = None
    minPower: Number | None = None
    maxPower: Number | None = None
    minTime: int | None = None
    maxTime: int | None = None
    minChargingTime: int | None = None
    maxChargingTime: int | None = None
    minIdleTime: int | None = None
    maxIdleTime: int | None = None


class TariffEnergyPrice(Part):
    priceKwh: Number
    conditions: TariffConditions | None = None


class TariffEnergy(Part):
    prices: Annotated[list[TariffEnergyPrice], Field(min_length=1)]
    taxRates: TaxRates | None = None


class TariffTimePrice(Part):
    priceMinute: Number
    conditions: TariffConditions | None = None


class TariffTime(Part):
    prices: Annotated[list[TariffTimePrice], Field(min_length=1)]
    taxRates: TaxRates | None = None


class TariffFixedPrice(Part):
    priceFixed: Number
    conditions: TariffConditionsFixed | None = None


class TariffFixed(Part):
    prices: Annotated[list[TariffFixedPrice], Field(min_length=1)]
    taxRates: TaxRates | None = None


class Tariff(Part):
    """Prices per kWh, minute or once, in ``currency`` (ISO 4217)."""

    tariffId: TariffId
    currency: Annotated[str, StringConstraints(min_length=3, max_length=3)]
    description: Annotated[list[MessageContent], Field(min_length=1, max_length=10)] | None = None
    validFrom: Time | None = None
    energy: TariffEnergy | None = None
    chargingTime: TariffTime | None = None
    idleTime: TariffTime | None = None
    fixedFee: TariffFixed | None = None
    reservationTime: TariffTime | None = None
    reservationFixed: TariffFixed | None = None
    minCost: Price | None = None
    maxCost: Price | None = None


class SetDefaultTariff(Payload):
    evseId: Count
    tariff: Tariff


class ChangeTransactionTariff(Payload):
    transactionId: TransactionId
    tariff: Tariff


class GetTariffs(Payload):
    evseId: Count


class ClearTariffs(Payload):
    """Without ``tariffIds`` all tariffs, without ``evseId`` on all EVSEs."""

    tariffIds: Annotated[list[TariffId], Field(min_length=1)] | None = None
    evseId: Count | None = None


class NotifyWebPaymentStarted(Payload):
    """``timeout`` in seconds."""

    evseId: Count
    timeout: int
