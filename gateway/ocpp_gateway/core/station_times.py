"""Times that stations send, as the contract writes them: UTC, milliseconds, Z.

Nearly every station writes `2026-11-22T10:00:00Z` or with milliseconds; those are rewritten by a pattern, without parsing
(a fifth of the cost). Everything else goes through `ocpp_contract.times`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ocpp_contract.errors import ContractError
from ocpp_contract.times import format_time, parse_station_time

# No second 60 and no day past 28: whether those exist, the calendar decides.
_UTC: Final = re.compile(
    r"([0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    r"(?:\.([0-9]{1,9}))?Z"
)


class StationTime(NamedTuple):
    utc: str
    assumed_utc: bool
    """The station named no zone."""


def read_station_time(text: object) -> StationTime | None:
    """None: this is no time at all."""
    if type(text) is not str:
        return None
    match = _UTC.fullmatch(text)
    if match is not None and not text.startswith("0000"):
        seconds, fraction = match.groups()
        return StationTime(f"{seconds}.{(fraction or '')[:3]:0<3}Z", False)
    try:
        time, assumed = _parse(text)
    except (ContractError, OverflowError, ValueError):
        return None
    return StationTime(time, assumed)


def _parse(text: str) -> tuple[str, bool]:
    parsed = parse_station_time(text)
    return format_time(parsed.time), parsed.assumed_utc
