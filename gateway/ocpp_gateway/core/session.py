"""One station's conversation on one connection: a pure state machine.

Input: frames of the station (`receive`), reports of the runtime (`decided`, `recalled`, `acknowledged`, `pong`, `closed`),
our own CALLs (`call`, `timed_out`, `forget`) and the clock (`tick`). Output: a list of effects, to be executed in order:

| effect | when | how the runtime reports back |
| --- | --- | --- |
| Send(frame) | answers, CALLERRORs, our CALLs | |
| Recall(token, digest) | StartTransaction (1.6) | `recalled(token, value or None, now)`, None also when the store is away |
| Ask(token, kind, event, ce_id, value) | a backend decides | `decided(token, decision, now)` |
| Publish(token, event, ce_id, value, transaction) | every event | `acknowledged(token, now)` once Kafka has it, else never |
| Remember(digest, value) | after Kafka, before the answer | |
| BootRecorded(status, interval, at) | BootNotification answered | |
| CallEnded(message_id, ...) | our CALL was answered, perhaps late | |
| PauseReading(until) | the station is faster than its rate | |
| Ping() | `tick` | `pong(now)` |
| Close(code, reason) | flood, or keepalive lost | `closed()` when the socket has gone |
| Count(name, label) | metrics, log | |

Both directions run at once and know nothing of each other (`StationCalls`, `OurCalls`): the station may CALL while our
CALL is open. Each has one CALL outstanding. The runtime also stops reading while `full`, and asks again after each report.

A broken frame never closes the session. A flood does: more than `policy.flood` messages ahead of the rate, or CALLs ahead
of their turn. Both take what was already read, so nothing is dropped before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocpp_gateway.core import frames
from ocpp_gateway.core.boot import Boot
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.faults import Fault, read_code
from ocpp_gateway.core.frames import BrokenFrame, ErrorFrame, Frame
from ocpp_gateway.core.our_calls import OurCalls
from ocpp_gateway.core.policy import SessionPolicy, Validation
from ocpp_gateway.core.session_effects import Close, Count, Instant, PauseReading, Ping, Send, SessionEffect
from ocpp_gateway.core.station_calls import StationCalls, refuse


class Session:
    """Never raises on what a station sent. Not thread-safe."""

    __slots__ = (
        "_boot",
        "_closed",
        "_dialect",
        "_full_at",
        "_last_life",
        "_missed",
        "_ours",
        "_paused_until",
        "_pinged_at",
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
        now: float,
    ) -> None:
        """`boot_status`: what `:boot` says, None when it says nothing. `now`: boottime seconds."""
        self._dialect = dialect
        self._policy = policy
        self._boot = Boot(boot_status)
        self._theirs = StationCalls(dialect, charge_point_id, epoch, policy, self._boot)
        self._ours = OurCalls(dialect, self._boot, strict=policy.validation is Validation.STRICT)
        self._full_at = 0.0
        self._paused_until = 0.0
        self._last_life = now
        self._pinged_at = now
        self._missed = 0
        self._closed = False

    @property
    def full(self) -> bool:
        """Stop reading: more CALLs wait for their turn than may."""
        return self._theirs.full

    @property
    def busy(self) -> bool:
        """A CALL is open in either direction: drain waits for it."""
        return self._theirs.open or self._ours.open

    @property
    def in_transaction(self) -> bool:
        """As far as this connection has seen: drain closes such stations last."""
        return self._theirs.in_transaction

    @property
    def call_open(self) -> bool:
        """Our CALL is outstanding."""
        return self._ours.open

    @property
    def boot_status(self) -> str | None:
        return self._boot.status

    def may_call(self, action: str) -> bool:
        """Whether the boot state lets us send this CALL now."""
        return self._boot.may_send(self._dialect.version, action)

    # --------------------------------------------------------------------------------------------- the station speaks

    def receive(self, raw: bytes | str, now: Instant) -> list[SessionEffect]:
        """One text message."""
        effects: list[SessionEffect] = []
        if self._closed:
            return effects
        at = now.monotonic
        self._last_life = at
        if self._over_rate(at, effects):
            return effects
        try:
            frame = frames.parse(raw, self._policy.json_depth)
        except BrokenFrame as broken:
            self._refuse_broken(broken, effects)
            return effects
        if type(frame) is Frame:
            kind = frame.type
            if kind == frames.CALL or (kind == frames.SEND and self._dialect.version.sends):
                self._theirs.receive(frame, raw.encode() if type(raw) is str else raw, now.utc, effects)  # type: ignore[arg-type]
            elif kind == frames.CALLRESULT:
                self._ours.result(frame, effects)
            else:
                self._refuse_type(kind, frame.message_id, effects)
        elif type(frame) is ErrorFrame:
            if frame.type == frames.CALLERROR:
                self._ours.error(frame, effects)
            else:
                # A CALLRESULTERROR says that our answer was no good: there is nothing left to answer.
                effects.append(Count("call_result_errors", read_code(frame.code)[:40]))
        else:
            effects.append(Count("empty_frames"))
        return effects

    def _over_rate(self, at: float, effects: list[SessionEffect]) -> bool:
        """A token bucket kept as one number: the time at which it is full again. True: a flood, the session is over."""
        policy = self._policy
        interval = policy.message_interval
        full_at = self._full_at = (self._full_at if self._full_at > at else at) + interval
        ahead = full_at - at - interval * policy.message_burst
        if ahead <= 0.0:
            return False
        if ahead > interval * policy.flood:
            self._closed = True
            effects += (Count("floods", "messages"), Close(1008, "too many messages"))
            return True
        self._paused_until = at + ahead
        effects.append(PauseReading(self._paused_until))
        return False

    def _refuse_broken(self, broken: BrokenFrame, effects: list[SessionEffect]) -> None:
        effects.append(Count("broken_frames", broken.fault.value))
        if broken.fault is Fault.MESSAGE_TYPE and self._dialect.version.subprotocol == "ocpp1.6":
            return  # 1.6J 4.1.3: a message of an unknown type is ignored
        refuse(self._dialect, broken.message_id, broken.fault, broken.description, (), effects)

    def _refuse_type(self, kind: int, message_id: str, effects: list[SessionEffect]) -> None:
        description = f"{self._dialect.version.subprotocol} has no message type {kind}"
        self._refuse_broken(BrokenFrame(Fault.MESSAGE_TYPE, description, message_id), effects)

    # ------------------------------------------------------------------------------------------- the runtime reports

    def recalled(self, token: int, value: bytes | str | None, now: Instant) -> list[SessionEffect]:
        """What `:tx:` holds under the digest of Recall; None: nothing, or the store is away."""
        return self._theirs.recalled(token, value, now)

    def decided(self, token: int, decision: Mapping[str, Any] | None, now: Instant) -> list[SessionEffect]:
        """The backend's decision, or what the policy makes of its absence. None: accept by default."""
        return self._theirs.decided(token, decision, now)

    def acknowledged(self, token: int, now: Instant) -> list[SessionEffect]:
        """Kafka has the event: now, and not before, the station gets its answer."""
        return self._theirs.acknowledged(token, now)

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

    def forget(self, message_id: str) -> None:
        """The late window of a timed-out CALL has passed: an answer now is one that nobody asked for."""
        self._ours.forget(message_id)

    # ------------------------------------------------------------------------------------------------------ keepalive

    def ping_due(self, jitter: float) -> float | None:
        """When to call `tick`; `jitter` in 0..1 spreads the pings over 80 to 120 % of the interval. None: no pings."""
        interval = self._policy.ping_interval
        return self._pinged_at + interval * (0.8 + 0.4 * jitter) if interval > 0 else None

    def tick(self, now: float) -> list[SessionEffect]:
        """A ping is due: send it, or give the socket up after so many that nothing followed."""
        if self._closed or self._policy.ping_interval <= 0:
            return []
        # Any inbound frame counts as life. While we do not read, silence is our own doing.
        if self._last_life >= self._pinged_at or self._paused_until > now or self.full:
            self._missed = 0
        else:
            self._missed += 1
            if self._missed >= self._policy.missed_pings:
                self._closed = True
                return [Count("keepalive_lost"), Close(1011, "keepalive")]
        self._pinged_at = now
        return [Ping()]

    def pong(self, now: float) -> None:
        self._last_life = now
