"""Admission over real sockets: what a station sees, and what the rest of the pod is told."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ocpp_contract.credentials import hash_key
from ocpp_contract.ids import ChargePointId
from ocpp_contract.registry import StationRecord
from ocpp_gateway.adapters.admission import AdmissionPorts, Gatekeeper
from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.listeners import HandshakeOptions, Listeners
from ocpp_gateway.adapters.station_ports import ListenerOptions
from ocpp_gateway.adapters.timer_wheel import NEVER
from ocpp_gateway.adapters.transport import ConnectionHandler, Shared, SocketOptions
from ocpp_gateway.core.admission import AdmissionRules, Admitted, Handshake
from ocpp_gateway.core.effects import Registered, Unknown
from ocpp_gateway.core.limits import AcceptPacer, Logins
from ocpp_gateway.core.registry import RegistryRules, StationEntry
from tests.gateway.adapters.raw_peer import RawPeer, raw_peer, upgrade
from tests.gateway.adapters.station_port import EchoSession

KEY = b"\x00a 1.6 key: bytes\xff!!"
STATIONS = {
    "CP1": StationEntry(StationRecord()),
    "SAFE": StationEntry(StationRecord(security_profile=1), (hash_key(KEY, bytes(16)),)),
    "BAD": StationEntry(StationRecord(blocked=True)),
    "QUIET": StationEntry(StationRecord(tags={"keepalive": "off"})),
}


class Pod:
    """The rest of the gateway, as admission sees it."""

    def __init__(self) -> None:
        self.unready: str | None = None
        self.store_away = False
        self.sessions: list[tuple[Admitted, EchoSession]] = []
        self.registered: list[tuple[str, str, str]] = []
        self.undone: list[str] = []
        self.conflicts: list[tuple[str, str]] = []
        self.counted: Counter[tuple[str, str]] = Counter()
        self.looking = asyncio.Event()
        self.may_look = asyncio.Event()
        self.may_look.set()

    async def look_up(self, station: ChargePointId) -> StationEntry | None:
        self.looking.set()
        await self.may_look.wait()
        if self.store_away:
            raise Unknown(0.0)
        return STATIONS.get(station)

    async def register(self, station: ChargePointId, subprotocol: str, connection: str) -> object:
        self.registered.append((station, subprotocol, connection))
        return Registered(100 + len(self.registered))

    def open_session(self, admitted: Admitted, handshake: Handshake, socket: ChargePointSocket) -> ConnectionHandler:
        session = EchoSession(socket, handshake)
        self.sessions.append((admitted, session))
        return session

    def ports(self) -> AdmissionPorts:
        return AdmissionPorts(
            pod=lambda: (self.unready, len(self.sessions)),
            look_up=self.look_up,
            register=self.register,
            open_session=self.open_session,
            abandoned=lambda admitted, _: self.undone.append(admitted.charge_point_id),
            conflict=lambda station, address: self.conflicts.append((station, address)),
            count=lambda what, which: self.counted.update([(what, which)]),
        )


@pytest.fixture
def pod() -> Pod:
    return Pod()


RULES = AdmissionRules(RegistryRules(("ocpp2.1", "ocpp2.0.1", "ocpp1.6")), max_connections=3)


def gatekeeper(pod: Pod, rules: AdmissionRules = RULES) -> Gatekeeper:
    return Gatekeeper(rules, AcceptPacer(1_000, 100), Logins(per_minute=6, burst=3), pod.ports())


@pytest.fixture
async def address(pod: Pod) -> AsyncIterator[tuple[str, int]]:
    shared = Shared(SocketOptions(), lambda *_: None)
    listener = ListenerOptions("p", "127.0.0.1", 0, frozenset({0, 1}))
    listeners = Listeners([listener], HandshakeOptions(), shared, gatekeeper(pod))
    await listeners.start()
    yield listeners.addresses["p"]
    await listeners.close()


async def ask(peer: RawPeer, target: str, *headers: str) -> tuple[int, dict[str, str]]:
    peer.send(upgrade(target, *headers))
    status, answer, _ = await peer.response()
    return status, answer


async def test_an_admitted_station_is_registered_before_its_101(address: tuple[str, int], pod: Pod) -> None:
    async with raw_peer(address) as peer:
        status, headers = await ask(peer, "//ocpp/CP1/?x")
        assert (status, headers["sec-websocket-protocol"]) == (101, "ocpp1.6")
        ((admitted, session),) = pod.sessions
        assert pod.registered == [("CP1", "ocpp1.6", session.handshake.connection)]
        assert (admitted.charge_point_id, admitted.epoch) == ("CP1", 101)
        assert pod.counted == {
            ("admitted", "ocpp1.6"): 1,
            ("handshake_quirk", "query"): 1,
            ("handshake_quirk", "empty-segments"): 1,
        }


async def test_no_secret_of_a_request_reaches_the_log(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    key = "s3cret-of-the-station"
    basic = base64.b64encode(f"SAFE:{key}".encode()).decode()
    with caplog.at_level("INFO"):
        for target in (f"/SAFE?password={key}", f"ws://SAFE:{key}@gateway.example/SAFE"):
            async with raw_peer(address) as peer:
                assert (await ask(peer, target, f"Authorization: Basic {basic}"))[0] == 401
    ours = [record for record in caplog.records if record.name.startswith("ocpp_gateway")]
    assert len(ours) == 2
    logged = str([vars(record) for record in caplog.records])
    assert key not in logged
    assert basic not in logged


@pytest.mark.parametrize(
    ("target", "headers", "status", "label"),
    [
        ("/CP%zz", (), 400, "escape"),
        ("/nobody", (), 404, "unknown-station"),
        ("/BAD", (), 403, "blocked"),
        ("/SAFE", (), 401, "no-credentials"),
        (
            "/SAFE",
            ("Authorization: Basic " + base64.b64encode(b"SAFE:" + b"guess" * 4).decode(),),
            401,
            "wrong-password",
        ),
    ],
)
async def test_a_refusal_is_counted_by_reason(
    address: tuple[str, int], pod: Pod, target: str, headers: tuple[str, ...], status: int, label: str
) -> None:
    async with raw_peer(address) as peer:
        answered, answer = await ask(peer, target, *headers)
        assert answered == status
        assert ("www-authenticate" in answer) is (status == 401)
    assert pod.counted == {("refused", label): 1}
    assert pod.registered == []


async def test_the_right_key_opens(address: tuple[str, int], pod: Pod) -> None:
    async with raw_peer(address) as peer:
        header = "Authorization: Basic " + base64.b64encode(b"SAFE:" + KEY).decode()
        assert (await ask(peer, "/SAFE", header))[0] == 101
        assert pod.sessions[0][0].credential_index == 0
        assert pod.sessions[0][0].security_profile == 1


async def test_a_station_may_be_spared_our_pings(address: tuple[str, int], pod: Pod) -> None:
    async with raw_peer(address) as quiet, raw_peer(address) as usual:
        for peer, target in ((quiet, "/QUIET"), (usual, "/CP1")):
            assert (await ask(peer, target))[0] == 101
        assert [session.socket._next_ping == NEVER for _, session in pod.sessions] == [True, False]


async def test_an_unready_pod_and_a_full_one_say_when_to_come_back(address: tuple[str, int], pod: Pod) -> None:
    pod.unready = "draining"
    async with raw_peer(address) as peer:
        status, headers = await ask(peer, "/CP1")
        assert (status, headers["retry-after"]) == (503, "10")
    pod.unready = None
    pod.store_away = True
    async with raw_peer(address) as peer:
        status, headers = await ask(peer, "/CP1")
        assert (status, headers["retry-after"]) == (503, "10")
    assert pod.counted == {("refused", "unready"): 1, ("refused", "store"): 1}


async def test_those_who_are_still_being_admitted_count_against_the_cap(address: tuple[str, int], pod: Pod) -> None:
    pod.may_look.clear()
    async with (
        raw_peer(address) as one,
        raw_peer(address) as two,
        raw_peer(address) as three,
        raw_peer(address) as four,
    ):
        for peer in (one, two, three):
            peer.send(upgrade("/CP1"))
            await asyncio.wait_for(pod.looking.wait(), 5)
            pod.looking.clear()
        assert (await ask(four, "/CP1"))[0] == 503
        pod.may_look.set()
        assert [(await peer.response())[0] for peer in (one, two, three)] == [101, 101, 101]


async def test_a_station_that_flaps_is_told_to_wait(address: tuple[str, int], pod: Pod) -> None:
    for _ in range(3):
        async with raw_peer(address) as peer:
            assert (await ask(peer, "/CP1"))[0] == 101
    pod.sessions.clear()
    async with raw_peer(address) as peer:
        status, headers = await ask(peer, "/CP1")
    assert (status, headers["retry-after"]) == (503, "60")
    assert pod.counted["refused", "flapping"] == 1


async def test_two_boxes_with_one_identity_are_reported_once(pod: Pod) -> None:
    judge = Gatekeeper(replace(RULES, max_connections=99), AcceptPacer(1e3, 99), Logins(600, burst=99), pod.ports())
    async with asyncio.timeout(5):
        seen: list[Handshake] = []

        async def keep(handshake: Handshake, peer_gone: object) -> object:
            seen.append(handshake)
            return await judge(handshake, lambda: False)

        listener = ListenerOptions("p", "127.0.0.1", 0, frozenset({0}))
        listeners = Listeners([listener], HandshakeOptions(), Shared(SocketOptions(), lambda *_: None), keep)  # type: ignore[arg-type]
        await listeners.start()
        async with raw_peer(listeners.addresses["p"]) as peer:
            await ask(peer, "/CP1")
        for place in ("192.0.2.1", "127.0.0.1", "192.0.2.1", "127.0.0.1"):
            await judge(replace(seen[0], peer=place), lambda: False)
        await listeners.close()
    assert pod.conflicts == [("CP1", "192.0.2.1")]
