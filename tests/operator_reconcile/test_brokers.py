"""The brokers are looked at beside the loop: one that does not answer holds nothing up."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from math import inf

import pytest

from ocpp_operator.core.mirror import Key
from ocpp_operator.reconcile import brokers
from ocpp_operator.reconcile.brokers import Brokers
from tests.operator_core.test_findings import resource


@dataclasses.dataclass
class Around:
    """As much of the surroundings as a look needs."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def guard(self) -> None:
        raise AssertionError("nothing may be written")

    @property
    def settings(self) -> Around:
        return self

    kafka_interval = 60.0


@pytest.fixture
async def silent() -> AsyncIterator[asyncio.Server]:
    """A broker that takes connections and says nothing."""
    guests: set[asyncio.Task[None]] = set()

    async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guests.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError):
            await reader.read()  # until the guest leaves
        writer.close()

    server = await asyncio.start_server(host, "127.0.0.1", 0)
    yield server
    server.close()
    if guests:
        await asyncio.wait(guests, timeout=5)


async def test_only_the_first_look_is_waited_for(silent: asyncio.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "TIMEOUT", 0.3)
    host, port = silent.sockets[0].getsockname()
    city = resource(kafka={"bootstrapServers": f"{host}:{port}"})
    around, woken = Around(), asyncio.Event()
    seen = Brokers(around, Key("grid", "city"), woken.set)  # type: ignore[arg-type]

    await seen.look(city, lambda name: None, frozenset(), None)
    assert seen.topics.reason == "KafkaUnavailable"
    assert not woken.is_set()

    around.now = 10.0
    await seen.look(city, lambda name: None, frozenset(), None)
    assert seen.next_look == inf  # under way: the loop has gone on
    await seen.look(city, lambda name: None, frozenset(), None)  # and does not begin another
    await asyncio.wait_for(woken.wait(), 10)
    assert seen.next_look == 10.0 + brokers.IMPATIENT
    await seen.close()


async def test_a_look_under_way_ends_with_the_loop(silent: asyncio.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "TIMEOUT", 0.3)
    host, port = silent.sockets[0].getsockname()
    city = resource(kafka={"bootstrapServers": f"{host}:{port}"})
    around = Around()
    seen = Brokers(around, Key("grid", "city"), lambda: None)  # type: ignore[arg-type]
    await seen.look(city, lambda name: None, frozenset(), None)
    around.now = 10.0
    monkeypatch.setattr(brokers, "TIMEOUT", 60.0)
    await seen.look(city, lambda name: None, frozenset(), None)
    await asyncio.wait_for(seen.close(), 5)


async def test_a_look_that_ends_by_a_defect_is_not_the_last(
    silent: asyncio.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "TIMEOUT", 0.3)
    host, port = silent.sockets[0].getsockname()
    city = resource(kafka={"bootstrapServers": f"{host}:{port}"})
    around, woken = Around(), asyncio.Event()
    seen = Brokers(around, Key("grid", "city"), woken.set)  # type: ignore[arg-type]

    async def look() -> None:
        await seen.look(city, lambda name: None, frozenset(), None)

    with monkeypatch.context() as broken:
        broken.setattr(brokers, "wished_topics", lambda wish: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await look()  # the first is waited for
        assert seen.next_look == brokers.IMPATIENT
        around.now = 10.0
        with pytest.raises(ZeroDivisionError):
            await look()
    around.now = 20.0
    await look()
    with monkeypatch.context() as broken:
        broken.setattr(brokers, "wished_topics", lambda wish: 1 / 0)
        around.now = 30.0
        await look()  # goes on beside the loop
        await asyncio.wait_for(woken.wait(), 10)
        with pytest.raises(ZeroDivisionError):
            await look()
    assert seen.next_look == 30.0 + brokers.IMPATIENT
    around.now = 40.0
    await look()
    assert seen.next_look == inf
    await seen.close()
