"""Firmware, logs, certificates and the station's display."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ocpp_contract.payloads.parts import (
    CertificateHashData,
    Component,
    Count,
    MessageContent,
    Part,
    Payload,
    Time,
    TransactionId,
    Url,
)

Pem = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
Checksum = Annotated[str, StringConstraints(min_length=1, max_length=32)]
MessagePriority = Literal["AlwaysFront", "InFront", "NormalCycle"]
MessageState = Literal["Charging", "Faulted", "Idle", "Unavailable", "Suspended", "Discharging"]


class Firmware(Part):
    location: Url
    retrieveDateTime: Time
    installDateTime: Time | None = None
    signingCertificate: Annotated[str, StringConstraints(max_length=5500)] | None = None
    signature: Annotated[str, StringConstraints(max_length=800)] | None = None


class UpdateFirmware(Payload):
    """1.6: SignedUpdateFirmware with a signature, else UpdateFirmware. ``retryInterval`` in seconds."""

    firmware: Firmware
    requestId: int | None = None
    retries: Count | None = None
    retryInterval: Count | None = None


class PublishFirmware(Payload):
    location: Url
    checksum: Checksum
    requestId: int | None = None
    retries: Count | None = None
    retryInterval: Count | None = None


class UnpublishFirmware(Payload):
    checksum: Checksum


class LogParameters(Part):
    remoteLocation: Url
    oldestTimestamp: Time | None = None
    latestTimestamp: Time | None = None


class GetLog(Payload):
    """1.6: GetDiagnostics for the diagnostics log, which has no requestId on the wire; GetLog of the security whitepaper for
    the security log.
    """

    logType: Literal["DiagnosticsLog", "SecurityLog", "DataCollectorLog"]
    log: LogParameters
    requestId: int | None = None
    retries: Count | None = None
    retryInterval: Count | None = None


class CertificateSigned(Payload):
    certificateChain: Pem
    certificateType: Literal["ChargingStationCertificate", "V2GCertificate", "V2G20Certificate"] | None = None
    requestId: int | None = None


class InstallCertificate(Payload):
    """1.6: CSMSRootCertificate is CentralSystemRootCertificate."""

    certificateType: Literal[
        "V2GRootCertificate",
        "MORootCertificate",
        "ManufacturerRootCertificate",
        "CSMSRootCertificate",
        "OEMRootCertificate",
    ]
    certificate: Pem


class DeleteCertificate(Payload):
    certificateHashData: CertificateHashData


class GetInstalledCertificateIds(Payload):
    """1.6 asks for exactly one type."""

    certificateType: (
        Annotated[
            list[
                Literal[
                    "V2GRootCertificate",
                    "MORootCertificate",
                    "CSMSRootCertificate",
                    "V2GCertificateChain",
                    "ManufacturerRootCertificate",
                    "OEMRootCertificate",
                ]
            ],
            Field(min_length=1),
        ]
        | None
    ) = None


class MessageInfo(Part):
    id: Count
    priority: MessagePriority
    message: MessageContent
    state: MessageState | None = None
    startDateTime: Time | None = None
    endDateTime: Time | None = None
    transactionId: TransactionId | None = None
    display: Component | None = None
    messageExtra: Annotated[list[MessageContent], Field(min_length=1, max_length=4)] | None = None


class SetDisplayMessage(Payload):
    message: MessageInfo


class GetDisplayMessages(Payload):
    requestId: int | None = None
    id: Annotated[list[Count], Field(min_length=1)] | None = None
    priority: MessagePriority | None = None
    state: MessageState | None = None


class ClearDisplayMessage(Payload):
    id: Count
