"""OCPP 1.6 as a table: core, firmware management, local list, reservation, smart charging, remote trigger, security.

    values             connectors, tokens, meter values, statuses: the words of 1.6 and of the contract
    uplink             what a station may say -> event data and answer
    commands           unified command -> CALL and response -> outcome, for all but the following
    charging_profiles  smart charging
    configuration      Get/SetVariables over configuration keys
    security           logs, firmware and certificates, old and secured

Nothing here keeps state, and nothing here validates what a station sent: the session does both.
"""

from __future__ import annotations

from ocpp_gateway.core.handlers import Call, Downlink, DownlinkContext, JsonObject, Unsupported, Version
from ocpp_gateway.core.ocpp16 import charging_profiles, commands, configuration, security
from ocpp_gateway.core.ocpp16.commands import answered
from ocpp_gateway.core.ocpp16.uplink import UPLINK

_CALLS = frozenset(
    (
        "CancelReservation",
        "CertificateSigned",
        "ChangeAvailability",
        "ChangeConfiguration",
        "ClearCache",
        "ClearChargingProfile",
        "DataTransfer",
        "DeleteCertificate",
        "ExtendedTriggerMessage",
        "GetCompositeSchedule",
        "GetConfiguration",
        "GetDiagnostics",
        "GetInstalledCertificateIds",
        "GetLocalListVersion",
        "GetLog",
        "InstallCertificate",
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "ReserveNow",
        "Reset",
        "SendLocalList",
        "SetChargingProfile",
        "SignedUpdateFirmware",
        "TriggerMessage",
        "UnlockConnector",
        "UpdateFirmware",
    )
)


def _ocpp_call(payload: JsonObject, context: DownlinkContext) -> Call:
    action = payload["action"]
    if action not in _CALLS:
        raise Unsupported(f"OCPP 1.6 has no call {action} to a station")
    return Call(action, payload["payload"])


_DOWNLINK = (
    Downlink("CancelReservation", commands.cancel_reservation, answered),
    Downlink("CertificateSigned", security.certificate_signed, answered),
    Downlink("ChangeAvailability", commands.change_availability, answered),
    Downlink("ClearCache", commands.clear_cache, answered),
    Downlink("ClearChargingProfile", charging_profiles.clear_charging_profile, answered),
    Downlink("DataTransfer", commands.data_transfer, answered),
    Downlink("DeleteCertificate", security.delete_certificate, answered),
    Downlink("GetBaseReport", configuration.get_base_report, configuration.base_report),
    Downlink("GetCompositeSchedule", charging_profiles.get_composite_schedule, charging_profiles.composite_schedule),
    Downlink("GetInstalledCertificateIds", security.get_installed_certificate_ids, security.installed_certificate_ids),
    Downlink("GetLocalListVersion", commands.get_local_list_version, commands.local_list_version),
    Downlink("GetLog", security.get_log, security.log_got),
    Downlink("GetVariables", configuration.get_variables, configuration.variables_got),
    Downlink("InstallCertificate", security.install_certificate, answered),
    Downlink("OcppCall", _ocpp_call, answered),
    Downlink("RequestStartTransaction", commands.request_start_transaction, answered),
    Downlink("RequestStopTransaction", commands.request_stop_transaction, answered),
    Downlink("ReserveNow", commands.reserve_now, answered),
    Downlink("Reset", commands.reset, answered),
    Downlink("SendLocalList", commands.send_local_list, answered),
    Downlink("SetChargingProfile", charging_profiles.set_charging_profile, answered),
    Downlink("SetVariables", configuration.set_variables, configuration.variables_set),
    Downlink("TriggerMessage", commands.trigger_message, answered),
    Downlink("UnlockConnector", commands.unlock_connector, answered),
    Downlink("UpdateFirmware", security.update_firmware, answered),
)

OCPP16 = Version(
    subprotocol="ocpp1.6",
    schemas="v16",
    uplink=UPLINK,
    downlink={row.type: row for row in _DOWNLINK},
    calls=_CALLS,
    # 4.2: while Pending the Central System SHALL NOT send these two; everything else may configure the station.
    not_while_pending=frozenset(("RemoteStartTransaction", "RemoteStopTransaction")),
    trigger_actions={"SignChargePointCertificate": "SignCertificate"},
)
