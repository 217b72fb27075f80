"""Logs on stderr: JSON lines for machines, or text for people. What stands in `extra` becomes fields.

`resource` (namespace/name) says which ChargeGateway a line is about: `about` sets it for everything that is logged within,
other modules and libraries included, and kopf's own lines bring it with them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal

import orjson

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_KOPF_ONLY = frozenset({"settings", "k8s_ref", "k8s_skip"})
"""What kopf hangs on its records for its own handlers."""
_resource: ContextVar[str | None] = ContextVar("resource", default=None)
"""Of the running task and those that it starts."""


@contextlib.contextmanager
def about(resource: str) -> Iterator[None]:
    """Lines logged within are about this resource."""
    token = _resource.set(resource)
    try:
        yield
    finally:
        _resource.reset(token)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    given = vars(record)
    fields = {name: value for name, value in given.items() if name not in _PLAIN and name not in _KOPF_ONLY}
    if "resource" not in fields and (resource := _of_kopf(given.get("k8s_ref")) or _resource.get()):
        fields["resource"] = resource
    return fields


def _of_kopf(reference: object) -> str | None:
    if not isinstance(reference, dict):
        return None
    return "/".join(str(reference[part]) for part in ("namespace", "name") if reference.get(part))


def _in_one_line(value: object) -> str:
    """What others wrote must not look like lines of our own, nor move the cursor."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at (rfc3339, ms), level, logger, message, then the fields."""

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
        except TypeError:  # half a surrogate, a number beyond 64 bits: said all the same
            return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """`12:00:01.123 warning ocpp_operator.adapters.cluster  message  key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03d}"
        fields = "".join(f"  {name}={_in_one_line(value)}" for name, value in _fields(record).items())
        message = _in_one_line(record.getMessage())
        text = f"{at} {record.levelname.lower():7} {record.name}  {message}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(level: str, form: Literal["json", "text"]) -> None:
    """Send all logs to stderr. aiokafka repeats itself every second while a broker is away: errors that end something only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # kopf tells each event and each look at its queues as debug, and what it serves as info.
    logging.getLogger("kopf").setLevel(max(logging.INFO, logging.getLevelName(level.upper())))
    # A line per event of every pod: the mirror's business, nobody's news.
    logging.getLogger("kopf.objects").setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    # A watch that is refused is tried for ever, by each kind for itself; the supervisor says so once.
    logging.getLogger("kopf._cogs.clients.watching").setLevel(logging.CRITICAL)
