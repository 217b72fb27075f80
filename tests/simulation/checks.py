"""The invariants, judged at every step by an observer that knows everything and trusts no pod.

Numbers are those of the reliability page: 1 one outcome, 2 unsafe written twice, 3 two CALLs open, 4 write without right,
6 watermark, 7 two rights, 8 epoch back; H a claim for a superseded socket, T an untruthful outcome, L no end in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocpp_contract.commands import InvalidCommand, decode_command
from ocpp_contract.commit_metadata import decode_metadata
from ocpp_contract.ids import ChargePointId, CommandId, Partition
from ocpp_contract.outcome import CommandResult, Outcome
from ocpp_gateway.core import effects as e

if TYPE_CHECKING:
    from tests.simulation.world import Op, Process, World


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, number: str, text: str) -> None:
        super().__init__(number, text)
        self.number = number
        self.text = text


class Checks:
    """What has happened so far, as far as an invariant depends on it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.final: dict[CommandId, CommandResult] = {}
        self.writes: dict[CommandId, int] = {}
        self.station_said: dict[CommandId, set[int]] = {}
        self.copies: dict[CommandId, list[tuple[int, e.SourceRecord]]] = {}
        self.copy_order = 0
        self.dead: set[tuple[e.Lane, int, int]] = set()
        self.accepted_epoch: dict[ChargePointId, int] = {}
        self.right_until: dict[tuple[Any, Partition], tuple[int, float]] = {}
        self.read: dict[Any, dict[CommandId, set[Partition]]] = {}
        self.ignore: frozenset[str] = frozenset()

    def bad(self, number: str, text: str) -> None:
        if number in self.ignore:
            return
        self.world.say(f"VIOLATION {number}: {text}")
        raise Violation(number, text)

    # -------------------------------------------------------------------------------------- 4, 7: rights, by own book-keeping
    def sent(self, op: Op) -> None:
        if isinstance(op.effect, e.Release):
            self._end_right(op.process, op.effect.partition, op.effect.epoch)

    def answered(self, op: Op) -> None:
        """A pod's right is what the replies that it received grant, counted from before they were sent."""
        settings = self.world.settings
        until = op.born + settings.lease - settings.margin
        assert op.process is not None
        me = op.process.incarnation
        if isinstance(op.reply, e.Taken):
            self.right_until[me, op.effect.partition] = (op.reply.epoch, until)
        elif isinstance(op.reply, e.Renewed):
            for (partition, epoch), state in zip(op.effect.held, op.reply.partitions, strict=True):
                self._renewed(me, partition, epoch, state.state is e.RenewState.HELD, until)
        elif isinstance(op.effect, e.Restore) and op.reply is e.RenewState.HELD:
            self._renewed(me, op.effect.partition, op.effect.epoch, True, until)

    def _renewed(self, me: Any, partition: Partition, epoch: int, held: bool, until: float) -> None:
        known = self.right_until.get((me, partition))
        if known is not None and known[0] == epoch and held and self.world.now < known[1]:
            self.right_until[me, partition] = (epoch, max(known[1], until))

    def _end_right(self, process: Process | None, partition: Partition, epoch: int) -> None:
        assert process is not None
        key = (process.incarnation, partition)
        if key in self.right_until and self.right_until[key][0] == epoch:
            del self.right_until[key]

    def crashed(self, process: Process) -> None:
        for key in [key for key in self.right_until if key[0] == process.incarnation]:
            del self.right_until[key]

    def has_right(self, process: Process, partition: Partition) -> bool:
        known = self.right_until.get((process.incarnation, partition))
        return known is not None and self.world.now < known[1]

    def rights(self) -> None:
        """7, by what the pods themselves believe."""
        for partition in self.world.partitions:
            holders = []
            for process in self.world.processes.values():
                tenure = process.pod.ownership.owned.get(partition)
                if tenure is not None and not tenure.gone and self.world.now < tenure.right_until:
                    holders.append(self.world.label(process))
            if len(holders) > 1:
                self.bad("7", f"{holders} all have the right to deliver from partition {partition}")

    # ----------------------------------------------------------------------------------------------------- 8, H: directory
    def entries(self) -> dict[ChargePointId, int]:
        """The epoch that the directory shows for each station."""
        found = {station: self.world.store.entry(station) for station in self.accepted_epoch}
        return {station: entry.epoch for station, entry in found.items() if entry is not None}

    def store_effect(self, op: Op, before: dict[ChargePointId, int]) -> None:
        for station, epoch in self.entries().items():
            # Extending what is shown is no step back: a failover itself may show an older entry until it is re-asserted.
            if epoch != before.get(station) and epoch < self.accepted_epoch[station]:
                self.bad("8", f"conn:{station} goes back to {epoch} from {self.accepted_epoch[station]}")
        if isinstance(op.effect, e.ClaimCommand) and self.world.runs == 1:
            station = op.effect.charge_point_id
            record = self.world.store.record(station, op.effect.command_id)
            superseded = op.effect.epoch < self.accepted_epoch.get(station, 0)
            if superseded and isinstance(record, e.Claim) and record.since_us == self.world.store.time_us:
                self.bad("H", f"{op.effect.command_id} claimed for the superseded socket of epoch {op.effect.epoch}")

    def accepted(self, station: ChargePointId, epoch: int) -> None:
        self.accepted_epoch[station] = max(epoch, self.accepted_epoch.get(station, 0))

    # ------------------------------------------------------------------------------------------------------- 2, 3, 4: writes
    def fetched(self, process: Process, record: e.SourceRecord) -> None:
        try:
            command = decode_command(record.value or b"").id
        except InvalidCommand:
            return
        self.read.setdefault(process.incarnation, {}).setdefault(command, set()).add(record.partition)

    def written(self, process: Process, station: ChargePointId, call: e.WriteCall) -> None:
        command = call.command_id
        number = self.writes[command] = self.writes.get(command, 0) + 1
        self.world.say(
            f"{self.world.label(process)} WRITES {command[-4:]} to {station} ({call.connection}), time {number}"
        )
        if number > 1 and not self.world.orders[command].safe:
            self.bad("2", f"{command} (never blindly) written {number} times")
        partitions = self.read.get(process.incarnation, {}).get(command, set())
        if not any(self.has_right(process, partition) for partition in partitions):
            self.bad("4", f"{self.world.label(process)} writes {command} without the right to any of {partitions}")
        final = self.final.get(command)
        if final is not None and final.outcome.only_from_none:
            self.bad("T", f"{command} written after it was {final.outcome}")

    def station_answered(self, command: CommandId, number: int) -> None:
        self.station_said.setdefault(command, set()).add(number)

    # ------------------------------------------------------------------------------------------------------- 1, T: outcomes
    def published(self, result: CommandResult) -> None:
        command = result.command_id
        if not result.final:
            if not self.writes.get(command):
                self.bad("T", f"{command} TimedOut, but was never written")
            return
        known = self.final.setdefault(command, result)
        if known != result:
            self.bad("1", f"two final outcomes of {command}: {known.outcome} and {result.outcome} ({known} / {result})")
        if result.outcome.only_from_none and self.writes.get(command):
            self.bad("T", f"{result.outcome} published for {command}, which was written")
        if result.outcome is Outcome.ACCEPTED:
            said = self.station_said.get(command, set())
            if result.payload is None or result.payload.get("n") not in said:
                self.bad("T", f"{command} Accepted, but the station did not answer that")

    def dead_lettered(self, source: e.SourceRecord) -> None:
        self.dead.add((source.lane, source.partition, source.offset))

    # --------------------------------------------------------------------------------------------------------- 6: watermark
    def appended(self, command: CommandId, record: e.SourceRecord) -> None:
        self.copy_order += 1
        self.copies.setdefault(command, []).append((self.copy_order, record))
        if self.world.produced[command] > 30:
            self.bad("L", f"forward loop of {command}")

    def commit(self, op: Op) -> None:
        request: e.Commit = op.effect
        above = decode_metadata(request.metadata, request.offset)
        assert above is not None
        log = self.world.log[request.partition, request.lane]
        if len(request.metadata) > 3_500:
            self.bad("6", "metadata too long")
        for offset in (*range(request.offset), *above.finished):
            if offset >= len(log):
                self.bad("6", f"watermark {request.offset}+{sorted(above.finished)} beyond the log of {len(log)}")
            if not self.finished(log[offset]):
                self.bad(
                    "6",
                    f"watermark {request.offset}+{sorted(above.finished)} of {request.lane}/{request.partition} passes "
                    f"unfinished record {offset}",
                )

    def finished(self, record: e.SourceRecord) -> bool:
        """Its outcome is published, or a later copy stands for it."""
        try:
            command = decode_command(record.value or b"").id
        except InvalidCommand:
            return (record.lane, record.partition, record.offset) in self.dead
        final = self.final.get(command)
        if final is not None:
            place = (record.lane, record.partition, record.offset)
            return not final.outcome.dead_letter or place in self.dead or self._later_copy(command, record)
        return self._later_copy(command, record)

    def _later_copy(self, command: CommandId, record: e.SourceRecord) -> bool:
        order = next(order for order, copy in self.copies[command] if copy is record)
        return any(other > order for other, copy in self.copies[command] if copy.headers)

    # ----------------------------------------------------------------------------------------------------------- L: liveness
    def all_ended(self) -> bool:
        world = self.world
        return all(command in self.final for command in world.produced) and all(
            world.committed.get((partition, lane), (0, ""))[0] >= len(log)
            for (partition, lane), log in world.log.items()
        )

    def stuck(self) -> None:
        world = self.world
        open_commands = [command for command in world.produced if command not in self.final]
        if open_commands:
            records = {str(key): row.value for key, row in world.store.keys.items() if key[0] == "cmd"}
            self.bad("L", f"no outcome for {open_commands}; records {records}")
        self.bad(
            "L",
            f"watermark stuck: { {key: world.committed.get(key) for key, log in world.log.items() if log} } of "
            f"{ {key: len(log) for key, log in world.log.items() if log} }",
        )
