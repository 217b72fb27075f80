"""Events about the station itself: its connection, its health, its reports, its vendor's messages."""

from __future__ import annotations

from typing import Any, Literal

from ocpp_contract.events.message import StationMessage
from ocpp_contract.payloads.parts import CertificateHashData, Component, Evse, Part, Variable


class StatusInfo(Part):
    """2.x only: more about a status."""

    reasonCode: str
    additionalInfo: str | None = None


class DeviceOnline(Part):
    """A socket was accepted and registered. ``connection`` is its random id, the same as in ``conn:<id>``."""

    connection: str
    remoteAddress: str | None = None
    securityProfile: int | None = None


class DeviceOffline(Part):
    """The socket is gone and no newer one was registered. Missing after a pod's death: no ``conn:<id>`` decides then.

    ``code`` is the WebSocket close code (RFC 6455 section 7.4), 1006 when there was none.
    """

    connection: str
    code: int | None = None
    reason: str | None = None


class IdentityConflict(Part):
    """Two boxes use one identity, each taking the connection over from the other."""

    remoteAddress: str | None = None
    connection: str | None = None


class Modem(Part):
    iccid: str | None = None
    imsi: str | None = None


class ChargingStation(Part):
    vendorName: str
    model: str
    serialNumber: str | None = None
    firmwareVersion: str | None = None
    modem: Modem | None = None


class Meter(Part):
    """1.6 only: the main electrical meter."""

    type: str | None = None
    serialNumber: str | None = None


class DeviceBooted(StationMessage):
    """BootNotification. ``status`` is what it was answered; 1.6 names no reason: Unknown."""

    chargingStation: ChargingStation
    reason: str
    status: Literal["Accepted", "Pending", "Rejected"]
    meter: Meter | None = None


class ConnectorStatusChanged(StationMessage):
    """StatusNotification. Without ``evse`` it is the station's (1.6 connector 0). ``statusDetail`` keeps the 1.6 word."""

    status: Literal["Available", "Occupied", "Reserved", "Unavailable", "Faulted"]
    evse: Evse | None = None
    statusDetail: str | None = None
    errorCode: str | None = None
    info: str | None = None
    vendorId: str | None = None
    vendorErrorCode: str | None = None


class FirmwareStatusChanged(StationMessage):
    """Firmware of the station, or (2.x, with ``location`` once Published) of its local controller's publication."""

    status: str
    requestId: int | None = None
    statusInfo: StatusInfo | None = None
    location: list[str] | None = None


class LogStatusChanged(StationMessage):
    """1.6 DiagnosticsStatusNotification says ``logType`` DiagnosticsLog; elsewhere requestId tells which log."""

    status: str
    logType: str | None = None
    requestId: int | None = None
    statusInfo: StatusInfo | None = None


class SecurityEventReported(StationMessage):
    type: str
    techInfo: str | None = None


class CertificateSigningRequested(StationMessage):
    """``csr`` is PEM; the answer travels as a CertificateSigned command."""

    csr: str
    certificateType: str | None = None
    requestId: int | None = None
    hashRootCertificate: CertificateHashData | None = None


class ReportReceived(StationMessage):
    """One part of what a Get... command asked for; complete when a part says ``tbc`` false or nothing of it.

    ``report`` is the station's message (NotifyReport, NotifyMonitoringReport, ReportChargingProfiles,
    NotifyCustomerInformation, NotifyDisplayMessages, ...), which decides which of the lists is there.
    """

    report: str
    requestId: int
    seqNo: int | None = None
    tbc: bool = False
    generatedAt: str | None = None
    reportData: list[dict[str, Any]] | None = None
    monitor: list[dict[str, Any]] | None = None
    chargingProfile: list[dict[str, Any]] | None = None
    chargingLimitSource: str | None = None
    evse: Evse | None = None
    customerData: str | None = None
    messageInfo: list[dict[str, Any]] | None = None


class EventData(Part):
    """One entry of NotifyEvent. ``actualValue`` is text exactly as sent."""

    eventId: int
    timestamp: str
    trigger: str
    actualValue: str
    component: Component
    variable: Variable
    eventNotificationType: str
    cause: int | None = None
    techCode: str | None = None
    techInfo: str | None = None
    cleared: bool | None = None
    transactionId: str | None = None
    variableMonitoringId: int | None = None
    severity: int | None = None


class MonitoringEventReported(StationMessage):
    """NotifyEvent."""

    seqNo: int
    eventData: list[EventData]
    tbc: bool = False
    generatedAt: str | None = None


class DataTransferReceived(StationMessage):
    """Text in 1.6, any JSON in 2.x."""

    vendorId: str
    messageId: str | None = None
    data: Any = None


class OcppMessageReceived(Part):
    """A message that has no event of its own, or whose data could not be mapped: as the station sent it."""

    action: str
    payload: Any
