"""Whether a handshake becomes a session: every check, in the one order that counts, before the 101.

`admit` is a procedure: it yields what it must know (a look at the pod, a wait, the station's record, the registration)
and returns Admitted or Refused; `adapters/admission.py` drives it. The order, with the reason of each place:

1. the pod itself: cheap, and a pod that cannot serve must not spend Redis requests on saying so
2. the path: which station is it, and is it known
3. the subprotocol (OCPP-J 1.6 section 3.1.2, 2.0.1 part 4 section 3.1.2): decides which rules an identity obeys
4. the security profile: proof before anything is changed on behalf of the identity
5. the rate of the proven identity (an impostor must not be able to lock a station out), then the registration

Field quirks are accepted and named in `Admitted.quirks`, so that they can be counted.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId, check_charge_point_id
from ocpp_gateway.core.credentials import BasicResult, check_basic
from ocpp_gateway.core.effects import Registered, Resumed, Sleep, Unknown
from ocpp_gateway.core.limits import AcceptPacer, Login, Logins
from ocpp_gateway.core.registry import RegistryRules, StationEntry, StationPolicy, policy_of


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """What admission must know of the port a station came in by."""

    name: str
    tls: bool
    security_profiles: frozenset[int]


@dataclass(frozen=True, slots=True)
class Handshake:
    """A well-formed WebSocket upgrade request, before it is answered."""

    connection: str
    """Random id of this socket."""
    target: str
    """Request target as sent."""
    subprotocols: tuple[str, ...]
    """In the station's order of preference, spelled as sent."""
    authorization: str | None
    listener: ListenerFacts
    peer: str
    """Address without the port."""
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """-> Resumed(now, PodState). Local."""


@dataclass(frozen=True, slots=True)
class PodState:
    unready: str | None
    """Why stations cannot be served now (no partition, draining, Redis away, Kafka past its limit); None: they can."""
    connections: int
    """Sessions and admissions under way, this one not counted."""
    peer_gone: bool = False


@dataclass(frozen=True, slots=True)
class LookUpStation:
    """-> StationEntry | None. May end in Unknown."""

    charge_point_id: ChargePointId


@dataclass(frozen=True, slots=True)
class RegisterStation:
    """-> Registered | anything else: not registered now. May end in Unknown (the driver then deletes by connection)."""

    charge_point_id: ChargePointId
    subprotocol: str
    connection: str


Step: TypeAlias = Look | Sleep | LookUpStation | RegisterStation


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """From the settings."""

    registry: RegistryRules
    max_connections: int
    complete_without_common_version: bool = False
    """True: answer 101 without the subprotocol header and close, as OCPP-J 1.6 has it; False: HTTP 400."""
    retry_after: float = 10.0
    """Seconds, told with every 503 that has no better figure."""


@dataclass(frozen=True, slots=True)
class Admitted:
    charge_point_id: ChargePointId
    subprotocol: str
    """As this project spells it: ocpp1.6, ocpp2.0.1, ocpp2.1."""
    offered_as: str
    """As the station spelled it: what the response header must say."""
    epoch: int
    policy: StationPolicy
    security_profile: int
    """The profile that this connection reached."""
    credential_index: int | None
    """Which stored hash matched; with several stored, the others can be deleted (password change, last step)."""
    quirks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompleteAndClose:
    """Finish the upgrade without the subprotocol header, then close with 1002."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    status: int
    label: str
    """For the counter: one of a fixed set."""
    detail: str
    """For the log and the body; never a secret."""
    retry_after: float | None = None
    authenticate: bool = False
    """Add WWW-Authenticate: Basic."""
    charge_point_id: ChargePointId | None = None
    conflict: bool = False
    """Two boxes with one identity were found just now: publish IdentityConflict."""


Outcome: TypeAlias = Admitted | CompleteAndClose | Refused
Admission: TypeAlias = Generator[Step, Resumed[Any], Outcome]

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def admit(handshake: Handshake, rules: AdmissionRules, pacer: AcceptPacer, logins: Logins) -> Admission:
    """Judge one handshake. The order of the checks is the contract (gateway design, "Admission")."""
    # 1. The pod.
    now, pod = yield Look()
    if refused := _pod_refuses(pod, rules):
        return refused
    turn = pacer.arrive(now)
    if turn is None:
        return Refused(503, "accept-queue", "too many stations wait to be admitted", max(1.0, pacer.clear_in(now)))
    if turn > now:
        yield Sleep(turn)
        _, pod = yield Look()
        if refused := _pod_refuses(pod, rules):
            return refused

    # 2. The path.
    try:
        identity, quirks = identity_of(handshake.target)
    except BadTarget as bad:
        return Refused(bad.status, bad.label, bad.detail)
    try:
        _, entry = yield LookUpStation(identity)
    except Unknown as unknown:
        return Refused(503, "store", f"registry: {unknown.reason}", rules.retry_after, charge_point_id=identity)
    if entry is None:
        entry = StationEntry(None)
    policy = policy_of(entry.record, rules.registry)
    if policy is None:
        return Refused(404, "unknown-station", "unknown charge point", charge_point_id=identity)

    # 3. The subprotocol.
    chosen = choose_subprotocol(handshake.subprotocols, policy.versions)
    if chosen is None:
        offered = ", ".join(handshake.subprotocols) or "none"
        detail = (
            f"no common subprotocol: offered {offered[:200]}, allowed {', '.join(sorted(policy.versions)) or 'none'}"
        )
        if rules.complete_without_common_version:
            return CompleteAndClose(detail)
        return Refused(400, "subprotocol", detail, charge_point_id=identity)
    subprotocol, offered_as = chosen
    if offered_as != subprotocol:
        quirks.append("subprotocol-case")
    try:
        check_charge_point_id(identity, subprotocol)
    except ContractError as error:
        return Refused(400, "identity", error.reason, charge_point_id=identity)

    # 4. The security profile.
    if policy.blocked:
        return Refused(403, "blocked", "charge point is blocked", charge_point_id=identity)
    proof = _prove(handshake, identity, policy, entry.credential_hashes)
    if isinstance(proof, Refused):
        return proof
    profile, basic = proof
    if basic is not None and basic.hexadecimal:
        quirks.append("hex-password")

    # 5. The rate of this identity, then the registration: the last step, so that nothing refused leaves an entry behind.
    now, pod = yield Look()
    if refused := _pod_refuses(pod, rules):
        return refused
    verdict = logins.attempt(identity, handshake.peer, now)
    if verdict.login is not Login.OK:
        return Refused(
            503,
            verdict.login.value,
            "this identity connects too often" if verdict.login is Login.FLAPPING else "two stations use this identity",
            verdict.retry_after,
            charge_point_id=identity,
            conflict=verdict.entered and verdict.login is Login.CONFLICT,
        )
    try:
        _, registered = yield RegisterStation(identity, subprotocol, handshake.connection)
    except Unknown as unknown:
        return Refused(503, "store", f"registration: {unknown.reason}", rules.retry_after, charge_point_id=identity)
    if not isinstance(registered, Registered):
        return Refused(503, "store", "registration came too late", rules.retry_after, charge_point_id=identity)
    return Admitted(
        charge_point_id=identity,
        subprotocol=subprotocol,
        offered_as=offered_as,
        epoch=registered.epoch,
        policy=policy,
        security_profile=profile,
        credential_index=basic.matched if basic else None,
        quirks=tuple(quirks),
    )


def _pod_refuses(pod: PodState, rules: AdmissionRules) -> Refused | None:
    if pod.peer_gone:
        return Refused(503, "peer-gone", "the station went away while it waited")
    if pod.unready is not None:
        return Refused(503, "unready", pod.unready, rules.retry_after)
    if pod.connections >= rules.max_connections:
        return Refused(503, "connections", f"{pod.connections} stations are connected", rules.retry_after)
    return None


class BadTarget(Exception):
    """The request target names no station."""

    def __init__(self, status: int, label: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.label = label
        self.detail = detail


def identity_of(target: str) -> tuple[ChargePointId, list[str]]:
    """The charge point id, which is the last segment of the path, and the quirks met on the way; raises BadTarget."""
    quirks: list[str] = []
    path = target
    if not path.startswith("/"):
        match = _ABSOLUTE.match(path)
        if match is None:
            raise BadTarget(400, "target", "the request target is no path")
        quirks.append("absolute-target")
        path = path[match.end() :]
    path, mark, _ = path.partition("?")
    if mark:
        quirks.append("query")
    segments = path.split("/")[1:]
    named = [segment for segment in segments if segment]
    if not named:
        raise BadTarget(404, "no-identity", "the path names no charge point")
    if len(named) != len(segments):
        quirks.append("empty-segments")
    if len(named) > 1 and named[-2] == named[-1]:
        quirks.append("identity-twice")
    last = named[-1]
    if _BAD_ESCAPE.search(last):
        raise BadTarget(400, "escape", "bad percent-escape in the charge point id")
    try:
        text = unquote_to_bytes(last).decode()
    except UnicodeDecodeError:
        raise BadTarget(400, "escape", "the charge point id is no UTF-8") from None
    try:
        return check_charge_point_id(text), quirks
    except ContractError as error:
        raise BadTarget(400, "identity", f"charge point id {error.reason}") from None


def choose_subprotocol(offered: tuple[str, ...], allowed: frozenset[str]) -> tuple[str, str] | None:
    """The first of the station's list that is allowed, as (our spelling, the station's); odd case is accepted."""
    for name in offered:
        if name.lower() in allowed:
            return name.lower(), name
    return None


def _prove(
    handshake: Handshake, identity: ChargePointId, policy: StationPolicy, hashes: tuple[str, ...]
) -> tuple[int, BasicResult | None] | Refused:
    """The profile that this connection reaches, or why not: the lowest one of the listener that satisfies the station's.

    Profiles: 0 nothing, 1 Basic, 2 Basic over TLS (OCPP 1.6 security whitepaper section 3, 2.0.1 A00); 3 is not served.
    """
    listener = handshake.listener
    fitting = [
        profile
        for profile in sorted(listener.security_profiles)
        if profile >= policy.security_profile and listener.tls == (profile >= 2)
    ]
    if not fitting:
        return Refused(
            403,
            "security-profile",
            f"security profile {policy.security_profile} or higher is needed, listener {listener.name} does not serve it",
            charge_point_id=identity,
        )
    profile = fitting[0]
    if profile == 0:
        return 0, None
    result = check_basic(handshake.authorization, identity, hashes)
    if result.fault is not None:
        return Refused(401, result.fault.value, "not authenticated", authenticate=True, charge_point_id=identity)
    return profile, result
