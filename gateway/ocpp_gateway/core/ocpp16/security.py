"""Commands that firmware management and the security whitepaper both answer: logs, firmware, certificates.

2.x has one command where 1.6 has an old one and a secured one; what the payload asks for decides. A diagnostics log is
fetched with GetDiagnostics and firmware without signature with UpdateFirmware, which every station with firmware
management knows; a security log and signed firmware need the whitepaper's messages.
"""

from __future__ import annotations

from ocpp_gateway.core.handlers import Answered, Call, DownlinkContext, Invalid, JsonObject, Unsupported

_CERTIFICATE_USE = {
    "CSMSRootCertificate": "CentralSystemRootCertificate",
    "ManufacturerRootCertificate": "ManufacturerRootCertificate",
}


def _retries(payload: JsonObject) -> JsonObject:
    return {name: payload[name] for name in ("retries", "retryInterval") if name in payload}


def get_log(payload: JsonObject, context: DownlinkContext) -> Call:
    log = payload["log"]
    kind = payload["logType"]
    if kind == "DiagnosticsLog":
        found: JsonObject = {"location": log["remoteLocation"], **_retries(payload)}
        for theirs, ours in (("oldestTimestamp", "startTime"), ("latestTimestamp", "stopTime")):
            if theirs in log:
                found[ours] = log[theirs]
        return Call("GetDiagnostics", found)
    if kind != "SecurityLog":
        raise Unsupported(f"OCPP 1.6 has no log {kind}")
    return Call("GetLog", {"logType": kind, "requestId": payload["requestId"], "log": log, **_retries(payload)})


def log_got(payload: JsonObject, call: Call, response: JsonObject) -> Answered:
    # 6.25: GetDiagnostics answers a file name or nothing at all, and no status.
    found = dict(response)
    if "fileName" in found:
        found["filename"] = found.pop("fileName")
    return Answered(response.get("status"), found)


def update_firmware(payload: JsonObject, context: DownlinkContext) -> Call:
    firmware = payload["firmware"]
    signed = {"signingCertificate", "signature"} & firmware.keys()
    if len(signed) == 1:
        missing = "signature" if "signingCertificate" in signed else "signingCertificate"
        raise Invalid(f"payload.firmware.{missing}", "signed firmware has a certificate and a signature")
    if signed:
        found = {"requestId": payload["requestId"], "firmware": firmware, **_retries(payload)}
        return Call("SignedUpdateFirmware", found)
    if "installDateTime" in firmware:
        raise Invalid("payload.firmware.installDateTime", "OCPP 1.6 plans the installation of signed firmware only")
    found = {"location": firmware["location"], "retrieveDate": firmware["retrieveDateTime"], **_retries(payload)}
    return Call("UpdateFirmware", found)


def certificate_signed(payload: JsonObject, context: DownlinkContext) -> Call:
    kind = payload.get("certificateType", "ChargingStationCertificate")
    if kind != "ChargingStationCertificate":
        raise Unsupported(f"OCPP 1.6 has no {kind}")
    return Call("CertificateSigned", {"certificateChain": payload["certificateChain"]})


def install_certificate(payload: JsonObject, context: DownlinkContext) -> Call:
    use = _certificate_use(payload["certificateType"])
    return Call("InstallCertificate", {"certificateType": use, "certificate": payload["certificate"]})


def delete_certificate(payload: JsonObject, context: DownlinkContext) -> Call:
    return Call("DeleteCertificate", {"certificateHashData": payload["certificateHashData"]})


def get_installed_certificate_ids(payload: JsonObject, context: DownlinkContext) -> Call:
    kinds = payload.get("certificateType", [])
    if len(kinds) != 1:
        raise Invalid("payload.certificateType", "OCPP 1.6 lists one type of certificate per CALL: name exactly one")
    return Call("GetInstalledCertificateIds", {"certificateType": _certificate_use(kinds[0])})


def installed_certificate_ids(payload: JsonObject, call: Call, response: JsonObject) -> Answered:
    status = response["status"]
    found: JsonObject = {"status": status}
    if "certificateHashData" in response:
        kind = payload["certificateType"][0]
        found["certificateHashDataChain"] = [
            {"certificateType": kind, "certificateHashData": one} for one in response["certificateHashData"]
        ]
    return Answered(status, found)


def _certificate_use(kind: str) -> str:
    found = _CERTIFICATE_USE.get(kind)
    if found is None:
        raise Unsupported(f"OCPP 1.6 has no {kind}")
    return found
