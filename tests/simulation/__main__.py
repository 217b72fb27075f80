"""`python -m tests.simulation MODE COUNT [FIRST]` runs many seeds; `python -m tests.simulation show MODE SEED` prints one."""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.simulation.schedules import run


def show(mode: str, seed: int) -> None:
    """The schedule as a story, ending in the violation."""
    trace: list[str] = []
    try:
        result = run(seed, mode, trace)
    finally:
        hidden = ("Renew(", "FetchCommitted(", "MarkRun(")
        print("\n".join(line for line in trace if "VIOLATION" in line or not any(word in line for word in hidden)))  # noqa: T201
    print(result or "every invariant held")  # noqa: T201


def campaign(mode: str, count: int, first: int) -> None:
    """Counts violations and names the shortest schedule for each."""
    found: Counter[str] = Counter()
    shortest: dict[str, tuple[int, str]] = {}
    begun = time.monotonic()
    for seed in range(first, first + count):
        result = run(seed, mode)
        if result is not None:
            found[result.number] += 1
            if result.number not in shortest or result.steps < shortest[result.number][0]:
                shortest[result.number] = (result.steps, str(result))
    print(f"{mode}: {count} schedules in {time.monotonic() - begun:.0f} s, violations {dict(found)}")  # noqa: T201
    for _, text in shortest.values():
        print("   ", text)  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1] == "show":
        show(sys.argv[2], int(sys.argv[3]))
    else:
        campaign(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
