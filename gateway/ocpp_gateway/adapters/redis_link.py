"""One connection to one Redis server process: requests go out in pipelines, replies come back in order.

redis-py gives the connection (TLS, ACL, RESP, packing); what this adds is what its clients cannot promise:

- nothing is ever sent twice: a link has no retry, and ends with its socket;
- the link knows its *run*: which server process it talks to, asked before anything else is sent. A process that was
  restarted, or a replica that was promoted, is another run;
- everything asked in one turn of the event loop leaves in one write (about nine times cheaper than one by one);
- a request that is not answered in time ends the link: what is under way on it stays unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import RedisError, ResponseError

from ocpp_contract import scripts
from ocpp_gateway.adapters.secret_files import Followed

log = logging.getLogger(__name__)

_LATE = 0.05

Command: TypeAlias = tuple[str | bytes | int, ...]
Reply: TypeAlias = Any
"""What the server said (bytes, int, list, None), a ResponseError that it answered, or a LinkLost."""


class Address(NamedTuple):
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """How to reach and enter the servers, as the files of the secrets say at each connect. Times in seconds."""

    username: str | None = None
    password: Followed[str] | None = None
    tls: bool = False
    authorities: Followed[str] | None = None
    """Who may have signed the servers' certificates; None: whom the system trusts."""
    client_name: str = "chargegateway"
    timeout: float = 0.8
    """Longest wait for one reply, and for a connection with its first exchange."""


class LinkLost(Exception):
    """The reply will never come: the request may or may not have been executed."""


class WrongServer(Exception):
    """What answered is no master, or hides what it is."""


def _fields(info: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in info.decode("utf-8", "replace").split("\r\n") if ":" in line)


def _run_of(fields: dict[str, str]) -> str:
    """The run: the process's ``run_id``; with the replication id for a promoted replica, because a process that is
    demoted and promoted again keeps its ``run_id`` while writes in between are gone."""
    if fields.get("role") != "master":
        raise WrongServer(f"is no master but {fields.get('role', 'unknown')}")
    if not fields.get("run_id"):
        raise WrongServer("tells no run_id in INFO")
    promoted = fields.get("master_replid2", "0").strip("0") != ""
    return fields["run_id"] + (f".{fields['master_replid'][:8]}" if promoted else "")


class Link:
    """Made by `open`. `request` never raises: whatever goes wrong is the reply."""

    def __init__(self, connection: Connection, run_id: str, timeout: float) -> None:
        self.run_id = run_id
        self.lost = asyncio.Event()
        self.lost_because = ""
        self._connection = connection
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._outgoing: list[Command] = []
        self._pending: deque[tuple[asyncio.Future[Reply], float]] = deque()
        self._wake = asyncio.Event()
        self._watch: asyncio.TimerHandle | None = None
        self._tasks = (
            self._loop.create_task(self._write(), name=f"redis write {run_id[:8]}"),
            self._loop.create_task(self._read(), name=f"redis read {run_id[:8]}"),
        )

    @classmethod
    async def open(cls, address: Address, access: RedisAccess) -> Link:
        """Connect, ask for the run, hand the scripts over. Raises RedisError, OSError, TimeoutError, WrongServer."""
        connection = _connection(address, access)
        try:
            async with asyncio.timeout(access.timeout):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
                await connection.send_command("INFO", "server", "replication", "memory", check_health=False)
                info = _fields(await connection.read_response(disconnect_on_error=False))
                run_id = _run_of(info)
                if info.get("maxmemory_policy", "noeviction") != "noeviction":
                    policy = info["maxmemory_policy"]
                    log.warning("redis %s:%d may evict records: maxmemory-policy is %s", *address, policy)
                load = [("SCRIPT", "LOAD", script.text) for script in scripts.ALL]
                await connection.send_packed_command(connection.pack_commands(load), check_health=False)
                for _ in load:
                    with contextlib.suppress(ResponseError):  # not allowed by ACL: EVAL hands each over when needed
                        await connection.read_response(disconnect_on_error=False)
        except BaseException:
            await _disconnect(connection)
            raise
        return cls(connection, run_id, access.timeout)

    def request(self, *commands: Command) -> list[asyncio.Future[Reply]]:
        """Send commands one right after the other; one future per reply. Cancelling a future withdraws nothing."""
        futures: list[asyncio.Future[Reply]] = [self._loop.create_future() for _ in commands]
        if self.lost.is_set():
            for future in futures:
                future.set_result(LinkLost(self.lost_because))
            return futures
        due = self._loop.time() + self._timeout
        self._pending.extend((future, due) for future in futures)
        self._outgoing.extend(commands)
        self._wake.set()
        if self._watch is None:
            self._watch = self._loop.call_at(due, self._overdue, due)
        return futures

    def end(self, reason: str) -> None:
        """Let go of the server; what is unanswered becomes LinkLost."""
        if self.lost.is_set():
            return
        self.lost_because = reason
        self.lost.set()
        if self._watch is not None:
            self._watch.cancel()
        for future, _ in self._pending:
            if not future.done():
                future.set_result(LinkLost(reason))
        self._pending.clear()
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """End, and wait until the socket is closed."""
        self.end("closed")
        await asyncio.wait(self._tasks)
        await _disconnect(self._connection)

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                batch, self._outgoing = self._outgoing, []
                await self._connection.send_packed_command(self._connection.pack_commands(batch), check_health=False)
        except Exception as error:  # whatever it is, nothing more can be sent
            self.end(str(error) or repr(error))

    async def _read(self) -> None:
        try:
            while True:
                try:
                    reply = await self._connection.read_response(disconnect_on_error=False)
                except ResponseError as error:
                    reply = error
                if not self._pending:
                    self.end(f"an answer that nobody asked for: {reply!r}")
                    return
                future, _ = self._pending.popleft()
                if not future.done():
                    future.set_result(reply)
        except Exception as error:  # whatever it is, no reply can be told from another any more
            self.end(str(error) or repr(error))

    def _overdue(self, due: float, graced: bool = False) -> None:
        """Look at the oldest unanswered request. If we ourselves were late, what has arrived meanwhile is read first."""
        now = self._loop.time()
        self._watch = None
        if not self._pending:
            return
        oldest = self._pending[0][1]
        if oldest > now:
            self._watch = self._loop.call_at(oldest, self._overdue, oldest)
        elif now - due > _LATE and not graced:  # once only: a loop that is always late must not wait for ever
            self._watch = self._loop.call_later(_LATE, self._overdue, now + _LATE, True)
        else:
            self.end(f"no answer within {self._timeout:g} s")


async def _disconnect(connection: Connection) -> None:
    """Close the socket and wait until it is; the library bounds that by the connect time-out."""
    with contextlib.suppress(RedisError, OSError):
        await connection.disconnect()


def _connection(address: Address, access: RedisAccess) -> Connection:
    settings: dict[str, Any] = {
        "host": address.host.strip("[]"),  # as IPv6 addresses are written with a port
        "port": address.port,
        "username": access.username,
        "password": access.password.now() if access.password else None,
        "client_name": access.client_name,
        "driver_info": None,  # CLIENT SETINFO is younger than Redis 7.0 and another thing for an ACL to allow
        "protocol": 2,
        # Time is kept by the link: a timer per reply would cost more than the reply.
        "socket_timeout": None,
        "socket_connect_timeout": access.timeout,
        "socket_keepalive": True,
    }
    if not access.tls:
        return Connection(**settings)
    return SSLConnection(ssl_ca_data=access.authorities.now() if access.authorities else None, **settings)
