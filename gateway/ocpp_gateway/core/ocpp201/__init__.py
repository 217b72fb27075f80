"""OCPP 2.0.1 as a table; OCPP 2.1 builds on it.

values    measured values and EVSE numbers
uplink    what a station may say -> event data and answer
downlink  unified command -> CALL and response -> outcome
"""

from __future__ import annotations

from ocpp_gateway.core.handlers import Downlink, Version
from ocpp_gateway.core.ocpp201 import downlink
from ocpp_gateway.core.ocpp201.uplink import UPLINK

CALLS = frozenset(
    (
        "CancelReservation",
        "CertificateSigned",
        "ChangeAvailability",
        "ClearCache",
        "ClearChargingProfile",
        "ClearDisplayMessage",
        "ClearVariableMonitoring",
        "CostUpdated",
        "CustomerInformation",
        "DataTransfer",
        "DeleteCertificate",
        "GetBaseReport",
        "GetChargingProfiles",
        "GetCompositeSchedule",
        "GetDisplayMessages",
        "GetInstalledCertificateIds",
        "GetLocalListVersion",
        "GetLog",
        "GetMonitoringReport",
        "GetReport",
        "GetTransactionStatus",
        "GetVariables",
        "InstallCertificate",
        "PublishFirmware",
        "RequestStartTransaction",
        "RequestStopTransaction",
        "ReserveNow",
        "Reset",
        "SendLocalList",
        "SetChargingProfile",
        "SetDisplayMessage",
        "SetMonitoringBase",
        "SetMonitoringLevel",
        "SetNetworkProfile",
        "SetVariableMonitoring",
        "SetVariables",
        "TriggerMessage",
        "UnlockConnector",
        "UnpublishFirmware",
        "UpdateFirmware",
    )
)

# B02.FR.05: a station that is Pending refuses both; everything else may configure it.
NOT_WHILE_PENDING = frozenset(("RequestStartTransaction", "RequestStopTransaction"))

TRIGGER_ACTIONS = {
    "SignChargingStationCertificate": "SignCertificate",
    "SignV2GCertificate": "SignCertificate",
    "SignCombinedCertificate": "SignCertificate",
}

REPORTS = {"GetBaseReport": "NotifyReport", "GetReport": "NotifyReport"}

_CERTIFICATE_SIGNED = Downlink(
    "CertificateSigned", downlink.certificate_signed_201, downlink.answered("CertificateSigned")
)

OCPP201 = Version(
    subprotocol="ocpp2.0.1",
    schemas="v201",
    uplink=UPLINK,
    downlink=downlink.rows("2.0.1", CALLS) | {"CertificateSigned": _CERTIFICATE_SIGNED},
    calls=CALLS,
    not_while_pending=NOT_WHILE_PENDING,
    trigger_actions=TRIGGER_ACTIONS,
    reports=REPORTS,
    exact_numbers=True,
)
