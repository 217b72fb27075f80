"""The downlink of one pod: ownership, directory and delivery put together, as the composition root sees it.

How to drive it (all procedures go through the driver, `core.effects` says how):

1. `for name, procedure in pod.start(now)`: spawn each; they run as long as the pod does.
2. Redis: before any reply of a server process is handed on, `run_seen(shard, run_id, now)`; spawn what it returns.
3. The assignment file: `assign(generation, partitions)` with every content read; pods that ignore it return False.
4. Admission, after all other checks: `result = await run(pod.register(id, connection, version, since, now))`, a `Socket`
   (its epoch goes into events) or a `Refusal` (503). Then exactly one of `upgraded(connection)` once the 101 is out, and
   always, whatever happened, in the end `offline = await run(pod.socket_closed(connection, now))` - True: DeviceOffline is
   due. While the 101 is not out nothing is written to the socket.
5. Kafka: every record of a fetched partition, in order per lane: `record_received(record, now)`; spawn what it returns.
6. The session: `answer_received(connection, command_id, answer)` for the CALLRESULT or CALLERROR with that message id,
   late ones too; `boot_changed(connection)` whenever the boot state changed.
7. `ready(now)` is readiness, and asked before a handshake; `leaving`: why not.
8. SIGTERM: `await run(pod.drain(now))`; when it returns all partitions are released: stop.
9. `status(now)` for the pages of the admin port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition
from ocpp_gateway.core.command_record import CommandKey, CommandMemory
from ocpp_gateway.core.delivery import Delivery
from ocpp_gateway.core.directory import Directory, Refusal
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.drain import Drain, Leaving, Phase
from ocpp_gateway.core.effects import (
    AssertRecord,
    Batch,
    CloseSocket,
    CommandRecord,
    MarkRun,
    Procedure,
    Sleep,
    SourceRecord,
    Spawn,
    Unknown,
)
from ocpp_gateway.core.endings import Endings
from ocpp_gateway.core.flight import Answer, Calls, Flight, PendingCall
from ocpp_gateway.core.observer import Observer
from ocpp_gateway.core.offsets import Offsets
from ocpp_gateway.core.ownership import Ownership, Tenure
from ocpp_gateway.core.parking import Parking
from ocpp_gateway.core.runs import Runs
from ocpp_gateway.core.sockets import GOING_AWAY, SERVICE_RESTART, Socket
from ocpp_gateway.core.store_clock import StoreClock
from ocpp_gateway.core.tenures import Tenures
from ocpp_gateway.core.turns import Turns
from ocpp_gateway.core.writing import Writing


class Stations(Protocol):
    """What the rest of the pod knows about its stations; plain functions, no I/O."""

    def in_transaction(self, connection: str) -> bool:
        """Whether the station is in a transaction, as far as known: closed last in a drain."""
        ...

    def data_lost(self, now: float) -> None:
        """Redis lost data: assert again what others keep there (`:boot`), paced."""
        ...


class Held(NamedTuple):
    partition: Partition
    epoch: int
    right: bool
    serving: bool
    watermark: int
    position: int


class PodStatus(NamedTuple):
    """For people and metrics."""

    generation: int
    wish: frozenset[Partition]
    held: tuple[Held, ...]
    connections: int
    parked: int
    quiet: bool
    draining: bool


class Pod:
    """See the module."""

    def __init__(
        self,
        settings: DownlinkSettings,
        incarnation: Incarnation,
        resource_uid: str,
        calls: Calls,
        stations: Stations,
        jitter: Callable[[], float],
    ) -> None:
        """`jitter` returns numbers in [0, 1)."""
        self.settings = settings
        self.incarnation = incarnation
        self._stations = stations
        self.clock = StoreClock()
        self.runs = Runs(settings.lease, settings.register_window)
        self.memory = CommandMemory(settings.max_remembered)
        self.ownership = Ownership(settings, incarnation)
        self.offsets = Offsets(settings, resource_uid, self.ownership)
        self.observer = Observer(settings, incarnation, self.runs)
        self.tenures = Tenures(
            settings, resource_uid, self.ownership, self.clock, self.runs, self.observer, self.offsets, self
        )
        self.directory = Directory(settings, incarnation, self.ownership, self.clock, self.runs, jitter, self)
        self.endings = Endings(
            settings, incarnation.pod, self.ownership, self.observer, self.directory, self.clock, self.runs, self.memory
        )
        at_work: dict[CommandKey, Flight] = {}
        self.turns = Turns(settings, self.directory, at_work)
        self.writing = Writing(
            settings,
            self.ownership,
            self.directory,
            self.clock,
            self.runs,
            self.memory,
            self.endings,
            self.turns,
            calls,
        )
        self.delivery = Delivery(
            settings,
            self.ownership,
            self.directory,
            self.clock,
            self.runs,
            self.memory,
            self.endings,
            self.writing,
            self.turns,
            at_work,
        )
        self.parking = Parking(settings, self.ownership, self.directory, self.runs, self.turns)
        self.draining_state = Drain(settings)

    # --------------------------------------------------------------------------------------- what the driver calls
    def start(self, now: float) -> Sequence[tuple[str, Procedure[None]]]:
        """The loops of a pod's life."""
        self.ownership.alone_since = now
        return (
            ("renewals", self.tenures.renewals(now)),
            ("placement", self.tenures.placement(now)),
            ("commits", self.offsets.committing(now)),
            ("directory", self.directory.refreshing(now)),
            ("parking", self.parking.looking_up(now)),
            ("housekeeping", self._housekeeping(now)),
        )

    def run_seen(self, shard: str, run_id: str, now: float) -> Procedure[None] | None:
        """A connection to the master of `shard` was made and it says `run_id`. Spawn what comes back, if anything."""
        known_shard = self.runs.knows(shard)
        if not self.runs.seen(shard, run_id):
            return None
        self.clock.server_changed()
        if not known_shard:
            return self._mark(run_id, now)
        self.runs.lost(now)
        return self._after_loss(run_id, now)

    def assign(self, generation: int, partitions: Iterable[int]) -> bool:
        """The operator's wish. False: older than, or the same as, what is applied."""
        return self.ownership.assign(generation, (Partition(number) for number in partitions))

    def register(
        self, charge_point_id: ChargePointId, connection: str, version: str, since: str, now: float
    ) -> Procedure[Socket | Refusal]:
        """The last step before the 101. `connection` is a fresh random id, `since` RFC 3339."""
        if self.draining_state.draining:
            return _refused("draining")
        return self.directory.register(charge_point_id, connection, version, since, now)

    def upgraded(self, connection: str) -> None:
        """The 101 is out: commands may be written."""
        self.directory.upgraded(connection)

    def socket_closed(self, connection: str, now: float) -> Procedure[bool]:
        """Also for a handshake that failed after `register`. The returned procedure must be run; what must happen at once
        has happened when this method returns."""
        return self.directory.closed(connection, now)

    def record_received(self, record: SourceRecord, now: float) -> Procedure[None] | None:
        """Spawn what comes back, if anything."""
        return self.delivery.received(record, now)

    def answer_received(self, connection: str, command_id: CommandId, answer: Answer) -> bool:
        """False: nobody waits for it (any more)."""
        socket = self.directory.sockets.get(connection)
        call = None if socket is None else socket.calls.get(command_id)
        if not isinstance(call, PendingCall):
            return False
        call.answered(answer)
        return True

    def boot_changed(self, connection: str) -> None:
        """The station's boot state changed: CALLs that were held back may be allowed now."""
        socket = self.directory.sockets.get(connection)
        if socket is not None:
            self.turns.boot_changed(socket)

    def ready(self, now: float) -> bool:
        """It holds a partition, and is not leaving."""
        return not self.draining_state.draining and self.ownership.ready(now)

    def status(self, now: float) -> PodStatus:
        held = tuple(
            Held(
                tenure.partition,
                tenure.epoch,
                self.ownership.has_right(tenure, now),
                tenure.serving,
                sum(progress.watermark.low for progress in tenure.progress.values()),
                sum(progress.watermark.position for progress in tenure.progress.values()),
            )
            for tenure in self.ownership.owned.values()
        )
        return PodStatus(
            self.ownership.generation,
            self.ownership.wish,
            held,
            self.connections(),
            self.turns.parked,
            self.runs.quiet(now),
            self.draining(),
        )

    def drain(self, now: float) -> Procedure[None]:
        """Returns when every station was asked to go, every partition is released and what was open is reported - or when
        that takes longer than a lease: then leases run out and successors judge the claims."""
        self.draining_state.start(now)
        while self._closing():
            for connection in self.draining_state.step(self._leaving(), now):
                yield CloseSocket(connection, SERVICE_RESTART, "the gateway restarts")
            if self._closing():
                now = (yield Sleep(now + 0.05)).now
        self.tenures.stopping = True
        for tenure in list(self.ownership.owned.values()):
            if not tenure.leaving:
                tenure.leaving = True
                yield Spawn(f"lose {tenure.partition}", self.tenures.lose(tenure, now))
        latest = now + self.settings.lease
        while now < latest and (self.ownership.owned or self.delivery.working):
            now = (yield Sleep(now + 0.05)).now
        self.draining_state.released()

    # ----------------------------------------------------------------------------------- what ownership tells (Tenants)
    def leave(self, tenure: Tenure, now: float) -> Procedure[None]:
        return self.directory.leave(tenure.partition, now)

    def forget(self, tenure: Tenure) -> None:
        self.delivery.forget(tenure)

    def ended(self, tenure: Tenure) -> None:
        self.directory.wake()

    def data_lost(self, now: float) -> Procedure[None]:
        """Assert again what this pod knows: entries at once, command records in pipelines with pauses."""
        self._stations.data_lost(now)
        self.directory.refresh_all(now)
        settings, losses = self.settings, self.runs.losses
        left = list(self.memory.all())
        again: list[tuple[CommandKey, CommandRecord, float]] = []
        while (left or again) and losses == self.runs.losses:
            if not left:
                # One shard that is away must not keep the others from being told.
                left, again = again, []
                now = (yield Sleep(now + settings.retry_interval)).now
            batch, left = left[: settings.assert_batch], left[settings.assert_batch :]
            requests = tuple(
                AssertRecord(key.charge_point_id, key.command_id, record, max(1.0, until - now))
                for key, record, until in batch
            )
            replies: Sequence[object]
            try:
                now, replies = yield Batch(requests)
            except Unknown as unknown:
                now, replies = unknown.now, (unknown,) * len(batch)
            again += [known for known, reply in zip(batch, replies, strict=True) if isinstance(reply, Unknown)]
            now = (yield Sleep(now + settings.assert_pause)).now

    def connections(self) -> int:
        return len(self.directory.sockets)

    def draining(self) -> bool:
        return self.draining_state.draining

    # --------------------------------------------------------------------------------- what the directory tells (Watcher)
    def station_appeared(self, socket: Socket) -> None:
        self.turns.station_appeared(socket)

    def station_went(self, socket: Socket) -> None:
        self.turns.station_went(socket)

    # ------------------------------------------------------------------------------------------------------ inside
    def _mark(self, run_id: str, now: float) -> Procedure[None]:
        """Quiet until the marker has told since when the run is known."""
        while self.runs.is_current(run_id):
            try:
                now, mark = yield MarkRun(run_id)
            except Unknown as unknown:
                now = (yield Sleep(unknown.now + self.settings.retry_interval)).now
                continue
            self.clock.learn(mark.time_us, now)
            self.runs.marked(run_id, mark, now)
            return
        self.runs.abandon(run_id)

    def _after_loss(self, run_id: str, now: float) -> Procedure[None]:
        yield from self.tenures.data_loss(now)
        yield from self._mark(run_id, now)
        # Leases at once, not at the next tick: a partition that stands absent invites others.
        yield from self.tenures.renew(now)

    def _closing(self) -> bool:
        return self.draining_state.phase in (Phase.NOT_READY, Phase.CLOSING)

    def _leaving(self) -> list[Leaving]:
        return [
            Leaving(
                socket.connection,
                socket.epoch,
                self._stations.in_transaction(socket.connection),
                socket.slot is not None,
            )
            for socket in self.directory.sockets.values()
        ]

    def _housekeeping(self, now: float) -> Procedure[None]:
        """States older than their life are dropped; sockets are closed when no partition could be had for too long."""
        allowance = 0.0
        while True:
            now = (yield Sleep(now + 1.0)).now
            self.memory.expire(now)
            alone_since = self.ownership.alone_since
            if alone_since is None or now - alone_since < self.settings.lonely_close:
                allowance = 0.0
                continue
            allowance = min(allowance + self.settings.closes_per_second, max(1.0, self.settings.closes_per_second))
            newest_first = sorted(self.directory.sockets.values(), key=lambda socket: -socket.epoch)
            for socket in newest_first[: int(allowance)]:
                if socket.slot is None:
                    allowance -= 1
                    yield CloseSocket(socket.connection, GOING_AWAY, "this gateway holds no partition")


def _refused(reason: str) -> Procedure[Socket | Refusal]:
    yield from ()
    return Refusal(reason)
