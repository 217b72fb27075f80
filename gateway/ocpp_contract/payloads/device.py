"""The station itself: availability, reset, triggers, variables, reports, monitoring, network, vendor data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ocpp_contract.payloads.parts import (
    CertificateHashData,
    Component,
    ComponentVariable,
    Count,
    Evse,
    IdToken,
    Number,
    Part,
    Payload,
    Text50,
    Text64,
    Text255,
    Url,
    Variable,
)

Attribute = Literal["Actual", "Target", "MinSet", "MaxSet"]


class ChangeAvailability(Payload):
    """Without ``evse`` the whole station."""

    operationalStatus: Literal["Operative", "Inoperative"]
    evse: Evse | None = None


class Reset(Payload):
    """1.6: Immediate is Hard, OnIdle is Soft; it resets no single EVSE."""

    type: Literal["Immediate", "OnIdle", "ImmediateAndResume"]
    evseId: Count | None = None


class UnlockConnector(Payload):
    evseId: Annotated[int, Field(ge=1)]
    connectorId: Annotated[int, Field(ge=1)] = 1


class TriggerMessage(Payload):
    """1.6: ExtendedTriggerMessage where TriggerMessage does not know the message; TransactionEvent is 2.x only,
    DiagnosticsStatusNotification 1.6 only.
    """

    requestedMessage: Literal[
        "BootNotification",
        "DiagnosticsStatusNotification",
        "LogStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "MeterValues",
        "SignChargingStationCertificate",
        "SignV2GCertificate",
        "SignV2G20Certificate",
        "StatusNotification",
        "TransactionEvent",
        "SignCombinedCertificate",
        "PublishFirmwareStatusNotification",
        "CustomTrigger",
    ]
    evse: Evse | None = None
    customTrigger: Text50 | None = None


class GetVariableData(Part):
    """1.6: a defined configuration key as its 2.x component and variable, any key as component OCPP16, variable = key."""

    component: Component
    variable: Variable
    attributeType: Attribute | None = None


class GetVariables(Payload):
    """1.6: GetConfiguration. All variables at once: GetBaseReport, in every version."""

    getVariableData: Annotated[list[GetVariableData], Field(min_length=1)]


class SetVariableData(GetVariableData):
    attributeValue: Annotated[str, StringConstraints(max_length=2500)]


class SetVariables(Payload):
    """1.6: ChangeConfiguration, which takes one entry."""

    setVariableData: Annotated[list[SetVariableData], Field(min_length=1)]


class GetBaseReport(Payload):
    """1.6: GetConfiguration without keys; the answer itself holds ``reportData``, no ReportReceived follows."""

    reportBase: Literal["ConfigurationInventory", "FullInventory", "SummaryInventory"]
    requestId: int | None = None


class GetReport(Payload):
    requestId: int | None = None
    componentCriteria: (
        Annotated[list[Literal["Active", "Available", "Enabled", "Problem"]], Field(min_length=1, max_length=4)] | None
    ) = None
    componentVariable: Annotated[list[ComponentVariable], Field(min_length=1)] | None = None


class GetMonitoringReport(Payload):
    requestId: int | None = None
    monitoringCriteria: (
        Annotated[
            list[Literal["ThresholdMonitoring", "DeltaMonitoring", "PeriodicMonitoring"]],
            Field(min_length=1, max_length=3),
        ]
        | None
    ) = None
    componentVariable: Annotated[list[ComponentVariable], Field(min_length=1)] | None = None


class SetMonitoringBase(Payload):
    monitoringBase: Literal["All", "FactoryDefault", "HardWiredOnly"]


class SetMonitoringLevel(Payload):
    severity: Annotated[int, Field(ge=0, le=9)]


class PeriodicEventStreamParams(Part):
    interval: int | None = None
    values: int | None = None


class SetMonitoringData(Part):
    value: Number
    type: Literal[
        "UpperThreshold",
        "LowerThreshold",
        "Delta",
        "Periodic",
        "PeriodicClockAligned",
        "TargetDelta",
        "TargetDeltaRelative",
    ]
    severity: Annotated[int, Field(ge=0, le=9)]
    component: Component
    variable: Variable
    id: int | None = None
    transaction: bool | None = None
    periodicEventStream: PeriodicEventStreamParams | None = None


class SetVariableMonitoring(Payload):
    setMonitoringData: Annotated[list[SetMonitoringData], Field(min_length=1)]


class ClearVariableMonitoring(Payload):
    id: Annotated[list[int], Field(min_length=1)]


class GetPeriodicEventStream(Payload):
    pass


class AdjustPeriodicEventStream(Payload):
    id: Count
    params: PeriodicEventStreamParams


class CustomerInformation(Payload):
    report: bool
    clear: bool
    requestId: int | None = None
    idToken: IdToken | None = None
    customerCertificate: CertificateHashData | None = None
    customerIdentifier: Text64 | None = None


class Apn(Part):
    apn: Url
    apnAuthentication: Literal["PAP", "CHAP", "NONE", "AUTO"]
    apnUserName: Text50 | None = None
    apnPassword: Text64 | None = None
    simPin: int | None = None
    preferredNetwork: Annotated[str, StringConstraints(max_length=6)] | None = None
    useOnlyPreferredNetwork: bool | None = None


class Vpn(Part):
    server: Url
    user: Text50
    password: Text64
    key: Text255
    type: Literal["IKEv2", "IPSec", "L2TP", "PPTP"]
    group: Text50 | None = None


class NetworkConnectionProfile(Part):
    ocppInterface: Literal[
        "Wired0", "Wired1", "Wired2", "Wired3", "Wireless0", "Wireless1", "Wireless2", "Wireless3", "Any"
    ]
    ocppTransport: Literal["SOAP", "JSON"]
    messageTimeout: int
    ocppCsmsUrl: Url
    securityProfile: Annotated[int, Field(ge=0, le=3)]
    ocppVersion: Literal["OCPP12", "OCPP15", "OCPP16", "OCPP20", "OCPP201", "OCPP21"] | None = None
    identity: Annotated[str, StringConstraints(max_length=48)] | None = None
    basicAuthPassword: Text64 | None = None
    apn: Apn | None = None
    vpn: Vpn | None = None


class SetNetworkProfile(Payload):
    configurationSlot: int
    connectionData: NetworkConnectionProfile


class DataTransfer(Payload):
    """``data``: a string in 1.6, anything in 2.x."""

    vendorId: Text255
    messageId: Text50 | None = None
    data: Any = None


class OcppCall(Payload):
    """A raw CALL of the negotiated version, checked against that version's official schema before it is sent."""

    action: Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^[A-Za-z0-9]+$")]
    payload: dict[str, Any] = Field(default_factory=dict)
