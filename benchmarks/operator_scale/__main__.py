"""`make bench-operator`, `python -m benchmarks.operator_scale`: one operator with very many resources, on a real API server.

    python -m benchmarks.operator_scale                 200 resources of 5 pods, idle for 3 minutes (about 15 minutes)
    python -m benchmarks.operator_scale --quick         10 resources of 2 pods, printed and not kept
    python -m benchmarks.operator_scale --resources 50 --pods 20

Real: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, Kafka, Redis, and the operator as a process with the settings as
shipped. Played: nodes and kubelets by KWOK, and what the gateways write into Redis (`fleet`); no station is connected.

    alone     one resource: until it is Ready; its pods replaced after a change of their template
    many      the others at once: until all are Ready; how long passes take, what they cost
    idle      nothing happens: requests, CPU, memory
    change    the same change to one resource, beside all the others
    restart   the operator ends and another process begins: until it has looked at all, what it asks and writes
    loss      a tenth of the pods is killed: until every partition is owned again, and until all is as before

Nothing is asserted about speed. Needs `make testbed` and `python -m tests.testbed install scale`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import proc, record, report
from benchmarks.operator_scale import figures
from benchmarks.operator_scale.place import Place, Size, TooSlow, place, say
from ocpp_operator.core import names
from tests.testbed.cache import Missing
from tests.testbed.processes import NotReady

_MIB = 2**20
_SHARE_KILLED = 0.1
_QUIET = 20.0
"""Seconds between coming to rest and measuring: figures in the status are written up to half a minute later."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operator_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--resources", type=int, help="how many ChargeGateways (200)")
    parser.add_argument("--pods", type=int, help="pods of each (5)")
    parser.add_argument(
        "--partitions", type=int, default=8,
        help="mailbox partitions of each, at least as many as pods (8; a resource that names none has 128, which the operator reads "
        "every second; Kafka has twice as many and 4 more per resource, in one process here)",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, help="how long nothing happens (3)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds that any step may take (600)")
    parser.add_argument("--quick", action="store_true", help="10 resources, 2 pods, 1 minute; printed only")
    parser.add_argument("--print", action="store_true", help="printed only, whatever the size")
    return parser.parse_args()


async def measure(here: Place, found: dict[str, Any]) -> None:
    """All phases, in turn; what was seen goes into `found`."""
    found |= {"resources": here.size.resources, "pods": here.size.pods, "partitions": here.size.partitions}
    here.operator.start()
    began = time.monotonic()
    while not await here.operator.leads():
        if time.monotonic() - began > 60:
            raise TooSlow(f"no leader after 60 s:\n{here.operator.text()[-3000:]}")
        await asyncio.sleep(0.1)
    found["empty"] = {"rss": proc.rss_bytes(here.pid) / _MIB}
    for name, phase in (
        ("alone", alone),
        ("many", many),
        ("idle", idle),
        ("change", change),
        ("restart", restart),
        ("loss", loss),
    ):
        say(f"--- {name} (load {os.getloadavg()[0]:.1f})")
        before, here.restarts = os.getloadavg()[0], 0
        figures_of = await phase(here)
        loads = [round(load, 1) for load in (before, os.getloadavg()[0])]
        found[name] = {**figures_of, "load": loads, "ended": here.restarts}
        say(f"{name}: {found[name]}")


async def alone(here: Place) -> dict[str, Any]:
    began = await here.make(range(1))
    ready = await here.until(lambda: here.settled(0), "the first resource")
    return {"ready": ready - began, **await _rolled(here, 0, "a roll alone")}


async def _rolled(here: Place, number: int, what: str) -> dict[str, Any]:
    """A change that every pod has to be replaced for."""
    before, generation = here.pods_of(number), here.generation(number)
    began = time.monotonic()
    await here.patch(number, {"template": {"pod": {"annotations": {"benchmark": str(random.random())}}}})
    first = await here.until(lambda: bool(here.pods_of(number) - before), f"{what}: begins")
    await here.until(lambda: not before & here.pods.keys(), f"{what}: old pods gone")
    done = await here.until(lambda: here.generation(number) > generation and here.settled(number), what)
    return {"first_pod": first - began, "rolled": done - began}


async def many(here: Place) -> dict[str, Any]:
    wanted = here.size.resources
    passes, cpu, asked = await here.passes(), here.cpu(), len(here.asked())
    began = await here.make(range(1, wanted))
    made = time.monotonic()
    done = await here.until(lambda: here.all_settled == wanted, "all Ready")
    spent = {name: seconds - cpu[name] for name, seconds in here.cpu().items()}
    each = [here.changed[here.name(number)] - began for number in range(1, wanted)]
    requests = here.asked()[asked:]
    return {
        "made": made - began,
        "all_ready": done - began,
        "each": figures.spread(each),
        "passes": (await here.passes()).since(passes).shown(),
        "cpu": spent,
        "cpu_each": spent["operator"] / max(1, wanted - 1),
        "requests_each": len(requests) / max(1, wanted - 1),
        **_memory(here),
    }


async def idle(here: Place) -> dict[str, Any]:
    say(f"  {_QUIET:.0f} s of quiet first")
    await asyncio.sleep(_QUIET)
    seconds = here.size.minutes * 60
    passes, cpu, asked, commands = await here.passes(), here.cpu(), len(here.asked()), await here.commands()
    began = time.monotonic()
    while (left := began + seconds - time.monotonic()) > 0:
        await asyncio.sleep(min(left, 30))
        here.keep()
        say(f"  {time.monotonic() - began:4.0f} s of {seconds:.0f}: {here.told()}, load {os.getloadavg()[0]:.1f}")
    took = time.monotonic() - began
    spent = {name: (total - cpu[name]) / took for name, total in here.cpu().items()}
    requests = here.asked()[asked:]
    calls = figures.commands(commands, await here.commands())
    work = [each for each in requests if each.verb != "watch" and not each.resource.startswith("leases")]
    return {
        "seconds": took,
        "passes": (await here.passes()).since(passes).shown(),
        "cpu": spent,
        "requests": len(work) * 60 / took,
        "watches_begun": sum(each.verb == "watch" for each in requests) * 60 / took,
        "lease": sum(each.resource.startswith("leases") for each in requests) * 60 / took,
        "by_kind": figures.per_minute(requests, took),
        "redis": {name: number * 60 / took for name, number in calls.items()},
        **_memory(here),
    }


async def change(here: Place) -> dict[str, Any]:
    number = here.size.resources // 2
    return await _rolled(here, number, "a roll beside the others")


async def restart(here: Place) -> dict[str, Any]:
    wanted = here.size.resources
    asked = len(here.asked())
    settled = here.all_settled
    began = time.monotonic()
    await here.operator.stop()
    stopped = time.monotonic()
    here.start_anew()
    looked = None
    while looked is None:
        if time.monotonic() - stopped > here.size.timeout:
            raise TooSlow(f"the new operator has looked at {await here.seen_once()} of {wanted} resources")
        if await here.seen_once() >= wanted:
            looked = time.monotonic()
        await asyncio.sleep(0.1)
    cpu = proc.cpu(here.pid).total
    await asyncio.sleep(_QUIET)
    requests = here.asked()[asked:]
    return {
        "left": stopped - began,
        "all_seen": looked - stopped,
        "cpu": cpu,
        "settled_before": settled,
        "settled_after": here.all_settled,
        "requests": len(requests),
        "writes": figures.writes_to_children(requests),
        "by_kind": dict(Counter(map(str, requests)).most_common()),
        "passes": (await here.passes()).shown(),
        **_memory(here),
    }


async def loss(here: Place) -> dict[str, Any]:
    wanted = here.size.resources
    victims = random.Random(7).sample(sorted(here.pods), max(1, round(len(here.pods) * _SHARE_KILLED)))
    touched = {here.pods[uid]["metadata"]["labels"][names.INSTANCE] for uid in victims}
    passes, cpu = await here.passes(), here.cpu()
    began = time.monotonic()
    kills = []
    for uid in victims:
        where = here.pods[uid]["metadata"]
        path = f"/api/v1/namespaces/{where['namespace']}/pods/{where['name']}?gracePeriodSeconds=0"
        kills.append(here.ask("DELETE", path))
    await asyncio.gather(*kills)
    killed = time.monotonic()
    gone = set(victims)
    await here.until(lambda: not gone & here.pods.keys(), "killed pods gone")
    owned = await here.until(lambda: all(not here.fleet.unowned(name) for name in touched), "every partition owned")
    done = await here.until(
        lambda: here.ready_pods == wanted * here.size.pods and here.all_settled == wanted, "all as before"
    )
    return {
        "pods": len(victims),
        "resources": len(touched),
        "killed": killed - began,
        "owned": owned - began,
        "as_before": done - began,
        "passes": (await here.passes()).since(passes).shown(),
        "cpu": {name: seconds - cpu[name] for name, seconds in here.cpu().items()},
    }


def _memory(here: Place) -> dict[str, Any]:
    """What the operator has now: memory in MiB, threads, open files and sockets."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{here.pid}/status").read_text().splitlines() if ":" in line
    )
    return {
        "rss": proc.rss_bytes(here.pid) / _MIB,
        "peak": int(status["VmHWM"].split()[0]) / 1024,
        "threads": int(status["Threads"]),
        "files": len(list(Path(f"/proc/{here.pid}/fd").iterdir())),
    }


async def main(arguments: argparse.Namespace) -> None:
    resources, pods, minutes = (10, 2, 1.0) if arguments.quick else (200, 5, 3.0)
    size = Size(
        arguments.resources or resources, arguments.pods or pods, arguments.partitions,
        arguments.minutes or minutes, arguments.timeout,
    )  # fmt: skip
    if size.pods > size.partitions:
        raise SystemExit(f"--partitions {size.partitions} are too few for {size.pods} pods")
    found: dict[str, Any] = {}
    async with place(size) as here:
        try:
            await measure(here, found)
        except BaseException:
            kept = Path(tempfile.mkdtemp(prefix="chargegateway-scale-"))
            (kept / "operator.log").write_text(here.operator.text())
            (kept / "figures.json").write_text(json.dumps(found, indent=1))
            say(f"the operator's log and what was measured: {kept}")
            raise
    if arguments.quick or arguments.print:
        print(report.part("operator", found))
    else:
        record.keep("operator", "make bench-operator", found)
        report.write()


if __name__ == "__main__":
    # Kafka keeps a file open per partition, the operator two sockets per resource.
    proc.open_all_files()
    try:
        asyncio.run(main(parse_arguments()))
    except (TooSlow, Missing, NotReady) as error:
        raise SystemExit(f"benchmark failed: {error}") from None
