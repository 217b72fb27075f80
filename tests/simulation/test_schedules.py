"""Thousands of random schedules with faults at every step: every invariant holds and every command ends.

A failure prints its schedule; `python -m tests.simulation show MODE SEED` prints it again.
"""

from __future__ import annotations

from collections import Counter

import pytest

from ocpp_contract.outcome import Outcome
from tests.simulation.schedules import Result, Schedule, run

CHUNK = 500
CHUNKS = [("P", first) for first in range(0, 3_000, CHUNK)]
CHUNKS += [(mode, first) for mode in ("S", "PS") for first in range(0, 2_500, CHUNK)]


def story_of(result: Result, lines: int = 150) -> str:
    trace: list[str] = []
    run(result.seed, result.mode, trace)
    return "\n".join([str(result), *trace[-lines:]])


@pytest.mark.parametrize(("mode", "first"), CHUNKS)
def test_every_invariant_holds(mode: str, first: int) -> None:
    for seed in range(first, first + CHUNK):
        result = run(seed, mode)
        assert result is None, story_of(result)


def test_the_schedules_are_worth_their_time() -> None:
    """They deliver, expire, forward, take over and lose: a simulation in which nothing happens proves nothing."""
    outcomes: Counter[Outcome] = Counter()
    happened: Counter[str] = Counter()
    for seed in range(150):
        for mode in ("P", "PS"):
            schedule = Schedule(seed, mode)
            schedule.random_steps(220)
            schedule.quiesce(True)
            checks, counts = schedule.world.checks, schedule.world.counts
            outcomes.update(result.outcome for result in checks.final.values())
            happened["written"] += len(checks.writes)
            happened["written twice"] += sum(number > 1 for number in checks.writes.values())
            happened["forwarded"] += counts["commands_forwarded",]
            happened["put back"] += counts["claims_put_back",]
            happened["met"] += sum(number for name, number in counts.items() if name[0] == "claims_met")
            happened["lapsed"] += counts["partitions_ended", "lapsed"]
            happened["released"] += counts["partitions_ended", "released"]
            happened["losses"] += counts["redis_data_losses",]
    assert all(outcomes[outcome] >= 10 for outcome in (Outcome.ACCEPTED, Outcome.EXPIRED, Outcome.UNCERTAIN)), outcomes
    assert outcomes[Outcome.NOT_CONNECTED] >= 5, outcomes
    assert all(number >= 3 for number in happened.values()), happened
    assert happened.keys() >= {"written", "forwarded", "put back", "met", "lapsed", "released", "losses"}
