"""The history checker: reads what Kafka recorded and what the stations saw, and judges the invariants over all of it.

It knows nothing of the gateway: its inputs are the records of the topics (the backends' view) and the raw frames at the
stations' ends of their sockets. Each violation is one line that names the invariant and the evidence.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# Outcomes which say that nothing was ever written to a socket.
UNSENT = frozenset({"Expired", "NotConnected", "Unsupported", "Invalid", "Busy", "Misrouted"})
# Station messages whose answer promises that the event is in Kafka (invariant 5).
EVENTS_OF = {
    "BootNotification": {"DeviceBooted"},
    "StatusNotification": {"ConnectorStatusChanged"},
    "MeterValues": {"MeterValues"},
    "StartTransaction": {"TransactionStarted"},
    "StopTransaction": {"TransactionEnded"},
    "TransactionEvent": {"TransactionStarted", "TransactionUpdated", "TransactionEnded"},
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One text frame at the station's end. `order` grows over the whole run; `connection` differs per socket."""

    order: int
    station: str
    connection: int
    sent: bool
    """True: the station sent it; False: it received it."""
    text: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A command that the backend produced. `mark` is a text that only this command's CALL carries."""

    id: str
    station: str
    type: str
    mark: str
    safe: bool


@dataclass
class History:
    commands: list[Sent] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    """Values of command-results, in offset order per partition, with `ce_id` added."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Values of ocpp-events-up, in offset order per partition, with `ce_id` and `ce_type` (short) added."""
    frames: list[Frame] = field(default_factory=list)


def judge(history: History) -> list[str]:
    """All violations; an empty list is a clean history."""
    return [*_outcomes(history), *_writes(history), *_outstanding(history), *_answered(history), *_order(history)]


def _final(history: History) -> dict[str, list[dict[str, Any]]]:
    final: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in history.results:
        if result["final"]:
            final[result["commandId"]].append(result)
    return final


def _outcomes(history: History) -> Iterable[str]:
    """Invariant 1: exactly one terminal outcome; a repeated record has the same ce_id and content."""
    final = _final(history)
    for command in history.commands:
        records = final.get(command.id, [])
        if not records:
            yield f"1: {command.type} {command.id} for {command.station} has no final outcome"
        elif any(record != records[0] for record in records):
            yield f"1: {command.id} ended differently: {sorted({r['outcome'] for r in records})} ({len(records)} records)"
        for record in records[:1]:
            if (record["chargePointId"], record["type"]) != (command.station, command.type):
                yield f"1: the outcome of {command.id} names {record['chargePointId']} {record['type']}"
    known = {command.id for command in history.commands}
    for stranger in sorted(set(final) - known):
        yield f"1: an outcome for {stranger}, which nobody produced"


def _writes(history: History) -> Iterable[str]:
    """Invariant 2 and truthfulness: what the stations really received, against what was reported."""
    received: Counter[str] = Counter()
    answered: set[str] = set()
    calls: dict[tuple[int, str], str] = {}
    marks = {command.mark: command for command in history.commands}
    for frame in history.frames:
        message = _parsed(frame.text)
        if not frame.sent and message and message[0] == 2:
            text = json.dumps(message[3])
            for mark, command in marks.items():
                if json.dumps(mark) in text and frame.station == command.station:
                    received[command.id] += 1
                    calls[frame.connection, str(message[1])] = command.id
        elif frame.sent and message and message[0] in (3, 4):
            command_id = calls.get((frame.connection, str(message[1])))
            if command_id is not None:
                answered.add(command_id)
    final = _final(history)
    for command in history.commands:
        if not command.safe and received[command.id] > 1:
            yield f"2: {command.type} {command.id}, never safe to repeat, reached {command.station} {received[command.id]} times"
        for record in final.get(command.id, [])[:1]:
            if record["outcome"] in UNSENT and received[command.id]:
                yield f"T: {command.id} is {record['outcome']} but {command.station} received it"
            if record["outcome"] in ("Accepted", "Rejected", "CallError") and command.id not in answered:
                yield f"T: {command.id} is {record['outcome']} but {command.station} never answered it"


def _outstanding(history: History) -> Iterable[str]:
    """Invariant 3, as the station sees it: no second CALL of ours while it has not answered the first."""
    open_calls: dict[int, str] = {}
    for frame in history.frames:
        message = _parsed(frame.text)
        if not message:
            continue
        if not frame.sent and message[0] == 2:
            if frame.connection in open_calls:
                yield f"3: {frame.station} got CALL {message[1]} while {open_calls[frame.connection]} is open"
            open_calls[frame.connection] = str(message[1])
        elif frame.sent and message[0] in (3, 4) and open_calls.get(frame.connection) == str(message[1]):
            del open_calls[frame.connection]


def _answered(history: History) -> Iterable[str]:
    """Invariant 5: an answered message is in Kafka; events of one message share their ce_id."""
    published: dict[tuple[str, str], set[str]] = defaultdict(set)
    identities: dict[tuple[str, str, str, int], set[str]] = defaultdict(set)
    for event in history.events:
        key = event["chargePointId"], event.get("messageId", "")
        published[key].add(event["ce_type"])
        if event.get("messageId"):
            identities[(*key, event["ce_type"], event["epoch"])].add(event["ce_id"])
    for key, ids in identities.items():
        if len(ids) > 1:
            yield f"5: {key[0]} message {key[1]} became {len(ids)} different {key[2]} events within one connection"
    asked: dict[tuple[int, str], str] = {}
    for frame in history.frames:
        message = _parsed(frame.text)
        if not message:
            continue
        if frame.sent and message[0] == 2:
            asked[frame.connection, str(message[1])] = message[2]
        elif not frame.sent and message[0] == 3:
            action = asked.get((frame.connection, str(message[1])), "")
            wanted = EVENTS_OF.get(action)
            if wanted and not wanted & published[frame.station, str(message[1])]:
                yield f"5: {frame.station} was answered {action} {message[1]}, whose event is not in Kafka"


def _order(history: History) -> Iterable[str]:
    """Invariant 9: within one epoch events stand in the order in which the station sent their messages."""
    place: dict[tuple[str, str], int] = {}
    for frame in history.frames:
        message = _parsed(frame.text)
        if frame.sent and message and message[0] == 2:
            place[frame.station, str(message[1])] = frame.order
    last: dict[tuple[str, int], tuple[int, str]] = {}
    seen: set[str] = set()
    for event in history.events:
        at = place.get((event["chargePointId"], event.get("messageId", "")))
        if at is None or event["ce_id"] in seen:
            continue
        seen.add(event["ce_id"])
        key = event["chargePointId"], event["epoch"]
        if key in last and at < last[key][0]:
            yield f"9: {event['chargePointId']} epoch {event['epoch']}: message {event['messageId']} stands after {last[key][1]}"
        last[key] = at, event["messageId"]


def _parsed(text: str) -> list[Any] | None:
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, list) and len(message) >= 3 else None
