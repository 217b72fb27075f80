"""Admission: the order of the checks, and what becomes of each kind of handshake."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.credentials import hash_key
from ocpp_contract.registry import StationRecord
from ocpp_gateway.core.admission import (
    AdmissionRules,
    Admitted,
    BadTarget,
    CompleteAndClose,
    Handshake,
    ListenerFacts,
    Look,
    LookUpStation,
    Outcome,
    PodState,
    Refused,
    RegisterStation,
    admit,
    choose_subprotocol,
    identity_of,
)
from ocpp_gateway.core.effects import Late, Registered, Resumed, Sleep, Unknown
from ocpp_gateway.core.limits import AcceptPacer, Logins
from ocpp_gateway.core.registry import RegistryRules, StationEntry, UnknownStations

ALL = ("ocpp2.1", "ocpp2.0.1", "ocpp1.6")
KEY = b"0123456789abcdef-secret"
HASHES = (hash_key(b"an older key of 20 b", bytes(16)), hash_key(KEY, bytes(range(16))))
PLAIN = ListenerFacts("plain", False, frozenset({0, 1}))
TLS = ListenerFacts("tls", True, frozenset({2}))


REGISTERED = StationEntry(StationRecord())


def basic(user: str = "CP1", key: bytes = KEY) -> str:
    return "Basic " + base64.b64encode(user.encode() + b":" + key).decode()


def handshake(**changes: Any) -> Handshake:
    plain = Handshake("c0ffee", "/ocpp/CP1", ("ocpp1.6",), None, PLAIN, "192.0.2.7")
    return replace(plain, **changes)


def rules(**changes: Any) -> AdmissionRules:
    return replace(AdmissionRules(RegistryRules(ALL), max_connections=10), **changes)


class World:
    """Answers the steps of an admission and writes down what was asked."""

    def __init__(
        self,
        entry: StationEntry | Unknown | None = REGISTERED,
        *,
        unready: str | None = None,
        unready_after_wait: str | None = None,
        connections: int = 0,
        registered: object = Registered(77),
        pacer: AcceptPacer | None = None,
        logins: Logins | None = None,
    ) -> None:
        self.entry = entry
        self.unready = unready
        self.unready_after_wait = unready_after_wait
        self.connections = connections
        self.registered = registered
        self.pacer = pacer or AcceptPacer(1000, 1000)
        self.logins = logins or Logins(per_minute=600, burst=100)
        self.now = 1000.0
        self.asked: list[str] = []

    def run(self, request: Handshake, applied: AdmissionRules | None = None) -> Outcome:
        self.asked = []
        procedure = admit(request, applied or rules(), self.pacer, self.logins)
        try:
            step = next(procedure)
            while True:
                self.asked.append(type(step).__name__)
                value = self.answer(step)
                resumed = Resumed(self.now, value)
                step = procedure.throw(value) if isinstance(value, Unknown) else procedure.send(resumed)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def answer(self, step: object) -> object:
        if isinstance(step, Look):
            return PodState(self.unready, self.connections)
        if isinstance(step, Sleep):
            self.now = step.until
            self.unready = self.unready_after_wait or self.unready
            return None
        if isinstance(step, LookUpStation):
            return self.entry
        assert isinstance(step, RegisterStation)
        return self.registered


def refusal(outcome: Outcome) -> tuple[int, str]:
    assert isinstance(outcome, Refused), outcome
    return outcome.status, outcome.label


def test_a_good_handshake_is_admitted_with_what_the_session_needs() -> None:
    world = World(StationEntry(StationRecord(validation="Strict")))
    outcome = world.run(handshake())
    assert isinstance(outcome, Admitted)
    assert (outcome.charge_point_id, outcome.subprotocol, outcome.epoch) == ("CP1", "ocpp1.6", 77)
    assert (outcome.security_profile, outcome.credential_index, outcome.quirks) == (0, None, ())
    assert outcome.policy.validation == "Strict"
    assert world.asked == ["Look", "LookUpStation", "Look", "RegisterStation"]


# Each line breaks one thing more than the line below it; the first broken thing in the order decides.
def test_the_first_broken_rule_in_the_order_decides() -> None:
    everything_wrong = handshake(target="/ocpp/%zz", subprotocols=("soap",), listener=TLS)
    blocked = StationEntry(StationRecord(blocked=True), HASHES)
    flapping = Logins(per_minute=1, burst=1)
    flapping.attempt("CP1", "192.0.2.7", 999.0)
    busy = AcceptPacer(1, 1)
    while busy.arrive(1000.0) is not None:
        pass

    def world(**changes: Any) -> World:
        return World(**{"logins": flapping, "registered": Late(), "entry": blocked} | changes)

    good = handshake(target="/ocpp/CP1", listener=TLS, authorization=basic())
    ladder: list[tuple[World, Handshake, tuple[int, str], bool]] = [
        (world(unready="draining", connections=99, pacer=busy, entry=None), everything_wrong, (503, "unready"), False),
        (world(connections=99, pacer=busy, entry=None), everything_wrong, (503, "connections"), False),
        (world(pacer=busy, entry=None), everything_wrong, (503, "accept-queue"), False),
        (world(entry=None), everything_wrong, (400, "escape"), False),
        (world(entry=None), replace(everything_wrong, target="/CP1"), (404, "unknown-station"), True),
        (world(), replace(everything_wrong, target="/CP1"), (400, "subprotocol"), True),
        (world(), replace(good, authorization=None), (403, "blocked"), True),
        (
            world(entry=StationEntry(StationRecord(), HASHES)),
            replace(good, authorization=None),
            (401, "no-credentials"),
            True,
        ),
        (world(entry=StationEntry(StationRecord(), HASHES)), good, (503, "flapping"), True),
        (world(entry=StationEntry(StationRecord(), HASHES), logins=Logins(600)), good, (503, "store"), True),
    ]
    for place, request, expected, looked_up in ladder:
        assert refusal(place.run(request)) == expected
        assert ("LookUpStation" in place.asked) is looked_up
        assert ("RegisterStation" in place.asked) is (expected == (503, "store"))


@pytest.mark.parametrize(
    ("target", "identity", "quirks"),
    [
        ("/CP1", "CP1", []),
        ("/ocpp/CP1", "CP1", []),
        ("/a/b/c/CP1", "CP1", []),
        ("//ocpp/CP1/", "CP1", ["empty-segments"]),
        ("/ocpp/CP1/", "CP1", ["empty-segments"]),
        ("/ocpp//CP1", "CP1", ["empty-segments"]),
        ("/ocpp/CP1/CP1", "CP1", ["identity-twice"]),
        ("/CP1?token=x", "CP1", ["query"]),
        ("/CP1?a=/b/c", "CP1", ["query"]),
        ("ws://gateway.example:8080/ocpp/CP1", "CP1", ["absolute-target"]),
        ("HTTPS://gateway/ocpp/CP1?x", "CP1", ["absolute-target", "query"]),
        ("/ocpp/CP%201", "CP 1", []),
        ("/ocpp/CP%2531", "CP%31", []),
        ("/ocpp/S%C3%A4ule", "Säule", []),
        ("/ocpp/DE*ABC:1", "DE*ABC:1", []),
        ("/ocpp/a+b", "a+b", []),
    ],
)
def test_the_last_segment_is_the_identity(target: str, identity: str, quirks: list[str]) -> None:
    assert identity_of(target) == (identity, quirks)


@pytest.mark.parametrize(
    ("target", "status", "label"),
    [
        ("/", 404, "no-identity"),
        ("///", 404, "no-identity"),
        ("/?CP1", 404, "no-identity"),
        ("ws://gateway", 404, "no-identity"),
        ("", 400, "target"),
        ("CP1", 400, "target"),
        ("*", 400, "target"),
        ("/CP%", 400, "escape"),
        ("/CP%1", 400, "escape"),
        ("/CP%zz", 400, "escape"),
        ("/CP%u0041", 400, "escape"),
        ("/%ff%fe", 400, "escape"),
        ("/{CP1}", 400, "identity"),
        ("/CP%7B1%7d", 400, "identity"),
        ("/CP%2F1", 400, "identity"),
        ("/CP%00", 400, "identity"),
        ("/CP%0A", 400, "identity"),
        ("/" + "x" * 300, 400, "identity"),
    ],
)
def test_targets_that_name_no_station(target: str, status: int, label: str) -> None:
    with pytest.raises(BadTarget) as bad:
        identity_of(target)
    assert (bad.value.status, bad.value.label) == (status, label)


@given(st.text(st.characters(max_codepoint=127), max_size=80))
def test_no_target_crashes_it(target: str) -> None:
    for candidate in (target, f"/{target}", f"/ocpp/%{target}"):
        try:
            identity, _ = identity_of(candidate)
        except BadTarget:
            continue
        assert identity
        assert not set("{}/") & set(identity)


@pytest.mark.parametrize(
    ("offered", "allowed", "chosen"),
    [
        (("ocpp1.6", "ocpp2.0.1"), ALL, ("ocpp1.6", "ocpp1.6")),
        (("ocpp2.0.1", "ocpp1.6"), ALL, ("ocpp2.0.1", "ocpp2.0.1")),
        (("ocpp2.0.1", "ocpp1.6"), ("ocpp1.6",), ("ocpp1.6", "ocpp1.6")),
        (("OCPP1.6",), ALL, ("ocpp1.6", "OCPP1.6")),
        (("soap", "Ocpp2.1"), ALL, ("ocpp2.1", "Ocpp2.1")),
        (("ocpp1.5", "ocpp1.2"), ALL, None),
        ((), ALL, None),
        (("ocpp1.6",), (), None),
    ],
)
def test_the_stations_preference_decides_the_version(
    offered: tuple[str, ...], allowed: tuple[str, ...], chosen: tuple[str, str] | None
) -> None:
    assert choose_subprotocol(offered, frozenset(allowed)) == chosen


def test_odd_case_is_answered_as_it_was_asked_and_counted() -> None:
    outcome = World().run(handshake(subprotocols=("OCPP1.6",)))
    assert isinstance(outcome, Admitted)
    assert (outcome.subprotocol, outcome.offered_as, outcome.quirks) == ("ocpp1.6", "OCPP1.6", ("subprotocol-case",))


def test_no_common_version_may_be_completed_and_closed() -> None:
    world = World()
    assert isinstance(
        world.run(handshake(subprotocols=()), rules(complete_without_common_version=True)), CompleteAndClose
    )
    assert "RegisterStation" not in world.asked


def test_a_record_narrows_the_versions_and_never_widens_them() -> None:
    only_16 = World(StationEntry(StationRecord(allowed_versions=("ocpp1.6", "ocpp9"))))
    assert refusal(only_16.run(handshake(subprotocols=("ocpp2.1",)))) == (400, "subprotocol")
    assert refusal(only_16.run(handshake(subprotocols=("ocpp9",)))) == (400, "subprotocol")
    assert isinstance(only_16.run(handshake(subprotocols=("ocpp2.1", "ocpp1.6"))), Admitted)


@pytest.mark.parametrize("identity", ["DE:CP1", "x" * 49])
def test_what_2x_forbids_in_an_identity_is_fine_in_16(identity: str) -> None:
    assert refusal(World().run(handshake(target=f"/{identity}", subprotocols=("ocpp2.0.1",)))) == (400, "identity")
    assert isinstance(World().run(handshake(target=f"/{identity}")), Admitted)


@pytest.mark.parametrize("profile", [0, None])
def test_unknown_stations(profile: int | None) -> None:
    accepting = rules(registry=RegistryRules(ALL, UnknownStations.ACCEPT))
    assert refusal(World(None).run(handshake())) == (404, "unknown-station")
    outcome = World(None).run(handshake(), accepting)
    assert isinstance(outcome, Admitted)
    assert not outcome.policy.registered
    known = World(StationEntry(StationRecord(security_profile=profile)))
    assert isinstance(known.run(handshake()), Admitted)


PROFILES = {
    # station's profile, listener, header -> profile reached, or status and label
    "0 on plain": (0, PLAIN, None, 0),
    "0 on plain, credentials are not looked at": (0, PLAIN, "Basic nonsense", 0),
    "1 on plain": (1, PLAIN, basic(), 1),
    "1 on plain without header": (1, PLAIN, None, (401, "no-credentials")),
    "1 on plain, wrong key": (1, PLAIN, basic(key=b"x" * 20), (401, "wrong-password")),
    "1 on plain, another id": (1, PLAIN, basic("CP2"), (401, "identity-mismatch")),
    "2 on plain is a lower profile than recorded": (2, PLAIN, basic(), (403, "security-profile")),
    "2 on a plain port that claims to serve it": (
        2,
        ListenerFacts("odd", False, frozenset({2})),
        basic(),
        (403, "security-profile"),
    ),
    "3 on plain": (3, PLAIN, basic(), (403, "security-profile")),
    "0 on TLS has to reach 2": (0, TLS, None, (401, "no-credentials")),
    "0 on TLS with credentials": (0, TLS, basic(), 2),
    "1 on TLS": (1, TLS, basic(), 2),
    "2 on TLS": (2, TLS, basic(), 2),
    "3 on TLS is not served yet": (3, TLS, basic(), (403, "security-profile")),
    "0 where only 1 is served": (0, ListenerFacts("vpn", False, frozenset({1})), None, (401, "no-credentials")),
    "1 where only 0 is served": (1, ListenerFacts("lab", False, frozenset({0})), basic(), (403, "security-profile")),
}


@pytest.mark.parametrize(("profile", "listener", "authorization", "expected"), PROFILES.values(), ids=PROFILES)
def test_security_profiles(
    profile: int, listener: ListenerFacts, authorization: str | None, expected: int | tuple[int, str]
) -> None:
    world = World(StationEntry(StationRecord(security_profile=profile), HASHES))
    outcome = world.run(handshake(listener=listener, authorization=authorization))
    if isinstance(expected, int):
        assert isinstance(outcome, Admitted)
        assert outcome.security_profile == expected
        assert outcome.credential_index == (1 if expected else None)
    else:
        assert refusal(outcome) == expected
        assert isinstance(outcome, Refused)
        assert outcome.authenticate is (expected[0] == 401)
        assert "RegisterStation" not in world.asked


def test_the_pods_minimum_profile_raises_the_stations() -> None:
    strict = rules(registry=RegistryRules(ALL, minimum_security_profile=1))
    world = World(StationEntry(StationRecord(security_profile=0), HASHES))
    assert refusal(world.run(handshake(), strict)) == (401, "no-credentials")


def test_an_impostor_cannot_lock_the_station_out() -> None:
    world = World(StationEntry(StationRecord(security_profile=1), HASHES), logins=Logins(per_minute=1, burst=1))
    for _ in range(50):
        assert refusal(world.run(handshake(authorization=basic(key=b"guess" * 4)))) == (401, "wrong-password")
    assert isinstance(world.run(handshake(authorization=basic())), Admitted)


def test_two_boxes_are_reported_once() -> None:
    world = World()
    outcomes = [world.run(handshake(peer=peer)) for peer in ("A", "B", "A", "B", "A", "B")]
    assert [isinstance(outcome, Admitted) for outcome in outcomes] == [True] * 3 + [False] * 3
    assert [outcome.conflict for outcome in outcomes if isinstance(outcome, Refused)] == [True, False, False]


def test_a_pod_that_became_unready_while_a_station_waited_refuses_it() -> None:
    pacer = AcceptPacer(10, 100)
    while pacer.arrive(1000.0) == 1000.0:
        pass
    world = World(pacer=pacer, unready_after_wait="draining")
    assert refusal(world.run(handshake())) == (503, "unready")
    assert world.asked == ["Look", "Sleep", "Look"]


@pytest.mark.parametrize("trouble", [{"entry": Unknown(0.0)}, {"registered": Unknown(0.0)}, {"registered": Late()}])
def test_a_store_that_does_not_answer_is_a_503_with_retry_after(trouble: dict[str, Any]) -> None:
    outcome = World(**trouble).run(handshake())
    assert refusal(outcome) == (503, "store")
    assert isinstance(outcome, Refused)
    assert outcome.retry_after


def test_every_503_tells_when_to_come_back() -> None:
    for world in (World(unready="no partition"), World(connections=10)):
        outcome = world.run(handshake())
        assert isinstance(outcome, Refused)
        assert outcome.retry_after


@pytest.mark.parametrize(("key", "quirks"), [(KEY, ()), (KEY.hex().encode(), ("hex-password",))])
def test_a_password_as_hex_text_is_admitted_and_named(key: bytes, quirks: tuple[str, ...]) -> None:
    world = World(StationEntry(StationRecord(security_profile=1), HASHES))
    outcome = world.run(handshake(authorization=basic(key=key)))
    assert isinstance(outcome, Admitted)
    assert outcome.quirks == quirks
