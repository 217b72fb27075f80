"""A station's mailbox: bounded, urgent first, order kept, nobody held up by one who cannot go."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ocpp_gateway.core.mailbox import Mailbox


@dataclass(eq=False)
class Letter:
    order: int
    urgent: bool = False


def always(_: Letter) -> bool:
    return True


@given(st.lists(st.booleans(), max_size=40))
def test_urgent_ones_first_otherwise_in_the_order_of_arrival(urgency: list[bool]) -> None:
    mailbox: Mailbox[Letter] = Mailbox(40)
    letters = [Letter(order, urgent) for order, urgent in enumerate(urgency)]
    for letter in letters:
        assert mailbox.push(letter)
    taken = [mailbox.take(always) for _ in letters]
    assert taken == [x for x in letters if x.urgent] + [x for x in letters if not x.urgent]
    assert mailbox.take(always) is None


@given(st.integers(1, 5), st.integers(0, 10))
def test_never_more_than_its_size(size: int, count: int) -> None:
    mailbox: Mailbox[Letter] = Mailbox(size)
    accepted = [mailbox.push(Letter(order)) for order in range(count)]
    assert accepted == [order < size for order in range(count)]
    assert len(mailbox) == min(size, count)


def test_who_was_accepted_before_comes_back_to_its_place_even_when_it_is_full() -> None:
    mailbox: Mailbox[Letter] = Mailbox(2)
    first, second, third = Letter(1), Letter(2), Letter(3)
    assert mailbox.push(first)
    assert mailbox.push(second)
    assert mailbox.take(always) is first
    assert mailbox.push(third)
    assert mailbox.push(first, again=True)
    assert [mailbox.take(always) for _ in range(3)] == [first, second, third]


def test_one_that_cannot_go_does_not_hold_up_those_behind_it() -> None:
    mailbox: Mailbox[Letter] = Mailbox(5)
    stuck, free = Letter(1, urgent=True), Letter(2)
    mailbox.push(stuck)
    mailbox.push(free)
    assert mailbox.take(lambda letter: letter is not stuck) is free
    assert mailbox.take(lambda letter: letter is not stuck) is None
    assert mailbox.take(always) is stuck


def test_letters_are_taken_out_by_identity() -> None:
    mailbox: Mailbox[Letter] = Mailbox(5)
    letter, other = Letter(1), Letter(1)
    mailbox.push(letter)
    assert not mailbox.discard(other)
    assert mailbox.discard(letter)
    assert not mailbox.discard(letter)
