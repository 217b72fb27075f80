"""What only the whole pod can get wrong: registrations that are overtaken, mistakes beside the session, loops that end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ocpp_contract.ids import ChargePointId, Partition
from ocpp_gateway.adapters.background import Background
from ocpp_gateway.composition import Gateway
from ocpp_gateway.core.admission import Admitted, Handshake, ListenerFacts
from ocpp_gateway.core.effects import Registered
from ocpp_gateway.core.registry import StationPolicy
from ocpp_gateway.core.sockets import Socket
from ocpp_gateway.settings import load
from tests.gateway.test_settings import NEEDED

STATION = ChargePointId("CP1")


@pytest.fixture
async def gateway() -> Gateway:
    """A whole pod that no server has been shown to yet."""
    return Gateway(load(NEEDED), "00000000")


class Registering:
    """Stands for the directory: the registration succeeds at once, reading the boot state takes until `known` is set."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known = asyncio.Event()
        self.socket = Socket(STATION, "c-1", 7, Partition(0), "ocpp1.6", "2026-11-22T10:00:00Z")

        async def run(procedure: Any) -> Socket:
            procedure.close()
            return self.socket

        async def boot(_: ChargePointId) -> None:
            await self.known.wait()

        monkeypatch.setattr(gateway._driver, "run", run)
        monkeypatch.setattr(gateway._store.companions, "boot", boot)


async def test_a_registration_is_told_once_the_boot_state_is_known(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    registering = Registering(gateway, monkeypatch)
    registering.known.set()
    assert await gateway._register(STATION, "ocpp1.6", "c-1") == Registered(7)


async def test_a_connection_replaced_before_its_101_gets_none(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a 101 it would be a socket that no command reaches and that no later takeover closes."""
    registering = Registering(gateway, monkeypatch)
    told = asyncio.create_task(gateway._register(STATION, "ocpp1.6", "c-1"))
    await asyncio.sleep(0)
    registering.socket.open = False  # as the directory does when the station registers once more
    registering.known.set()
    assert not isinstance(await told, Registered)
    assert not gateway._boots


async def test_an_abandoned_registration_says_that_the_station_is_away(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have replaced a connection whose DeviceOnline everybody knows, and which stays silent as it was superseded."""
    told: list[tuple[object, ...]] = []

    async def run(procedure: Any) -> bool:
        procedure.close()
        return True  # the entry was still ours

    monkeypatch.setattr(gateway._driver, "run", run)
    monkeypatch.setattr(gateway.conversations, "publish", lambda *event: told.append(event))
    handshake = Handshake("c-1", "/CP1", ("ocpp1.6",), None, ListenerFacts("ws", False, frozenset({0})), "192.0.2.1")
    policy = StationPolicy(True, frozenset({"ocpp1.6"}), 0, False, "Strict")
    async with gateway._tasks:
        gateway._abandoned(Admitted(STATION, "ocpp1.6", "ocpp1.6", 7, policy, 0, None, ()), handshake)
    [(station, event, identity, version, epoch, _)] = told
    assert (station, event, identity, version, epoch) == (STATION, "DeviceOffline", "c-1", "ocpp1.6", 7)


async def test_a_pod_whose_renewals_ended_says_that_it_must_be_restarted(gateway: Gateway) -> None:
    assert gateway.unhealthy() is None
    async with gateway._tasks:
        gateway._loops = [gateway._driver.spawn("renewals", _procedure_with_a_mistake())]
    assert "renewals" in (gateway.unhealthy() or "")
    gateway.start_drain()
    assert gateway.unhealthy() is None


async def test_a_registry_with_more_partitions_than_mailboxes_is_named(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would never be projected: better said than waited for."""
    monkeypatch.setattr(type(gateway._store), "available", True)
    monkeypatch.setattr(gateway.pod, "ready", lambda now: True)
    gateway._reached, gateway._mailboxes = True, 8
    gateway._projection.partitions = 8
    assert "not projected yet" in (gateway.unready() or "")
    gateway._projection.partitions = 12
    assert gateway.unready() == "ocpp-stations has 12 partitions, but commands-down only 8"


def _procedure_with_a_mistake() -> Any:
    yield from ()
    raise AssertionError("a mistake")


@pytest.fixture
async def background() -> AsyncIterator[tuple[Background, list[str]]]:
    failed: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        yield Background(tasks, failed.append), failed


async def test_a_mistake_beside_the_session_ends_nothing_else(background: tuple[Background, list[str]]) -> None:
    work, failed = background
    done = asyncio.Event()

    async def mistaken() -> None:
        raise ValueError("of a kind nobody thought of")

    async def sound() -> None:
        done.set()

    work.start("one", mistaken())
    work.start("other", sound())
    await work.finish(5)
    assert failed == ["one"]
    assert done.is_set()


async def test_what_waits_for_a_server_that_is_away_does_not_hold_up_the_end(
    background: tuple[Background, list[str]],
) -> None:
    work, failed = background

    async def for_ever() -> None:
        await asyncio.Event().wait()

    work.start("removal", for_ever())
    await work.finish(0)
    assert failed == []
