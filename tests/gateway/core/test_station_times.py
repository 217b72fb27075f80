"""Times of stations: the fast path says the same as the careful one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocpp_contract.errors import ContractError
from ocpp_contract.times import format_time, parse_station_time
from ocpp_gateway.core.station_times import read_station_time


@pytest.mark.parametrize(
    ("text", "utc", "assumed"),
    [
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.000Z", False),
        ("2026-11-22T10:00:00.1Z", "2026-11-22T10:00:00.100Z", False),
        ("2026-11-22T10:00:00.123456789Z", "2026-11-22T10:00:00.123Z", False),
        ("2026-11-22T10:00:00+01:00", "2026-11-22T09:00:00.000Z", False),
        ("2026-11-22T00:30:00+01:00", "2026-11-21T23:30:00.000Z", False),
        ("2028-02-29T10:00:00Z", "2028-02-29T10:00:00.000Z", False),
        ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00.000Z", False),
        ("2026-11-22T10:00:00", "2026-11-22T10:00:00.000Z", True),
    ],
)
def test_reads(text: str, utc: str, assumed: bool) -> None:
    found = read_station_time(text)
    assert found is not None
    assert (found.utc, found.assumed_utc) == (utc, assumed)


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-02-29T10:00:00Z", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", 5, None, ["x"], "2026-11-22"],
)
def test_what_is_no_time(text: object) -> None:
    assert read_station_time(text) is None


DIGITS = st.from_regex(
    r"(0000|0001|2026|9999)-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,9})?(Z|[+-]2?[0-9]:?00)?",
    fullmatch=True,
)


@given(DIGITS)
@example("9999-12-31T23:59:59-05:00")
@example("0001-01-01T00:00:00+05:00")
def test_the_fast_path_agrees_with_the_contract(text: str) -> None:
    try:
        parsed = parse_station_time(text)
        expected: tuple[str, bool] | None = (format_time(parsed.time), parsed.assumed_utc)
    except (ContractError, OverflowError):
        expected = None
    found = read_station_time(text)
    assert (None if found is None else tuple(found)) == expected
