"""Runs scripts as any caller would: EVALSHA with the keys and arguments that `calls` makes, on a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from ocpp_contract.names import Keys
from ocpp_contract.scripts.calls import ScriptCall
from tests.testbed.redis import RedisServer


@dataclass
class Server:
    """A store to run scripts on, and a look at what stands there."""

    client: redis.Redis
    keys: Keys

    def run(self, call: ScriptCall) -> Any:
        self.client.script_load(call.script.text)
        return self.client.evalsha(call.script.sha1, len(call.keys), *call.keys, *call.args)

    def text(self, key: str) -> str | None:
        value = self.client.get(key)
        assert value is None or isinstance(value, str)
        return value

    def record(self, key: str) -> dict[str, Any] | None:
        text = self.text(key)
        return None if text is None else json.loads(text)

    def put(self, key: str, **record: Any) -> None:
        self.client.set(key, json.dumps(record, separators=(",", ":")))

    def now_us(self) -> int:
        seconds, microseconds = self.client.time()  # type: ignore[misc]
        return int(seconds) * 1_000_000 + int(microseconds)


@pytest.fixture
def server(redis_server: RedisServer, redis_prefix: str) -> Iterator[Server]:
    with redis_server.client() as client:
        yield Server(client, Keys(redis_prefix))
