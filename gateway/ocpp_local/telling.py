"""How the demo talks: plain lines with the time since the beginning, and chapters."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import typer


class StoryError(Exception):
    """The story went wrong at this point; told in one line."""


class Teller:
    """Says lines; knows the last one, for when nothing follows it."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.last_line = ""

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def say(self, line: str) -> None:
        """One line of the story."""
        self.last_line = line
        typer.echo(f"{typer.style(f'{self.elapsed:6.1f} s', dim=True)}  {line}")

    def chapter(self, line: str) -> None:
        """A new chapter."""
        typer.echo(f"\n{typer.style(line, bold=True)}")


def listed(counter: Counter[Any]) -> str:
    """`2 Accepted, 1 Rejected`."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "none"
