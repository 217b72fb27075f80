"""The station's half of the conversation: its CALLs, one after the other, until each is answered.

A CALL passes: stored answer? -> checks (`reception`) -> Recall (1.6 StartTransaction) -> Ask (where a backend decides) ->
Publish -> acknowledged -> Send. So an answer implies that its event is in Kafka. While Kafka is away the answer is simply
not given; it is never a CALLERROR, which would burn the station's retries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import orjson

from ocpp_gateway.core import frames
from ocpp_gateway.core.boot import Boot
from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.faults import Fault
from ocpp_gateway.core.frames import Frame
from ocpp_gateway.core.inbound import MAPPING_ERRORS, Inbound
from ocpp_gateway.core.our_answers import EMPTY, StoredAnswers, make_answer
from ocpp_gateway.core.policy import SessionPolicy
from ocpp_gateway.core.reception import check, refuse
from ocpp_gateway.core.session_effects import (
    Ask,
    BootRecorded,
    Close,
    Count,
    Publish,
    Recall,
    Remember,
    Send,
    SessionEffect,
)
from ocpp_gateway.core.transactions import ENDED, Remembered, end_digest

_MAX_OPEN_TRANSACTIONS: Final = 64


class _Stage:
    """Where the current CALL stands."""

    RECALL = 1
    RECALL_END = 2
    ASK = 3
    PUBLISH = 4


class StationCalls:
    """At most one CALL of the station is under way; what it sends before its turn waits, in order."""

    __slots__ = (
        "_answers",
        "_boot",
        "_charge_point_id",
        "_current",
        "_dialect",
        "_epoch",
        "_policy",
        "_serial",
        "_stage",
        "_transactions",
        "_waiting",
    )

    def __init__(self, dialect: Dialect, charge_point_id: str, epoch: int, policy: SessionPolicy, boot: Boot) -> None:
        self._dialect = dialect
        self._charge_point_id = charge_point_id
        self._epoch = epoch
        self._policy = policy
        self._boot = boot
        self._serial = 0
        self._current: Inbound | None = None
        self._stage = 0
        # Empty containers cost more than the rest of an idle session, so they are made on first use.
        self._waiting: deque[tuple[Frame, bytes, str]] | None = None
        self._answers: StoredAnswers | None = None
        self._transactions: set[str] | None = None

    @property
    def full(self) -> bool:
        waiting = self._waiting
        if waiting is None:
            return False
        policy = self._policy
        return len(waiting) >= policy.max_waiting or sum(len(raw) for _, raw, _ in waiting) >= policy.max_waiting_bytes

    @property
    def in_transaction(self) -> bool:
        return bool(self._transactions)

    def drop(self) -> None:
        """The socket has gone: reports still under way find nothing. The station repeats what it got no answer for."""
        self._current = None
        self._waiting = None

    def receive(self, frame: Frame, raw: bytes, received_at: str, effects: list[SessionEffect]) -> None:
        """A CALL or SEND."""
        current = self._current
        if current is None:
            self._begin(frame, raw, received_at, effects)
            return
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = deque()
        if (frame.message_id == current.message_id and hash(raw) == current.fingerprint) or any(
            other.message_id == frame.message_id and text == raw for other, text, _ in waiting
        ):
            # A retry of what is still under way: its answer will serve both.
            effects.append(Count("repeated_while_open"))
        elif len(waiting) >= self._policy.flood:
            effects += (Count("floods", "calls"), Close(1008, "too many messages"))
        else:
            waiting.append((frame, raw, received_at))
            effects.append(Count("calls_before_their_turn"))

    def _begin(self, frame: Frame, raw: bytes, received_at: str, effects: list[SessionEffect]) -> None:
        message_id = frame.message_id
        answered = frame.type == frames.CALL
        fingerprint = hash(raw)
        stored = self._answers.find(message_id, fingerprint) if self._answers is not None else None
        if stored is not None and answered:
            effects.append(Count("answers_repeated"))
            effects.append(Send(frames.write_result(message_id, stored)))
            return
        checked = check(frame, raw, self._dialect, self._boot, self._policy, effects)
        if checked is None:
            return
        route, payload, schema_errors = checked
        row = route.row
        self._serial += 1
        inbound = Inbound(self._serial, message_id, fingerprint, route, payload, received_at, answered, schema_errors)
        if row.event is None:
            # Heartbeat: answered at once, nothing to publish.
            self._answer(inbound, received_at, effects)
            return
        inbound.identify(self._charge_point_id)
        self._current = inbound
        if row.remembered:
            self._stage = _Stage.RECALL
            effects.append(Recall(inbound.token, inbound.digest(self._charge_point_id)))
        else:
            self._ask_or_publish(inbound, effects)

    # --------------------------------------------------------------------------------------- recall, decide, publish

    def recalled(self, token: int, value: bytes | str | None) -> list[SessionEffect]:
        """What `:tx:` holds; None when it holds nothing or the store is away."""
        effects: list[SessionEffect] = []
        inbound = self._current
        if inbound is None or inbound.token != token:
            return effects
        if self._stage == _Stage.RECALL:
            remembered = None if value is None else Remembered.from_json(value)
            if remembered is not None:
                inbound.remembered = remembered
                self._stage = _Stage.RECALL_END
                effects.append(Recall(token, end_digest(self._charge_point_id, remembered.transaction_id)))
                return effects
            inbound.assign_transaction(self._charge_point_id, 0)
            self._ask_or_publish(inbound, effects)
        elif self._stage == _Stage.RECALL_END:
            remembered = inbound.remembered
            assert remembered is not None
            if value is None:
                # A retry: the whole answer stands, the event was in Kafka before it was remembered.
                effects.append(Count("answers_remembered"))
                self._finish(inbound, orjson.dumps(remembered.answer), effects)
            else:
                inbound.assign_transaction(self._charge_point_id, remembered.generation + 1)
                self._ask_or_publish(inbound, effects)
        return effects

    def decided(self, token: int, decision: Mapping[str, Any] | None) -> list[SessionEffect]:
        """The backend's decision, or what the policy says when it gave none. None: accept by default."""
        effects: list[SessionEffect] = []
        inbound = self._current
        if inbound is None or inbound.token != token or self._stage != _Stage.ASK:
            return effects
        inbound.decide(decision)
        self._publish(inbound, effects)
        return effects

    def _ask_or_publish(self, inbound: Inbound, effects: list[SessionEffect]) -> None:
        row = inbound.route.row
        if row.decision is None or row.decision not in self._policy.asks or not self._wants_decision(inbound):
            self._publish(inbound, effects)
            return
        value = self._envelope(inbound, effects)
        self._stage = _Stage.ASK
        effects.append(Ask(inbound.token, row.decision, inbound.event, inbound.ce_id, value))

    @staticmethod
    def _wants_decision(inbound: Inbound) -> bool:
        asks = inbound.route.row.asks
        try:
            return asks is None or asks(inbound.payload)
        except MAPPING_ERRORS:
            return True

    def _publish(self, inbound: Inbound, effects: list[SessionEffect]) -> None:
        value = self._envelope(inbound, effects)
        self._stage = _Stage.PUBLISH
        effects.append(Publish(inbound.token, inbound.event, inbound.ce_id, value, inbound.route.row.transaction))

    def _envelope(self, inbound: Inbound, effects: list[SessionEffect]) -> bytes:
        policy = self._policy
        value, trouble = inbound.envelope(
            self._charge_point_id,
            self._dialect.version.subprotocol,
            self._epoch,
            policy.heartbeat_interval,
            policy.max_event_bytes,
        )
        if trouble:
            effects.append(Count("unmapped_messages", inbound.route.row.action))
        return value

    # -------------------------------------------------------------------------------------------------------- answers

    def acknowledged(self, token: int, utc: str) -> list[SessionEffect]:
        """Kafka has the event: now, and not before, the station gets its answer."""
        effects: list[SessionEffect] = []
        inbound = self._current
        if inbound is None or inbound.token != token or self._stage != _Stage.PUBLISH:
            return effects
        # The end of a transaction is remembered before it is answered: a retry of the answered message never comes.
        self._follow_transaction(inbound, effects)
        self._answer(inbound, utc, effects)
        self._next(effects)
        return effects

    def refused(self, token: int) -> list[SessionEffect]:
        """The event will never be in Kafka: no answer, so the station keeps its message and tries again."""
        effects: list[SessionEffect] = []
        inbound = self._current
        if inbound is not None and inbound.token == token and self._stage == _Stage.PUBLISH:
            self._current = None
            self._next(effects)
        return effects

    def _answer(self, inbound: Inbound, at: str, effects: list[SessionEffect]) -> None:
        """Make and send the answer. `at` is the time of the answer: a currentTime must not be as old as the event."""
        self._current = None
        if not inbound.answered:
            return
        row = inbound.route.row
        answer = EMPTY
        if not row.constant_answer:
            payload, sound = make_answer(self._dialect, inbound, self._charge_point_id, self._policy, at)
            if not sound:
                effects.append(Count("answers_invalid", row.action))
            if payload is None:
                refuse(self._dialect, inbound.message_id, Fault.INTERNAL, "no valid answer", (), effects)
                return
            answer = orjson.dumps(payload, default=frames.encode_default)
            if row.action == "BootNotification":
                self._boot_answered(payload, at, effects)
            if row.remembered and inbound.transaction_id is not None:
                record = Remembered(inbound.transaction_id, inbound.generation, payload)
                effects.append(Remember(inbound.digest(self._charge_point_id), record.to_json()))
        if row.event is not None:
            self._store(inbound, answer)
        effects.append(Send(frames.write_result(inbound.message_id, answer)))

    def _store(self, inbound: Inbound, answer: bytes) -> None:
        if self._answers is None:
            self._answers = StoredAnswers()
        self._answers.store(inbound.message_id, inbound.fingerprint, answer)

    def _boot_answered(self, payload: Mapping[str, Any], at: str, effects: list[SessionEffect]) -> None:
        status, interval = payload.get("status"), payload.get("interval")
        if isinstance(status, str):
            self._boot.answered(status)
            effects.append(BootRecorded(status, interval if isinstance(interval, int) else 0, at))

    def _finish(self, inbound: Inbound, answer: bytes, effects: list[SessionEffect]) -> None:
        self._current = None
        self._store(inbound, answer)
        effects.append(Send(frames.write_result(inbound.message_id, answer)))
        self._next(effects)

    def _follow_transaction(self, inbound: Inbound, effects: list[SessionEffect]) -> None:
        if not inbound.route.row.transaction:
            return
        if (ended := inbound.ended_transaction()) is not None:
            effects.append(Remember(end_digest(self._charge_point_id, ended), ENDED))
        followed = inbound.followed_transaction()
        if followed is None:
            return
        if inbound.event == "TransactionEnded":
            if self._transactions is not None:
                self._transactions.discard(followed)
        else:
            if self._transactions is None:
                self._transactions = set()
            if len(self._transactions) < _MAX_OPEN_TRANSACTIONS:
                self._transactions.add(followed)

    def _next(self, effects: list[SessionEffect]) -> None:
        """The next CALL that came before its turn; several, if they are answered at once."""
        waiting = self._waiting
        while waiting and self._current is None:
            frame, raw, received_at = waiting.popleft()
            self._begin(frame, raw, received_at, effects)
        if waiting is not None and not waiting:
            self._waiting = None
