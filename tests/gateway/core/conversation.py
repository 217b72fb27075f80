"""A session with a runtime that does nothing by itself: tests say what the store, the backend and Kafka answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.handlers import Version
from ocpp_gateway.core.policy import SessionPolicy
from ocpp_gateway.core.session import Session
from ocpp_gateway.core.session_effects import Ask, Publish, Recall, Send, SessionEffect

E = TypeVar("E", bound=SessionEffect)
EPOCH = 1_763_800_000_123_456


def utc(second: float) -> str:
    return f"2026-11-22T10:{int(second) // 60:02d}:{int(second) % 60:02d}.000Z"


class Conversation:
    """The last effects are kept; `frames` are the decoded frames among them."""

    def __init__(
        self,
        version: Version,
        policy: SessionPolicy | None = None,
        *,
        boot: str | None = None,
        epoch: int = EPOCH,
        station: str = "CP1",
        check_outbound: bool = True,
    ) -> None:
        self.session = Session(
            Dialect(version, check_outbound=check_outbound), station, epoch, policy or SessionPolicy(), boot
        )
        self.now = utc(0)
        self.effects: list[SessionEffect] = []

    def at(self, second: float) -> None:
        self.now = utc(second)

    def hear(self, raw: str | bytes | list[Any]) -> list[SessionEffect]:
        text = orjson.dumps(raw) if isinstance(raw, list) else raw
        self.effects = self.session.receive(text, self.now)
        return self.effects

    def one(self, kind: type[E]) -> E:
        found = [effect for effect in self.effects if isinstance(effect, kind)]
        assert len(found) == 1, f"expected one {kind.__name__} in {self.effects}"
        return found[0]

    def some(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def frames(self) -> list[list[Any]]:
        return [orjson.loads(send.frame) for send in self.some(Send)]

    @property
    def answer(self) -> list[Any]:
        (frame,) = self.frames
        return frame

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = orjson.loads(self.one(Publish).value)
        return event

    def recalled(self, value: bytes | None = None) -> list[SessionEffect]:
        self.effects = self.session.recalled(self.one(Recall).token, value)
        return self.effects

    def decided(self, decision: Mapping[str, Any] | None) -> list[SessionEffect]:
        self.effects = self.session.decided(self.one(Ask).token, decision)
        return self.effects

    def acknowledged(self) -> list[SessionEffect]:
        self.effects = self.session.acknowledged(self.one(Publish).token, self.now)
        return self.effects
