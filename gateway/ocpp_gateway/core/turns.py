"""Whose turn it is: the mailboxes of stations, and the one CALL that may be open on each.

Commands wait here for a station that is busy, or for one that is not connected (parked). A turn is the station's slot: it
is given to the first command that may go, and nothing of that command is sent before it has it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from ocpp_contract.ids import ChargePointId
from ocpp_gateway.core.command_record import CommandKey
from ocpp_gateway.core.directory import Directory
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from ocpp_gateway.core.effects import Signal
from ocpp_gateway.core.flight import Flight
from ocpp_gateway.core.mailbox import Mailbox
from ocpp_gateway.core.sockets import Socket


class Turns:
    """Mailboxes by charge point; who stands in one waits for its `wake`."""

    def __init__(self, settings: DownlinkSettings, directory: Directory, at_work: Container[CommandKey]) -> None:
        """`at_work`: commands of which a copy is being worked on; they get no turn."""
        self._settings = settings
        self._directory = directory
        self._at_work = at_work
        self.mailboxes: dict[ChargePointId, Mailbox[Flight]] = {}
        self.parked = 0
        """Flights in mailboxes of stations that are not connected here."""
        self.parked_bytes = 0
        """Bytes of their records."""
        self.lookup = Signal()
        """Fired when stations wait whose entry nobody has looked at yet."""
        self.to_look_up: set[ChargePointId] = set()

    def join(self, flight: Flight) -> bool:
        """Into the station's mailbox. False: no room."""
        station = flight.key.charge_point_id
        mailbox = self.mailboxes.get(station)
        if mailbox is None:
            mailbox = self.mailboxes[station] = Mailbox(self._settings.mailbox_size)
        elif flight in mailbox:
            return True
        here = self._directory.current(station) is not None
        crowded = not here and not flight.joined and not self._has_room(flight)
        if crowded or not mailbox.push(flight, again=flight.joined):
            if not mailbox:
                del self.mailboxes[station]
            return False
        flight.joined = True
        if here:
            self.next_turn(station)
        else:
            self._park(flight)
            self._look_up(station)
        return True

    def _has_room(self, flight: Flight) -> bool:
        settings = self._settings
        return self.parked < settings.max_parked and self.parked_bytes + flight.source.size <= settings.max_parked_bytes

    def _park(self, *flights: Flight) -> None:
        self.parked += len(flights)
        self.parked_bytes += sum(flight.source.size for flight in flights)

    def _unpark(self, *flights: Flight) -> None:
        self.parked -= len(flights)
        self.parked_bytes -= sum(flight.source.size for flight in flights)

    def next_turn(self, charge_point_id: ChargePointId) -> None:
        """Give the station's free slot to the first command that may go."""
        socket = self._directory.current(charge_point_id)
        mailbox = self.mailboxes.get(charge_point_id)
        if socket is None or socket.slot is not None or mailbox is None:
            return
        state = (socket.connection, socket.boot_changes)
        flight = mailbox.take(lambda waiting: waiting.held_back != state and waiting.key not in self._at_work)
        if not mailbox:
            del self.mailboxes[charge_point_id]
        if flight is not None:
            socket.slot = flight
            flight.socket = socket
            flight.wake.fire()

    def step_aside(self, flight: Flight) -> None:
        """Out of the mailbox, and the slot goes to the next."""
        station = flight.key.charge_point_id
        mailbox = self.mailboxes.get(station)
        if mailbox is not None and mailbox.discard(flight):
            if self._directory.current(station) is None:
                self._unpark(flight)
            if not mailbox:
                del self.mailboxes[station]
        self.release_slot(flight)

    def release_slot(self, flight: Flight) -> None:
        """Its CALL is no longer outstanding (answered, timed out, socket closed), or never was."""
        socket, flight.socket = flight.socket, None
        if socket is not None and socket.slot is flight:
            socket.slot = None
            self.next_turn(flight.key.charge_point_id)

    def waiting_for(self, charge_point_id: ChargePointId) -> Iterator[Flight]:
        yield from list(self.mailboxes.get(charge_point_id, ()))

    # ------------------------------------------------------------------------------------------- what others tell us
    def station_appeared(self, socket: Socket) -> None:
        """Upgraded: what was parked has its turn."""
        mailbox = self.mailboxes.get(socket.charge_point_id)
        if mailbox is not None:
            self._unpark(*mailbox)
            self.next_turn(socket.charge_point_id)

    def station_went(self, socket: Socket) -> None:
        """Those in the mailbox wait, now for an entry that shows the station elsewhere."""
        mailbox = self.mailboxes.get(socket.charge_point_id)
        if mailbox is not None and self._directory.current(socket.charge_point_id) is None and socket.upgraded:
            self._park(*mailbox)
            self._look_up(socket.charge_point_id)

    def boot_changed(self, socket: Socket) -> None:
        """The station was accepted (or not) by its backend: what was held back may be allowed now."""
        socket.boot_changes += 1
        self.next_turn(socket.charge_point_id)

    def _look_up(self, charge_point_id: ChargePointId) -> None:
        self.to_look_up.add(charge_point_id)
        self.lookup.fire()
