"""Logs on stderr: JSON lines for machines, or text for people.

What stands in `extra` becomes fields; `correlation` (a command id or message id) and `station` are the usual ones.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Literal

import orjson

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def _in_one_line(value: object) -> str:
    """What a peer sent must not look like lines of our own, nor move the cursor."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at (rfc3339, ms), level, logger, message, then the fields of `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line: dict[str, object] = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # half a surrogate (a header that is no UTF-8), a number beyond 64 bits: said all the same
            return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """`12:00:01.123 warning ocpp_gateway.adapters.store  message  key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03d}"
        fields = "".join(f"  {name}={_in_one_line(value)}" for name, value in _fields(record).items())
        text = f"{at} {record.levelname.lower():7} {record.name}  {record.getMessage()}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(level: str, form: Literal["json", "text"]) -> None:
    """Send all logs to stderr. aiokafka repeats itself every second while a broker is away: errors only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    logging.getLogger("websockets").setLevel(logging.ERROR)
