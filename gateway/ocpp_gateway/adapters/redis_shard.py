"""One shard: a server address, the link to it that is kept up, and the run it shows.

*Bound*: a request belongs to the run that was known when it was made. Whoever waits for a connection while another run
is discovered gets `StoreUnknown`, and so does whoever waits for the reply of an older run.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from redis.exceptions import RedisError, ResponseError

from ocpp_gateway.adapters.clocks import boottime
from ocpp_gateway.adapters.redis_link import Address, Command, Link, LinkLost, RedisAccess, Reply, WrongServer
from ocpp_gateway.core.effects import Unknown

log = logging.getLogger(__name__)

_RECONNECT_FIRST = 0.05
_RECONNECT_MOST = 1.0
# Errors that a failover gives until the client looks for the new master: the link is of no use any more.
_NOT_MASTER = ("READONLY", "MASTERDOWN")


class StoreUnknown(Unknown):
    """The request may or may not have been executed, and may still be; as core knows it."""

    def __init__(self, reason: str) -> None:
        super().__init__(boottime(), reason)


class Shard:
    """One server address: the link to it, kept up, and the run it shows."""

    def __init__(self, address: Address, access: RedisAccess, on_run: Callable[[], None], on_lost: Callable[[], None]):
        self.address = address
        self.run_id = ""
        self._access = access
        self._on_run = on_run
        self._on_lost = on_lost
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._waiting_link: Link | None = None
        self._waiting_lock = asyncio.Lock()
        self._task = asyncio.get_running_loop().create_task(self._keep_linked(), name=f"redis {address}")

    @property
    def linked(self) -> bool:
        return self._link is not None

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))
        for link in (self._link, self._waiting_link):
            if link is not None:
                await link.close()
        self._link = None

    async def link(self) -> Link:
        """The link of the run that is known now. Raises StoreUnknown when there is none in time, or another run came."""
        if self._link is not None:
            return self._link
        run = self.run_id
        try:
            async with asyncio.timeout(self._access.timeout):
                await self._linked.wait()
        except TimeoutError:
            raise StoreUnknown(f"no connection to {self.address.host}:{self.address.port}") from None
        return self._link_of(run)

    def _link_of(self, run: str) -> Link:
        if self._link is None:
            raise StoreUnknown("the connection was lost again")
        if run and run != self.run_id:
            raise StoreUnknown("the server is another run by now")
        return self._link

    async def request(self, *commands: Command) -> list[Reply]:
        """Replies in order, each perhaps a ResponseError. Raises StoreUnknown."""
        link = await self.link()
        futures = link.request(*commands)
        # One after the other: they are answered in order, so the last one is what is waited for.
        return [self._checked(link, await future) for future in futures]

    async def request_one(self, command: Command) -> Reply:
        """As `request`, for the one command that most are."""
        link = self._link or await self.link()
        return self._checked(link, await link.request(command)[0])

    async def request_and_wait(self, command: Command, replicas: int) -> Reply:
        """As `request`, and then WAIT for replicas: on a link of its own, because WAIT holds all behind it up."""
        run = (await self.link()).run_id
        async with self._waiting_lock:
            if self._waiting_link is None or self._waiting_link.lost.is_set():
                if self._waiting_link is not None:
                    await self._waiting_link.close()
                    self._waiting_link = None
                try:
                    self._waiting_link = await Link.open(self.address, self._access)
                except (RedisError, OSError, WrongServer, TimeoutError) as error:
                    raise StoreUnknown(str(error)) from None
            link = self._waiting_link
        if link.run_id != run:
            link.end("another run than the first link shows")
            if self._link is not None:
                self._link.end("another run answers at this address")
            raise StoreUnknown("the server is another run by now")
        wait_ms = max(1, int(self._access.timeout * 500))
        reply, confirmed = link.request(command, ("WAIT", replicas, wait_ms))
        answer = self._checked(link, await reply)
        if not isinstance(answer, ResponseError):
            count = self._checked(link, await confirmed)
            if not isinstance(count, int) or count < replicas:
                raise StoreUnknown(f"only {count} of {replicas} replicas confirmed")
        return answer

    def _checked(self, link: Link, reply: Reply) -> Reply:
        if isinstance(reply, LinkLost):
            raise StoreUnknown(str(reply))
        if link.run_id != self.run_id:
            raise StoreUnknown("the reply is of an older run")
        if isinstance(reply, ResponseError) and getattr(reply, "status_code", None) in _NOT_MASTER:
            link.end(f"{self.address.host}:{self.address.port} is no master any more")
            raise StoreUnknown("the server is no master any more")
        return reply

    async def _keep_linked(self) -> None:
        pause = _RECONNECT_FIRST
        while True:
            try:
                link = await Link.open(self.address, self._access)
            except Exception as error:  # whatever it is (file, name, TLS, server): said, and tried again
                log.warning("redis %s:%d: %s", *self.address, str(error) or "no answer")
                self._on_lost()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _RECONNECT_MOST)
                continue
            pause = _RECONNECT_FIRST
            if link.run_id != self.run_id:
                self.run_id = link.run_id
                self._on_run()
            self._link = link
            self._linked.set()
            try:
                await link.lost.wait()
            finally:
                self._link = None
                self._linked.clear()
                await link.close()
            log.warning("redis %s:%d: link lost: %s", *self.address, link.lost_because)
            self._on_lost()
