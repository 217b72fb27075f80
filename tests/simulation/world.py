"""A small world in which the shipped core runs: Redis, Kafka, stations, backend, pods, and every fault between them.

Each request is three separate steps - sent, taking effect, answered - and may time out while still in flight, its effect
coming later. Everything else a procedure does between two requests is one step. `schedules.py` picks the steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from ocpp_contract.commands import InvalidCommand, decode_command
from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition, PodName
from ocpp_contract.outcome import Outcome
from ocpp_gateway.core import effects as e
from ocpp_gateway.core.directory import Refusal
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.flight import Answer, CallResult, Report
from ocpp_gateway.core.handlers import Call
from ocpp_gateway.core.pod import Pod
from tests.simulation.checks import Checks
from tests.simulation.store import Store

SETTINGS = DownlinkSettings(
    lease=6.0,
    margin=1.0,
    renew_interval=2.0,
    retry_interval=1.0,
    placement_interval=1.0,
    commit_interval=1.0,
    recommit_interval=6.0,
    foreign_backoff=6.0,
    entry_refresh=4.0,
    ping_timeout=1.0,
    call_timeout=3.0,
    late_window=2.0,
    default_deadline=8.0,
    max_deadline=40.0,
    record_ttl=500.0,
    assert_pause=0.0,
    load_balancer_wait=1.0,
)
ENTRY_TTL = 12.0
RESOURCE = "resource-1"
VERSION = "ocpp1.6"
SAFE, UNSAFE = "ClearCache", "Reset"


@dataclass(frozen=True)
class Order:
    """A command that the backend will produce."""

    id: CommandId
    station: ChargePointId
    safe: bool
    expires_in: float | None
    wait: bool = True
    urgent: bool = False

    def value(self, now: float) -> bytes:
        payload = {} if self.safe else {"type": "Immediate"}
        fields: dict[str, Any] = {
            "id": self.id,
            "chargePointId": self.station,
            "type": SAFE if self.safe else UNSAFE,
            "payload": payload,
            "waitForStation": self.wait,
            "priority": "urgent" if self.urgent else "normal",
        }
        if self.expires_in is not None:
            whole = int(now + self.expires_in)
            fields["expiresAt"] = f"1970-01-01T00:{whole // 60:02}:{whole % 60:02}Z"
        return orjson.dumps(fields)


@dataclass(frozen=True)
class ReleaseDead:
    """The operator's request."""

    partition: Partition
    incarnation: Incarnation


@dataclass(eq=False)
class Op:
    """One request in flight."""

    process: Process | None
    task: Task | None
    effect: Any
    run: str
    born: float
    done: bool = False
    reply: Any = None
    parts: list[Any] = field(default_factory=list)
    """Replies of the requests of a pipeline that took effect so far: others' requests come between them."""

    @property
    def is_store(self) -> bool:
        return not isinstance(
            self.effect,
            e.PublishResult | e.DeadLetter | e.Append | e.Commit | e.FetchCommitted | e.StoreCredential,
        )


@dataclass(eq=False)
class Task:
    """A procedure and what it waits for."""

    process: Process
    name: str
    procedure: e.Procedure[Any]
    op: Op | None = None
    until: float | None = None
    signal: e.Signal | None = None
    ping: str | None = None
    since: float = 0.0
    started: bool = False


@dataclass(eq=False)
class Line:
    """A station's side of one socket."""

    station: ChargePointId
    connection: str
    process: Process
    open_call: CommandId | None = None


class Sessions:
    """The pod's version tables and sessions, as far as delivery needs them."""

    def encode(self, command: Any, version: str) -> Call:
        return Call(command.type, dict(command.payload))

    def may_call(self, connection: str, call: Call) -> bool:
        return True

    def report(self, command: Any, version: str, call: Call, answer: Answer) -> Report:
        assert isinstance(answer, CallResult)
        return Report(Outcome.ACCEPTED, "Accepted", dict(answer.payload))

    def in_transaction(self, connection: str) -> bool:
        return False

    def data_lost(self, now: float) -> None:
        pass


@dataclass(eq=False)
class Process:
    """One life of one pod."""

    incarnation: Incarnation
    pod: Pod
    sessions: Sessions
    run: str | None = None
    """The server process that its connection was made to; None: not connected yet."""
    frozen: bool = False
    alive: bool = True
    fetching: dict[tuple[Partition, e.Lane], int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.incarnation.pod


class World:
    """State and atomic steps. Whoever drives it decides their order."""

    def __init__(
        self,
        pods: tuple[str, ...],
        partitions: int,
        orders: tuple[Order, ...],
        trace: list[str] | None = None,
        settings: DownlinkSettings | None = None,
        sessions: Callable[[], Sessions] = Sessions,
    ) -> None:
        self.now, self.trace = 100.0, trace
        self.settings = settings or SETTINGS
        self.sessions = sessions
        self.store = Store(lease=self.settings.lease, entry_ttl=ENTRY_TTL, now=self.now)
        self.store.keys["run", self.store.run] = 0
        self.partitions = [Partition(number) for number in range(partitions)]
        self.log: dict[tuple[Partition, e.Lane], list[e.SourceRecord]] = {
            (partition, lane): [] for partition in self.partitions for lane in e.Lane
        }
        self.committed: dict[tuple[Partition, e.Lane], tuple[int, str]] = {}
        self.orders = {order.id: order for order in orders}
        self.produced: dict[CommandId, int] = {}
        self.tasks: list[Task] = []
        self.ops: list[Op] = []
        self.processes: dict[str, Process] = {}
        self.lives: dict[str, int] = {}
        self.down: set[str] = set()
        self.lines: dict[ChargePointId, Line] = {}
        self.dialling: dict[ChargePointId, str | None] = {}
        self.half_open: list[Line] = []
        self.pending: list[tuple[Line, CommandId, int]] = []
        self.answers = 0
        self.obliging = True
        """In `settle` stations answer and pods notice closed sockets at once."""
        self.sockets = 0
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.notes: list[e.Note] = []
        self.runs = 1
        self.generation = 0
        self.checks = Checks(self)
        self.wish = {
            name: {self.partitions[index % partitions]} if index < partitions else set()
            for index, name in enumerate(pods)
        }
        for name in pods:
            self.start(name)

    def say(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"t={self.now:g} {text}")

    # ------------------------------------------------------------------------------------------------------ processes
    def start(self, name: str) -> None:
        life = self.lives[name] = self.lives.get(name, 0) + 1
        incarnation = Incarnation(PodName(name), f"uid-{name}", f"{life:08x}")
        sessions = self.sessions()
        pod = Pod(self.settings, incarnation, RESOURCE, sessions, sessions, lambda: 0.5)
        process = Process(incarnation, pod, sessions)
        self.processes[name] = process
        self.down.discard(name)
        self.say(f"{name}.{life} starts")
        self.connect_store(process)
        for task_name, procedure in pod.start(self.now):
            self.spawn(process, task_name, procedure)
        self.tell(process)

    def tell(self, process: Process) -> None:
        """The assignment file."""
        process.pod.assign(self.generation, self.wish[process.name])

    def connect_store(self, process: Process) -> None:
        if process.run != self.store.run:
            process.run = self.store.run
            procedure = process.pod.run_seen("shard", self.store.run, self.now)
            if procedure is not None:
                self.spawn(process, "run", procedure)

    def spawn(self, process: Process, name: str, procedure: e.Procedure[Any]) -> None:
        self.tasks.append(Task(process, name, procedure, since=self.now))

    def drain(self, process: Process) -> None:
        """SIGTERM."""
        self.say(f"{self.label(process)} drains")
        self.spawn(process, "drain", process.pod.drain(self.now))

    def stop(self, process: Process) -> None:
        """Drained: the process ends; for its sockets that is as good as a crash."""
        if process.alive:
            self.say(f"{self.label(process)} exits")
            self._end(process)

    def crash(self, process: Process) -> None:
        self.say(f"CRASH {self.label(process)}")
        self._end(process)

    def _end(self, process: Process) -> None:
        process.alive = False
        self.tasks = [task for task in self.tasks if task.process is not process]
        for op in list(self.ops):
            if op.process is process:
                op.task = None
                if op.done:
                    self.ops.remove(op)
        self.down.add(process.name)
        del self.processes[process.name]
        for station, line in list(self.lines.items()):
            if line.process is process:
                del self.lines[station]
        for station in self.dialling:
            self.dialling[station] = None
        self.half_open = [line for line in self.half_open if line.process is not process]
        self.checks.crashed(process)

    def label(self, process: Process | None) -> str:
        return "operator" if process is None else f"{process.name}.{int(process.incarnation.run, 16)}"

    # ---------------------------------------------------------------------------------------------------------- tasks
    def runnable(self) -> list[Task]:
        return [task for task in self.tasks if not task.process.frozen and self._ready(task)]

    def _ready(self, task: Task) -> bool:
        if task.op is not None:
            return False
        if task.signal is not None and task.signal.fired:
            return True
        if task.ping is not None and self.answers_ping(task.ping):
            return True
        if task.until is not None:
            return self.now >= task.until
        return task.signal is None and task.ping is None

    def answers_ping(self, connection: str) -> bool:
        return any(line.connection == connection for line in self.lines.values())

    def run_task(self, task: Task) -> bool:
        """Resume it up to its next wait. True: it did more than look at the clock."""
        value: Any = None
        if task.signal is not None:
            value = task.signal.fired
            task.signal.consume()
        elif task.ping is not None:
            value = self.answers_ping(task.ping)
        return self._resume(task, value, None)

    def _resume(self, task: Task, value: Any, unknown: e.Unknown | None) -> bool:
        task.op = task.until = task.signal = task.ping = None
        task.since = self.now
        effective = False
        try:
            if not task.started:
                task.started = True
                effect = next(task.procedure)
            elif unknown is not None:
                effect = task.procedure.throw(unknown)
            else:
                effect = task.procedure.send(e.Resumed(self.now, value))
            while (local := self._local(task, effect)) is not _SUSPEND:
                effective = effective or not isinstance(effect, e.Count | e.Note)
                effect = task.procedure.send(e.Resumed(self.now, local))
        except StopIteration as end:
            self.tasks.remove(task)
            self.ended(task, end.value)
            return True
        return effective or task.op is not None

    def _local(self, task: Task, effect: Any) -> Any:
        """Execute what is local; suspend the task for the rest."""
        process = task.process
        match effect:
            case e.Count():
                self.counts[effect.name, *effect.labels] += effect.amount
                return None
            case e.Note():
                self.notes.append(effect)
                return None
            case e.Sleep():
                task.until = effect.until
            case e.Wait():
                task.signal, task.until = effect.signal, effect.until
            case e.Ping():
                task.ping, task.until = effect.connection, effect.until
            case e.Spawn():
                self.spawn(process, effect.name, effect.procedure)
                return None
            case e.WriteCall():
                return self.write(process, effect)
            case e.CallTimedOut():
                for line in (*self.lines.values(), *self.half_open):
                    if line.connection == effect.connection and line.open_call == effect.command_id:
                        line.open_call = None
                return None
            case e.CloseSocket():
                self.close(process, effect.connection)
                return None
            case e.StartFetch():
                for lane, offset in effect.offsets.items():
                    process.fetching[effect.partition, lane] = offset
                return None
            case e.StopFetch():
                for lane in e.Lane:
                    process.fetching.pop((effect.partition, lane), None)
                return None
            case _:
                task.op = Op(process, task, effect, process.run or "", self.now)
                self.ops.append(task.op)
                self.checks.sent(task.op)
        return _SUSPEND

    def ended(self, task: Task, value: Any) -> None:
        if task.name.startswith("admit "):
            self._admitted(task, value)
        elif task.name == "drain":
            self.stop(task.process)

    # --------------------------------------------------------------------------------------------------------- requests
    def effect(self, op: Op) -> None:
        """It takes effect at the server, whether or not its sender still waits."""
        if isinstance(op.effect, e.Batch | e.Renew) and self._next_part(op):
            return
        op.done = True
        note = f"{self.label(op.process)}{'' if op.task else ' (abandoned)'}: {describe(op.effect)}"
        index = len(self.trace) if self.trace is not None else 0
        self.say(f"effect {note}")
        op.reply = self._serve(op)
        if self.trace is not None:
            self.trace[index] += f" -> {describe(op.reply)}"
        if op.task is None:
            self.ops.remove(op)

    def _next_part(self, op: Op) -> bool:
        """One request of a pipeline; True while there are more. A pipeline is no transaction."""
        if op.run != self.store.run:
            op.parts.append(_BROKEN)
            return False
        if isinstance(op.effect, e.Renew):
            held = op.effect.held[len(op.parts) : len(op.parts) + 1]
            part: Any = replace(op.effect, held=held)
        else:
            part = op.effect.requests[len(op.parts)]
        self.say(f"effect {self.label(op.process)}: part {len(op.parts)} of {describe(op.effect)}")
        op.parts.append(self._serve(replace(op, effect=part, parts=[])))
        return len(op.parts) < len(op.effect.held if isinstance(op.effect, e.Renew) else op.effect.requests)

    def _serve(self, op: Op) -> Any:
        if op.parts:
            if _BROKEN in op.parts or op.run != self.store.run:
                return _BROKEN  # a reply that is incomplete is none
            if isinstance(op.effect, e.Renew):
                return e.Renewed(
                    op.parts[-1].time_us, tuple(part.partitions[0] for part in op.parts if part.partitions)
                )
            return tuple(op.parts)
        if isinstance(op.effect, ReleaseDead):
            return self.store.release_dead(op.effect.partition, op.effect.incarnation)
        if op.is_store:
            if op.run != self.store.run:
                return _BROKEN
            shown = self.checks.entries()
            reply = self.store.execute(op.effect)
            self.checks.store_effect(op, shown)
            return reply
        return self._kafka(op)

    def answer(self, op: Op) -> None:
        """The reply reaches its sender."""
        self.ops.remove(op)
        task, process = op.task, op.process
        assert task is not None
        assert process is not None
        if op.is_store and (op.reply is _BROKEN or op.run != process.run):
            # The connection was to a server process that is gone: made again, and then everything of old is unknown.
            self.connect_store(process)
            self._resume(task, None, e.Unknown(self.now, "run"))
            return
        self.checks.answered(op)
        self._resume(task, op.reply, None)
        self.checks.rights()

    def time_out(self, op: Op) -> None:
        """The sender gives up; what was sent may still arrive."""
        self.say(
            f"time-out at {self.label(op.process)}: {describe(op.effect)} "
            f"({'done, reply lost' if op.done else 'still in flight'})"
        )
        task, op.task = op.task, None
        if op.done:
            self.ops.remove(op)
        assert task is not None
        self._resume(task, None, e.Unknown(self.now))

    def _kafka(self, op: Op) -> Any:
        match op.effect:
            case e.PublishResult(result):
                self.checks.published(result)
            case e.DeadLetter(source):
                self.checks.dead_lettered(source)
            case e.Append(lane, partition, key, value, headers):
                self.append(partition, lane, key, value, headers)
            case e.Commit(lane, partition, offset, metadata):
                self.checks.commit(op)
                self.committed[partition, lane] = (offset, metadata)
            case e.FetchCommitted(partition):
                return {lane: self._position(partition, lane) for lane in e.Lane}
        return None

    def _position(self, partition: Partition, lane: e.Lane) -> e.LanePosition:
        if (partition, lane) not in self.committed:
            return e.LanePosition(None, "", 0)
        return e.LanePosition(*self.committed[partition, lane], 0)

    def append(
        self,
        partition: Partition,
        lane: e.Lane,
        key: bytes | None,
        value: bytes,
        headers: tuple[tuple[str, bytes], ...],
    ) -> None:
        log = self.log[partition, lane]
        log.append(e.SourceRecord(lane, partition, len(log), int(self.now * 1000), key, value, headers))
        try:
            command = decode_command(value).id
        except InvalidCommand:
            return
        self.produced[command] = self.produced.get(command, 0) + 1
        self.checks.appended(command, log[-1])

    def fetchable(self) -> list[tuple[Process, Partition, e.Lane]]:
        return [
            (process, partition, lane)
            for process in self.processes.values()
            if not process.frozen
            for (partition, lane), offset in process.fetching.items()
            if offset < len(self.log[partition, lane])
        ]

    def fetch(self, process: Process, partition: Partition, lane: e.Lane) -> None:
        offset = process.fetching[partition, lane]
        process.fetching[partition, lane] = offset + 1
        record = self.log[partition, lane][offset]
        self.checks.fetched(process, record)
        procedure = process.pod.record_received(record, self.now)
        if procedure is not None:
            self.spawn(process, f"record {lane}/{partition}/{offset}", procedure)

    # --------------------------------------------------------------------------------------------------------- stations
    def dial(self, station: ChargePointId, process: Process) -> None:
        self.sockets += 1
        connection = f"socket-{self.sockets}"
        if station in self.lines:
            self.half_open.append(self.lines.pop(station))  # the old pod does not know yet
        self.dialling[station] = connection
        self.say(f"station {station} dials {self.label(process)} ({connection})")
        register = process.pod.register(station, connection, VERSION, "1970-01-01T00:00:00Z", self.now)
        self.spawn(process, f"admit {station} {connection}", register)

    def _admitted(self, task: Task, value: Any) -> None:
        _, station, connection = task.name.split(" ")
        process = task.process
        if isinstance(value, Refusal):
            if self.dialling.get(ChargePointId(station)) == connection:
                self.dialling[ChargePointId(station)] = None
            return
        if self.dialling.get(ChargePointId(station)) != connection:
            self.gone(process, connection)  # the station has given up on this handshake
            return
        line = Line(ChargePointId(station), connection, process)
        self.lines[line.station], self.dialling[line.station] = line, None
        self.checks.accepted(line.station, value.epoch)
        self.say(
            f"{self.label(process)} accepts {station}: {connection} epoch {value.epoch} partition {value.partition}"
        )
        process.pod.upgraded(connection)

    def hang_up(self, station: ChargePointId) -> None:
        self.say(f"station {station} hangs up")
        self.half_open.append(self.lines.pop(station))

    def notice(self, line: Line) -> None:
        """The pod learns that a socket has gone."""
        self.half_open.remove(line)
        self.say(f"{self.label(line.process)} notices the end of {line.connection}")
        self.gone(line.process, line.connection)

    def gone(self, process: Process, connection: str) -> None:
        self.spawn(process, "closed", process.pod.socket_closed(connection, self.now))

    def close(self, process: Process, connection: str) -> None:
        self.say(f"{self.label(process)} closes {connection}")
        self.half_open = [line for line in self.half_open if line.connection != connection]
        for station, line in list(self.lines.items()):
            if line.connection == connection:
                del self.lines[station]
        self.gone(process, connection)

    def write(self, process: Process, call: e.WriteCall) -> bool:
        line = next((x for x in (*self.lines.values(), *self.half_open) if x.connection == call.connection), None)
        if line is None:
            return False
        if line.open_call is not None:
            self.checks.bad("3", f"{call.command_id} sent to {line.station} while {line.open_call} is open")
        line.open_call = call.command_id
        self.answers += 1
        self.checks.written(process, line.station, call)
        if self.lines.get(line.station) is line:
            self.pending.append((line, call.command_id, self.answers))
        return True

    def station_answers(self, index: int) -> None:
        line, command, number = self.pending.pop(index)
        if self.lines.get(line.station) is line and line.process.alive:
            self.checks.station_answered(command, number)
            self.say(f"station {line.station} answers {command[-4:]} on {line.connection}")
            if line.open_call == command:
                line.open_call = None
            line.process.pod.answer_received(line.connection, command, CallResult({"n": number}))

    # ----------------------------------------------------------------------------------------------------------- others
    def produce(self, order: Order, partition: Partition) -> None:
        lane = e.Lane.URGENT if order.urgent else e.Lane.NORMAL
        self.say(f"backend produces {order.id[-4:]} ({'safe' if order.safe else 'unsafe'}) to {lane}/{partition}")
        self.append(partition, lane, order.station.encode(), order.value(self.now), ())

    def plan(self, wish: dict[str, set[Partition]]) -> None:
        self.generation += 1
        self.wish = wish
        self.say(f"plan {wish}")
        for process in self.processes.values():
            self.tell(process)

    def release_dead(self, name: str) -> None:
        """The operator releases what a terminated process held: requests like any others, perhaps late."""
        dead = Incarnation(PodName(name), f"uid-{name}", f"{self.lives[name]:08x}")
        self.say(f"operator releases what {name}.{self.lives[name]} held")
        for partition in self.partitions:
            self.ops.append(Op(None, None, ReleaseDead(partition, dead), self.store.run, self.now))

    def lose_data(self, kind: str, lost_writes: int, skew: float) -> None:
        self.runs += 1
        if kind == "empty":
            self.store.restart_empty(f"run-{self.runs}")
        else:
            self.store.fail_over(f"run-{self.runs}", lost_writes, skew)
        self.say(f"REDIS {kind}, run {self.runs}; keys left: {sorted(str(key) for key in self.store.keys)}")

    def tick(self) -> None:
        self.now += 1.0
        self.store.now = self.now
        self.checks.rights()

    def settle(self, held: Callable[[Op], bool] = lambda op: False) -> None:
        """Everything that can happen without time passing happens, promptly; requests that are `held` stay in flight."""
        busy, rounds = True, 0
        while busy:
            busy, rounds = False, rounds + 1
            assert rounds < 1_000, f"somebody is busy without end: {[task.name for task in self.runnable()]}"
            for op in list(self.ops):
                if op in self.ops and not held(op):
                    while not op.done:
                        self.effect(op)
                    if op in self.ops:
                        self.answer(op)
                    busy = True
            for task in self.runnable():
                if task in self.tasks:
                    self.run_task(task)
                    busy = True
            for process, partition, lane in self.fetchable():
                if (partition, lane) in process.fetching:
                    self.fetch(process, partition, lane)
                    busy = True
            while self.obliging and self.pending:
                self.station_answers(0)
                busy = True
            while self.half_open and self.obliging:
                self.notice(self.half_open[0])
                busy = True


class _Mark:
    pass


_SUSPEND, _BROKEN = _Mark(), _Mark()


def describe(value: Any) -> str:
    """One request or reply in a line that a person can read."""
    text = repr(value)
    for noise in ("ocpp_gateway.core.effects.", "Incarnation(pod=", "00000000-0000-4000-8000-00000000"):
        text = text.replace(noise, "")
    return text if len(text) < 400 else text[:400] + "..."
