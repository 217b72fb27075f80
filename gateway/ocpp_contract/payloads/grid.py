"""Distributed energy resources and grid signals (OCPP 2.1 block R)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ocpp_contract.payloads.parts import Count, Number, Part, Payload, Time

DerControl = Literal[
    "EnterService",
    "FreqDroop",
    "FreqWatt",
    "FixedPFAbsorb",
    "FixedPFInject",
    "FixedVar",
    "Gradients",
    "HFMustTrip",
    "HFMayTrip",
    "HVMustTrip",
    "HVMomCess",
    "HVMayTrip",
    "LimitMaxDischarge",
    "LFMustTrip",
    "LVMustTrip",
    "LVMomCess",
    "LVMayTrip",
    "PowerMonitoringMustTrip",
    "VoltVar",
    "VoltWatt",
    "WattPF",
    "WattVar",
]
DerUnit = Literal["Not_Applicable", "PctMaxW", "PctMaxVar", "PctWAvail", "PctVarAvail", "PctEffectiveV"]
ControlId = Annotated[str, StringConstraints(min_length=1, max_length=36)]


class DerCurvePoint(Part):
    x: Number
    y: Number


class Hysteresis(Part):
    hysteresisHigh: Number | None = None
    hysteresisLow: Number | None = None
    hysteresisDelay: Number | None = None
    hysteresisGradient: Number | None = None


class ReactivePowerParams(Part):
    vRef: Number | None = None
    autonomousVRefEnable: bool | None = None
    autonomousVRefTimeConstant: Number | None = None


class VoltageParams(Part):
    hv10MinMeanValue: Number | None = None
    hv10MinMeanTripDelay: Number | None = None
    powerDuringCessation: Literal["Active", "Reactive"] | None = None


class DerCurve(Part):
    curveData: Annotated[list[DerCurvePoint], Field(min_length=1, max_length=10)]
    priority: Count
    yUnit: DerUnit
    hysteresis: Hysteresis | None = None
    reactivePowerParams: ReactivePowerParams | None = None
    voltageParams: VoltageParams | None = None
    responseTime: Number | None = None
    startTime: Time | None = None
    duration: Number | None = None


class EnterService(Part):
    priority: Count
    highVoltage: Number
    lowVoltage: Number
    highFreq: Number
    lowFreq: Number
    delay: Number | None = None
    randomDelay: Number | None = None
    rampRate: Number | None = None


class FixedPowerFactor(Part):
    priority: Count
    displacement: Number
    excitation: bool
    startTime: Time | None = None
    duration: Number | None = None


class FixedVar(Part):
    priority: Count
    setpoint: Number
    unit: DerUnit
    startTime: Time | None = None
    duration: Number | None = None


class FreqDroop(Part):
    priority: Count
    overFreq: Number
    underFreq: Number
    overDroop: Number
    underDroop: Number
    responseTime: Number
    startTime: Time | None = None
    duration: Number | None = None


class Gradient(Part):
    priority: Count
    gradient: Number
    softGradient: Number


class LimitMaxDischarge(Part):
    priority: Count
    pctMaxDischargePower: Number | None = None
    powerMonitoringMustTrip: DerCurve | None = None
    startTime: Time | None = None
    duration: Number | None = None


class SetDERControl(Payload):
    isDefault: bool
    controlId: ControlId
    controlType: DerControl
    curve: DerCurve | None = None
    enterService: EnterService | None = None
    fixedPFAbsorb: FixedPowerFactor | None = None
    fixedPFInject: FixedPowerFactor | None = None
    fixedVar: FixedVar | None = None
    freqDroop: FreqDroop | None = None
    gradient: Gradient | None = None
    limitMaxDischarge: LimitMaxDischarge | None = None


class GetDERControl(Payload):
    requestId: int | None = None
    isDefault: bool | None = None
    controlType: DerControl | None = None
    controlId: ControlId | None = None


class ClearDERControl(Payload):
    isDefault: bool
    controlType: DerControl | None = None
    controlId: ControlId | None = None


class AFRRSignal(Payload):
    """Automatic frequency restoration reserve: a signal value and the time from which it holds."""

    timestamp: Time
    signal: int
