"""Every command type: its payload, whether it may be sent twice, and which answers count as Accepted.

Types use the OCPP 2.x names. All messages that a CSMS may send in OCPP 1.6 (with the security whitepaper), 2.0.1 and 2.1
are reachable; ``OcppCall`` passes a raw call of the negotiated version through. OCPP has no de-duplication of its own,
so what may be sent again after a lost answer is decided here, per type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from ocpp_contract.payloads import charging, device, grid, maintenance, tariffs
from ocpp_contract.payloads.parts import Payload


class Redelivery(StrEnum):
    """May a command whose answer was lost be written again (another socket, another pod)?"""

    SAFE = "safe"
    CONDITIONAL = "conditional"
    """Safe because the repeat of one record is byte-identical and the type tolerates that; see CommandType.evidence."""
    NEVER = "never"
    """Claimed before the write, Uncertain when the answer is lost."""


@dataclass(frozen=True, slots=True)
class CommandType:
    """``status_list`` names the list in the answer whose entries carry statuses of their own: (list, field).

    ``numbered`` names the payload's request id; absent, it is derived from the command id, so that every repeat carries
    the same. ``evidence`` tells a backend where to look when the outcome is Uncertain.
    """

    name: str
    payload: type[Payload]
    redelivery: Redelivery = Redelivery.NEVER
    positive: frozenset[str] = frozenset({"Accepted"})
    status_list: tuple[str, str] | None = None
    numbered: str | None = None
    evidence: str = ""


_SAFE = Redelivery.SAFE
_CONDITIONAL = Redelivery.CONDITIONAL
_REPORT = "the report events with its requestId"


def _positive(*statuses: str) -> frozenset[str]:
    return frozenset(statuses)


def _types() -> Iterator[CommandType]:
    # --- OCPP 1.6 and later ------------------------------------------------------------------------------------------
    yield CommandType("CancelReservation", charging.CancelReservation, _SAFE)
    yield CommandType(
        "CertificateSigned",
        maintenance.CertificateSigned,
        evidence="the certificate at the next TLS handshake; GetInstalledCertificateIds (2.x)",
    )
    yield CommandType("ChangeAvailability", device.ChangeAvailability, _SAFE, _positive("Accepted", "Scheduled"))
    yield CommandType("ClearCache", charging.ClearCache, _SAFE)
    yield CommandType(
        "ClearChargingProfile",
        charging.ClearChargingProfile,
        evidence="GetCompositeSchedule, GetChargingProfiles (2.x); clearing again is harmless",
    )
    yield CommandType("DataTransfer", device.DataTransfer, evidence="whatever the vendor defines")
    yield CommandType(
        "DeleteCertificate",
        maintenance.DeleteCertificate,
        evidence="GetInstalledCertificateIds; NotFound to a new attempt means that the first one worked",
    )
    yield CommandType("GetCompositeSchedule", charging.GetCompositeSchedule, _SAFE)
    yield CommandType("GetInstalledCertificateIds", maintenance.GetInstalledCertificateIds, _SAFE)
    yield CommandType("GetLocalListVersion", charging.GetLocalListVersion, _SAFE)
    yield CommandType(
        "GetLog",
        maintenance.GetLog,
        _CONDITIONAL,
        _positive("Accepted", "AcceptedCanceled"),
        numbered="requestId",
        evidence="LogStatusChanged with its requestId",
    )
    yield CommandType("GetVariables", device.GetVariables, _SAFE, status_list=("getVariableResult", "attributeStatus"))
    yield CommandType(
        "InstallCertificate", maintenance.InstallCertificate, _CONDITIONAL, evidence="GetInstalledCertificateIds"
    )
    yield CommandType(
        "RequestStartTransaction",
        charging.RequestStartTransaction,
        numbered="remoteStartId",
        evidence="TransactionStarted: with its remoteStartId (2.x), with its idToken at its EVSE (1.6)",
    )
    yield CommandType(
        "RequestStopTransaction",
        charging.RequestStopTransaction,
        _CONDITIONAL,
        evidence="TransactionEnded of this transaction; Rejected after that event is success",
    )
    yield CommandType("ReserveNow", charging.ReserveNow, _SAFE)
    yield CommandType(
        "Reset",
        device.Reset,
        positive=_positive("Accepted", "Scheduled"),
        evidence="DeviceBooted, or DeviceOffline and DeviceOnline with a higher epoch",
    )
    yield CommandType("SendLocalList", charging.SendLocalList, _CONDITIONAL, evidence="GetLocalListVersion")
    yield CommandType("SetChargingProfile", charging.SetChargingProfile, _SAFE)
    yield CommandType(
        "SetVariables",
        device.SetVariables,
        _SAFE,
        _positive("Accepted", "RebootRequired"),
        status_list=("setVariableResult", "attributeStatus"),
    )
    yield CommandType("TriggerMessage", device.TriggerMessage, _SAFE)
    yield CommandType(
        "UnlockConnector",
        device.UnlockConnector,
        positive=_positive("Unlocked"),
        evidence="ConnectorStatusChanged of the connector; somebody at the station",
    )
    yield CommandType(
        "UpdateFirmware",
        maintenance.UpdateFirmware,
        _CONDITIONAL,
        _positive("Accepted", "AcceptedCanceled"),
        numbered="requestId",
        evidence="FirmwareStatusChanged with its requestId",
    )
    # --- OCPP 2.0.1 and later ----------------------------------------------------------------------------------------
    yield CommandType(
        "ClearDisplayMessage",
        maintenance.ClearDisplayMessage,
        evidence="GetDisplayMessages; clearing again is harmless",
    )
    yield CommandType(
        "ClearVariableMonitoring",
        device.ClearVariableMonitoring,
        status_list=("clearMonitoringResult", "status"),
        evidence="GetMonitoringReport",
    )
    yield CommandType("CostUpdated", charging.CostUpdated, evidence="none; send the newer cost")
    yield CommandType(
        "CustomerInformation", device.CustomerInformation, numbered="requestId", evidence=_REPORT + " (report: true)"
    )
    yield CommandType("GetBaseReport", device.GetBaseReport, _SAFE, numbered="requestId", evidence=_REPORT)
    yield CommandType(
        "GetChargingProfiles", charging.GetChargingProfiles, _SAFE, numbered="requestId", evidence=_REPORT
    )
    yield CommandType(
        "GetDisplayMessages", maintenance.GetDisplayMessages, _SAFE, numbered="requestId", evidence=_REPORT
    )
    yield CommandType("GetMonitoringReport", device.GetMonitoringReport, _SAFE, numbered="requestId", evidence=_REPORT)
    yield CommandType("GetReport", device.GetReport, _SAFE, numbered="requestId", evidence=_REPORT)
    yield CommandType("GetTransactionStatus", charging.GetTransactionStatus, _SAFE)
    yield CommandType(
        "PublishFirmware",
        maintenance.PublishFirmware,
        numbered="requestId",
        evidence="FirmwareStatusChanged with its requestId",
    )
    yield CommandType("SetDisplayMessage", maintenance.SetDisplayMessage, evidence="GetDisplayMessages")
    yield CommandType("SetMonitoringBase", device.SetMonitoringBase, evidence="GetMonitoringReport")
    yield CommandType("SetMonitoringLevel", device.SetMonitoringLevel, evidence="MonitoringEventReported by severity")
    yield CommandType(
        "SetNetworkProfile", device.SetNetworkProfile, evidence="GetVariables of NetworkConfiguration (2.1)"
    )
    yield CommandType(
        "SetVariableMonitoring",
        device.SetVariableMonitoring,
        status_list=("setMonitoringResult", "status"),
        evidence="GetMonitoringReport",
    )
    yield CommandType(
        "UnpublishFirmware",
        maintenance.UnpublishFirmware,
        positive=_positive("Unpublished"),
        evidence="NoFirmware to a new attempt means that the first one worked",
    )
    # --- OCPP 2.1 ----------------------------------------------------------------------------------------------------
    yield CommandType("AFRRSignal", grid.AFRRSignal, evidence="MeterValues; send the newer signal")
    yield CommandType("AdjustPeriodicEventStream", device.AdjustPeriodicEventStream, evidence="GetPeriodicEventStream")
    yield CommandType(
        "ChangeTransactionTariff", tariffs.ChangeTransactionTariff, evidence="the cost in TransactionUpdated"
    )
    yield CommandType("ClearDERControl", grid.ClearDERControl, evidence="GetDERControl")
    yield CommandType(
        "ClearTariffs", tariffs.ClearTariffs, status_list=("clearTariffsResult", "status"), evidence="GetTariffs"
    )
    yield CommandType("GetDERControl", grid.GetDERControl, _SAFE, numbered="requestId", evidence=_REPORT)
    yield CommandType("GetPeriodicEventStream", device.GetPeriodicEventStream, _SAFE)
    yield CommandType("GetTariffs", tariffs.GetTariffs, _SAFE)
    yield CommandType(
        "NotifyAllowedEnergyTransfer", charging.NotifyAllowedEnergyTransfer, evidence="ChargingNeedsReported"
    )
    yield CommandType("NotifyWebPaymentStarted", tariffs.NotifyWebPaymentStarted, evidence="the station's display")
    yield CommandType(
        "RequestBatterySwap",
        charging.RequestBatterySwap,
        numbered="requestId",
        evidence="the battery swap message with its requestId",
    )
    yield CommandType("SetDERControl", grid.SetDERControl, evidence="GetDERControl")
    yield CommandType("SetDefaultTariff", tariffs.SetDefaultTariff, evidence="GetTariffs")
    yield CommandType("UpdateDynamicSchedule", charging.UpdateDynamicSchedule, evidence="send the newer schedule")
    yield CommandType(
        "UsePriorityCharging",
        charging.UsePriorityCharging,
        evidence="the priority charging message; TransactionUpdated",
    )
    # --- any version -------------------------------------------------------------------------------------------------
    yield CommandType(
        "OcppCall",
        device.OcppCall,
        positive=_positive("Accepted", "Scheduled", "RebootRequired", "AcceptedCanceled", "Unlocked", "Unpublished"),
        evidence="as for the type of its action",
    )


COMMAND_TYPES: Final[Mapping[str, CommandType]] = MappingProxyType({entry.name: entry for entry in _types()})

_STATUS_LISTS: Final = tuple(entry.status_list for entry in COMMAND_TYPES.values() if entry.status_list is not None)


def is_positive(type_name: str, payload: Mapping[str, Any]) -> bool:
    """Whether a CALLRESULT means Accepted: no status at all, or every status in the type's positive set.

    ``payload`` is the answer in version-neutral form (of an OcppCall: as the station sent it). A status that is not a
    string counts as negative.
    """
    entry = COMMAND_TYPES[type_name]
    if "status" in payload and not _among(payload["status"], entry.positive):
        return False
    lists = _STATUS_LISTS if entry.name == "OcppCall" else (entry.status_list,) if entry.status_list else ()
    for name, field in lists:
        items = payload.get(name)
        if items is None:
            continue
        if not isinstance(items, list):
            return False
        for item in items:
            if not isinstance(item, dict) or (field in item and not _among(item[field], entry.positive)):
                return False
    return True


def _among(status: object, positive: frozenset[str]) -> bool:
    # An answer may break its schema: an object, for one, cannot even be looked up in a set.
    return isinstance(status, str) and status in positive
