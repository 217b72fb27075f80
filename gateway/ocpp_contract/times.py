"""Times as the contract writes them and as stations in the field write them.

We write RFC 3339 in UTC with milliseconds and ``Z``: never microseconds, never ``+00:00`` (some stations refuse both).
The contract itself is read strictly; what a station sends is read leniently, and a missing zone is taken as UTC and said so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from ocpp_contract.errors import ContractError

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
# Seen in the field: a space for the T, a comma before the fraction, zones as +0100 or +01, no zone, no seconds.
_STATION = re.compile(
    r"\s*(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)? ?([Zz]|[+-]\d\d(?::?\d\d)?)?\s*",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class StationTime:
    """A time a station sent, in UTC; ``assumed_utc`` when it named no zone."""

    time: datetime
    assumed_utc: bool


def parse_time(text: object, field: str = "time") -> datetime:
    """RFC 3339 with a zone, as an aware UTC datetime; raises ContractError naming ``field``."""
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ContractError(field, "must be an RFC 3339 time with a zone, such as 2026-11-22T10:00:00Z")
    return _build(match, field)


def parse_station_time(text: object, field: str = "timestamp") -> StationTime:
    """What a station sent, read leniently; raises ContractError naming ``field`` when it is no time at all."""
    match = _STATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ContractError(field, "must be a date and time, such as 2026-11-22T10:00:00Z")
    return StationTime(_build(match, field), match[8] is None)


def format_time(time: datetime) -> str:
    """``2026-11-22T10:00:00.000Z``; ``time`` must be aware. Fractions of a millisecond are cut off."""
    if time.tzinfo is None:
        raise ValueError("a time without a zone cannot be written")
    return time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def to_us(time: datetime) -> int:
    """Microseconds since the epoch, the unit of Redis TIME and of every epoch number."""
    return (time - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _build(match: re.Match[str], field: str) -> datetime:
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    # 23:59:60 is a legal RFC 3339 leap second; datetime has no such thing, so it becomes the second after.
    leap = second == "60"
    try:
        time = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            59 if leap else int(second or 0),
            int((fraction or "")[:6].ljust(6, "0")),
            _zone(zone),
        )
        return (time + timedelta(seconds=1) if leap else time).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ContractError(field, "is no existing date and time") from None


def _zone(text: str | None) -> timezone:
    if text is None or text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)
