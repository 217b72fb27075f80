"""Conditions of a resource: how they are written, and how they change from one pass to the next.

Made for `kubectl wait`, Flux and Argo CD: an `observedGeneration` behind the resource's means "in progress" to them (kstatus), so
every condition carries the generation that it was judged for. `lastTransitionTime` moves only when the status does. A condition
that nothing is known of (an outage of the store, say) is `Unknown` and says of what; it never vanishes.

`Reconciling` and `Stalled` are kstatus' own and of its kind: there, and True, while they hold, and absent otherwise; never both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Type(StrEnum):
    """In the order in which `kubectl describe` shows them."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    ASSIGNMENT_CONVERGED = "AssignmentConverged"
    TOPICS_READY = "TopicsReady"
    HARDENED = "Hardened"
    UPGRADE_AVAILABLE = "UpgradeAvailable"


GOOD = {
    Type.READY: "True",
    Type.PROGRESSING: "False",
    Type.DEGRADED: "False",
    Type.ASSIGNMENT_CONVERGED: "True",
    Type.TOPICS_READY: "True",
}
"""What people hope for; a change away from it is a Warning event. The others only inform."""

_MESSAGE_BYTES = 2_000
"""The API server takes 32,768; people and status writes are better off with less."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One judgement. `status` is True, False or Unknown, `reason` one CamelCase word, `message` for people."""

    type: Type
    status: str
    reason: str
    message: str = ""


def judge(type: Type, value: bool | None, reason: str, message: str = "") -> Condition:
    """None: unknown."""
    status = {True: "True", False: "False", None: "Unknown"}[value]
    return Condition(type, status, reason, message)


def merge(
    before: Iterable[Mapping[str, Any]], judged: Sequence[Condition], generation: int, now: str
) -> list[dict[str, Any]]:
    """The conditions as they go into the status. `before` are those of the status, `now` is RFC 3339 in seconds."""
    known = {str(condition.get("type")): condition for condition in before}
    return [
        {
            "type": condition.type.value,
            "status": condition.status,
            "reason": condition.reason,
            "message": _cut(condition.message),
            "observedGeneration": generation,
            "lastTransitionTime": _since(known.get(condition.type.value), condition, now),
        }
        for condition in sorted(judged, key=lambda condition: rank(condition.type))
    ]


def rank(type: str) -> int:
    """Where it stands among the others; those that nobody knows at the end."""
    known = list(Type)
    return known.index(Type(type)) if type in known else len(known)


def holds(conditions: Iterable[Mapping[str, Any]], type: Type, generation: int) -> bool:
    """Whether it was judged True for this very generation."""
    return any(
        each.get("type") == type and each.get("status") == "True" and each.get("observedGeneration") == generation
        for each in conditions
    )


def _since(before: Mapping[str, Any] | None, condition: Condition, now: str) -> str:
    if before is None or before.get("status") != condition.status:
        return now
    return str(before.get("lastTransitionTime") or now)


def _cut(message: str) -> str:
    raw = message.encode()
    return message if len(raw) <= _MESSAGE_BYTES else raw[: _MESSAGE_BYTES - 3].decode(errors="ignore") + "..."


@dataclass(frozen=True, slots=True)
class News:
    """Something to tell by an Event on the resource."""

    warning: bool
    reason: str
    note: str


def news(before: Iterable[Mapping[str, Any]], judged: Sequence[Condition]) -> list[News]:
    """What changed and deserves an Event: a condition that left or reached what people hope for, or is bad for another reason; and
    an operator that would run older gateways."""
    known = {str(condition.get("type")): condition for condition in before}
    told = []
    for condition in judged:
        good = GOOD.get(condition.type)
        previous = known.get(condition.type.value)
        if condition.reason == "Older" != (previous or {}).get("reason"):  # the next change takes gateways back
            told.append(News(True, condition.reason, condition.message))
        if good is None or condition.type is Type.PROGRESSING:
            continue
        same = previous is not None and previous.get("status") == condition.status
        if condition.status == good:
            if previous is not None and not same:
                told.append(News(False, condition.reason, condition.message or f"{condition.type} is {good} again"))
        elif condition.type is Type.READY and previous is None:
            continue  # nothing is ready in its first second
        elif condition.type is Type.ASSIGNMENT_CONVERGED and (previous or {}).get("status") != "True":
            continue  # nor owned before there are pods; whatever is worse than a move that takes its time, Ready tells
        elif not same or (previous is not None and previous.get("reason") != condition.reason):
            told.append(
                News(
                    condition.status == "False" or condition.type is Type.DEGRADED, condition.reason, condition.message
                )
            )
    return told
