"""The store as the gateway sees it: one server, or the masters of a Redis Cluster, each reached over one link.

Why not redis-py's own clients: they choose a connection per call and repeat what failed, so neither the run that
answered nor "sent at most once" can be promised. What is repeated here is only what the server said it did not do
(MOVED, ASK, TRYAGAIN, CLUSTERDOWN, NOSCRIPT); everything else that goes wrong is `StoreUnknown`.

`on_run(shard, run_id)` is called whenever a shard shows another run (its first one included), ahead of any reply of
that run. A shard is named by the first of its slots: the name stays when a failover gives the slots to another server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ResponseError,
    TryAgainError,
)

from ocpp_contract.scripts.calls import ScriptCall
from ocpp_gateway.adapters.redis_link import Address, Command, Link, RedisAccess, Reply
from ocpp_gateway.adapters.redis_shard import Shard, StoreUnknown

log = logging.getLogger(__name__)

_TOPOLOGY_AGE = 10.0
_SLOTS = 16_384
_MGET = 200


class Shards:
    """All shards, and which of them a key belongs to."""

    def __init__(
        self,
        addresses: Sequence[Address],
        access: RedisAccess,
        on_run: Callable[[str, str], None],
        cluster: bool = False,
    ) -> None:
        self._seeds = tuple(addresses)
        self._access = access
        self._on_run = on_run
        self._cluster = cluster
        self._shards: dict[Address, Shard] = {}
        self._slots: list[Shard] = []
        self._ranges: dict[str, Shard] = {}
        self._reported: dict[str, str] = {}
        self._replaced = 0
        """How often a run was reported in the place of another."""
        self._stale = asyncio.Event()
        self._mapped = asyncio.Event()
        self._topology: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect; returns at once. `linked` tells when all are there."""
        if self._cluster:
            self._topology = asyncio.get_running_loop().create_task(self._keep_mapped(), name="redis topology")
        else:
            self._place({"": self._shard(self._seeds[0])}, [self._shard(self._seeds[0])])

    async def close(self) -> None:
        if self._topology is not None:
            self._topology.cancel()
            await asyncio.wait((self._topology,))
        await asyncio.gather(*(shard.close() for shard in self._shards.values()))

    @property
    def linked(self) -> bool:
        """Whether every shard can be asked at this moment."""
        return self._mapped.is_set() and all(shard.linked for shard in set(self._slots))

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs of all shards as known now, sorted; "" for one that never answered."""
        return tuple(sorted(shard.run_id for shard in set(self._slots)))

    async def shard_of(self, key: str) -> Shard:
        """Raises StoreUnknown while the cluster's layout is not known."""
        if not self._mapped.is_set():
            try:
                async with asyncio.timeout(self._access.timeout):
                    await self._mapped.wait()
            except TimeoutError:
                raise StoreUnknown("no node of the cluster answers") from None
        return self._slots[key_slot(key.encode()) if self._cluster else 0]

    async def run(self, call: ScriptCall, replicas: int = 0) -> Reply:
        """Execute a script. Raises StoreUnknown."""
        known: Command = ("EVALSHA", call.script.sha1, len(call.keys), *call.keys, *call.args)
        reply = await self._routed(call.keys[0], known, replicas)
        if isinstance(reply, NoScriptError):  # not executed: the server has forgotten its scripts
            reply = await self._routed(call.keys[0], ("EVAL", call.script.text, *known[2:]), replicas)
        return _answer(reply, call.script.name)

    async def command(self, key: str, *words: str | bytes | int) -> Reply:
        """Execute one command on the shard of `key`. Raises StoreUnknown."""
        return _answer(await self._routed(key, words), str(words[0]))

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys that may lie in any slots. Raises StoreUnknown."""
        if not self._cluster:
            found: list[bytes | None] = []
            for start in range(0, len(keys), _MGET):
                some = keys[start : start + _MGET]
                found += await self.command(some[0], "MGET", *some)
            return found
        return await asyncio.gather(*(self.command(key, "GET", key) for key in keys))

    async def _routed(self, key: str, command: Command, replicas: int = 0) -> Reply:
        """The one place where something is sent again: after the server said that it did nothing. Never to a run that came
        to light meanwhile: what was asked on what an older run had told is unknown, not carried across."""
        until, replaced = asyncio.get_running_loop().time() + self._access.timeout, self._replaced
        while True:
            shard = await self.shard_of(key)
            if not shard.linked:
                await shard.link()
            if replaced != self._replaced:
                raise StoreUnknown("another run answers by now")
            reply = await (shard.request_and_wait(command, replicas) if replicas else shard.request_one(command))
            if type(reply) is AskError:
                target = self._shard(Address(reply.host, reply.port))
                reply = (await target.request(("ASKING",), command))[1]
            if not isinstance(reply, (MovedError, TryAgainError, ClusterDownError)):
                return reply
            if asyncio.get_running_loop().time() >= until:
                raise StoreUnknown(f"the cluster is changing: {reply}")
            self._stale.set()
            await asyncio.sleep(0.05)

    def _shard(self, address: Address) -> Shard:
        shard = self._shards.get(address)
        if shard is None:
            shard = self._shards[address] = Shard(address, self._access, self._report_runs, self._stale.set)
        return shard

    def _place(self, ranges: dict[str, Shard], slots: list[Shard]) -> None:
        self._ranges = ranges
        self._slots = slots
        self._mapped.set()
        self._report_runs()

    def _report_runs(self) -> None:
        """Tell who serves each range now. A range that went to another server is as much another run as a restart."""
        for name, shard in self._ranges.items():
            known = self._reported.get(name)
            if shard.run_id and known != shard.run_id:
                self._replaced += known is not None
                self._reported[name] = shard.run_id
                self._on_run(name, shard.run_id)

    async def _keep_mapped(self) -> None:
        """Read the cluster's layout: at first, when something points to a change, and now and then."""
        turn = 0
        while True:
            self._stale.clear()
            candidates = [*self._shards, *(seed for seed in self._seeds if seed not in self._shards)]
            for step in range(len(candidates)):
                if await self._map_from(candidates[(turn + step) % len(candidates)]):
                    break
            turn += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TOPOLOGY_AGE if self._mapped.is_set() else 0.2):
                    await self._stale.wait()
            await asyncio.sleep(0.1)  # many signs of one change are one question

    async def _map_from(self, address: Address) -> bool:
        known = self._shards.get(address)
        try:
            if known is not None and known.linked:
                reply = (await known.request(("CLUSTER", "SLOTS")))[0]
            else:
                link = await Link.open(address, self._access)
                try:
                    reply = await link.request(("CLUSTER", "SLOTS"))[0]
                finally:
                    await link.close()
        except Exception as error:  # whatever it is: the next node is asked
            log.warning("redis %s:%d tells no layout: %s", *address, str(error) or "no answer")
            return False
        if not isinstance(reply, list):
            log.warning("redis %s:%d tells no layout: %s", *address, reply)
            return False
        slots: list[Shard | None] = [None] * _SLOTS
        ranges: dict[str, Shard] = {}
        for first, last, master, *_replicas in reply:
            host = (master[0] or b"").decode() or address.host
            shard = self._shard(Address(host, master[1]))
            slots[first : last + 1] = [shard] * (last + 1 - first)
            ranges[str(first)] = shard
        covered = [shard for shard in slots if shard is not None]
        if len(covered) < _SLOTS:
            log.warning("redis %s:%d: %d slots have no master", *address, _SLOTS - len(covered))
            return False
        self._place(ranges, covered)
        in_use = set(covered)
        for gone in [shard for shard in self._shards.values() if shard not in in_use]:
            del self._shards[gone.address]
            await gone.close()
        return True


def _answer(reply: Reply, what: str) -> Reply:
    """A plain reply. An error that is none of the known ones is a mistake in our text or data: loud, and unknown."""
    if isinstance(reply, ResponseError):
        log.error("redis refused %s: %s", what, reply)
        raise StoreUnknown(f"{what}: {reply}")
    return reply
