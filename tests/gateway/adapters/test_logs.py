"""Every record becomes one line, whatever a peer sent."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from ocpp_gateway.adapters.logs import JsonFormatter, TextFormatter


def record(**fields: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "station disconnected", "levelname": "INFO", "name": "test"})
    vars(made).update(fields)
    return made


@pytest.mark.parametrize("value", ["caf\udce9", 2**70, "two\nlines", {"nested": "\udce9"}])
def test_a_json_line_holds_what_no_json_writer_likes(value: Any) -> None:
    """`\udce9` is how a header that is no UTF-8 arrives."""
    line = JsonFormatter().format(record(agent=value))
    assert json.loads(line)["agent"] == value
    assert "\n" not in line


@pytest.mark.parametrize("reason", ["bye\n12:00:00.000 error   ocpp_gateway  forged", "\x1b[2J", "a\rb"])
def test_a_text_line_stays_one_line(reason: str) -> None:
    line = TextFormatter().format(record(reason=reason))
    assert line.isprintable()
