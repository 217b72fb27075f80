"""Cpuset lists and the Downward API file: written, then read, they are the same; garbage is refused, never more."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.assignment import (
    MAX_PARTITION,
    Assignment,
    format_annotations_file,
    format_cpuset,
    parse_annotations_file,
    parse_cpuset,
)
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import Partition

PARTITIONS = st.frozensets(st.integers(0, 200).map(Partition)) | st.frozensets(
    st.integers(0, MAX_PARTITION).map(Partition), max_size=20
)
# Keys of annotations are DNS-like names; values any text that YAML can hold (lone surrogates it cannot).
KEYS = st.from_regex(r"[a-z][a-z0-9./-]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(PARTITIONS)
def test_a_set_survives_writing_and_reading(partitions: frozenset[Partition]) -> None:
    assert parse_cpuset(format_cpuset(partitions)) == partitions


@given(PARTITIONS)
def test_the_list_is_the_shortest(partitions: frozenset[Partition]) -> None:
    runs = sum(number - 1 not in partitions for number in partitions)
    assert len([part for part in format_cpuset(partitions).split(",") if part]) == runs


@given(st.text(st.sampled_from("0123456789-, x"), max_size=30) | st.text(max_size=30))
def test_any_text_is_a_set_or_refused(text: str) -> None:
    with suppress(ContractError):
        assert all(0 <= number <= MAX_PARTITION for number in parse_cpuset(text))


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_annotations_survive_writing_and_reading(annotations: dict[str, str]) -> None:
    assert parse_annotations_file(format_annotations_file(annotations)) == annotations


@given(st.text(max_size=80) | st.text(st.sampled_from('a="\\xuU0\n'), max_size=40))
def test_any_file_is_read_or_refused(text: str) -> None:
    with suppress(ContractError):
        parse_annotations_file(text)


@given(PARTITIONS, st.integers(0, 10**17))
def test_an_assignment_survives_the_whole_way(partitions: frozenset[Partition], generation: int) -> None:
    sent = Assignment(generation, partitions)
    read = Assignment.from_annotations(parse_annotations_file(format_annotations_file(sent.to_annotations())))
    assert read == sent


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.data())
def test_a_file_cut_off_is_never_read_as_another_assignment(others: dict[str, str], data: st.DataObject) -> None:
    sent = Assignment(12, parse_cpuset("0-41,96"))
    text = format_annotations_file(others | sent.to_annotations())
    cut = text[: data.draw(st.integers(0, len(text)))]
    with suppress(ContractError):
        assert Assignment.from_annotations(parse_annotations_file(cut)) in (None, sent)
