"""Walking through all keys of a store that others use meanwhile: SCAN in batches, with a rest after each.

Redis does nothing else while it serves one command, so the largest command, not the number of keys, is what other clients
feel. The walk shares the connections of everything else, an exchange at a time, so that looks come in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ocpp_operator.adapters.redis_masters import Command, Master, Masters, microseconds, readable


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard the store is worked. What others wait for is one SCAN of `batch` keys, one MGET of as many, or `scripts` scripts
    that arrive in one read of the server: 0.1 to 0.3 ms each on a machine of our time. Between them it is idle for as long as
    we take to read the replies."""

    batch: int = 100
    scripts: int = 30
    rest: float = 0.0005
    """Seconds after each batch."""


async def walk(
    masters: Masters, match: str, pace: Pace, batch: Callable[[Master, Sequence[bytes], int], Awaitable[bool]]
) -> None:
    """Every key that fits and is there all the time, at least once; until `batch` says False. It gets the store's time from
    before its keys were found. Raises StoreUnavailable."""
    for master in await masters.all():
        cursor = b"0"
        while True:
            scan: Command = ("SCAN", cursor, "MATCH", match, "COUNT", pace.batch)
            time, found = await masters.exchange(master, [("TIME",), scan])
            cursor, keys = readable(master, found)
            if keys and not await batch(master, keys, microseconds(readable(master, time))):
                return
            if cursor == b"0":
                break
            await asyncio.sleep(pace.rest)
