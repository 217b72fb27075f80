"""Between delivery and the version tables: a unified command becomes a CALL, the station's answer becomes an outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ocpp_contract.commands import Command, is_positive
from ocpp_contract.outcome import Outcome
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.flight import Answer, CallError, Report
from ocpp_gateway.core.handlers import Call, DownlinkContext, Invalid, Unsupported
from ocpp_gateway.core.inbound import MAPPING_ERRORS


class VersionCalls:
    """`flight.Calls` over the dialects of this pod."""

    def __init__(self, dialects: Mapping[str, Dialect], may_call: Callable[[str, str], bool]) -> None:
        """`may_call(connection, action)`: whether the session's boot state lets the CALL go out now."""
        self._dialects = dialects
        self._may_call = may_call

    def encode(self, command: Command, version: str) -> Call:
        """Raises Unsupported or Invalid; what it returns passes the official schema (outbound Strict)."""
        dialect = self._dialects[version]
        row = dialect.version.downlink.get(command.type)
        if row is None:
            raise Unsupported(f"{version} cannot express {command.type}")
        call = row.call(command.payload, DownlinkContext(command.charge_point_id, command.id))
        violation = dialect.check_call(call.action, call.payload)
        if violation is not None:
            raise Invalid(violation.path, violation.reason)
        return call

    def may_call(self, connection: str, call: Call) -> bool:
        return self._may_call(connection, call.action)

    def report(self, command: Command, version: str, call: Call, answer: Answer) -> Report:
        """CALLERROR is an outcome of its own. A CALLRESULT that the table cannot read still was an answer: the command ran,
        so its raw payload is reported as Rejected with the reason, never as if nothing had come."""
        if isinstance(answer, CallError):
            details = {
                "errorCode": answer.code,
                "errorDescription": answer.description,
                "errorDetails": dict(answer.details),
            }
            return Report(Outcome.CALL_ERROR, answer.code, details)
        row = self._dialects[version].version.downlink[command.type]
        response = dict(answer.payload)
        try:
            status, payload = row.outcome(command.payload, call, response)
        except MAPPING_ERRORS:
            return Report(Outcome.REJECTED, None, response, "the station's answer breaks its schema")
        if not _is_status(status):
            return Report(Outcome.REJECTED, None, response, "the station's answer breaks its schema")
        positive = is_positive(command.type, payload if status is None else {**payload, "status": status})
        reason = f"the answer breaks its schema: {'; '.join(answer.schema_errors)}" if answer.schema_errors else None
        return Report(Outcome.ACCEPTED if positive else Outcome.REJECTED, status, payload, reason)


def _is_status(status: object) -> bool:
    """Rows hand on what the station said, which may be any JSON."""
    return status is None or isinstance(status, str)
