"""The masters of a store: one server, or those of a Redis Cluster; a connection to each, commands in pipelines.

Why not redis-py's own clients: they repeat what failed on whichever connection is free, so neither the server process that
answered nor the time it takes at most can be told, and their pipelines may swallow a cancellation (8.1). Here an
*exchange* is the unit: some commands, sent at once on one connection, and their replies. So all of them come from one
server process. It is repeated once, on a new connection, when the old one turned out to be dead (a restart, a balancer
that forgot it): everything that the operator sends may be done twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, TypeAlias

from redis.asyncio.connection import Connection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from ocpp_contract.scripts.calls import ScriptCall
from ocpp_operator.adapters.redis_access import Address, Fault, RedisAccess, StoreUnavailable, connection, explain

Command: TypeAlias = tuple[str | bytes | int, ...]
Reply: TypeAlias = Any
"""What the server said (bytes, int, list, None), or a ResponseError that it answered."""

_SLOTS = 16_384
_MGET = 100
_ELSEWHERE = (MovedError, AskError, TryAgainError, ClusterDownError)


class Master:
    """One server address and the connection to it, made when it is needed."""

    def __init__(self, address: Address, access: RedisAccess) -> None:
        self.address = address
        self._access = access
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Replies in order, all from one server process. Raises StoreUnavailable after at most three time-outs."""
        async with self._one_at_a_time:
            kept = self._connection is not None
            try:
                return await self._exchange(commands)
            except (RedisError, OSError, ValueError) as error:  # ValueError: a PEM that is none
                if not kept:
                    raise explain(error, self.address, self._access) from error
            try:
                return await self._exchange(commands)
            except (RedisError, OSError, ValueError) as error:
                raise explain(error, self.address, self._access) from error

    def refusal(self, error: ResponseError) -> StoreUnavailable:
        """What a refused command means."""
        return explain(error, self.address, self._access)

    async def close(self) -> None:
        connected, self._connection = self._connection, None
        if connected is not None:
            with contextlib.suppress(RedisError, OSError):
                await connected.disconnect()  # bounded by the connect time-out

    async def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        try:
            if self._connection is None:
                self._connection = connection(self.address, self._access)
                async with asyncio.timeout(self._access.timeout):
                    await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            async with asyncio.timeout(self._access.timeout):
                packed = self._connection.pack_commands(commands)
                await self._connection.send_packed_command(packed, check_health=False)
                return [await self._reply() for _ in commands]
        except BaseException:  # also when cancelled: replies that nobody read would be taken for the next ones
            await self._drop()
            raise

    async def _reply(self) -> Reply:
        assert self._connection is not None
        try:
            return await self._connection.read_response(disconnect_on_error=False)
        except ResponseError as error:
            return error

    async def _drop(self) -> None:
        dropped, self._connection = self._connection, None
        if dropped is not None:
            with contextlib.suppress(RedisError, OSError):
                await dropped.disconnect(nowait=True)


class Masters:
    """All masters of a store, and which of them a key belongs to. Raises StoreUnavailable throughout."""

    def __init__(self, access: RedisAccess) -> None:
        self._access = access
        self._masters: dict[Address, Master] = {}
        self._slots: list[Master] = []
        self._mapping = asyncio.Lock()

    async def close(self) -> None:
        await asyncio.gather(*(master.close() for master in self._masters.values()))

    async def all(self) -> tuple[Master, ...]:
        """In the order of their slots."""
        return tuple(dict.fromkeys(await self._mapped()))

    async def by_master(self, keys: Sequence[str]) -> dict[Master, list[int]]:
        """Indices of the keys that each master has."""
        slots = await self._mapped()
        found: dict[Master, list[int]] = {}
        for index, key in enumerate(keys):
            found.setdefault(slots[key_slot(key.encode()) if self._access.cluster else 0], []).append(index)
        return found

    async def ask(self, commands: Sequence[tuple[str, Command]]) -> list[Reply]:
        """Commands with the key that decides where; their replies. A command that the server refused raises."""
        replies = await self._ask(commands)
        away = [index for index, reply in enumerate(replies) if isinstance(reply, _ELSEWHERE)]
        if away:  # the cluster has changed; the server did nothing
            self.forget()
            for index, reply in zip(away, await self._ask([commands[index] for index in away]), strict=True):
                replies[index] = reply
        for (key, _), reply in zip(commands, replies, strict=True):
            if isinstance(reply, ResponseError) and not isinstance(reply, NoScriptError):
                [master] = await self.by_master([key])
                raise master.refusal(reply)
        return replies

    async def run(self, calls: Sequence[ScriptCall]) -> list[Reply]:
        """Scripts by their digests; those that a server has forgotten are handed over."""
        known: list[Command] = [("EVALSHA", call.script.sha1, len(call.keys), *call.keys, *call.args) for call in calls]
        replies = await self.ask([(call.keys[0], command) for call, command in zip(calls, known, strict=True)])
        forgotten = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        again = [(calls[i].keys[0], ("EVAL", calls[i].script.text, *known[i][2:])) for i in forgotten]
        for index, reply in zip(forgotten, await self.ask(again), strict=True):
            replies[index] = reply
        return replies

    async def values(self, master: Master, keys: Sequence[bytes]) -> list[bytes | None]:
        """Of keys that were just found there. None: gone, or gone to another master, or no string.

        In a cluster they lie in many slots, so they are read one by one. Otherwise some at a time: that is half the work
        for us, and not all at once, which others would have to wait for.
        """
        if self._access.cluster:
            found = await self.exchange(master, [("GET", key) for key in keys])
        else:
            parts = [keys[start : start + _MGET] for start in range(0, len(keys), _MGET)]
            replies = await self.exchange(master, [("MGET", *part) for part in parts])
            found = [value for reply in replies for value in readable(master, reply)]
        return [value if isinstance(value, bytes) else None for value in found]

    def forget(self) -> None:
        """The layout is asked for again before the next command."""
        if self._access.cluster:
            self._slots = []

    async def _ask(self, commands: Sequence[tuple[str, Command]]) -> list[Reply]:
        places = await self.by_master([key for key, _ in commands])
        replies: list[Reply] = [None] * len(commands)

        async def ask_one(master: Master, indices: list[int]) -> None:
            for index, reply in zip(
                indices, await self.exchange(master, [commands[i][1] for i in indices]), strict=True
            ):
                replies[index] = reply

        asked = [ask_one(master, indices) for master, indices in places.items()]
        await (asked[0] if len(asked) == 1 else _together(asked))
        return replies

    async def exchange(self, master: Master, commands: Sequence[Command]) -> list[Reply]:
        """As `Master.exchange`. A master that is away may have been replaced: the layout is read again next time."""
        try:
            return await master.exchange(commands)
        except StoreUnavailable:
            self.forget()
            raise

    # --- layout of a cluster ------------------------------------------------------------------------------------------

    async def _mapped(self) -> list[Master]:
        async with self._mapping:
            if not self._slots:
                self._slots = await self._map() if self._access.cluster else [self._master(self._access.addresses[0])]
            return self._slots

    async def _map(self) -> list[Master]:
        failure = StoreUnavailable(Fault.UNREACHABLE, "no node of the Redis Cluster answers in time")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(4 * self._access.timeout):
                for address in dict.fromkeys((*self._masters, *self._access.addresses)):
                    try:
                        return await self._map_from(address)
                    except StoreUnavailable as error:
                        failure = error
        raise failure

    async def _map_from(self, address: Address) -> list[Master]:
        asked = self._masters.get(address) or Master(address, self._access)
        try:
            [reply] = await asked.exchange([("CLUSTER", "SLOTS")])
        finally:
            if asked.address not in self._masters:
                await asked.close()
        if isinstance(reply, ResponseError):
            raise asked.refusal(reply)
        slots: list[Master | None] = [None] * _SLOTS
        for first, last, node, *_replicas in reply:
            master = self._master(Address((node[0] or b"").decode() or address.host, node[1]))
            slots[first : last + 1] = [master] * (last + 1 - first)
        covered = [master for master in slots if master is not None]
        if len(covered) < _SLOTS:
            missing = _SLOTS - len(covered)
            raise StoreUnavailable(
                Fault.UNREACHABLE, f"the Redis Cluster at {address} has no master for {missing} slots"
            )
        in_use = set(covered)
        for gone in [master for master in self._masters.values() if master not in in_use]:
            del self._masters[gone.address]
            await gone.close()
        return covered

    def _master(self, address: Address) -> Master:
        return self._masters.setdefault(address, Master(address, self._access))


async def _together(work: Sequence[Any]) -> None:
    """All of it; the first failure ends the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


def readable(master: Master, reply: Reply) -> Reply:
    """A reply that is no refusal; raises StoreUnavailable."""
    if isinstance(reply, ResponseError):
        raise master.refusal(reply)
    return reply


def is_of_another_type(reply: Reply) -> bool:
    """Whether GET was refused because the key is no string: somebody else's."""
    return isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE")


def microseconds(time: Reply) -> int:
    """Of a reply to TIME."""
    seconds, us = time
    return int(seconds) * 1_000_000 + int(us)
