"""Our half of the conversation: at most one CALL open, answers matched by id, always.

An answer belongs to the CALL whose id it carries and to no other. A CALL that timed out no longer blocks the next one,
but its id is kept: the station may still answer. Whether a late answer still counts is the delivery's business.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ocpp_gateway.core import frames
from ocpp_gateway.core.boot import Boot
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.faults import Fault, read_code
from ocpp_gateway.core.frames import ErrorFrame, Frame
from ocpp_gateway.core.schemas import CLEAN, Findings, Violation
from ocpp_gateway.core.session_effects import CallEnded, Count, Send, SessionEffect
from ocpp_gateway.core.signed import unwrap_result

_MAX_LATE: Final = 32
_NO_OBJECT: Final = Findings((Violation("", "the payload must be an object", Fault.PROTOCOL),), ())


class OpenCall(NamedTuple):
    message_id: str
    action: str
    payload: dict[str, Any]


class OurCalls:
    __slots__ = ("_boot", "_dialect", "_late", "_open", "_strict")

    def __init__(self, dialect: Dialect, boot: Boot, *, strict: bool) -> None:
        self._dialect = dialect
        self._boot = boot
        self._strict = strict
        self._open: OpenCall | None = None
        self._late: dict[str, OpenCall] | None = None  # most connections never see one

    def begin(self, message_id: str, action: str, payload: dict[str, Any]) -> bytes | None:
        """The frame to send; None while one is open or the boot state forbids it."""
        if self._open is not None or not self._boot.may_send(self._dialect.version, action):
            return None
        frame = frames.write_call(message_id, action, payload)
        self._open = OpenCall(message_id, action, payload)
        self._forget(message_id)  # the same command once more: its answer is no longer late
        return frame

    def time_out(self, message_id: str) -> bool:
        """False: that CALL is not open (its answer came first)."""
        call = self._open
        if call is None or call.message_id != message_id:
            return False
        self._open = None
        if self._late is None:
            self._late = {}
        self._late[message_id] = call
        if len(self._late) > _MAX_LATE:
            del self._late[next(iter(self._late))]
        return True

    def _forget(self, message_id: str) -> None:
        if self._late is not None:
            self._late.pop(message_id, None)
            if not self._late:
                self._late = None

    def _answered(self, message_id: str) -> tuple[OpenCall, bool] | None:
        """The CALL that this answers and whether it comes late; None: nobody asked. Each CALL is answered once."""
        call = self._open
        if call is not None and call.message_id == message_id:
            self._open = None
            return call, False
        late = self._late.get(message_id) if self._late else None
        if late is None:
            return None
        self._forget(message_id)
        return late, True

    def result(self, frame: Frame, effects: list[SessionEffect]) -> None:
        """A CALLRESULT. One that breaks its schema still counts: the station did what it says it did."""
        found = self._answered(frame.message_id)
        if found is None:
            effects.append(Count("answers_nobody_asked_for", "CALLRESULT"))
            return
        call, late = found
        dialect = self._dialect
        payload = unwrap_result(frame.payload) if dialect.version.exact_numbers else frame.payload
        if type(payload) is dict:
            findings = dialect.check_response(call.action, payload, strict=self._strict)
        else:
            payload, findings = {}, _NO_OBJECT
        if findings is not CLEAN:
            effects.extend(Count("quirks", quirk) for quirk in findings.quirks)
        if findings.violations:
            effects.append(Count("response_violations", call.action))
            if self._strict and dialect.version.sends:
                # 2.1 Part 4: the receiver of a CALLRESULT that it cannot process says so with CALLRESULTERROR.
                first = findings.violations[0]
                code = dialect.spelling(first.fault)
                effects.append(Send(frames.write_error(frames.CALLRESULTERROR, call.message_id, code, str(first), {})))
        self._boot.trigger_accepted(dialect.version, call.action, call.payload, payload.get("status"))
        errors = tuple(str(violation) for violation in findings.violations)
        effects.append(CallEnded(call.message_id, payload, errors, late=late))

    def error(self, frame: ErrorFrame, effects: list[SessionEffect]) -> None:
        """A CALLERROR."""
        found = self._answered(frame.message_id)
        if found is None:
            effects.append(Count("answers_nobody_asked_for", "CALLERROR"))
            return
        code = read_code(frame.code)
        ended = CallEnded(frame.message_id, None, (), code, frame.description, frame.details, late=found[1])
        effects.append(ended)
