"""How long partitions are without an owner after a silent freeze, with the settings as shipped: `python -m tests.system.freeze`."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import redis.asyncio

from ocpp_contract.scripts.records import PodRecord
from ocpp_local.system import System, Wanted


async def freeze() -> int:
    async with System.started(Wanted(pods=2, replace_after=None)) as system:
        store = redis.asyncio.from_url(system.redis)
        frozen, other = system.present()
        frozen.send(signal.SIGSTOP)
        began = time.monotonic()
        held = 0
        while held < system.partitions and time.monotonic() - began < 90:
            record = await store.get(f"pod:{other.name}")
            held = len(PodRecord.from_json(record).partitions) if record else 0
            await asyncio.sleep(0.1)
        print(f"{held} of {system.partitions} partitions owned {time.monotonic() - began:.1f} s after SIGSTOP")
        frozen.send(signal.SIGCONT)
        await store.aclose()
    return 0 if held == system.partitions else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(freeze()))
