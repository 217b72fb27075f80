"""Simulated charge points: what a station does, whatever version it speaks.

The conversation itself is PyPI's `ocpp` client (see `station_versions`), so demo and simulation never test our own idea of OCPP
against itself. A station connects and reconnects with back-off, boots, sends heartbeats and statuses, charges, and obeys
remote commands. While it is offline it goes on charging: transaction messages queue up and are sent later, in order, each again
under its own message id until it is answered.

What it was told and what was answered stands in its ledger, for whoever balances the account at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from ocpp.exceptions import OCPPError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from ocpp_contract.times import format_time

log = logging.getLogger(__name__)
logging.getLogger("ocpp").setLevel(logging.CRITICAL)  # it logs every frame, and refusals that we expect as errors

FIRST_BACKOFF, LONGEST_BACKOFF = 0.4, 4.0
OPEN_TIMEOUT = 5.0
ATTEMPTS = 3
"""Answers with CALLERROR to one transaction message before it is given up (TransactionMessageAttempts)."""
WATTS = 11_000


def now() -> str:
    """The station's clock, as it writes it into messages."""
    return format_time(datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Executed:
    """One CALL that the station obeyed or refused. `marker`: what tells it from another one (idTag, DataTransfer's data, ...)."""

    action: str
    message_id: str
    marker: str


@dataclass(slots=True)
class Ledger:
    """What a station knows to have happened."""

    executed: list[Executed] = field(default_factory=list)
    answered: dict[str, str] = field(default_factory=dict)
    """Transaction messages that were answered with CALLRESULT: message id -> action."""
    refused: dict[str, str] = field(default_factory=dict)
    """Transaction messages that were given up after CALLERRORs: message id -> reason."""
    connections: int = 0
    sessions: int = 0


@dataclass(slots=True)
class Session:
    """One charging session at connector 1. A 1.6 station learns its transaction id from the answer to StartTransaction."""

    id_token: str
    started: str
    remote_start_id: int | None = None
    transaction_id: str | None = None
    wh: int = 0
    sequence: int = 0
    ended: bool = False


@dataclass(slots=True)
class TransactionMessage:
    """One message that must not get lost. Everything in it is fixed when it is made, so that a retry is the same message."""

    kind: Literal["Started", "Updated", "Ended"]
    session: Session
    at: str
    wh: int
    sequence: int
    offline: bool
    reason: str = ""
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    attempts: int = 0


class Conversation(Protocol):
    """One connection's worth of a version's dialect; PyPI `ocpp` does the talking."""

    async def start(self) -> None:
        """Read for ever."""

    async def boot(self) -> tuple[str, int]:
        """BootNotification: status and interval."""

    async def heartbeat(self) -> None:
        """Heartbeat."""

    async def status(self, charging: bool) -> None:
        """StatusNotification of connector 1."""

    async def transaction(self, message: TransactionMessage) -> str:
        """Send a transaction message; its action. Raises OCPPError for a CALLERROR, TimeoutError without answer."""


class Station:
    """One charge point. `run()` until it is cancelled."""

    def __init__(
        self,
        station_id: str,
        url: str,
        subprotocol: str,
        converse: Callable[[Station, ClientConnection], Conversation],
        meter_interval: float = 5.0,
        thinking: float = 0.0,
        on_change: Callable[[Station], None] = lambda station: None,
    ) -> None:
        """`url` ends in `/`; the id is appended. `thinking`: seconds it takes to carry out a command before it answers."""
        self.id = station_id
        self.url = f"{url}{station_id}"
        self.subprotocol = subprotocol
        self.ledger = Ledger()
        self.session: Session | None = None
        self.online = False
        self.booted = False
        self.meter_interval = meter_interval
        self.thinking = thinking
        self.variables = {"HeartbeatInterval": "300", "MeterValueSampleInterval": str(int(meter_interval))}
        self._converse = converse
        self._on_change = on_change
        self._queue: deque[TransactionMessage] = deque()
        self._errands: deque[Callable[[Conversation], Awaitable[None]]] = deque()
        self._wake = asyncio.Event()
        self._metering: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None
        self._random = random.Random(station_id)

    # --- what a person at the station, or a remote command, does -------------------------------------------------------

    def begin(self, id_token: str, remote_start_id: int | None = None) -> bool:
        """Start charging; False when it charges already."""
        if self.session is not None:
            return False
        known = None if self.subprotocol == "ocpp1.6" else str(uuid.uuid4())
        self.session = Session(id_token, now(), remote_start_id, known)
        self.ledger.sessions += 1
        self._note_transaction("Started")
        self._metering = asyncio.create_task(self._meter(self.session))
        self.errand(lambda conversation: conversation.status(charging=True))
        return True

    def end(self, transaction_id: str | None = None, reason: str = "Local") -> bool:
        """Stop charging; False when nothing runs, or another transaction than the one named."""
        session = self.session
        if session is None or (transaction_id is not None and transaction_id != session.transaction_id):
            return False
        if self._metering is not None:
            self._metering.cancel()
        session.ended = True
        self._note_transaction("Ended", reason)
        self.session = None
        self.errand(lambda conversation: conversation.status(charging=False))
        return True

    def reboot(self) -> None:
        """What Reset does, after its answer has left."""
        self.end(reason="Reboot" if self.subprotocol != "ocpp1.6" else "HardReset")
        self.booted = False
        self.hang_up()

    def hang_up(self) -> None:
        """Lose the connection, as a station whose network fails; it comes back by itself."""
        if self._socket is not None:
            self._socket.transport.abort()

    def errand(self, send: Callable[[Conversation], Awaitable[None]]) -> None:
        """Have something sent when the line is free; forgotten when the connection is lost first."""
        self._errands.append(send)
        self._wake.set()

    def note(self, action: str, message_id: str, marker: str = "") -> None:
        """A command arrived."""
        self.ledger.executed.append(Executed(action, message_id, marker))
        self._on_change(self)

    @property
    def owing(self) -> int:
        """Transaction messages that nobody has answered yet."""
        return len(self._queue)

    def _note_transaction(self, kind: Literal["Started", "Updated", "Ended"], reason: str = "") -> None:
        session = self.session
        assert session is not None
        offline = not self.online
        self._queue.append(TransactionMessage(kind, session, now(), session.wh, session.sequence, offline, reason))
        session.sequence += 1
        self._wake.set()

    async def _meter(self, session: Session) -> None:
        while not session.ended:
            await asyncio.sleep(self.meter_interval)
            session.wh += round(WATTS * self.meter_interval / 3600 * self._random.uniform(0.9, 1.0))
            self._note_transaction("Updated")

    # --- the connection -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, talk, and connect again, for ever."""
        backoff = FIRST_BACKOFF
        try:
            while True:
                try:
                    async with connect(
                        self.url,
                        subprotocols=[Subprotocol(self.subprotocol)],
                        open_timeout=OPEN_TIMEOUT,
                        close_timeout=1.0,
                    ) as socket:
                        backoff = await self._connected(socket, backoff)
                except (OSError, WebSocketException, TimeoutError) as error:
                    log.debug("%s: %s", self.id, error)
                await asyncio.sleep(backoff * self._random.uniform(0.7, 1.3))
                backoff = min(backoff * 2, LONGEST_BACKOFF)
        finally:
            if self._metering is not None:
                self._metering.cancel()

    async def _connected(self, socket: ClientConnection, backoff: float) -> float:
        """Until the connection ends; the back-off from which the next attempt counts."""
        conversation = self._converse(self, socket)
        self._socket = socket
        self._errands.clear()
        self.ledger.connections += 1
        reading = asyncio.create_task(conversation.start())
        talking = asyncio.create_task(self._talk(conversation))
        try:
            done, _ = await asyncio.wait({reading, talking}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except OCPPError as error:
            log.warning("%s: hangs up after an error: %r", self.id, error)
        finally:
            was_online, self.online, self._socket = self.online, False, None
            for task in (reading, talking):
                task.cancel()
            await asyncio.gather(reading, talking, return_exceptions=True)
            self._on_change(self)
            if was_online:
                backoff = FIRST_BACKOFF
        return backoff

    async def _talk(self, conversation: Conversation) -> None:
        """One message at a time, as OCPP-J demands of a station."""
        interval = 300.0
        if not self.booted:
            interval = await self._boot(conversation)
        self.online = True
        self._on_change(self)
        await conversation.status(charging=self.session is not None)
        while True:
            self._wake.clear()
            if self._queue:
                await self._deliver(conversation, self._queue[0])
            elif self._errands:
                with contextlib.suppress(OCPPError):
                    await self._errands.popleft()(conversation)
            else:
                try:
                    await asyncio.wait_for(self._wake.wait(), interval)
                except TimeoutError:
                    await conversation.heartbeat()

    async def _boot(self, conversation: Conversation) -> float:
        while True:
            status, interval = await conversation.boot()
            if status == "Accepted":
                self.booted = True
                return float(interval or 300)
            await asyncio.sleep(min(interval or 10, 10))

    async def _deliver(self, conversation: Conversation, message: TransactionMessage) -> None:
        """Send the oldest message and strike it off once it is answered. A lost connection leaves it where it is."""
        message.attempts += 1
        try:
            action = await conversation.transaction(message)
        except OCPPError as error:
            if message.attempts < ATTEMPTS:
                await asyncio.sleep(0.2 * message.attempts)
                return
            self.ledger.refused[message.message_id] = repr(error)
        else:
            self.ledger.answered[message.message_id] = action
        self._queue.popleft()
        self._on_change(self)
