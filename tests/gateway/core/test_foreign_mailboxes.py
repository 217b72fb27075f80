"""Pauses between looks at mailboxes of another resource."""

from __future__ import annotations

from ocpp_contract.ids import Partition
from ocpp_gateway.core.foreign_mailboxes import ForeignMailboxes

P0, P1 = Partition(0), Partition(1)


def pauses(foreign: ForeignMailboxes, generation: int, looks: int, now: float = 100.0) -> list[float]:
    """Refuse P0 at each look; how long it took each time until it was due again."""
    found = []
    for _ in range(looks):
        foreign.refused(P0, generation, now)
        begun = now
        while not foreign.due(P0, generation, now):
            now = round(now + 0.5, 1)
        found.append(now - begun)
    return found


def test_what_was_never_refused_is_due() -> None:
    assert ForeignMailboxes(1.0, 60.0).due(P0, 1, 0.0)


def test_pauses_double_up_to_the_longest() -> None:
    assert pauses(ForeignMailboxes(1.0, 8.0), 1, 6) == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_another_generation_is_due_at_once_and_begins_with_a_short_pause() -> None:
    foreign = ForeignMailboxes(1.0, 60.0)
    pauses(foreign, 1, 5)
    foreign.refused(P0, 1, 200.0)
    assert not foreign.due(P0, 1, 210.0)
    assert foreign.due(P0, 2, 210.0)
    assert pauses(foreign, 2, 2, 210.0) == [1.0, 2.0]


def test_each_partition_has_its_own_pauses() -> None:
    foreign = ForeignMailboxes(1.0, 60.0)
    pauses(foreign, 1, 5)
    foreign.refused(P1, 1, 500.0)
    assert foreign.due(P1, 1, 501.0)


def test_one_that_was_ours_in_between_begins_anew() -> None:
    foreign = ForeignMailboxes(1.0, 60.0)
    pauses(foreign, 1, 5)
    foreign.ours(P0)
    assert pauses(foreign, 1, 1) == [1.0]


def test_only_a_refusal_that_lasts_is_worth_an_error() -> None:
    foreign = ForeignMailboxes(1.0, 4.0)
    assert [foreign.refused(P0, 1, now) for now in (0.0, 1.0, 3.0, 7.0)] == [False, False, True, True]
