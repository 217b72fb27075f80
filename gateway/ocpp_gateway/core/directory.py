"""The sockets of this pod and their entries in the directory: `conn:<id>` says where a station is, by epoch.

The highest epoch wins, always: an entry above mine means that the station has moved and my socket is a leftover. An
absent or lower one means that Redis forgot, and may be written again - but only for a socket that has answered a ping
since, because a half-open one must not win against the socket that the station really uses.

State is keyed by connection. A station may have two sockets here for a moment; the one with the higher epoch is current.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, Incarnation, Partition
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import (
    Batch,
    CloseSocket,
    Count,
    Delete,
    Late,
    Ping,
    Procedure,
    Refresh,
    RefreshState,
    Register,
    Registered,
    Signal,
    Sleep,
    Spawn,
    Unknown,
    Wait,
)
from ocpp_gateway.core.ownership import Ownership, choose_partition
from ocpp_gateway.core.runs import Runs
from ocpp_gateway.core.sockets import GOING_AWAY, REPLACED, Socket
from ocpp_gateway.core.store_clock import US, StoreClock


class Refusal:
    """Why a registration did not happen; the handshake is answered 503."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Watcher(Protocol):
    """Who must know when a station appears here or goes."""

    def station_appeared(self, socket: Socket) -> None: ...

    def station_went(self, socket: Socket) -> None: ...


class Directory:
    """Registration, refresh and removal of entries."""

    def __init__(
        self,
        settings: DownlinkSettings,
        incarnation: Incarnation,
        ownership: Ownership,
        clock: StoreClock,
        runs: Runs,
        jitter: Callable[[], float],
        watcher: Watcher,
    ) -> None:
        self._settings = settings
        self._incarnation = incarnation
        self._ownership = ownership
        self._clock = clock
        self._runs = runs
        self._jitter = jitter
        self._watcher = watcher
        self._due_now = Signal()
        self.sockets: dict[str, Socket] = {}
        self._current: dict[ChargePointId, Socket] = {}
        self._by_second: dict[int, list[Socket]] = {}
        self._partitions_changed = False

    # --------------------------------------------------------------------------------------------- who is here
    def current(self, charge_point_id: ChargePointId) -> Socket | None:
        """The station's newest socket here, open and upgraded."""
        socket = self._current.get(charge_point_id)
        return socket if socket is not None and socket.open and socket.upgraded else None

    def is_current(self, socket: Socket) -> bool:
        return socket.open and self._current.get(socket.charge_point_id) is socket

    # ------------------------------------------------------------------------------------------------ admission
    def register(
        self, charge_point_id: ChargePointId, connection: str, version: str, since: str, now: float
    ) -> Procedure[Socket | Refusal]:
        """Before the 101. Afterwards the driver reports `upgraded` or `closed`."""
        partitions = self._ownership.serving(now)
        if not partitions or not self._clock.known:
            return Refusal("no partition held")
        if self._runs.settling(now):
            return Refusal("directory lost data a moment ago")
        partition = choose_partition(charge_point_id, partitions)
        not_after = self._clock.time_us(now) + int(self._settings.register_window * US)
        try:
            now, reply = yield Register(
                charge_point_id,
                self._incarnation,
                partition,
                connection,
                version,
                since,
                self._clock.floor_us(now),
                not_after,
            )
        except Unknown as unknown:
            # Perhaps registered: an entry that nobody stands behind would draw commands here. It is taken back by
            # connection id, and never asked for again, because a second epoch for one socket could overtake a newer one.
            yield Count("registrations", ("unknown",))
            yield Spawn("undo registration", self._delete(charge_point_id, None, connection, unknown.now))
            return Refusal("directory did not answer")
        if isinstance(reply, Late):
            yield Count("registrations", ("late",))
            return Refusal("directory answered too late")
        assert isinstance(reply, Registered)
        socket = Socket(charge_point_id, connection, reply.epoch, partition, version, since)
        older = self._current.get(charge_point_id)
        if older is not None and older.open:
            if older.epoch > socket.epoch:
                # Two handshakes of one station crossed here and the other one came later.
                yield Spawn("delete entry", self._delete(charge_point_id, socket.epoch, None, now))
                return Refusal("a newer connection of the station was accepted")
            yield from self._close(older, REPLACED, "replaced by a newer connection")
        self.sockets[connection] = socket
        self._current[charge_point_id] = socket
        self._schedule(socket, now)
        if not self._ownership.keeps(partition):
            self.wake()  # it was lost while the registration was under way
        yield Count("registrations", ("ok",))
        return socket

    def upgraded(self, connection: str) -> None:
        """The 101 has been sent."""
        socket = self.sockets.get(connection)
        if socket is not None and socket.open:
            socket.upgraded = True
            self._watcher.station_appeared(socket)

    def closed(self, connection: str, now: float) -> Procedure[bool]:
        """The socket is gone. True: its entry was still ours and is deleted, so the station is offline."""
        socket = self.sockets.get(connection)
        if socket is None:
            return _false()
        superseded = self._current.get(socket.charge_point_id) is not socket
        self._forget(socket)
        if superseded:
            return _false()
        return self._delete(socket.charge_point_id, socket.epoch, None, now)

    def _forget(self, socket: Socket) -> None:
        """Out of the tables, its CALLs told. Also before the bytes of a close are out: nothing may be written any more."""
        if not socket.open:
            return
        socket.open = False
        self.sockets.pop(socket.connection, None)
        if self._current.get(socket.charge_point_id) is socket:
            del self._current[socket.charge_point_id]
        for call in list(socket.calls.values()):
            call.closed()
        self._watcher.station_went(socket)

    def _close(self, socket: Socket, code: int, reason: str) -> Procedure[None]:
        """Close without touching the entry: it is another connection's now."""
        self._forget(socket)
        yield CloseSocket(socket.connection, code, reason)

    def _delete(
        self, charge_point_id: ChargePointId, epoch: int | None, connection: str | None, now: float
    ) -> Procedure[bool]:
        """Compare-and-delete until the outcome is known: repeating it is harmless. Given up after an entry's life."""
        give_up, pause = now + 3 * self._settings.entry_refresh, self._settings.retry_interval
        while now < give_up:
            try:
                return bool((yield Delete(charge_point_id, epoch, connection)).value)
            except Unknown as unknown:
                # Ever more rarely: in an outage every station that left is here.
                now = (yield Sleep(unknown.now + pause)).now
                pause = min(2 * pause, 10.0)
        return False

    # -------------------------------------------------------------------------------------------------- refresh
    def refreshing(self, now: float) -> Procedure[None]:
        """Extend entries in pipelines, spread by jitter; at once where a partition changed or Redis lost data."""
        while True:
            yield from self.refresh_due(now)
            now, _ = yield Wait(self._due_now, now + 1.0)

    def refresh_due(self, now: float) -> Procedure[None]:
        """One pass over the sockets that are due."""
        if self._partitions_changed:
            homeless = [s for s in self.sockets.values() if not self._ownership.keeps(s.partition)]
            partitions = self._ownership.serving(now)
            for socket in homeless if partitions else ():
                self._move(socket, partitions, now)
            self._partitions_changed = bool(homeless) and not partitions  # nothing to move to yet: look again
        due = self._take_due(now)
        for start in range(0, len(due), self._settings.entry_batch):
            now = yield from self._refresh(due[start : start + self._settings.entry_batch], now, proven=False)

    def refresh_all(self, now: float) -> None:
        """Redis lost data: every entry is asserted again."""
        for socket in self.sockets.values():
            self._refresh_at(socket, now)
        self._due_now.fire()

    def check(self, socket: Socket, now: float) -> None:
        """A claim said that the entry is not mine: look soon."""
        self._refresh_at(socket, now)
        self._due_now.fire()

    def leave(self, partition: Partition, now: float) -> Procedure[None]:
        """Publish the stations of a partition that is being given up under another owned one, same epoch. Without
        another the entries stay: uplink and sockets go on, commands wait for the partition's next owner."""
        partitions = self._ownership.serving(now)
        if not partitions:
            return
        moved = [socket for socket in self.sockets.values() if socket.partition == partition]
        for socket in moved:
            self._move(socket, partitions, now)
        for start in range(0, len(moved), self._settings.entry_batch):
            batch = [socket for socket in moved[start : start + self._settings.entry_batch] if not socket.refreshing]
            now = yield from self._refresh(batch, now, proven=False)

    def wake(self) -> None:
        """Partitions changed: stations may need another one."""
        self._partitions_changed = True
        self._due_now.fire()

    def _move(self, socket: Socket, partitions: Sequence[Partition], now: float) -> None:
        socket.partition = choose_partition(socket.charge_point_id, partitions)
        self._refresh_at(socket, now)

    def _refresh(self, sockets: list[Socket], now: float, *, proven: bool) -> Procedure[float]:
        open_ones = [socket for socket in sockets if socket.open]
        if not open_ones:
            return now
        sent = [(socket, socket.partition) for socket in open_ones]
        for socket in open_ones:
            socket.refreshing = True
            self._schedule(socket, now)
        try:
            now, replies = yield Batch(
                tuple(Refresh(socket.charge_point_id, self._record(socket), proven) for socket in open_ones)
            )
        except Unknown as unknown:
            now, replies = unknown.now, (unknown,) * len(open_ones)
        for (socket, partition), reply in zip(sent, replies, strict=True):
            socket.refreshing = False
            if not socket.open:
                continue
            if isinstance(reply, Unknown):
                self._refresh_at(socket, now + self._settings.retry_interval)
            elif reply is RefreshState.LOST:
                yield Count("entries_lost")
                yield from self._close(socket, REPLACED, "the station has a newer connection")
            elif reply is RefreshState.UNPROVEN:
                socket.refreshing = True
                yield Spawn("prove socket", self._prove(socket, now))
            elif socket.partition != partition:
                self._refresh_at(socket, now)  # it was moved while the refresh was under way
                self._due_now.fire()
        return now

    def _prove(self, socket: Socket, now: float) -> Procedure[None]:
        """The entry is gone or older: only a socket that answers a ping sent now may write it again."""
        now, alive = yield Ping(socket.connection, now + self._settings.ping_timeout)
        socket.refreshing = False
        if alive:
            yield from self._refresh([socket], now, proven=True)
        elif socket.open:
            yield Count("entries_unproven")
            yield from self._close(socket, GOING_AWAY, "no answer to ping")

    def _record(self, socket: Socket) -> ConnectionRecord:
        return ConnectionRecord(
            self._incarnation.pod,
            self._incarnation,
            socket.partition,
            socket.epoch,
            socket.connection,
            socket.version,
            socket.since,
        )

    def _schedule(self, socket: Socket, now: float) -> None:
        self._refresh_at(socket, now + self._settings.entry_refresh * (0.8 + 0.4 * self._jitter()))

    def _refresh_at(self, socket: Socket, at: float) -> None:
        """Sockets are kept by the second in which they are due, so that nobody walks through all of them all the time."""
        socket.refresh_at = at
        self._by_second.setdefault(int(at), []).append(socket)

    def _take_due(self, now: float) -> list[Socket]:
        due: dict[str, Socket] = {}
        for second in sorted(second for second in self._by_second if second <= now):
            for socket in self._by_second.pop(second):
                if not socket.open or int(socket.refresh_at) != second:
                    continue  # gone, or due at another time
                if socket.refreshing or socket.refresh_at > now:
                    self._by_second.setdefault(second, []).append(socket)
                else:
                    due[socket.connection] = socket
        return list(due.values())


def _false() -> Procedure[bool]:
    yield from ()
    return False
