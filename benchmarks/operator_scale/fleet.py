"""The gateways of all pods as the operator sees them, without processes: what they write into Redis, and when.

A pod that runs writes its `pod:` record; told its partitions, it releases what is not its own any more, takes what is free with the scripts
of the contract, and acknowledges. One that is deleted says that it drains and releases everything; one that vanishes leaves what it
held, and its record runs out. Nobody has stations, so there is nothing to drain.

Leases are written once for the whole run and records are not renewed: 1,000 pods would do that 200 times a second, and neither Redis
nor this machine's CPUs are measured here. The commands in Redis that are counted in an idle time are the operator's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import orjson
from aiohttp import web
from redis.asyncio import Redis

from ocpp_contract import scripts
from ocpp_contract.assignment import Assignment
from ocpp_contract.ids import Incarnation, Partition, PodName
from ocpp_contract.internal_api import CONNECTIONS_PATH, encode_connections
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.calls import ScriptCall
from ocpp_contract.scripts.records import PodRecord
from ocpp_operator.core import names

Json = dict[str, Any]
Event = Callable[[str, Json], None]
"""event(type, object)"""

_LEASE_US = 86_400_000_000
_RECORD_MS = 15_000
"""How long the record of a pod that vanished stays."""
_STEP = 0.05
_AGAIN = 0.25
"""Seconds after which a partition that somebody else holds is tried again."""
_BATCH = 500


async def follow(http: aiohttp.ClientSession, url: str, tls: ssl.SSLContext, event: Event) -> None:
    """List, then watch, for ever; the list as ADDED."""
    joint = "&" if "?" in url else "?"
    while True:
        async with http.get(url, ssl=tls) as answer:
            answer.raise_for_status()
            listed = orjson.loads(await answer.read())
        for item in listed["items"]:
            event("ADDED", item)
        since = listed["metadata"]["resourceVersion"]
        with contextlib.suppress(aiohttp.ClientPayloadError):
            async with http.get(f"{url}{joint}watch=1&resourceVersion={since}", ssl=tls) as stream:
                async for line in stream.content:
                    told = orjson.loads(line)
                    if told["type"] == "ERROR":
                        break
                    event(told["type"], told["object"])


@dataclass(slots=True)
class Gateway:
    """One pod's process."""

    resource: str
    incarnation: Incarnation
    generation: int = 0
    wanted: frozenset[Partition] = frozenset()
    held: dict[Partition, int] = field(default_factory=dict)
    """With the epochs at which they were taken."""
    leaving: bool = False
    told: bytes = b""
    """Its record as it was written last."""

    def record(self) -> bytes:
        return PodRecord(self.incarnation, self.generation, frozenset(self.held), 0, self.leaving).to_json()


class Fleet:
    """See module. Use it as `async with`; `address` is that of all pods."""

    def __init__(self, redis: Redis, address: str, partitions: int) -> None:
        self._redis = redis
        self._address = address
        self._partitions = partitions
        self._dirty: dict[str, float] = {}
        """Pods with something to do, and when."""
        self._tasks: list[asyncio.Task[None]] = []
        self._server: web.AppRunner | None = None
        self.run_id = ""
        self.gateways: dict[str, Gateway] = {}
        """By uid."""
        self.owned: defaultdict[str, dict[Partition, str]] = defaultdict(dict)
        """Per resource: who holds a partition and lives."""

    async def __aenter__(self) -> Self:
        self.run_id = (await self._redis.info("server"))["run_id"]
        for script in (scripts.TAKE, scripts.RELEASE):
            await self._redis.script_load(script.text)
        application = web.Application()
        application.router.add_get(CONNECTIONS_PATH, _no_connections)
        self._server = web.AppRunner(application, access_log=None)
        await self._server.setup()
        await web.TCPSite(self._server, self._address, names.ADMIN_PORT).start()
        self._tasks.append(asyncio.create_task(self._work(), name="fleet"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        if self._server is not None:
            await self._server.cleanup()
        for task in self._tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def unowned(self, resource: str) -> int:
        """Partitions that nobody alive holds."""
        return self._partitions - len(self.owned[resource])

    # --- what Kubernetes shows ------------------------------------------------------------------------------------

    def note(self, event: str, pod: Json) -> None:
        """A watch event of a pod."""
        metadata = pod["metadata"]
        uid = metadata["uid"]
        known = self.gateways.get(uid)
        if event == "DELETED" or metadata.get("deletionGracePeriodSeconds") == 0:
            if known is not None and not known.leaving:  # killed: nobody says farewell
                known.leaving = True
                self._lost(known)
                self._dirty[uid] = time.monotonic()
            return
        if known is None:
            if (pod.get("status") or {}).get("phase") != "Running" or "deletionTimestamp" in metadata:
                return
            incarnation = Incarnation(PodName(metadata["name"]), uid, "00000001")
            known = self.gateways[uid] = Gateway(metadata["labels"][names.INSTANCE], incarnation)
        if "deletionTimestamp" in metadata and not known.leaving:
            known.leaving, known.wanted = True, frozenset()
        told = Assignment.from_annotations(metadata.get("annotations") or {})
        if told is not None and told.generation > known.generation and not known.leaving:
            known.generation, known.wanted = told.generation, told.partitions
        self._dirty[uid] = time.monotonic()

    def _lost(self, gateway: Gateway) -> None:
        owned = self.owned[gateway.resource]
        for partition in gateway.held:
            if owned.get(partition) == gateway.incarnation.uid:
                del owned[partition]

    # --- what the gateways write ----------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            now = time.monotonic()
            due = [uid for uid, at in self._dirty.items() if at <= now][:_BATCH]
            for uid in due:
                del self._dirty[uid]
            if due:
                await self._serve([self.gateways[uid] for uid in due if uid in self.gateways])
            await asyncio.sleep(0 if len(due) == _BATCH else _STEP)

    async def _serve(self, gateways: list[Gateway]) -> None:
        for gateway in (each for each in gateways if each.leaving and each.wanted):  # killed with what it held
            self._lost(gateway)
            await self._redis.pexpire(self._keys(gateway).pod(gateway.incarnation.pod), _RECORD_MS)
            del self.gateways[gateway.incarnation.uid]
        living = [gateway for gateway in gateways if gateway.incarnation.uid in self.gateways]
        await self._release(living)
        await self._take(living)
        await self._acknowledge(living)
        for gateway in living:
            if gateway.leaving:
                del self.gateways[gateway.incarnation.uid]
            elif gateway.wanted - gateway.held.keys():
                self._dirty.setdefault(gateway.incarnation.uid, time.monotonic() + _AGAIN)

    async def _release(self, gateways: list[Gateway]) -> None:
        work = [(each, partition) for each in gateways for partition in each.held.keys() - each.wanted]
        for gateway, partition in work:
            if self.owned[gateway.resource].get(partition) == gateway.incarnation.uid:
                del self.owned[gateway.resource][partition]
        await self._run(
            calls.release(self._keys(gateway), partition, gateway.incarnation, gateway.held.pop(partition))
            for gateway, partition in work
        )

    async def _take(self, gateways: list[Gateway]) -> None:
        work = [(each, partition) for each in gateways for partition in sorted(each.wanted - each.held.keys())]
        replies = await self._run(
            calls.take(self._keys(gateway), partition, gateway.incarnation, 0, _LEASE_US, True, self.run_id)
            for gateway, partition in work
        )
        for (gateway, partition), reply in zip(work, replies, strict=True):
            if reply[0] == b"taken":
                gateway.held[partition] = reply[1]
                self.owned[gateway.resource][partition] = gateway.incarnation.uid

    async def _acknowledge(self, gateways: list[Gateway]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for gateway in gateways:
            key, text = self._keys(gateway).pod(gateway.incarnation.pod), gateway.record()
            if gateway.leaving:
                pipe.delete(key)
            elif text != gateway.told:
                gateway.told = text
                pipe.set(key, text)
        await pipe.execute()

    async def _run(self, work: Iterable[ScriptCall]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for call in work:
            pipe.evalsha(call.script.sha1, len(call.keys), *call.keys, *call.args)
        return list(await pipe.execute())

    @staticmethod
    def _keys(gateway: Gateway) -> Keys:
        return Keys(f"{gateway.resource}:")


async def _no_connections(_: web.Request) -> web.Response:
    return web.Response(body=encode_connections(()), content_type="application/json")
