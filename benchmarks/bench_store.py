"""What a command costs at the store: register, claim and done through the adapter, latency and CPU of both processes.

    python -m benchmarks.bench_store [--redis HOST:PORT] [--seconds 5]

Without `--redis` a server of the test bed is started. "Alone": one request at a time, which is the latency that a
command pays. "Together": 64 callers at once, which is what a busy pod does; requests of one turn share a write.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop

from ocpp_contract.ids import ChargePointId, CommandId, Incarnation, Partition, PodName
from ocpp_contract.outcome import CommandResult, Outcome
from ocpp_gateway.adapters.redis_link import Address
from ocpp_gateway.adapters.store import Store, StoreSettings
from ocpp_gateway.core import effects

ME = Incarnation(PodName("bench-0"), "uid", "00000001")
FAR = 2**52
Step = Callable[[int], Awaitable[object]]


async def measure(name: str, callers: int, seconds: float, step: Step, server_pid: int | None) -> None:
    laps: list[float] = []
    number = iter(range(10**9))
    stop = time.perf_counter() + seconds
    cpu, server_cpu = time.process_time(), _cpu(server_pid)

    async def call() -> None:
        while (start := time.perf_counter()) < stop:
            await step(next(number))
            laps.append(time.perf_counter() - start)

    await asyncio.gather(*(call() for _ in range(callers)))
    cpu, server_cpu = time.process_time() - cpu, _cpu(server_pid) - server_cpu
    laps.sort()
    count = len(laps)
    print(
        f"{name:34} {count / seconds:9,.0f}/s   p50 {laps[count // 2] * 1e6:7.0f} us   p99 {laps[count * 99 // 100] * 1e6:7.0f} us"
        f"   pod {cpu / count * 1e6:6.1f} us   redis {server_cpu / count * 1e6:6.1f} us"
    )


async def run(address: Address, seconds: float, server_pid: int | None) -> None:
    prefix = f"bench-{uuid.UUID(bytes=os.urandom(16)).hex[:8]}:"
    store = Store(StoreSettings((address,), key_prefix=prefix), on_run=lambda shard, run_id: None)
    await store.start()
    stations = [ChargePointId(f"CP-{number}") for number in range(1_000)]
    epochs = [(await store.execute(_register(station))).epoch for station in stations]

    async def register(number: int) -> None:
        await store.execute(_register(ChargePointId(f"R-{number}")))

    async def claim_and_done(number: int) -> None:
        which, command = number % len(stations), CommandId(str(uuid.UUID(int=number)))
        claim = effects.ClaimCommand(stations[which], command, ME, epochs[which], None, FAR, 60.0)
        assert isinstance(await store.execute(claim), effects.Claimed)
        result = CommandResult(command, stations[which], "Reset", Outcome.ACCEPTED, ME.pod, "2026-11-22T10:00:00Z")
        await store.execute(effects.RecordDone(stations[which], command, result, False, 60.0))

    async def get_hundred(number: int) -> None:
        await store.execute(effects.GetConn(tuple(stations[:100])))

    try:
        print("CPU is per step; a command is two requests")
        for name, callers, step in (
            ("register, alone", 1, register),
            ("register, 64 together", 64, register),
            ("command (claim + done), alone", 1, claim_and_done),
            ("command, 64 together", 64, claim_and_done),
            ("100 entries read, alone", 1, get_hundred),
        ):
            # Other numbers than before: a command that is done already would be another path.
            offset = uuid.uuid1().int >> 16
            await measure(name, callers, seconds, lambda n, step=step, offset=offset: step(n + offset), server_pid)  # type: ignore[misc]
    finally:
        await store.close()


def _register(station: ChargePointId) -> effects.Register:
    return effects.Register(station, ME, Partition(1), "c", "ocpp1.6", "2026-11-22T10:00:00Z", 0, FAR)


def _cpu(pid: int | None) -> float:
    """Seconds of user and system time of a process (Linux)."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _server(given: str | None) -> Iterator[tuple[Address, int | None]]:
    if given:
        host, _, port = given.rpartition(":")
        yield Address(host, int(port)), None
        return
    from tests.testbed.redis import RedisServer

    with RedisServer() as server, server.client() as client:
        yield Address("127.0.0.1", server.port), int(client.info("server")["process_id"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--redis", help="HOST:PORT of a server to use")
    parser.add_argument("--seconds", type=float, default=5.0, help="per row")
    options = parser.parse_args()
    with _server(options.redis) as (address, pid):
        uvloop.run(run(address, options.seconds, pid))


if __name__ == "__main__":
    main()
