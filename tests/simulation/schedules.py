"""Random schedules, each made by its seed: `run(seed, mode)`.

Modes say which faults may meet: P process faults and stalls of any length; S store faults, nobody stalls beyond a tick;
PS both, never overlapping; MIX anything (judged apart: beyond the fault model). Every schedule ends in a quiet time in
which all commands must end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from ocpp_contract.ids import ChargePointId, CommandId, Partition
from ocpp_gateway.core import effects as e
from tests.simulation.checks import Violation
from tests.simulation.world import SETTINGS, Op, Order, Task, World

NOTHING = {
    "drain": 0,
    "timeout": 0,
    "move": 0,
    "mute": 0,
    "dup": 0,
    "plan": 0,
    "crash": 0,
    "freeze": 0,
    "empty": 0,
    "failover": 0,
}
SOME = {"timeout": 2, "move": 4, "mute": 1, "dup": 1, "plan": 1}
PROCESS = {"crash": 1, "freeze": 1, "drain": 1}
STORE = {"empty": 1, "failover": 1}
MODES: dict[str, dict[str, Any]] = {
    "P": {**SOME, "timeout": 3, "plan": 2, "crash": 2, "freeze": 2, "drain": 1},
    "S": {**SOME, **STORE, "prompt": True},
    "PS": {**SOME, **STORE, **PROCESS, "prompt": True},
    "MIX": {**SOME, **STORE, **PROCESS, "prompt": True, "mixed": True},
}
TRIGGERS = (
    e.ClaimCommand, e.RecordDone, e.PublishResult, e.Append, e.Commit, e.Take, e.Renew, e.Restore, e.Release,
    e.Register, e.Refresh, e.AssertRecord, e.PutBack, e.MarkTimedOut, e.FetchCommitted,
)  # fmt: skip
LOOPS = frozenset({"renewals", "placement", "commits", "directory", "parking", "housekeeping"})
FAULTS = ("drain", "crash", "freeze", "empty", "failover", "plan", "hangup", "dial")


@dataclass(frozen=True)
class Result:
    """How a schedule broke an invariant."""

    seed: int
    mode: str
    number: str
    text: str
    steps: int

    def __str__(self) -> str:
        return f"mode {self.mode} seed {self.seed} step {self.steps}: invariant {self.number}: {self.text}"


def orders(rnd: random.Random, stations: list[ChargePointId]) -> tuple[Order, ...]:
    return tuple(
        Order(
            CommandId(f"00000000-0000-4000-8000-00000000000{number}"),
            rnd.choice(stations),
            rnd.random() < 0.35,
            None if rnd.random() < 0.5 else float(rnd.randrange(6, 36)),
            wait=rnd.random() < 0.85,
            urgent=rnd.random() < 0.2,
        )
        for number in range(rnd.choice((1, 1, 1, 2, 3)))
    )


class Schedule:
    """One random run."""

    def __init__(self, seed: int, mode: str, trace: list[str] | None = None) -> None:
        self.rnd = rnd = random.Random(f"{mode}/{seed}")
        self.mode = mode
        limits = {**NOTHING, **MODES[mode]}
        self.prompt = bool(limits.pop("prompt", False))
        self.mixed = bool(limits.pop("mixed", False))
        self.left: dict[str, int] = limits
        pods = ("A", "B") if rnd.random() < 0.7 else ("A", "B", "C")
        self.stations = [ChargePointId("S1")] if rnd.random() < 0.8 else [ChargePointId("S1"), ChargePointId("S2")]
        # Small limits now and then, so that refusals and re-appends meet faults too.
        settings = replace(SETTINGS, mailbox_size=rnd.choice((1, 2, 64, 64)), span_limit=rnd.choice((1, 10_000)))
        self.world = World(pods, 2, orders(rnd, self.stations), trace, settings)
        self.last_fault: tuple[str, float] | None = None
        self.ever_crashed = False
        self.no_copies: set[CommandId] = set()
        self.steps = 0
        self.weights = {
            "run": 30, "effect": 30, "answer": 30, "fetch": 20, "timeout": rnd.choice((0, 1, 4)),
            "tick": rnd.choice((2, 5, 15)), "dial": 3, "hangup": rnd.choice((0, 1)), "notice": rnd.choice((0.3, 3)),
            "reply": rnd.choice((1, 8)), "mute": 1, "produce": 3, "plan": rnd.choice((0, 1, 3)),
            "crash": rnd.choice((0, 1, 3)), "freeze": rnd.choice((0, 1, 3)), "resume": rnd.choice((0.3, 1)),
            "restart": rnd.choice((0.5, 3)), "release_dead": 1, "drain": rnd.choice((0, 0, 1)), "empty": rnd.choice((0, 1, 3)),
            "failover": rnd.choice((0, 1, 3)),
        }  # fmt: skip
        self.trigger = (
            rnd.choice(TRIGGERS),
            rnd.choice(("effect", "answer")),
            rnd.choice(("crash", "freeze", "empty", "failover", "timeout", "plan", "dial")),
        )

    # ------------------------------------------------------------------------------------------------------------- moves
    def moves(self) -> dict[str, list[Any]]:
        """Every enabled step, by kind."""
        world, left = self.world, self.left
        out: dict[str, list[Any]] = {"run": list(world.runnable()), "fetch": world.fetchable()}
        late = any(self._overdue(task) for task in out["run"]) if self.prompt else False
        out["effect"] = [op for op in world.ops if not op.done]
        out["answer"] = [op for op in world.ops if op.done and op.process is not None and not op.process.frozen]
        waited = [op for op in world.ops if op.task is not None and op.process is not None and not op.process.frozen]
        if left["timeout"]:
            out["timeout"] = waited
        if self.prompt and (late or any(op.born < world.now and op.task is not None for op in world.ops)):
            pass  # nobody stalls: time waits for them
        else:
            out["tick"] = [None]
        ready = [process for process in world.processes.values() if not process.frozen and process.pod.ready(world.now)]
        if left["move"]:
            out["dial"] = [(station, process) for station in self.stations for process in ready]
            out["hangup"] = list(world.lines)
        out["notice"] = [line for line in world.half_open if not line.process.frozen]
        out["reply"] = [
            index
            for index, (line, _, _) in enumerate(world.pending)
            if not line.process.frozen or not line.process.alive
        ]
        if left["mute"]:
            out["mute"] = list(range(len(world.pending)))
        out["produce"] = [
            (order, partition)
            for order in world.orders.values()
            if order.id not in world.produced or (left["dup"] and order.id not in self.no_copies)
            for partition in world.partitions
        ]
        if left["plan"]:
            out["plan"] = [None]
        if self._settled("P"):
            if left["crash"] and len(world.processes) + len(world.down) > 1:
                out["crash"] = list(world.processes.values())
            if left["freeze"]:
                out["freeze"] = [process for process in world.processes.values() if not process.frozen]
            if left["drain"] and len(world.processes) > 1:
                out["drain"] = [p for p in world.processes.values() if not p.frozen and not p.pod.draining()]
        out["resume"] = [process for process in world.processes.values() if process.frozen]
        out["restart"] = sorted(world.down)
        out["release_dead"] = sorted(world.down)
        if self._settled("S"):
            for kind in ("empty", "failover"):
                if left[kind]:
                    out[kind] = [None]
        return {kind: choices for kind, choices in out.items() if choices}

    def _overdue(self, task: Task) -> bool:
        since = max(task.until or 0.0, task.since)
        return since < self.world.now

    def _settled(self, kind: str) -> bool:
        """One kind of fault at a time: the other kind is over and everybody has renewed since."""
        last, world = self.last_fault, self.world
        if last is None or last[0] == kind or self.mixed:
            return True
        return (
            world.now - last[1] > 2 * SETTINGS.lease + 2 * SETTINGS.renew_interval
            and not world.down
            and not any(process.frozen for process in world.processes.values())
            and all(process.run == world.store.run for process in world.processes.values())
            and (kind == "P" or not self.ever_crashed or self._nothing_in_flight())
        )

    def _nothing_in_flight(self) -> bool:
        """What a dead pod knew is only in the store: nothing of it may still be under way."""
        return self.world.checks.all_ended() and not any(op.task is None for op in self.world.ops)

    def do(self, kind: str, what: Any) -> None:
        world, rnd = self.world, self.rnd
        self.steps += 1
        match kind:
            case "run":
                world.run_task(what)
            case "fetch":
                world.fetch(*what)
            case "effect":
                world.effect(what)
            case "answer":
                world.answer(what)
            case "timeout":
                self.left["timeout"] -= 1
                world.time_out(what)
            case "tick":
                world.tick()
            case "dial":
                self.left["move"] -= 1
                world.dial(*what)
            case "hangup":
                self.left["move"] -= 1
                world.hang_up(what)
            case "notice":
                world.notice(what)
            case "reply":
                world.station_answers(what)
            case "mute":
                self.left["mute"] -= 1
                world.pending.pop(what)
            case "produce":
                order, partition = what
                self.left["dup"] -= order.id in world.produced
                world.produce(order, partition)
            case "plan":
                self.left["plan"] -= 1
                world.plan({name: {p for p in world.partitions if rnd.random() < 0.5} for name in world.wish})
            case "drain":
                self.left["drain"] -= 1
                # What a pod that drained knew of unfinished copies is gone with it, as after a crash.
                self.last_fault, self.ever_crashed = ("P", world.now), True
                world.drain(what)
            case "crash":
                self.left["crash"] -= 1
                self.last_fault, self.ever_crashed = ("P", world.now), True
                world.crash(what)
            case "freeze":
                self.left["freeze"] -= 1
                self.last_fault = ("P", world.now)
                what.frozen = True
                world.say(f"FREEZE {world.label(what)}")
            case "resume":
                self.last_fault = ("P", world.now)
                what.frozen = False
                world.say(f"RESUME {world.label(what)}")
            case "restart":
                self.last_fault = ("P", world.now)
                world.start(what)
            case "release_dead":
                world.release_dead(what)
            case "empty" | "failover":
                self.left[kind] -= 1
                self.last_fault = ("S", world.now)
                if self.ever_crashed and not self.mixed:
                    self.no_copies = set(world.produced)
                world.lose_data(kind, 1 + rnd.randrange(4), float(rnd.randrange(3) - 1))

    # --------------------------------------------------------------------------------------------------------------- runs
    def random_steps(self, limit: int) -> None:
        rnd, spent = self.rnd, 0
        while spent < limit:
            by_kind = self.moves()
            if spent < 40:  # first let something happen
                for fault in FAULTS:
                    if fault != "dial" or self.world.lines:
                        by_kind.pop(fault, None)
            kinds = list(by_kind)
            if not kinds:
                return
            kind = rnd.choices(kinds, [self.weights[kind] + 1e-9 for kind in kinds])[0]
            what = rnd.choice(by_kind[kind])
            self.do(kind, what)
            # A loop that only looked at the clock is no step of interest.
            spent += not (kind == "run" and what.name in LOOPS and what.op is None)
            if kind == self.trigger[1] and isinstance(what.effect, self.trigger[0]) and rnd.random() < 0.5:
                self._strike(what)

    def _strike(self, op: Op) -> None:
        """A fault right after the request that this schedule has its eye on."""
        fault = self.trigger[2]
        hit = [
            what
            for what in self.moves().get(fault, ())
            if (fault == "timeout" and what is op)
            or (fault in ("crash", "freeze") and what is op.process)
            or fault in ("empty", "failover", "plan", "dial")
        ]
        if hit:
            self.do(fault, self.rnd.choice(hit))

    def quiesce(self, stations_return: bool, limit: float = 90.0) -> None:
        """Faults stop, the plan is sane, stations stay up or down: every command must end."""
        world = self.world
        world.say("--- faults stop")
        for name in sorted(world.down):
            world.start(name)
        for process in world.processes.values():
            process.frozen = False
        names = sorted(world.processes)
        wish: dict[str, set[Partition]] = {name: set() for name in names}
        for partition in world.partitions:
            wish[names[partition % len(names)]].add(partition)
        world.plan(wish)
        for order in world.orders.values():
            if order.id not in world.produced:
                world.produce(order, world.partitions[0])
        end = world.now + limit
        while world.now < end:
            for name in sorted(world.down):
                world.start(name)  # it was draining
            world.settle()
            if world.checks.all_ended():
                return
            if stations_return:
                self._redial()
                world.settle()
            world.tick()
        world.checks.stuck()

    def _redial(self) -> None:
        world = self.world
        for station in self.stations:
            ready = [process for process in world.processes.values() if process.pod.ready(world.now)]
            if station not in world.lines and ready:
                world.dial(station, ready[int(world.now) % len(ready)])


def run(seed: int, mode: str, trace: list[str] | None = None, steps: int = 220) -> Result | None:
    """One schedule; None when every invariant held."""
    schedule = Schedule(seed, mode, trace)
    try:
        schedule.random_steps(steps)
        stay_up = schedule.rnd.random() < 0.6
        if not stay_up:
            for station in list(schedule.world.lines):
                schedule.world.half_open.append(schedule.world.lines.pop(station))
            schedule.world.dialling.clear()
        schedule.quiesce(stay_up)
    except Violation as violation:
        return Result(seed, mode, violation.number, violation.text, schedule.steps)
    return None
