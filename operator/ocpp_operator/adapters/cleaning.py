"""What is left in the store of a resource that was deleted: its keys are taken away, a while at a time.

It must never take what is another's. So the claim decides (only its holder cleans, asked again before each batch), and without a
prefix, where `pod:7` or `station:x` may be another application's, the content has to read as ours too. The claim goes last:
while a key is left it says whose that is, to the next try and to the next operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_contract.scripts.records import PartitionRecord, PodRecord
from ocpp_operator.adapters.key_walk import Pace, walk
from ocpp_operator.adapters.redis_masters import Command, Master, Masters, Reply
from ocpp_operator.core.claims import SeenClaim
from ocpp_operator.core.sweep import OwnKeys


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of the keys."""

    removed: int
    finished: bool
    """False: time was up and some are left, or the keys are not this resource's to delete."""


async def clean(
    masters: Masters, keys: Keys, pace: Pace, guard: Callable[[], None], uid: str, limit: float, leave: bool
) -> Cleaned:
    """See `Directory.clean`."""
    clock = asyncio.get_running_loop().time
    until: float | None = None

    async def is_ours() -> bool:
        [text] = await masters.ask([(keys.claim, ("GET", keys.claim))])
        seen = None if text is None else SeenClaim.read(text)
        return seen is not None and seen.claim is not None and seen.claim.uid == uid

    if not await is_ours():
        return Cleaned(0, False)
    own = OwnKeys(keys)
    removed, finished = 0, True

    async def batch(master: Master, found: Sequence[bytes], _: int) -> bool:
        nonlocal removed, finished, until
        kinds = {key: kind for key in found if (kind := own.kind(key.decode("utf-8", "replace"))) is not None}
        ours = list(kinds) if keys.prefix else await _that_read_as_ours(masters, master, kinds)
        if ours:
            if not await is_ours():  # somebody took it meanwhile, and what is found is written by living pods
                finished = False
                return False
            guard()
            replies = await masters.exchange(master, [("DEL", key) for key in ours])
            removed += sum(reply for reply in replies if isinstance(reply, int))
            # Time counts from the first key: in a large store the next walk would otherwise be over before it is past what this
            # one has seen.
            until = clock() + limit if until is None else until
        finished = until is None or clock() < until
        return finished

    for match in own.patterns:
        if finished:
            await walk(masters, match, pace, batch)
    if leave and finished:
        guard()
        await masters.run([calls.leave_store(keys, uid)])
    return Cleaned(removed, finished)


async def _that_read_as_ours(masters: Masters, master: Master, kinds: Mapping[bytes, str]) -> list[bytes]:
    asked: list[Command] = [
        ("HMGET", key, "recordOffset", "credentialOffset") if kind == "station" else ("GET", key)
        for key, kind in kinds.items()
    ]
    replies = await masters.exchange(master, asked)
    return [key for (key, kind), reply in zip(kinds.items(), replies, strict=True) if _reads_as(kind, reply)]


_READERS: Final[Mapping[str, Callable[[bytes], object]]] = {
    "pod": PodRecord.from_json,
    "partition": PartitionRecord.from_json,
    "conn": ConnectionRecord.from_json,
    "run": int,
}


def _reads_as(kind: str, reply: Reply) -> bool:
    if kind == "station":
        return isinstance(reply, list) and any(value is not None for value in reply)
    read = _READERS.get(kind)
    if read is None:
        return True
    if not isinstance(reply, bytes):
        return False
    try:
        read(reply)
    except ValueError:  # a ContractError is one
        return False
    return True
