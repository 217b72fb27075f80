"""The demo's main chapter: commands flow, and a gateway is killed in the middle."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from typing import Any

from ocpp_local.pods import Pod
from ocpp_local.scene import DEADLINE, Scene
from ocpp_local.stations import Station
from ocpp_local.telling import listed

COMMANDS_PER_SECOND = 15.0
BURST = 4
"""Commands to each charge point of the gateway that is about to be killed: some are written, some are not, nobody knows which."""
PATIENCE = 30.0
SAFE: dict[str, dict[str, Any]] = {
    "TriggerMessage": {"requestedMessage": "Heartbeat"},
    "GetVariables": {
        "getVariableData": [{"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}]
    },
}


async def kill_under_load(scene: Scene, end: float) -> None:
    """Send a steady flow of commands until `end` (monotonic), and kill the gateway that holds most in its first third."""
    stream = asyncio.create_task(_stream(scene, end))
    try:
        await asyncio.sleep(max(3.0, (end - time.monotonic()) * 0.3))
        await _kill(scene)
        await stream
    finally:
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
    sent, waiting = len(scene.account.sent), len(scene.account.open_commands())
    scene.teller.say(f"{sent} commands sent by now, {waiting} without an outcome yet")


async def _stream(scene: Scene, end: float) -> None:
    """One kind after the other, each charge point in turn; every fifth is urgent."""
    number = 0
    while time.monotonic() < end:
        one = scene.stations[number % len(scene.stations)]
        kind = ("DataTransfer", "GetVariables", "TriggerMessage")[(number // len(scene.stations)) % 3]
        if kind == "DataTransfer":
            await scene.data_transfer(one)
        else:
            await scene.backend.send(one.id, kind, SAFE[kind], DEADLINE, urgent=number % 5 == 0)
        number += 1
        await asyncio.sleep(1 / COMMANDS_PER_SECOND)


async def _kill(scene: Scene) -> None:
    holders = await scene.holders()
    victim = max(scene.system.present(), key=lambda pod: holders[pod.name])
    mine = [one for one in scene.stations if (await scene.pod_of(one)) == victim.name]
    calm = scene.latency()
    for one in mine * BURST:
        await scene.data_transfer(one)
    under_way = len(scene.account.open_commands())
    killed = time.monotonic()
    victim.send(signal.SIGKILL)
    scene.teller.say(
        f"SIGKILL to {victim.name} (pid {victim.child.pid}): {len(mine)} charge points on it, "
        f"{under_way} commands under way; {calm} so far"
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(_owned_again(scene, victim, killed))
        group.create_task(_served_again(scene, mine, victim, killed))


async def _owned_again(scene: Scene, victim: Pod, killed: float) -> None:
    owners: dict[int, str] = {}

    async def look() -> bool:
        nonlocal owners
        owners = await scene.backend.owners()
        return len(owners) == scene.system.partitions and victim.name not in owners.values()

    await scene.must_see(look, PATIENCE, "living owners of all partitions")
    took = time.monotonic() - killed
    scene.figures["partitions owned again"] = f"{took:.1f} s after the SIGKILL"
    scene.teller.say(
        f"all {len(owners)} partitions are owned again after {took:.1f} s: {listed(Counter(owners.values()))}"
    )


async def _served_again(scene: Scene, mine: list[Station], victim: Pod, killed: float) -> None:
    async def look() -> bool:
        pods = [await scene.pod_of(one) for one in mine]
        return all(one.online for one in mine) and not {None, victim.name} & set(pods)

    await scene.must_see(look, PATIENCE, "its charge points on another gateway")
    took = time.monotonic() - killed
    scene.figures["charge points served again"] = f"{took:.1f} s after the SIGKILL"
    scene.teller.say(f"its {len(mine)} charge points are served again after {took:.1f} s, sessions going on")
