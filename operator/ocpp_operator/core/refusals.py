"""Writes that the API server refused are not tried again at once, but in pauses that double.

A refusal belongs to a wish: another one for the same place is tried at once, and begins with the shortest pause.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from ocpp_operator.core.found import Trouble

PAUSE = 1.0
LONGEST = 30.0
"""Seconds. A webhook that is away may take a time-out at each try."""

Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Refusal:
    """`wish` is the fingerprint of what was refused; `until` when to try it again, by the clock that was given."""

    wish: str
    trouble: Trouble
    pause: float
    until: float


class Refusals(Generic[Place]):
    """Those of one resource, by what could not be written."""

    def __init__(self) -> None:
        self._known: dict[Place, Refusal] = {}

    def __contains__(self, place: Place) -> bool:
        """Whether it was refused last time, due again or not."""
        return place in self._known

    def standing(self, place: Place, now: float, wish: str = "") -> Refusal | None:
        """The refusal, while it is not time to try this again."""
        known = self._known.get(place)
        return known if known is not None and now < known.until and known.wish == wish else None

    def add(self, place: Place, trouble: Trouble, now: float, wish: str = "", asked: float | None = None) -> float:
        """When to try again; `asked` are the seconds for which the API server asked."""
        before = self._known.get(place)
        pause = PAUSE if before is None or before.wish != wish else min(2 * before.pause, LONGEST)
        until = now + min(max(pause, asked or 0.0), LONGEST)
        self._known[place] = Refusal(wish, trouble, pause, until)
        return until

    def forget(self, place: Place) -> None:
        """It was written."""
        self._known.pop(place, None)

    def keep(self, places: Collection[Place]) -> None:
        """The others are there no more."""
        self._known = {place: refusal for place, refusal in self._known.items() if place in places}
