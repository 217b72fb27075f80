"""Two electors never lead at once, whatever requests, clocks and processes do.

A small world: one Lease on a server that does one request at a time, and candidates whose requests and answers take any time,
get lost, or are given up while still under way; whose clocks are set apart and run at speeds a little apart; whose processes
freeze, resign, die and come back as others; and a person who deletes the Lease.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ocpp_operator.core.election import Elector, Leave, Read, Stored, Timing, Wait, Write

TIMING = Timing(duration=15, renew_deadline=10, retry=2)
EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
LIFE = 200.0
REQUEST_TIMEOUT = TIMING.renew_deadline / 3


class World:
    """Events in the order of the true time."""

    def __init__(self, chance: Random, prompt: float, slowest: float) -> None:
        """`prompt` of the requests and of the answers take a tenth of a second at most, the others up to `slowest`."""
        self.chance = chance
        self.prompt, self.slowest = prompt, slowest
        self.now = 0.0
        self.lease: Stored | None = None
        self.versions = count(1)
        self.candidates: list[Candidate] = []
        self.reigns: set[str] = set()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (max(when, self.now), next(self._order), what))

    def delay(self) -> float:
        return self.chance.uniform(0, 0.1 if self.chance.random() < self.prompt else self.slowest)

    def run(self) -> None:
        while self._agenda and self._agenda[0][0] < LIFE:
            when, _, what = heapq.heappop(self._agenda)
            # Rights only end by themselves between two events: who leads right before the next one led in between.
            self.now = when
            self.judge()
            what()
            self.judge()

    def judge(self) -> None:
        leaders = {each.elector.identity for each in self.candidates if each.elector.leads(each.clock())}
        assert len(leaders) <= 1, f"{leaders} lead at {self.now}"
        self.reigns |= leaders

    # --- the server ---------------------------------------------------------------------------------------------

    def write(self, write: Write) -> Stored | None:
        """None: refused."""
        if write.version != (None if self.lease is None else self.lease.version):
            return None
        self.lease = Stored(write.lease, str(next(self.versions)))
        return self.lease

    def delete_lease(self) -> None:
        self.lease = None


class Candidate:
    """One pod: its process may be replaced, its clock stays."""

    def __init__(self, world: World, name: str, offset: float, speed: float, wall: float) -> None:
        self.world = world
        self.name, self.offset, self.speed, self.wall = name, offset, speed, wall
        self.lives = count()
        self.start()

    def clock(self) -> float:
        return self.offset + self.speed * self.world.now

    def utc(self) -> datetime:
        return EPOCH + timedelta(seconds=self.wall + self.speed * self.world.now)

    def start(self) -> None:
        self.elector = Elector(f"{self.name}-{next(self.lives)}", TIMING)
        self.frozen_until = 0.0
        self.later(0.0, self.turn)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Unless this process has ended by then; while it is frozen, afterwards."""
        elector = self.elector

        def awake() -> None:
            if elector is not self.elector:
                return
            if self.world.now < self.frozen_until:
                self.world.at(self.frozen_until, awake)
            else:
                what()

        self.world.at(self.world.now + seconds, awake)

    def turn(self) -> None:
        step = self.elector.step(self.clock(), self.utc())
        match step:
            case Leave():
                self.later(self.world.chance.uniform(0, 20), self.start)
            case Wait(until):
                self.later(max(1e-3, until - self.clock()) / self.speed, self.turn)  # floats: never stand still
            case Read() | Write():
                self.send(step)

    def send(self, step: Read | Write) -> None:
        world, sent = self.world, self.clock()
        there, back = world.delay(), world.delay()
        done = False

        def answer(report: Callable[[], None]) -> None:
            nonlocal done
            if not done:
                done = True
                report()
                self.turn()

        def arrive() -> None:  # however late, and whether the sender lives or not
            if isinstance(step, Read):
                found = world.lease
                self_later(back, lambda: answer(lambda: self.elector.found(found, self.clock())))
            elif (stored := world.write(step)) is None:
                self_later(back, lambda: answer(lambda: self.elector.refused(self.clock())))
            else:
                self_later(back, lambda: answer(lambda: self.elector.stored(stored, sent, self.clock())))

        sender = self.elector

        def self_later(seconds: float, what: Callable[[], None]) -> None:
            if self.elector is sender:
                self.later(seconds, what)

        world.at(world.now + there, arrive)
        self.later(REQUEST_TIMEOUT, lambda: answer(lambda: self.elector.failed(self.clock())))

    def freeze(self) -> None:
        self.frozen_until = self.world.now + self.world.chance.uniform(0, 40)

    def die(self) -> None:
        self.start()

    def resign(self) -> None:
        if self.world.now < self.frozen_until:
            return
        self.elector.resign()
        farewell = self.elector.farewell(self.utc())
        if farewell is not None:
            self.world.at(self.world.now + self.world.delay(), lambda: self.world.write(farewell))
        self.start()


_SEEDS = st.integers(0, 2**32)
_CLOCKS = st.tuples(st.floats(-1e6, 1e6), st.floats(0.9, 1.1), st.floats(-1e6, 1e6))
_HARMS = st.lists(
    st.tuples(st.floats(0, LIFE), st.integers(0, 2), st.sampled_from(["freeze", "die", "resign", "clock"])), max_size=12
)


@settings(max_examples=400, deadline=None)
@given(
    _SEEDS,
    st.sampled_from([0.0, 0.5, 0.8, 0.95]),
    st.sampled_from([1.0, 4.0, 12.0, LIFE]),
    st.lists(_CLOCKS, min_size=2, max_size=3),
    _HARMS,
)
def test_two_never_lead_at_once(
    seed: int,
    prompt: float,
    slowest: float,
    clocks: list[tuple[float, float, float]],
    harms: list[tuple[float, int, str]],
) -> None:
    world = World(Random(seed), prompt, slowest)
    world.candidates = [Candidate(world, "abc"[number], *clock) for number, clock in enumerate(clocks)]

    def set_wall_clock(candidate: Candidate) -> None:
        candidate.wall = world.chance.uniform(-1e6, 1e6)

    for when, which, harm in harms:
        candidate = world.candidates[which % len(clocks)]
        what = set_wall_clock if harm == "clock" else getattr(Candidate, harm)
        world.at(when, partial(what, candidate))
    world.run()


@settings(max_examples=100, deadline=None)
@given(_SEEDS, st.floats(30, LIFE - 60))
def test_nor_when_somebody_deletes_the_lease_under_them(seed: int, when: float) -> None:
    """All of them have seen it by then; a process that starts in that moment has not."""
    world = World(Random(seed), 0.5, 1.0)
    world.candidates = [Candidate(world, name, 0.0, 1.0, 0.0) for name in "abc"]
    world.at(when, world.delete_lease)
    world.run()
    assert len(world.reigns) == 2, "the one whose lease it was has left, another leads"


@settings(max_examples=100, deadline=None)
@given(_SEEDS, st.lists(_CLOCKS, min_size=2, max_size=3))
def test_without_faults_one_leads_and_goes_on_leading(seed: int, clocks: list[tuple[float, float, float]]) -> None:
    world = World(Random(seed), 0.8, 0.5)
    world.candidates = [Candidate(world, "abc"[number], *clock) for number, clock in enumerate(clocks)]
    world.run()
    assert len(world.reigns) == 1
    assert [each for each in world.candidates if each.elector.leads(each.clock())]
