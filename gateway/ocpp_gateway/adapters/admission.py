"""Drives the admission procedure of one handshake: core decides the order, this fetches what it asks for.

The store and the session runtime come in as callables, so that this module knows neither Redis nor sessions.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

from ocpp_contract.ids import ChargePointId
from ocpp_gateway.adapters.answers import Accept, AcceptAndClose, Answer, Refuse
from ocpp_gateway.adapters.charge_points import ChargePointSocket
from ocpp_gateway.adapters.clocks import boottime
from ocpp_gateway.adapters.transport import ConnectionHandler
from ocpp_gateway.core.admission import (
    AdmissionRules,
    Admitted,
    CompleteAndClose,
    Handshake,
    Look,
    LookUpStation,
    Outcome,
    PodState,
    Refused,
    RegisterStation,
    Step,
    admit,
)
from ocpp_gateway.core.effects import Resumed, Sleep, Unknown
from ocpp_gateway.core.limits import AcceptPacer, Logins
from ocpp_gateway.core.registry import StationEntry

log = logging.getLogger(__name__)

_USERINFO = re.compile(r"//[^/]*@")


@dataclass(frozen=True, slots=True)
class AdmissionPorts:
    """What the gateway gives admission."""

    pod: Callable[[], tuple[str | None, int]]
    """Why the pod is unready (None: ready), and how many sessions it has. Admissions under way are added here."""
    look_up: Callable[[ChargePointId], Awaitable[StationEntry | None]]
    """Registry records of a station; raises `Unknown`."""
    register: Callable[[ChargePointId, str, str], Awaitable[object]]
    """(station, subprotocol, connection id) -> `Registered`, or anything else for "not now"; raises `Unknown`."""
    open_session: Callable[[Admitted, Handshake, ChargePointSocket], ConnectionHandler]
    """Right after the 101."""
    abandoned: Callable[[Admitted, Handshake], None]
    """Registered, but the station went away before its 101: delete the entry."""
    conflict: Callable[[ChargePointId, str], None]
    """Two boxes use this identity (station, latest address): publish IdentityConflict."""
    count: Callable[[str, str], None]


class Gatekeeper:
    """Callable for `Listeners`: a handshake in, the answer out."""

    def __init__(
        self,
        rules: AdmissionRules,
        pacer: AcceptPacer,
        logins: Logins,
        ports: AdmissionPorts,
        *,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._rules = rules
        self._pacer = pacer
        self._logins = logins
        self._ports = ports
        self._clock = clock
        self._under_way = 0

    async def __call__(self, handshake: Handshake, peer_gone: Callable[[], bool]) -> Answer:
        self._under_way += 1
        try:
            outcome = await self._run(handshake, peer_gone)
        finally:
            self._under_way -= 1
        return self._answer(handshake, outcome)

    async def _run(self, handshake: Handshake, peer_gone: Callable[[], bool]) -> Outcome:
        procedure = admit(handshake, self._rules, self._pacer, self._logins)
        try:
            step = next(procedure)
            while True:
                try:
                    value = await self._do(step, handshake, peer_gone)
                except Unknown as unknown:
                    step = procedure.throw(unknown)
                else:
                    step = procedure.send(Resumed(self._clock(), value))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    async def _do(self, step: Step, handshake: Handshake, peer_gone: Callable[[], bool]) -> Any:
        if isinstance(step, Look):
            unready, sessions = self._ports.pod()
            return PodState(unready, sessions + self._under_way - 1, peer_gone())
        if isinstance(step, Sleep):
            return await asyncio.sleep(max(0.0, step.until - self._clock()))
        if isinstance(step, LookUpStation):
            return await self._ports.look_up(step.charge_point_id)
        assert isinstance(step, RegisterStation)
        return await self._ports.register(step.charge_point_id, step.subprotocol, step.connection)

    def _answer(self, handshake: Handshake, outcome: Outcome) -> Answer:
        count = self._ports.count
        if isinstance(outcome, Admitted):
            admitted = outcome
            count("admitted", admitted.subprotocol)
            for quirk in admitted.quirks:
                count("handshake_quirk", quirk)
            if admitted.quirks:
                self._log("handshake with quirks", handshake, admitted.charge_point_id, ", ".join(admitted.quirks))
            return Accept(
                admitted.offered_as,
                lambda socket: self._ports.open_session(admitted, handshake, socket),
                keepalive=admitted.policy.keepalive,
                abandoned=lambda: self._ports.abandoned(admitted, handshake),
            )
        if isinstance(outcome, CompleteAndClose):
            count("refused", "subprotocol")
            self._log("completed and closed", handshake, None, outcome.reason)
            return AcceptAndClose(1002, outcome.reason)
        return self._refuse(handshake, outcome)

    def _refuse(self, handshake: Handshake, refused: Refused) -> Refuse:
        self._ports.count("refused", refused.label)
        self._log(f"refused with {refused.status}", handshake, refused.charge_point_id, refused.detail)
        if refused.conflict and refused.charge_point_id is not None:
            self._ports.conflict(refused.charge_point_id, handshake.peer)
        headers: list[tuple[str, str]] = []
        if refused.retry_after is not None:
            headers.append(("Retry-After", str(max(1, ceil(refused.retry_after)))))
        if refused.authenticate:
            headers.append(("WWW-Authenticate", 'Basic realm="ocpp", charset="UTF-8"'))
        return Refuse(refused.status, refused.detail, tuple(headers))

    @staticmethod
    def _log(message: str, handshake: Handshake, station: ChargePointId | None, reason: str) -> None:
        log.info(
            message,
            extra={
                "peer": handshake.peer,
                "listener": handshake.listener.name,
                "station": station,
                "target": _without_secrets(handshake.target)[:200],
                "reason": reason,
                "agent": handshake.user_agent,
            },
        )


def _without_secrets(target: str) -> str:
    """A request target for the log. Some stations put their password into the query, or before the host."""
    return _USERINFO.sub("//", target.partition("?")[0])
