"""One station's conversation on one connection: a pure state machine.

Input: frames of the station (`receive`), reports of the runtime (`decided`, `recalled`, `acknowledged`, `closed`)
and our own CALLs (`call`, `timed_out`). Output: a list of effects, to be executed in order:

| effect | when | how the runtime reports back |
| --- | --- | --- |
| Send(frame) | answers, CALLERRORs, our CALLs | |
| Recall(token, digest) | StartTransaction (1.6) | `recalled(token, value or None)`, None also when the store is away |
| Ask(token, kind, event, ce_id, value) | a backend decides | `decided(token, decision)` |
| Publish(token, event, ce_id, value, transaction) | every event | `acknowledged(token, utc)`, or `refused(token)` for good |
| Remember(digest, value) | after Kafka, before the answer | |
| BootRecorded(status, interval, at) | BootNotification answered | |
| CallEnded(message_id, ...) | our CALL was answered, perhaps late | |
| Close(code, reason) | flood | `closed()` when the socket has gone |
| Count(name, label) | metrics, log | |

`utc` is the time as the contract writes it, `2026-11-22T10:00:00.123Z`: receivedAt of events, currentTime of answers.

Both directions run at once and know nothing of each other (`StationCalls`, `OurCalls`): the station may CALL while our
CALL is open. Each has one CALL outstanding. The runtime also stops reading while `full`, and asks again after each report.

A broken frame never closes the session. A flood does: `policy.flood` CALLs ahead of their turn although reading had been
stopped. Rate, size, silence and write time-outs are the transport's, which sees bytes and not only messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocpp_gateway.core import frames
from ocpp_gateway.core.boot import Boot
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.faults import Fault, code_label
from ocpp_gateway.core.frames import BrokenFrame, ErrorFrame, Frame
from ocpp_gateway.core.our_calls import OurCalls
from ocpp_gateway.core.policy import SessionPolicy, Validation
from ocpp_gateway.core.reception import refuse
from ocpp_gateway.core.session_effects import Count, Send, SessionEffect
from ocpp_gateway.core.station_calls import StationCalls

_MESSAGE_ID = 36  # characters, OCPP-J 1.6 section 4.1.4 and Part 4 of 2.x; longer ones are echoed and counted


class Session:
    """Never raises on what a station sent. Not thread-safe."""

    __slots__ = (
        "_boot",
        "_closed",
        "_dialect",
        "_ours",
        "_policy",
        "_theirs",
    )

    def __init__(
        self,
        dialect: Dialect,
        charge_point_id: str,
        epoch: int,
        policy: SessionPolicy,
        boot_status: str | None,
    ) -> None:
        """`boot_status`: what `:boot` says, None when it says nothing."""
        self._dialect = dialect
        self._policy = policy
        self._boot = Boot(boot_status)
        self._theirs = StationCalls(dialect, charge_point_id, epoch, policy, self._boot)
        self._ours = OurCalls(dialect, self._boot, strict=policy.validation is Validation.STRICT)
        self._closed = False

    @property
    def full(self) -> bool:
        """Stop reading: more CALLs wait for their turn than may."""
        return self._theirs.full

    @property
    def in_transaction(self) -> bool:
        """As far as this connection has seen: drain closes such stations last."""
        return self._theirs.in_transaction

    def may_call(self, action: str) -> bool:
        """Whether the boot state lets us send this CALL now."""
        return self._boot.may_send(self._dialect.version, action)

    # --------------------------------------------------------------------------------------------- the station speaks

    def receive(self, raw: bytes | str, utc: str) -> list[SessionEffect]:
        """One text message."""
        effects: list[SessionEffect] = []
        if self._closed:
            return effects
        try:
            frame = frames.parse(raw, self._policy.json_depth)
        except BrokenFrame as broken:
            self._refuse_broken(broken, effects)
            return effects
        if frame is not None and len(frame.message_id) > _MESSAGE_ID:
            effects.append(Count("quirks", "long message id"))
        if type(frame) is Frame:
            kind = frame.type
            if kind == frames.CALL or (kind == frames.SEND and self._dialect.version.sends):
                self._theirs.receive(frame, raw.encode() if type(raw) is str else raw, utc, effects)  # type: ignore[arg-type]
            elif kind == frames.CALLRESULT:
                self._ours.result(frame, effects)
            else:
                self._refuse_type(kind, frame.message_id, effects)
        elif type(frame) is ErrorFrame:
            if frame.short:
                effects.append(Count("quirks", "short CALLERROR"))
            if frame.type == frames.CALLERROR:
                self._ours.error(frame, effects)
            else:
                # A CALLRESULTERROR says that our answer was no good: there is nothing left to answer.
                effects.append(Count("call_result_errors", code_label(frame.code)))
        else:
            effects.append(Count("empty_frames"))
        return effects

    def _refuse_broken(self, broken: BrokenFrame, effects: list[SessionEffect]) -> None:
        effects.append(Count("broken_frames", broken.fault.value))
        if broken.fault is Fault.MESSAGE_TYPE and self._dialect.version.subprotocol == "ocpp1.6":
            return  # 1.6J 4.1.3: a message of an unknown type is ignored
        refuse(self._dialect, broken.message_id, broken.fault, broken.description, (), effects)

    def _refuse_type(self, kind: int, message_id: str, effects: list[SessionEffect]) -> None:
        description = f"{self._dialect.version.subprotocol} has no message type {kind}"
        self._refuse_broken(BrokenFrame(Fault.MESSAGE_TYPE, description, message_id), effects)

    # ------------------------------------------------------------------------------------------- the runtime reports

    def recalled(self, token: int, value: bytes | str | None) -> list[SessionEffect]:
        """What `:tx:` holds under the digest of Recall; None: nothing, or the store is away."""
        return self._theirs.recalled(token, value)

    def decided(self, token: int, decision: Mapping[str, Any] | None) -> list[SessionEffect]:
        """The backend's decision, or what the policy makes of its absence. None: accept by default."""
        return self._theirs.decided(token, decision)

    def acknowledged(self, token: int, utc: str) -> list[SessionEffect]:
        """Kafka has the event: now, and not before, the station gets its answer."""
        return self._theirs.acknowledged(token, utc)

    def refused(self, token: int) -> list[SessionEffect]:
        """Kafka refused the event for good: no answer, and the station may try again."""
        return self._theirs.refused(token)

    def closed(self) -> None:
        """The socket has gone: reports still under way are ignored. What becomes of our CALLs is the delivery's business."""
        self._closed = True
        self._theirs.drop()

    # ------------------------------------------------------------------------------------------------------ our CALLs

    def call(self, message_id: str, action: str, payload: dict[str, Any]) -> list[SessionEffect] | None:
        """Send a CALL that `Dialect.check_call` found fit. None: nothing was sent, because one is open, the boot state
        forbids it or the session is over."""
        frame = None if self._closed else self._ours.begin(message_id, action, payload)
        return None if frame is None else [Send(frame)]

    def timed_out(self, message_id: str) -> bool:
        """Our CALL waited long enough: the next may go out, a late answer is still told apart. False: it is not open."""
        return self._ours.time_out(message_id)
