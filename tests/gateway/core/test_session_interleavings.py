"""Any interleaving of station, backend, store, Kafka, our CALLs and time keeps the rules of a conversation.

Judged over the whole recorded history, in the numbers of the reliability page:

3. at most one CALL of ours is outstanding, at most one of the station's is worked on;
5. an answer to what becomes an event never leaves before Kafka acknowledged that event;
9. events are handed to Kafka in the order in which the station sent the messages;
and: every CALL is answered exactly once or not at all, every CALL of ours ends at most once and by its own id.
"""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.policy import SessionPolicy
from ocpp_gateway.core.session import Session
from ocpp_gateway.core.session_effects import (
    Ask,
    CallEnded,
    Close,
    Publish,
    Recall,
    Remember,
    Send,
    SessionEffect,
)
from tests.gateway.core.conversation import EPOCH, utc
from tests.gateway.core.tiny_version import TINY16

DIALECT = Dialect(TINY16)
TIME = "2026-11-22T10:00:00Z"
PAYLOADS: dict[str, dict[str, Any]] = {
    "Heartbeat": {},
    "MeterValues": {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": "1"}]}]},
    "StatusNotification": {"connectorId": 0, "status": "Available", "errorCode": "NoError"},
    "StartTransaction": {"connectorId": 0, "idTag": "T", "timestamp": TIME, "meterStart": 0},
    "StopTransaction": {"transactionId": 0, "timestamp": TIME, "meterStop": 0},
    "BootNotification": {"chargePointVendor": "V", "chargePointModel": "M"},
    "Fly": {},
}


class Talk(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        policy = SessionPolicy(asks=frozenset({"StartTransaction", "BootNotification"}))
        self.session = Session(DIALECT, "CP1", EPOCH, policy, None)
        self.clock = 0.0
        self.sent: list[str] = []
        """Message ids in the station's order."""
        self.actions: dict[str, str] = {}
        self.answered: list[str] = []
        self.published: list[str] = []
        self.acknowledged: set[str] = set()
        self.waiting: Recall | Ask | Publish | None = None
        """What the session asked for last and has no reply to."""
        self.pending: dict[int, str] = {}
        self.tx: dict[str, bytes] = {}
        self.written: list[str] = []
        self.open: str | None = None
        self.late: set[str] = set()
        self.ended: list[str] = []
        self.closed = False

    @property
    def now(self) -> str:
        return utc(self.clock % 3000)

    def apply(self, effects: list[SessionEffect] | None) -> None:
        for effect in effects or []:
            assert not isinstance(effect, Close)
            if isinstance(effect, Send):
                self.written_frame(orjson.loads(effect.frame))
            elif isinstance(effect, Recall | Ask | Publish):
                assert self.waiting is None, "one CALL of the station is worked on at a time (3)"
                self.waiting = effect
                if isinstance(effect, Publish):
                    message_id = orjson.loads(effect.value)["messageId"]
                    assert message_id not in self.published, "one event per message"
                    self.published.append(message_id)
                    self.pending[effect.token] = message_id
            elif isinstance(effect, Remember):
                self.tx[effect.digest] = effect.value
            elif isinstance(effect, CallEnded):
                assert effect.message_id not in self.ended, "a CALL of ours ends once"
                assert effect.late == (effect.message_id in self.late)
                assert effect.late or effect.message_id == self.open, "matched by id, always"
                self.ended.append(effect.message_id)
                if not effect.late:
                    self.open = None

    def written_frame(self, frame: list[Any]) -> None:
        kind, message_id = frame[0], frame[1]
        if kind == 2:
            return
        assert message_id in self.sent
        assert message_id not in self.answered, "answered once"
        self.answered.append(message_id)
        if kind == 3 and self.actions[message_id] != "Heartbeat" and message_id in self.published:
            assert message_id in self.acknowledged, "the answer came before Kafka had the event (5)"
        if kind == 3 and message_id not in self.published:
            # Answered without an event of its own: a Heartbeat, or a start whose event is remembered to be in Kafka.
            assert self.actions[message_id] in ("Heartbeat", "StartTransaction")

    # ------------------------------------------------------------------------------------------------------- the world

    @precondition(lambda self: not self.closed)
    @rule(action=st.sampled_from(sorted(PAYLOADS)))
    def station_calls(self, action: str) -> None:
        message_id = f"{len(self.sent)}"
        self.sent.append(message_id)
        self.actions[message_id] = action
        self.apply(self.session.receive(orjson.dumps([2, message_id, action, PAYLOADS[action]]), self.now))

    @precondition(lambda self: not self.closed)
    @rule(
        raw=st.sampled_from([b"", b"junk", b"[3,1]", b'[3,"nobody",{}]', b'[4,"nobody","GenericError","",{}]', b"[[["])
    )
    def station_babbles(self, raw: bytes) -> None:
        for effect in self.session.receive(raw, self.now):
            assert not isinstance(effect, Close | CallEnded | Publish)

    @precondition(lambda self: isinstance(self.waiting, Publish))
    @rule()
    def kafka_acknowledges(self) -> None:
        assert isinstance(self.waiting, Publish)
        token, self.waiting = self.waiting.token, None
        self.acknowledged.add(self.pending[token])
        self.apply(self.session.acknowledged(token, self.now))

    @precondition(lambda self: isinstance(self.waiting, Recall))
    @rule(away=st.booleans())
    def store_replies(self, away: bool) -> None:
        assert isinstance(self.waiting, Recall)
        recall, self.waiting = self.waiting, None
        value = None if away else self.tx.get(recall.digest)
        self.apply(self.session.recalled(recall.token, value))

    @precondition(lambda self: isinstance(self.waiting, Ask))
    @rule(decision=st.sampled_from([None, {"idTokenInfo": {"status": "Accepted"}, "status": "Accepted"}]))
    def backend_decides(self, decision: dict[str, Any] | None) -> None:
        assert isinstance(self.waiting, Ask)
        ask, self.waiting = self.waiting, None
        self.apply(self.session.decided(ask.token, decision))

    @rule(token=st.integers(0, 50))
    def stale_reports_change_nothing(self, token: int) -> None:
        if self.waiting is not None and self.waiting.token == token:
            return
        assert self.session.acknowledged(token, self.now) == []
        assert self.session.decided(token, None) == []
        assert self.session.recalled(token, b"{}") == []

    @rule()
    def we_call(self) -> None:
        message_id = f"c{len(self.written)}"
        effects = self.session.call(message_id, "GetConfiguration", {})
        assert (effects is not None) == (self.open is None and not self.closed)
        if effects is not None:
            self.written.append(message_id)
            self.open = message_id
            self.apply(effects)

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def our_call_times_out(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(self.written))
        assert self.session.timed_out(message_id) == (message_id == self.open)
        if message_id == self.open:
            self.open = None
            self.late.add(message_id)

    @precondition(lambda self: self.written and not self.closed)
    @rule(data=st.data(), error=st.booleans())
    def station_answers_any_call(self, data: st.DataObject, error: bool) -> None:
        message_id = data.draw(st.sampled_from(self.written))
        before = len(self.ended)
        expected = message_id not in self.ended and (message_id == self.open or message_id in self.late)
        frame = [4, message_id, "GenericError", "", {}] if error else [3, message_id, {}]
        self.apply(self.session.receive(orjson.dumps(frame), self.now))
        # Only the last few dozen late ones are remembered; a run is shorter than that.
        assert len(self.ended) == before + expected

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.clock += seconds

    @rule()
    def the_socket_goes(self) -> None:
        if len(self.sent) < 12:
            return  # long talks are the interesting ones
        self.session.closed()
        self.closed = True
        self.waiting = None
        self.pending.clear()

    @invariant()
    def events_are_in_the_stations_order(self) -> None:
        assert self.published == sorted(self.published, key=int), "order of one station within one connection (9)"

    @invariant()
    def answers_are_in_the_stations_order(self) -> None:
        assert self.answered == sorted(self.answered, key=int)

    @invariant()
    def nothing_waits_without_a_reason(self) -> None:
        if not self.closed and self.waiting is None:
            assert self.answered == self.sent, "everything is answered once nothing is under way"


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
