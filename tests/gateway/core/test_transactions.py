"""Identities are hashes of what a message is, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocpp_gateway.core.handlers import transaction_ref
from ocpp_gateway.core.transactions import (
    Remembered,
    end_digest,
    make_transaction_id,
    message_ce_id,
    natural_ce_id,
    start_digest,
)

KEYS = st.tuples(st.integers(0, 9), st.text(max_size=20), st.text(max_size=24), st.integers(0, 2**40))


@given(st.text(min_size=1), KEYS, st.integers(0, 100))
def test_a_transaction_id_fits_every_station(station: str, key: tuple[str | int, ...], generation: int) -> None:
    number = make_transaction_id(station, key, generation)
    assert 1 <= number <= 2**31 - 1
    assert number == make_transaction_id(station, key, generation)


def test_transaction_ids_are_spread_over_the_whole_range() -> None:
    ids = {make_transaction_id(f"CP{number}", (1, "TAG", "2026-11-22T10:00:00Z", 0), 0) for number in range(2_000)}
    assert len(ids) == 2_000, "stations that start in the same second get different ids"
    assert max(ids) > 2**30
    assert min(ids) < 2**25


def test_a_generation_makes_another_transaction_and_another_event() -> None:
    key = (1, "TAG", "2026-11-22T10:00:00Z", 0)
    assert make_transaction_id("CP1", key, 0) != make_transaction_id("CP1", key, 1)
    assert natural_ce_id("CP1", "StartTransaction", key, 0) != natural_ce_id("CP1", "StartTransaction", key, 1)


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    assert start_digest("CP1", ("a", "bc")) != start_digest("CP1", ("ab", "c"))
    assert start_digest("CP1", (1,)) != start_digest("CP1", ("1",))
    assert start_digest("CP1", ()) != end_digest("CP1", "")
    assert end_digest("CP1", 7) == end_digest("CP1", "7"), "1.6 says 7, the contract says it as text"


def test_a_ce_id_holds_the_whole_message() -> None:
    base = message_ce_id("CP1", "1", "MeterValues", {"a": 1}, None)
    others = [
        message_ce_id("CP2", "1", "MeterValues", {"a": 1}, None),
        message_ce_id("CP1", "2", "MeterValues", {"a": 1}, None),
        message_ce_id("CP1", "1", "StatusNotification", {"a": 1}, None),
        message_ce_id("CP1", "1", "MeterValues", {"a": 2}, None),
        message_ce_id("CP1", "1", "MeterValues", {"a": 1}, 5),
    ]
    assert len({base, *others}) == 6
    assert len(base) == 32


def test_a_transaction_ref_needs_only_what_every_message_of_it_carries() -> None:
    assert transaction_ref("CP1", 5) == transaction_ref("CP1", "5")
    assert transaction_ref("CP1", 5) != transaction_ref("CP2", 5)
    assert len(transaction_ref("CP1", 5)) == 32


@given(st.integers(1, 2**31 - 1), st.integers(0, 9), st.dictionaries(st.text(), st.text()))
def test_what_is_remembered_is_read_again(number: int, generation: int, answer: dict[str, str]) -> None:
    record = Remembered(number, generation, answer)
    assert Remembered.from_json(record.to_json()) == record


@given(st.binary(max_size=40))
def test_any_other_record_is_none(value: bytes) -> None:
    assert Remembered.from_json(value) is None
