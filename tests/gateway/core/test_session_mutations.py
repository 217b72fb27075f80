"""Valid messages of every version, damaged at random: each gets exactly one answer, nothing raises (invariant 10).

All validation modes, with and without a backend that decides nonsense. The seed is the test id, so a failure repeats.
"""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest

from ocpp_gateway.core.dialect import Dialect
from ocpp_gateway.core.policy import SessionPolicy, Validation
from ocpp_gateway.core.session import Session
from ocpp_gateway.core.session_effects import Ask, Publish, Recall, Send, SessionEffect
from tests.gateway.core.ocpp_tables.golden import VERSIONS
from tests.gateway.core.ocpp_tables.samples import request_name, sample

ASKED = frozenset({"boot", "authorize", "start", "dataTransfer", "certificate"})
POLICIES = [SessionPolicy(validation=mode, asks=asks) for mode in Validation for asks in (frozenset[str](), ASKED)]
DIALECTS = {name: Dialect(version) for name, version in VERSIONS.items()}
UTC = "2026-11-22T10:00:00.000Z"
JUNK: list[Any] = [
    *(None, 0, -1, 2**70, 1e300, 1.5, 12.50, True, "", "x" * 3_000, "2026-11-22T10:00:00", "\U0001f600"),
    *([], {}, [None], {"a": {}}, [[[[]]]]),
]
DECISIONS: list[Any] = [
    *(None, {}, {"status": "Accepted"}, {"status": 5}, {"idTokenInfo": {"status": "Accepted"}}, {"idTokenInfo": None}),
    *(
        {"idTokenInfo": {"status": "Blocked"}, "transactionId": "12"},
        {"idTokenInfo": {"status": 7}, "transactionId": []},
    ),
]
RECORDS = [None, b"{}", b"junk", b'{"transactionId":5,"generation":0,"answer":{}}', b'{"ended":true}']


def damaged(value: Any, rng: random.Random) -> Any:
    if rng.random() < 0.12:
        return rng.choice(JUNK)
    if isinstance(value, dict):
        kept = {name: damaged(part, rng) for name, part in value.items() if rng.random() > 0.06}
        return {**kept, "extra": rng.choice(JUNK)} if rng.random() < 0.05 else kept
    if isinstance(value, list):
        return [damaged(part, rng) for part in value]
    return value


def finish(session: Session, effects: list[SessionEffect], rng: random.Random) -> list[Send]:
    """Reply to whatever the session waits for until the message is done; what it sent."""
    sent: list[Send] = []
    for _ in range(8):
        sent += [effect for effect in effects if isinstance(effect, Send)]
        waited = [effect for effect in effects if isinstance(effect, Publish | Ask | Recall)]
        if not waited:
            return sent
        (effect,) = waited
        if isinstance(effect, Publish):
            orjson.loads(effect.value)
            effects = session.acknowledged(effect.token, UTC)
        elif isinstance(effect, Ask):
            effects = session.decided(effect.token, rng.choice(DECISIONS))
        else:
            effects = session.recalled(effect.token, rng.choice(RECORDS))
    raise AssertionError("the message never came to an end")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", VERSIONS)
def test_a_damaged_message_gets_exactly_one_answer(name: str, seed: int) -> None:
    rng = random.Random(f"{name} {seed}")
    version = VERSIONS[name]
    for policy in POLICIES:
        session = Session(DIALECTS[name], "CP1", 5, policy, None)
        for number in range(30):
            action = rng.choice(sorted(version.uplink))
            payload = sample(version.schemas, request_name(version.schemas, action), full=rng.random() < 0.5)
            raw = json.dumps([2, str(number), action, damaged(payload, rng)])
            sent = finish(session, session.receive(raw, UTC), rng)
            assert len(sent) == 1, raw
            answer = orjson.loads(sent[0].frame)
            assert answer[0] in (3, 4), raw
            assert answer[1] == str(number), raw
