"""The committed offset never passes an unfinished record, and what is finished above it survives in the metadata."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.commit_metadata import METADATA_LIMIT, decode_metadata, encode_metadata
from ocpp_gateway.core.watermark import Watermark

UID = "6c1f9a3e-0b1d-4e53-8f0e-2b7d3f5a9c10"


def read_all(base: int, offsets: range) -> Watermark:
    watermark = Watermark(base)
    for offset in offsets:
        assert watermark.received(offset)
    return watermark


@given(st.permutations(range(12)))
def test_low_is_the_lowest_unfinished_whatever_the_order(order: list[int]) -> None:
    watermark = read_all(100, range(100, 112))
    unfinished = set(range(100, 112))
    for index in order:
        watermark.finish(100 + index)
        unfinished.discard(100 + index)
        assert watermark.low == min(unfinished, default=112)
        assert watermark.finished == {offset for offset in range(watermark.low, 112) if offset not in unfinished}


@given(st.sets(st.integers(0, 300)), st.sets(st.integers(0, 300)))
def test_metadata_brings_back_what_was_finished(read_gaps: set[int], finished: set[int]) -> None:
    """A successor reads the same records again, knows the finished ones, and ends at the same watermark."""
    before = Watermark(0)
    records = [offset for offset in range(301) if offset not in read_gaps]
    for offset in records:
        before.received(offset)
        if offset in finished:
            before.finish(offset)
    known = decode_metadata(before.metadata(UID), before.low)
    assert known is not None
    assert known.resource_uid == UID
    after = Watermark(before.low, known.finished)
    to_do = [offset for offset in records if offset >= before.low and after.received(offset)]
    assert to_do == [offset for offset in records if offset >= before.low and offset not in finished]
    for offset in to_do:
        after.finish(offset)
    assert after.low == after.position


@given(st.sets(st.integers(0, 9_999), min_size=1), st.text("abcdef0123456789-", min_size=1, max_size=63))
def test_metadata_never_exceeds_its_limit_and_never_invents(finished: set[int], uid: str) -> None:
    text = encode_metadata(uid, 0, finished)
    assert len(text.encode()) <= METADATA_LIMIT
    known = decode_metadata(text, 0)
    assert known is not None
    assert known.finished <= finished


def test_the_worst_case_is_cut_not_refused() -> None:
    every_other = set(range(1, 10_000, 2))
    text = encode_metadata(UID, 0, every_other)
    known = decode_metadata(text, 0)
    assert known is not None
    assert 500 < len(known.finished) < len(every_other)
    assert known.finished == {offset for offset in every_other if offset <= max(known.finished)}


@pytest.mark.parametrize("text", ["", "something else", "2;uid;1,1", "1;uid", "{}"])
def test_metadata_of_others_says_nothing(text: str) -> None:
    assert decode_metadata(text, 7) is None


@pytest.mark.parametrize("text", ["1;uid;x", "1;uid;-1,2", "1;uid;1,99999999999"])
def test_broken_run_lengths_still_name_the_resource(text: str) -> None:
    known = decode_metadata(text, 7)
    assert known is not None
    assert (known.resource_uid, known.finished) == ("uid", frozenset())


def test_records_not_read_yet_are_not_passed() -> None:
    watermark = Watermark(5)
    watermark.finish(5)
    assert watermark.low == 5


def test_offsets_that_the_log_leaves_out_are_passed() -> None:
    watermark = Watermark(0)
    assert watermark.received(3)
    assert watermark.low == 3
    watermark.finish(3)
    assert watermark.low == 4


def test_a_record_handed_out_twice_is_done_once() -> None:
    watermark = read_all(0, range(2))
    assert not watermark.received(1)


def test_a_finish_from_an_earlier_tenure_changes_nothing() -> None:
    watermark = Watermark(10)
    watermark.finish(3)
    watermark.finish(12)
    assert (watermark.low, watermark.finished, watermark.span) == (10, set(), 0)


def test_span_is_what_the_watermark_lags_behind() -> None:
    watermark = read_all(0, range(10))
    for offset in range(1, 10):
        watermark.finish(offset)
    assert watermark.span == 10
    watermark.finish(0)
    assert watermark.span == 0
