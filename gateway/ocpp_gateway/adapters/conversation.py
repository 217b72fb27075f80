"""One station connected to this pod: its session's effects carried out, in order.

A `Conversation` stands between one socket and its pure `Session`. It decides nothing: the session says what to send, publish
and remember.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from ocpp_contract.cloudevents import CloudEvent
from ocpp_contract.ids import ChargePointId
from ocpp_contract.scripts.records import BootRecord
from ocpp_gateway.adapters.background import Background
from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.events import EventProducer
from ocpp_gateway.core.effects import Unknown
from ocpp_gateway.core.session import Session
from ocpp_gateway.core.session_effects import (
    Ask,
    BootRecorded,
    CallEnded,
    Close,
    Count,
    Publish,
    Recall,
    Remember,
    Send,
    SessionEffect,
)
from ocpp_gateway.core.trace import redact_frame
from ocpp_gateway.core.uplink import Flow

if TYPE_CHECKING:
    from ocpp_gateway.adapters.conversations import Conversations

log = logging.getLogger(__name__)

_REFUSALS_LOGGED = 10
"""Of one connection. A station that says everything wrong would otherwise fill the log."""

INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013  # RFC 6455 registry, "Try Again Later": Kafka is away past its limit


class Remembering(Protocol):
    """The companions of a station's entry in Redis."""

    async def recall(self, station: ChargePointId, digest: str) -> bytes | None: ...
    async def remember(self, station: ChargePointId, digest: str, value: bytes) -> None: ...
    async def put_boot(self, station: ChargePointId, record: BootRecord, epoch: int) -> bool: ...


class Deciding(Protocol):
    async def decide(self, kind: str, event: CloudEvent, body: bytes) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class ConversationPorts:
    """What conversations need of the rest of the pod."""

    producer: EventProducer
    events_topic: str
    source: str
    """ce_source of this pod."""
    companions: Remembering
    webhook: Deciding | None
    call_ended: Callable[[str, CallEnded], None]
    """A station answered our CALL (connection id, how)."""
    boot_changed: Callable[[str], None]
    """The boot state of a connection changed: CALLs that waited for it may be allowed now."""
    gone: Callable[[Conversation, int, str], None]
    """The socket of a conversation has gone (close code, reason)."""
    count: Callable[..., None]
    observe_command: Callable[[float], None]
    """Seconds from a command's record in Kafka to its CALL on a socket."""
    background: Background


class Conversation:
    """One station on one socket: a `ConnectionHandler` for the transport."""

    __slots__ = (
        "_all",
        "_held",
        "_key",
        "_refusals",
        "_taps",
        "boot",
        "charge_point_id",
        "connection",
        "epoch",
        "session",
        "socket",
        "version",
    )

    def __init__(
        self,
        everyone: Conversations,
        socket: ChargePointSocket,
        connection: str,
        charge_point_id: ChargePointId,
        epoch: int,
        version: str,
        session: Session,
    ) -> None:
        self._all = everyone
        self._key = charge_point_id.encode()
        self._held = False
        self._refusals = 0
        self._taps: tuple[asyncio.Queue[bytes], ...] = ()
        self.boot: BootRecord | None = None
        """What this connection recorded, to be asserted again after Redis lost data."""
        self.charge_point_id = charge_point_id
        self.connection = connection
        self.epoch = epoch
        self.session = session
        self.socket = socket
        self.version = version

    # ---------------------------------------------------------------------------------------------- the transport calls

    def on_text(self, text: str) -> None:
        if self._taps:
            self._tap("received", text)
        effects = self.session.receive(text, self._all.clock.utc())
        if effects:
            self.carry_out(effects)

    def on_closed(self, code: int, reason: str) -> None:
        self.session.closed()
        self._all.closed(self, code, reason)

    def on_write_paused(self) -> None:
        """The write time-out of the transport ends a station that stays so; answers are few, nothing else to do."""

    def on_write_resumed(self) -> None:
        pass

    # --------------------------------------------------------------------------------------------------------- effects

    def carry_out(self, effects: list[SessionEffect]) -> None:
        """Execute in order. What must be waited for goes on in a task, together with the effects behind it."""
        ports = self._all.ports
        for index, effect in enumerate(effects):
            kind = type(effect)
            if kind is Send:
                self._send(effect.frame)  # type: ignore[union-attr]  # narrowed by `kind`, cheaper than isinstance here
            elif kind is Publish:
                self._publish(effect)  # type: ignore[arg-type]
            elif kind is Count:
                ports.count("session", effect.name, effect.label)  # type: ignore[union-attr]
                if effect.name == "call_errors":  # type: ignore[union-attr]
                    self._refused(effect.label, effects[index + 1 : index + 2])  # type: ignore[union-attr]
            elif kind is Remember:
                # The answer behind it leaves once the store has it, so that a retry on another pod gets the same one.
                self._task(self._remember(effect, effects[index + 1 :]))  # type: ignore[arg-type]
                return
            else:
                self._seldom(effect)
        self._hold(self.session.full)

    def _seldom(self, effect: SessionEffect) -> None:
        match effect:
            case CallEnded():
                self._all.ports.call_ended(self.connection, effect)
            case Ask():
                self._task(self._ask(effect))
            case Recall():
                self._task(self._recall(effect))
            case BootRecorded():
                self.boot = BootRecord(effect.status, effect.interval, effect.at)
                self._task(self.record_boot())
                self._all.ports.boot_changed(self.connection)
            case Close():
                self.socket.close(effect.code, effect.reason)

    def _refused(self, fault: str, answer: list[SessionEffect]) -> None:
        """Say which message it was, but not what stood in it, and not for ever: the counters go on."""
        self._refusals += 1
        if self._refusals > _REFUSALS_LOGGED:
            return
        message_id = orjson.loads(answer[0].frame)[1] if answer and isinstance(answer[0], Send) else None
        log.info(
            "message refused",
            extra={
                "correlation": message_id,
                "station": self.charge_point_id,
                "connection": self.connection,
                "fault": fault,
            },
        )

    def _send(self, frame: bytes) -> None:
        if self._taps:
            self._tap("sent", frame.decode())
        self.socket.send_text(frame)

    def write_call(self, message_id: str, action: str, payload: dict[str, Any]) -> bool:
        """Our CALL; False: nothing was written."""
        if not self.socket.is_open:
            return False
        effects = self.session.call(message_id, action, payload)
        if effects is None:
            return False
        self.carry_out(effects)
        return True

    def _publish(self, effect: Publish) -> None:
        token, event = effect.token, effect.event
        ports = self._all.ports

        def acknowledged(error: Exception | None) -> None:
            try:
                if error is None:
                    ports.count("events_published", event)
                    self.carry_out(self.session.acknowledged(token, self._all.clock.utc()))
                else:
                    # Refused for good (or the pod is stopping): no answer, so the station keeps its message and tries again.
                    ports.count("events_refused", event)
                    log.error(
                        "event was not published",
                        extra={
                            "correlation": effect.ce_id,
                            "event": event,
                            "station": self.charge_point_id,
                            "reason": str(error),
                        },
                    )
                    self.carry_out(self.session.refused(token))
            except Exception:  # raised again: the producer logs it, this station gets a new start
                self._give_up()
                raise

        ports.producer.publish(
            ports.events_topic, self._key, effect.value, self._all.headers(event, effect.ce_id, self._key), acknowledged
        )

    async def _ask(self, ask: Ask) -> None:
        webhook = self._all.ports.webhook
        decision: Mapping[str, Any] | None = None
        if webhook is not None:
            event = CloudEvent(
                ask.ce_id, self._all.ports.source, f"io.chargegateway.{ask.event}.v1", self.charge_point_id
            )
            decision = await webhook.decide(ask.kind, event, ask.value)
        self.carry_out(self.session.decided(ask.token, decision))

    async def _recall(self, recall: Recall) -> None:
        try:
            value = await self._all.ports.companions.recall(self.charge_point_id, recall.digest)
        except Unknown:
            value = None  # Redis away: the uplink goes on (the id is computed, generation 0)
        self.carry_out(self.session.recalled(recall.token, value))

    async def _remember(self, remember: Remember, behind: list[SessionEffect]) -> None:
        try:
            await self._all.ports.companions.remember(self.charge_point_id, remember.digest, remember.value)
        except Unknown:
            self._all.ports.count("session", "not_remembered", "")
        self.carry_out(behind)

    async def record_boot(self) -> None:
        """Write `:boot`, also again after Redis lost data."""
        if self.boot is not None:
            try:
                await self._all.ports.companions.put_boot(self.charge_point_id, self.boot, self.epoch)
            except Unknown:
                self._all.ports.count("session", "boot_not_recorded", "")  # unknown counts as accepted

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        self._all.ports.background.start("conversation", self._watched(work))

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # raised again: `Background` logs and counts it, this station gets a new start
            self._give_up()
            raise

    def _give_up(self) -> None:
        """A mistake of ours half-way left a session that would answer nothing any more: the station gets a fresh one."""
        self.socket.close(INTERNAL_ERROR)

    # --------------------------------------------------------------------------------------------------- back-pressure

    def _hold(self, full: bool) -> None:
        hold = full or self._all.flow is not Flow.OPEN
        if hold is not self._held:
            self._held = hold
            if hold:
                self.socket.pause_reading()
            else:
                self.socket.resume_reading()

    def follow_flow(self) -> None:
        """The pod's level changed."""
        if self._all.flow is Flow.CLOSED:
            self.socket.close(TRY_AGAIN_LATER, "events cannot be stored at the moment")
        else:
            self._hold(self.session.full)

    # ----------------------------------------------------------------------------------------------------------- trace

    def tap(self, queue: asyncio.Queue[bytes]) -> None:
        self._taps = (*self._taps, queue)

    def untap(self, queue: asyncio.Queue[bytes]) -> None:
        self._taps = tuple(other for other in self._taps if other is not queue)

    def _tap(self, direction: str, text: str) -> None:
        fields = {
            "at": self._all.clock.utc(),
            "direction": direction,
            "connection": self.connection,
            "frame": redact_frame(text),
        }
        line = orjson.dumps(fields) + b"\n"
        for queue in self._taps:
            if not queue.full():  # a slow reader loses lines, never holds up the station
                queue.put_nowait(line)
