"""Frames: every shape the wire has shown, and garbage."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocpp_gateway.core.faults import Fault, read_code, spelling
from ocpp_gateway.core.frames import (
    CALL,
    CALLERROR,
    CALLRESULT,
    CALLRESULTERROR,
    SEND,
    BrokenFrame,
    DecimalText,
    ErrorFrame,
    Frame,
    encode_default,
    needs_exact,
    number_text,
    parse,
    parse_exact,
    write_call,
    write_error,
    write_result,
)


@pytest.mark.parametrize(
    ("raw", "frame"),
    [
        ('[2,"1","Heartbeat",{}]', Frame(CALL, "1", "Heartbeat", {})),
        ('[2,"1","Heartbeat",null]', Frame(CALL, "1", "Heartbeat", {})),
        (' [ 2 , "1" , "Heartbeat" , { } ] ', Frame(CALL, "1", "Heartbeat", {})),
        ('[2,"' + "x" * 200 + '","Heartbeat",{}]', Frame(CALL, "x" * 200, "Heartbeat", {})),
        ('[2,"\\u00e9","Heartbeat",{}]', Frame(CALL, "é", "Heartbeat", {})),
        ('[2,"1","A",{"a":1,"a":2}]', Frame(CALL, "1", "A", {"a": 2})),
        ('[3,"1",{}]', Frame(CALLRESULT, "1", "", {})),
        ('[3,"1",null]', Frame(CALLRESULT, "1", "", {})),
        ('[3,"1",[]]', Frame(CALLRESULT, "1", "", [])),
        ('[4,"1","GenericError","x",{"a":1}]', ErrorFrame(CALLERROR, "1", "GenericError", "x", {"a": 1})),
        ('[4,"1","GenericError","x"]', ErrorFrame(CALLERROR, "1", "GenericError", "x", {}, short=True)),
        ('[4,"1","GenericError"]', ErrorFrame(CALLERROR, "1", "GenericError", "", {}, short=True)),
        ('[4,"1","GenericError",null,null]', ErrorFrame(CALLERROR, "1", "GenericError", "", {})),
        ('[4,"1","GenericError","x","text"]', ErrorFrame(CALLERROR, "1", "GenericError", "x", {})),
        ('[5,"1","FormatViolation","x",{}]', ErrorFrame(CALLRESULTERROR, "1", "FormatViolation", "x", {})),
        ('[6,"1","NotifyPeriodicEventStream",{}]', Frame(SEND, "1", "NotifyPeriodicEventStream", {})),
        ("", None),
        (" \r\n\t", None),
    ],
)
def test_reads(raw: str, frame: Frame | ErrorFrame | None) -> None:
    assert parse(raw) == frame
    assert parse(raw.encode()) == frame


@pytest.mark.parametrize(
    ("raw", "fault", "answer_to"),
    [
        (b"\xff\xfe\x00", Fault.RPC, "-1"),
        (b'[2,"1","DataTransfer",{"vendorId":"\xc3\x28"}]', Fault.FORMAT, "1"),
        (b'[2,"\xc3\x28","DataTransfer",{}]', Fault.RPC, "-1"),
        (b"hello", Fault.RPC, "-1"),
        (b"{}", Fault.PROTOCOL, "-1"),
        (b'"text"', Fault.PROTOCOL, "-1"),
        (b"[]", Fault.PROTOCOL, "-1"),
        (b"[2]", Fault.PROTOCOL, "-1"),
        (b'["2","1","Heartbeat",{}]', Fault.PROTOCOL, "-1"),
        (b'[2.0,"1","Heartbeat",{}]', Fault.PROTOCOL, "-1"),
        (b'[true,"1","Heartbeat",{}]', Fault.PROTOCOL, "-1"),
        (b'[2,1,"Heartbeat",{}]', Fault.PROTOCOL, "-1"),
        (b'[2,null,"Heartbeat",{}]', Fault.PROTOCOL, "-1"),
        (b'[2,"","Heartbeat",{}]', Fault.PROTOCOL, "-1"),
        (b'[2,1,"Heartbeat",null]', Fault.PROTOCOL, "-1"),
        (b'[2,"' + b"x" * 256 + b'","Heartbeat",{}]', Fault.PROTOCOL, "-1"),
        (b'[2,"1",7,{}]', Fault.PROTOCOL, "1"),
        (b'[2,"1","Heartbeat"]', Fault.PROTOCOL, "1"),
        (b'[2,"1","Heartbeat",{},{}]', Fault.PROTOCOL, "1"),
        (b'[2,"1","Heartbeat",[]]', Fault.PROTOCOL, "1"),
        (b'[2,"1","Heartbeat","{}"]', Fault.PROTOCOL, "1"),
        (b'[2,"1","Heartbeat",{}', Fault.FORMAT, "1"),
        (b'[2,"1","MeterValues",{"value":NaN}]', Fault.FORMAT, "1"),
        (b'[2,"1","MeterValues",{"value":1e400}]', Fault.FORMAT, "1"),
        (b'[2,"1","A",' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"]", Fault.FORMAT, "1"),
        (b'[2,"1","A",{"a":' + b"[" * 100 + b"]" * 100 + b"}]", Fault.FORMAT, "1"),
        (b"[" * 10_000, Fault.RPC, "-1"),
        (b'[9,"1","Heartbeat",{}]', Fault.MESSAGE_TYPE, "1"),
        (b"[0]", Fault.MESSAGE_TYPE, "-1"),
        (b"[" + b"9" * 19 + b"]", Fault.MESSAGE_TYPE, "-1"),
        # What answers something gets no answer itself: CALLERROR answers a CALL only.
        (b'[3,"1"]', Fault.PROTOCOL, None),
        (b"[3,1,{}]", Fault.PROTOCOL, None),
        (b'[3,"1",{}', Fault.PROTOCOL, None),
        (b'[3,"1",' + b"[" * 100 + b"]" * 100 + b"]", Fault.FORMAT, None),
        (b'[4,"1"]', Fault.PROTOCOL, None),
        (b"[4,1,2,3,4]", Fault.PROTOCOL, None),
        (b'[4,"1","a","b",{},{}]', Fault.PROTOCOL, None),
        (b"[5]", Fault.PROTOCOL, None),
        (b'[6,"1","NotifyPeriodicEventStream",[]]', Fault.PROTOCOL, None),
        (b"[6,1,2,3]", Fault.PROTOCOL, None),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_refuses_and_says_what_to_answer(raw: bytes, fault: Fault, answer_to: str | None) -> None:
    with pytest.raises(BrokenFrame) as caught:
        parse(raw)
    assert (caught.value.fault, caught.value.message_id) == (fault, answer_to)


def test_depth_is_counted_in_levels_not_in_brackets() -> None:
    wide = '[2,"1","A",{"a":[' + ",".join(["{}"] * 500) + "]}]"
    assert parse(wide, 4) is not None
    with pytest.raises(BrokenFrame):
        parse(wide, 3)
    text = '[2,"1","A",{"a":"' + "[" * 500 + '"}]'
    assert parse(text, 2) is not None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=12,
)


def _judged(raw: bytes | str) -> Frame | ErrorFrame | BrokenFrame | None:
    try:
        return parse(raw)
    except BrokenFrame as broken:
        return broken


@given(st.binary(max_size=200) | st.text(max_size=200))
@example("[2,\ud800")
def test_garbage_is_refused_never_raised(raw: bytes | str) -> None:
    _judged(raw)


@given(st.lists(_JSON, max_size=6).map(lambda items: json.dumps(items)) | _JSON.map(json.dumps))
def test_any_json_is_a_frame_or_refused(raw: str) -> None:
    judged = _judged(raw)
    if isinstance(judged, Frame):
        assert isinstance(judged.message_id, str)
        assert isinstance(judged.payload, dict) or judged.type == CALLRESULT
        orjson.dumps(judged.payload)
    elif isinstance(judged, ErrorFrame):
        assert isinstance(judged.details, dict)
    elif isinstance(judged, BrokenFrame):
        assert judged.message_id is None or 1 <= len(judged.message_id) <= 255


@given(st.integers(0, 6), st.text(max_size=40), _JSON, _JSON)
def test_what_looks_like_an_answer_is_never_answered(kind: int, message_id: str, third: Any, fourth: Any) -> None:
    judged = _judged(json.dumps([kind, message_id, third, fourth]))
    if kind in (3, 4, 5) and isinstance(judged, BrokenFrame):
        assert judged.message_id is None


_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(_NUMBERS)
@example("12.50")
@example("-0")
@example("0.00001")
@example("1E3")
@example("12345678901234567890.1")
@example("9007199254740993")
@example("0.1")
def test_a_measured_value_keeps_its_text(text: str) -> None:
    raw = f'[2,"1","MeterValues",{{"evseId":1,"meterValue":[{{"sampledValue":[{{"value":{text}}}]}}]}}]'
    frame = parse(raw)
    assert isinstance(frame, Frame)
    payload = parse_exact(raw)[3] if needs_exact(raw) else frame.payload
    value = payload["meterValue"][0]["sampledValue"][0]["value"]
    assert number_text(value) == text
    assert math.isclose(float(value), float(text), rel_tol=1e-15)
    written = orjson.dumps(payload, default=encode_default)
    # -0 and friends aside, what is written again is the same text too.
    assert f'"value":{text}'.encode() in written or not isinstance(value, DecimalText)


def test_only_unusual_numbers_are_parsed_twice() -> None:
    usual = '{"sampledValue":[{"value":12.5},{"value":3},{"value": -0.25}]}'
    assert not needs_exact(usual)
    assert not needs_exact('{"value":1.50}'), "no sampled value, nothing to keep"
    assert needs_exact('{"sampledValue":[{"\\u0076alue":12.50}]}'), "an escaped key hides from the pattern"


def test_writes() -> None:
    assert write_call("1", "Reset", {"type": "Hard"}) == b'[2,"1","Reset",{"type":"Hard"}]'
    assert write_result('a"b', b'{"x":1}') == b'[3,"a\\"b",{"x":1}]'
    error = orjson.loads(write_error(CALLERROR, "1", "GenericError", "x" * 300, {}))
    assert error == [4, "1", "GenericError", "x" * 255, {}]


def test_error_codes_have_the_spelling_of_their_version() -> None:
    assert spelling(Fault.FORMAT, "ocpp1.6") == "FormationViolation"
    assert spelling(Fault.FORMAT, "ocpp2.1") == "FormatViolation"
    assert spelling(Fault.OCCURRENCE, "ocpp1.6") == "OccurenceConstraintViolation"
    assert spelling(Fault.OCCURRENCE, "ocpp2.0.1") == "OccurrenceConstraintViolation"
    assert read_code("OccurenceConstraintViolation") == read_code("OccurrenceConstraintViolation")
    assert read_code("FormationViolation") == "FormatViolation"
    assert read_code("SomethingElse") == "SomethingElse"
