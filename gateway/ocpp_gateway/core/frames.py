"""OCPP-J frames: what stands on the wire, told apart from what it means.

`parse` reads one text message of a station. What it cannot read is a `BrokenFrame`, which says under which message id a
CALLERROR may answer it - or that nothing may: CALLERROR answers a CALL only. Nothing here closes a connection.

Deliberately tolerant (each seen in the field): ids over 36 characters, a null payload, CALLERROR without details or
description. Both JSON parsers used here let the last of duplicate keys win, so all of the gateway sees one value.

OCPP 1.6J section 4.2, OCPP 2.0.1 and 2.1 Part 4 section 4.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

import orjson

from ocpp_gateway.core.faults import Fault

CALL: Final = 2
CALLRESULT: Final = 3
CALLERROR: Final = 4
CALLRESULTERROR: Final = 5
SEND: Final = 6

UNREADABLE_ID: Final = "-1"
MAX_ECHOED_ID: Final = 255
"""Ids are 1-36 characters; longer ones are echoed up to here, beyond it they count as unreadable."""
MAX_DEPTH: Final = 240
"""orjson cannot write what is nested deeper than 254; an event wraps a payload in a few levels of its own."""
_MAX_DESCRIPTION: Final = 255  # OCPP-J: errorDescription is at most 255 characters

# The beginning of a CALL whose rest is broken: its id is still worth an answer under that id.
_CALL_HEAD = re.compile(rb'\s*\[\s*2\s*,\s*"([^"\\\x00-\x1f]{1,255})"\s*,')
_ANSWER_HEAD = re.compile(rb"\s*\[\s*[345]\s*,")
# A number right after a key "value"; the text is compared with what float and int would print.
_VALUE = re.compile(rb'"value"\s*:\s*(-?\d[\d.eE+-]*)')


class Frame(NamedTuple):
    """CALL or SEND (action, payload), or CALLRESULT (payload; anything JSON, the session judges it)."""

    type: int
    message_id: str
    action: str
    payload: Any


class ErrorFrame(NamedTuple):
    """CALLERROR or CALLRESULTERROR."""

    type: int
    message_id: str
    code: str
    description: str
    details: dict[str, Any]
    short: bool = False
    """Fewer than the five elements that the specification asks for."""


class BrokenFrame(Exception):
    """Not a frame that can be worked with. `message_id` None: it answers something, so it gets no answer itself."""

    def __init__(self, fault: Fault, description: str, message_id: str | None = UNREADABLE_ID) -> None:
        super().__init__(description)
        self.fault = fault
        self.description = description
        self.message_id = message_id


class DecimalText(float):
    """A JSON number that remembers its text: `12.50` stays `12.50`, though as a float it is 12.5."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> DecimalText:
        number = super().__new__(cls, text)
        number.text = text
        return number


def number_text(value: float | int | str) -> str:
    """The decimal text of a measured value exactly as the station sent it."""
    if isinstance(value, DecimalText):
        return value.text
    if isinstance(value, float):
        return repr(value)
    return str(value)


def encode_default(value: Any) -> Any:
    """`default=` of orjson.dumps for whatever may hold parsed numbers: they leave as they came."""
    if isinstance(value, DecimalText):
        return orjson.Fragment(value.text.encode())
    raise TypeError(type(value).__name__)


def parse(raw: bytes | str, max_depth: int = 64) -> Frame | ErrorFrame | None:
    """One message of a station; None for an empty one. Raises BrokenFrame."""
    try:
        message = orjson.loads(raw)
    except ValueError:
        _refuse_unless_empty(raw)
        return None
    if type(message) is not list or not message:
        raise BrokenFrame(Fault.PROTOCOL, "a message is a JSON array that begins with its type")
    kind = message[0]
    if type(kind) is not int:
        raise BrokenFrame(Fault.PROTOCOL, "the message type must be an integer")
    if too_deep(raw, message, min(max_depth, MAX_DEPTH)):
        answerable = kind not in (CALLRESULT, CALLERROR, CALLRESULTERROR)
        raise BrokenFrame(Fault.FORMAT, f"nested deeper than {max_depth} levels", _id(message) if answerable else None)
    if kind in (CALL, SEND):
        return _request(kind, message)
    if kind == CALLRESULT:
        if len(message) != 3 or _id(message) == UNREADABLE_ID:
            raise BrokenFrame(Fault.PROTOCOL, 'a CALLRESULT is [3, "id", payload]', None)
        return Frame(CALLRESULT, message[1], "", {} if message[2] is None else message[2])
    if kind in (CALLERROR, CALLRESULTERROR):
        return _error(kind, message)
    raise BrokenFrame(Fault.MESSAGE_TYPE, f"there is no message type {kind}"[:_MAX_DESCRIPTION], _id(message))


def _request(kind: int, message: list[Any]) -> Frame:
    # One comparison of everything on the hot path; only what fails it is taken apart for a useful answer.
    if len(message) == 4:
        _, message_id, action, payload = message
        if (
            type(message_id) is str
            and 0 < len(message_id) <= MAX_ECHOED_ID
            and type(action) is str
            and type(payload) is dict
        ):
            return Frame(kind, message_id, action, payload)
    answer_to = _id(message) if kind == CALL else None
    if answer_to == UNREADABLE_ID:
        raise BrokenFrame(Fault.PROTOCOL, "the message id must be a string of 1 to 36 characters")
    if len(message) != 4:
        raise BrokenFrame(Fault.PROTOCOL, 'a CALL is [2, "id", "action", payload]', answer_to)
    if type(message[2]) is not str:
        raise BrokenFrame(Fault.PROTOCOL, "the action must be a string", answer_to)
    if message[3] is None and _id(message) != UNREADABLE_ID:
        return Frame(kind, message[1], message[2], {})
    raise BrokenFrame(Fault.PROTOCOL, "the payload must be an object", answer_to)


def _error(kind: int, message: list[Any]) -> ErrorFrame:
    if not 3 <= len(message) <= 5 or _id(message) == UNREADABLE_ID:
        raise BrokenFrame(Fault.PROTOCOL, 'a CALLERROR is [4, "id", "code", "description", {details}]', None)
    _, message_id, code, description, details = (*message, None, None)[:5]
    return ErrorFrame(
        kind,
        message_id,
        code if type(code) is str else str(code),
        description if type(description) is str else "",
        details if type(details) is dict else {},
        len(message) < 5,
    )


def _id(message: list[Any]) -> str:
    message_id = message[1] if len(message) > 1 else None
    return message_id if type(message_id) is str and 0 < len(message_id) <= MAX_ECHOED_ID else UNREADABLE_ID


def _refuse_unless_empty(raw: bytes | str) -> None:
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else bytes(raw)
    if not data.strip():
        return
    if _ANSWER_HEAD.match(data):
        raise BrokenFrame(Fault.PROTOCOL, "not JSON", None)
    head = _CALL_HEAD.match(data)
    if head is not None:
        try:
            raise BrokenFrame(Fault.FORMAT, "not JSON", head[1].decode())
        except UnicodeDecodeError:
            pass
    raise BrokenFrame(Fault.RPC, "not JSON")


def too_deep(raw: bytes | str, message: Any, limit: int) -> bool:
    """Whether containers are nested deeper than `limit`. Most messages hold fewer than that altogether."""
    if isinstance(raw, str):
        if raw.count("[") + raw.count("{") <= limit:
            return False
    elif raw.count(b"[") + raw.count(b"{") <= limit:
        return False
    level = [message]
    for _ in range(limit):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def parse_exact(raw: bytes | str) -> Any:
    """Parse once more so that fractions keep their text; only for what `parse` has already accepted."""
    return json.loads(raw, parse_float=DecimalText, parse_int=_integer)


def needs_exact(raw: bytes | str) -> bool:
    """Whether a measured value in this text would not survive being a float: `12.50`, `1e3`, twenty digits."""
    data = raw.encode() if isinstance(raw, str) else raw
    if b'"sampledValue"' not in data and b"\\" not in data:
        return False
    if b"\\" in data:
        return True  # an escaped key hides from the pattern
    for token in _VALUE.findall(data):
        text = token.decode()
        if "e" in text or "E" in text or (repr(float(text)) if "." in text else _integer_text(text)) != text:
            return True
    return False


def _integer_text(text: str) -> str:
    # "-0" is no canonical integer, and 19 digits may exceed what orjson reads as an integer.
    return str(int(text)) if len(text) < 19 else ""


def _integer(text: str) -> int | DecimalText:
    return int(text) if len(text) < 19 and text != "-0" else DecimalText(text)


def write_call(message_id: str, action: str, payload: Any) -> bytes:
    return orjson.dumps([CALL, message_id, action, payload], default=encode_default)


def write_result(message_id: str, payload: bytes) -> bytes:
    """CALLRESULT around a payload that is already JSON."""
    return orjson.dumps([CALLRESULT, message_id, orjson.Fragment(payload)])


def write_error(kind: int, message_id: str, code: str, description: str, details: dict[str, Any]) -> bytes:
    """CALLERROR or CALLRESULTERROR; details is always an object."""
    return orjson.dumps([kind, message_id, code, description[:_MAX_DESCRIPTION], details], default=encode_default)
