"""Times: what we write is what everybody reads."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.errors import ContractError
from ocpp_contract.times import format_time, from_us, parse_station_time, parse_time, to_us

AWARE = st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))


@given(AWARE)
def test_milliseconds_survive_writing_and_reading(time: datetime) -> None:
    assert parse_time(format_time(time)) == time.replace(microsecond=time.microsecond // 1000 * 1000)


@given(AWARE, st.integers(-1439, 1439))
def test_any_offset_is_the_same_moment(time: datetime, minutes: int) -> None:
    there = time.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_time(there.isoformat()) == time
    assert parse_station_time(there.isoformat()).time == time


@given(AWARE)
def test_microseconds_are_exact(time: datetime) -> None:
    assert from_us(to_us(time)) == time


def test_we_never_write_microseconds_or_an_offset() -> None:
    time = datetime(2026, 11, 22, 10, 0, 0, 123456, timezone(timedelta(hours=1)))
    assert format_time(time) == "2026-11-22T09:00:00.123Z"


def test_a_time_without_a_zone_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="zone"):
        format_time(datetime(2026, 11, 22))


@given(
    st.text(max_size=40) | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.]\d+)?(Z|[+-]\d\d:\d\d)?", fullmatch=True)
)
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with suppress(ContractError):
        parse_station_time(text)
    with suppress(ContractError):
        parse_time(text)
