"""What this operator would run instead of the pods that are there and stay (`core.template`): newer ones, older ones, or others.

An operator that was itself taken back would take gateways back too, with the next change of a resource that names no version. So the
two are told apart wherever versions can be compared: numbers with dots; what follows them (`-rc1`) tells nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)+)(?![0-9.]).*")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """`str` of it is the message for people."""

    running: str
    """Version of the pods, the tag of their image."""
    offered: str
    """The one that the operator would run."""

    @property
    def reason(self) -> str:
        here, there = _numbers(self.running), _numbers(self.offered)
        if here is not None and there is not None and here != there:
            return "Newer" if there > here else "Older"
        return "Differs"

    @property
    def forwards(self) -> bool:
        """Not one to an older version."""
        return self.reason != "Older"

    def __str__(self) -> str:
        match self.reason:
            case "Newer":
                return (
                    f"this operator would run version {self.offered}; pods stay at {self.running} until a field that they are made of "
                    "changes (spec.version, for example)"
                )
            case "Older":
                return (
                    f"this operator would run version {self.offered}, older than {self.running}: pods go back to it with the next change "
                    f"of a field that they are made of, unless spec.version says {self.running}"
                )
        other = "another template" if self.offered == self.running else f"version {self.offered}"
        return (
            f"this operator would run pods of {other}; they stay as they are (version {self.running}) until a field that they are made of "
            "changes"
        )


def _numbers(version: str) -> tuple[int, ...] | None:
    """Trailing zeros say nothing: 1.0 is 1.0.0."""
    match = _NUMBERS.fullmatch(version)
    if match is None:
        return None
    numbers = [int(number) for number in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
