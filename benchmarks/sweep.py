"""The operator's sweep over a million entries: how long it takes, and what other clients of the same Redis feel meanwhile.

    python -m benchmarks.sweep [--entries 1000000] [--gone 0.3] [--rounds 2] [--nice 10] [--redis HOST:PORT] [--print]

Without `--redis` a server of the test bed is started, in memory only. A process of its own plays a gateway: GET of an entry and
EVALSHA of the refresh script, one after the other, a pair every 2 ms; it has nothing else to do, so that the figures are the
server's and not ours. Each round measures it beside no sweep, beside a pass over a quarter as many entries on *another* server
(the same work on the same machine, so what that costs is not Redis' doing), beside a pass that removes the entries of the pods
that are gone, and beside one that finds nothing. The sweeping process is niced below the others (`--nice 0`: not), because on a
user's site it has a machine of its own. Nothing is asserted about speed. Kept in RESULTS.md, but for `--print` and `--redis`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import redis

from benchmarks import record, report
from ocpp_contract import scripts
from ocpp_contract.connection import ConnectionRecord
from ocpp_contract.ids import ChargePointId, Incarnation, Partition, PodName
from ocpp_contract.names import Keys
from ocpp_contract.scripts import calls
from ocpp_operator.adapters.directory import Directory
from ocpp_operator.adapters.redis_access import Address, RedisAccess
from tests.testbed.redis import RedisServer

PREFIX = "bench-sweep:"
PODS = 100
_EVERY = 0.002
_FILL = 5_000
_TTL_MS = 900_000
# One million records in seconds: written by the server itself, each as register writes it (its epoch is the running number).
_FILLER = """
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local pod = string.format('%03d', number % tonumber(ARGV[4]))
  redis.call('SET', ARGV[1] .. number, (string.gsub(string.gsub(ARGV[5], 'POD', pod), 'EPOCH', tostring(number + 1))))
end
"""


@dataclass(frozen=True, slots=True)
class Felt:
    """Milliseconds of a GET and an EVALSHA together."""

    pairs: int
    p50: float
    p99: float
    longest: float

    def __str__(self) -> str:
        return f"p50 {self.p50:6.3f} ms   p99 {self.p99:6.3f} ms   longest {self.longest:7.2f} ms   of {self.pairs:,}"


def incarnation(number: int) -> Incarnation:
    return Incarnation(PodName(f"gw-{number:03d}"), f"uid-{number:03d}", "00000001")


def fill(client: redis.Redis, entries: int) -> None:
    """Entries of all pods, in turn."""
    holder = Incarnation(PodName("gw-POD"), "uid-POD", "00000001")
    record = ConnectionRecord(
        holder.pod, holder, Partition(17), 0, "9f8e7d6c5b4a3928", "ocpp1.6", "2026-11-22T10:00:00.000Z"
    )
    template = record.to_json().replace(b'"epoch":0', b'"epoch":EPOCH')
    for start in range(0, entries, _FILL):
        last = min(entries, start + _FILL) - 1
        client.eval(_FILLER, 0, Keys(PREFIX).conn(ChargePointId("CP-")), start, last, PODS, template)


# --- the other client, in a process of its own ------------------------------------------------------------------------


def other(port: int) -> None:
    """`begin` and `end` come as lines; after `end` the laps go out as JSON."""
    import threading

    keys, station = Keys(PREFIX), ChargePointId("other client")
    me = Incarnation(PodName("gw-other"), "uid-other", "00000001")
    record = ConnectionRecord(me.pod, me, Partition(1), 2**52, "c", "ocpp1.6", "2026-11-22T10:00:00.000Z")
    call = calls.refresh(keys, station, record, True, _TTL_MS, _TTL_MS)
    client = redis.Redis(port=port)
    client.script_load(call.script.text)
    stop = threading.Event()

    def laps() -> list[float]:
        found = []
        due = time.perf_counter()
        while not stop.is_set():
            start = time.perf_counter()
            client.get(keys.conn(ChargePointId("CP-1")))
            client.evalsha(scripts.REFRESH.sha1, len(call.keys), *call.keys, *call.args)
            found.append(time.perf_counter() - start)
            due = max(due + _EVERY, start)
            time.sleep(max(0.0, due - time.perf_counter()))
        return found

    result: list[list[float]] = []
    for _ in iter(sys.stdin.readline, "quit\n"):  # begin
        stop.clear()
        thread = threading.Thread(target=lambda: result.append(laps()))
        thread.start()
        sys.stdin.readline()  # end
        stop.set()
        thread.join()
        print(json.dumps(result.pop()), flush=True)


class Other:
    """The handle of that process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word.encode() + b"\n")
        await self._process.stdin.drain()

    async def felt(self) -> Felt:
        assert self._process.stdout is not None
        await self.say("end")
        laps = sorted(json.loads(await self._process.stdout.readline()))
        return Felt(len(laps), *(laps[int(len(laps) * share)] * 1_000 for share in (0.5, 0.99)), laps[-1] * 1_000)


@contextlib.asynccontextmanager
async def started(port: int) -> AsyncIterator[Other]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.sweep", "--other", str(port),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26,
    )  # fmt: skip
    handle = Other(process)
    try:
        yield handle
    finally:
        with contextlib.suppress(ConnectionError):
            await handle.say("quit")
        await process.wait()


def occupied(client: redis.Redis) -> str:
    """By the server's own clock: what others have to wait for. EVALSHA is also the other client's."""
    stats = client.info("latencystats")
    found = {command: stats.get(f"latency_percentiles_usec_{command}") for command in ("scan", "mget", "evalsha")}
    return ", ".join(f"{name} p50 {of['p50']:.0f} p99 {of['p99']:.0f}" for name, of in found.items() if of)


# --- rounds -----------------------------------------------------------------------------------------------------------


async def swept(address: Address, client: redis.Redis, gone: float) -> dict[str, Any]:
    """One pass, with a line about it; its figures."""
    present = {(one.pod, one.uid) for one in map(incarnation, range(round(PODS * gone), PODS))}
    present.add((PodName("gw-other"), "uid-other"))

    async def listed() -> Collection[tuple[PodName, str]]:
        return present

    directory = Directory(RedisAccess((address,), timeout=5.0), PREFIX)
    client.config_resetstat()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        progress = (await directory.sweep(listed)).progress
    finally:
        await directory.close()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(
        f"    {took:.1f} s, {progress.scanned:,} scanned, {progress.removed:,} removed, {progress.scanned / took:,.0f}/s, "
        f"operator's CPU {cpu:.1f} s; the server is busy with one command for (us): {occupied(client)}"
    )
    return {"seconds": took, "scanned": progress.scanned, "removed": progress.removed, "cpu": cpu}


async def no_sweep() -> dict[str, Any]:
    """What the other client feels by itself."""
    await asyncio.sleep(10)
    return {}


async def run(address: Address, client: redis.Redis, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {}
    with RedisServer() as elsewhere, elsewhere.client() as other_client:
        async with started(address.port) as beside:
            os.nice(options.nice)  # servers and other client have been started
            for number in range(1, options.rounds + 1):
                print(f"\nround {number}: {options.entries:,} entries of {PODS} pods, load {os.getloadavg()[0]:.1f}")
                fill(client, options.entries)
                fill(other_client, options.entries // 4)
                passes: list[tuple[str, Awaitable[dict[str, Any]]]] = [
                    ("no sweep", no_sweep()),
                    ("pass on another server", swept(Address("127.0.0.1", elsewhere.port), other_client, options.gone)),
                    ("pass that removes", swept(address, client, options.gone)),
                    ("pass that finds nothing", swept(address, client, options.gone)),
                ]
                for what, work in passes:
                    await beside.say("begin")
                    figures = await work
                    felt = await beside.felt()
                    found.setdefault(what, []).append({**figures, "felt": asdict(felt)})
                    print(f"  {what:26} {felt}")
    return {"entries": options.entries, "gone": options.gone, "ways": found}


@contextlib.contextmanager
def server(given: str | None) -> Iterator[tuple[Address, redis.Redis]]:
    if given:
        host, _, port = given.rpartition(":")
        with redis.Redis(host=host, port=int(port), decode_responses=True) as client:
            yield Address(host, int(port)), client
        return
    with RedisServer() as started_here, started_here.client() as client:
        yield Address("127.0.0.1", started_here.port), client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--gone", type=float, default=0.3, help="share of the pods that are gone")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--nice", type=int, default=10, help="of the sweeping process")
    parser.add_argument("--redis", help="HOST:PORT of a server on this machine to use; the keys stay")
    parser.add_argument("--print", action="store_true", help="printed only")
    parser.add_argument("--other", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.other:
        other(options.other)
        return
    with server(options.redis) as (address, client):
        found = asyncio.run(run(address, client, options))
    if not options.print and not options.redis:
        record.keep("sweep", "python -m benchmarks.sweep", found)
        report.write()


if __name__ == "__main__":
    main()
