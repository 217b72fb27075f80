"""The commands that wait for one station: bounded, urgent ones first, otherwise in the order of arrival.

A mailbox is a pod's own queue for one charge point, fed from both lanes of every partition it owns. It decides who is
next; it never drops: what does not fit is refused to the caller, who ends it as Busy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar


class Waiting(Protocol):
    """What a mailbox holds. `order` is the place in which it arrived, kept when it comes back after an attempt."""

    @property
    def order(self) -> int: ...

    @property
    def urgent(self) -> bool: ...


Item = TypeVar("Item", bound=Waiting)


class Mailbox(list[Item]):
    """Each item may stand in it once; kept sorted by (urgent first, order)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def push(self, item: Item, *, again: bool = False) -> bool:
        """False when the mailbox is full: nothing was added. An item that comes back was accepted already."""
        if len(self) >= self._size and not again:
            return False
        rank = _rank(item)
        place = next((place for place, other in enumerate(self) if _rank(other) > rank), len(self))
        self.insert(place, item)
        return True

    def take(self, ready: Callable[[Item], bool]) -> Item | None:
        """Remove and return the first ready item. One that cannot go now (boot state, another copy at work) does not
        hold up those behind it."""
        for place, item in enumerate(self):
            if ready(item):
                return self.pop(place)
        return None

    def discard(self, item: Item) -> bool:
        """Take an item out wherever it stands; False when it is not here."""
        for place, other in enumerate(self):
            if other is item:
                del self[place]
                return True
        return False


def _rank(item: Waiting) -> tuple[bool, int]:
    return (not item.urgent, item.order)
