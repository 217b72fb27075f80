"""`chargegateway demo`: the whole story in a minute, told line by line, and an account that must balance at the end."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import typer

from ocpp_client.cli.running import DEBUG_VARIABLE, UsageError
from ocpp_contract.names import SUBPROTOCOLS
from ocpp_local import failover
from ocpp_local.account import Account
from ocpp_local.backend import Backend
from ocpp_local.processes import LocalError, root_cause, run
from ocpp_local.scene import DEADLINE, Scene
from ocpp_local.station_versions import station
from ocpp_local.stations import Station
from ocpp_local.system import System, Wanted
from ocpp_local.telling import StoryError, Teller, listed
from ocpp_operator.core.plan import Pace

SHORTEST, LONGEST = 25.0, 70.0
INTERRUPTED = 128
LAST_CALL = 88.0
"""Whatever happens, the demo has ended by then."""
ENDING = 6.0
"""Seconds before the end at which the flow of commands ends, so that what is open can come to an end."""
LEASE = 6.0
# A dead gateway's claims are judged once nobody can still act on them: call time-out + late window + lease. The product's
# defaults (30 + 60 + 15 s) are longer than this whole demo.
SETTINGS = {
    "OWNERSHIP__LEASE": f"{LEASE:g}s",
    "OWNERSHIP__RENEW_INTERVAL": "2s",
    "OWNERSHIP__MARGIN": "1.5s",
    "OCPP__CALL_TIMEOUT": "4s",
    "OCPP__HEARTBEAT_INTERVAL": "10s",
    "COMMANDS__LATE_WINDOW": "2s",
}
THINKING = 0.05
"""Charge points take a moment to carry out a command, so that some are written and unanswered when their gateway dies."""


class BrokerKind(StrEnum):
    """What carries the messages."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


def demo(
    pods: Annotated[int, typer.Option(min=1, max=8, help="Gateway processes.")] = 2,
    stations: Annotated[int, typer.Option(min=2, max=200, help="Simulated charge points, of all versions.")] = 6,
    duration: Annotated[str, typer.Option("--for", metavar="45s", help="How long the story takes.")] = "45s",
    broker: Annotated[
        BrokerKind, typer.Option(help="embedded (from a wheel), or Apache Kafka as `make testbed` fetches it.")
    ] = BrokerKind.EMBEDDED,
) -> None:
    """Tell the whole story on this machine: connect, charge, command, kill a gateway, account for everything.

    \b
    Ends by itself. Exit code 0 only if the account balances: every command has exactly one outcome, nothing that must not be
    repeated was executed twice, and every message that a station saw answered is in Kafka.
    \b
    Examples:
      chargegateway demo
      chargegateway demo --pods 3 --stations 30 --for 60s
      chargegateway demo --broker kafka
    """
    seconds = _seconds(duration)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs each attempt of a retry as an error
    try:
        code = run(_bounded(Demo(pods, stations, seconds, broker)))
        if code > INTERRUPTED:
            typer.echo("\ninterrupted; everything is stopped", err=True)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        cause = root_cause(error)
        told = str(cause) if isinstance(cause, (StoryError, LocalError)) else f"{type(cause).__name__}: {cause}"
        typer.echo("\n".join([f"\nThe demo failed: {told}", *getattr(error, "__notes__", ())]), err=True)
        code = 1
    raise typer.Exit(code)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m)?", text.strip())
    seconds = float(match[1]) * (60 if match[2] == "m" else 1) if match else 0.0
    if not SHORTEST <= seconds <= LONGEST:
        raise UsageError(f"--for {text!r}: write {SHORTEST:g}s to {LONGEST:g}s")
    return seconds


async def _bounded(story: Demo) -> int:
    try:
        async with asyncio.timeout(LAST_CALL):
            return await story.tell()
    except TimeoutError:
        raise StoryError(f"not at its end after {LAST_CALL:g} s; last: {story.teller.last_line}") from None


@dataclass(slots=True)
class Demo:
    """One telling."""

    pods: int
    station_count: int
    seconds: float
    broker: BrokerKind
    teller: Teller = field(default_factory=Teller)
    system: System | None = None
    known: set[str] = field(default_factory=set)

    async def tell(self) -> int:
        """The story from beginning to end."""
        own = self.broker is BrokerKind.EMBEDDED
        kind = "embedded broker and store" if own else "Apache Kafka and an embedded store"
        self.teller.chapter(f"{self.pods} gateways, {self.station_count} charge points, {kind}; all on this machine")
        wanted = Wanted(
            pods=self.pods,
            broker=self.broker.value,
            replace_after=2.0,
            settings=SETTINGS,
            pace=Pace(quiet=2.0, ceiling=10.0),
            on_plan=lambda planned: self.teller.say(f"plan {planned.plan.generation}: {planned.reason}"),
            on_change=self._changed,
        )
        async with System.started(wanted, say=self.teller.say) as system:
            self.system = system
            self.known = {pod.name for pod in system.present()}
            self.teller.say(f"{self.pods} gateways are ready on {system.station_url}<station id>")
            imbalances = await self._play(system)
            if imbalances:
                raise StoryError(f"the account does not balance: {len(imbalances)} differences (above)")
        self.teller.say("everything is stopped")
        return 0

    async def _play(self, system: System) -> list[str]:
        events: Counter[str] = Counter()
        backend = Backend(
            system.kafka, system.redis, system.partitions, Account(), lambda kind, value: events.update((kind,))
        )
        scene = Scene(self.teller, system, backend, _charge_points(self.station_count, system.station_url), events)
        async with backend, asyncio.TaskGroup() as group:
            running = [group.create_task(one.run()) for one in scene.stations]
            try:
                self.teller.chapter("Charge points connect and boot")
                await _connect(scene)
                self.teller.chapter("People plug in")
                await _charge(scene)
                self.teller.chapter("A backend starts the others, through Kafka")
                await _remote_start(scene)
                self.teller.chapter("Commands flow, and a gateway is killed in the middle")
                await failover.kill_under_load(scene, self.teller.began + self.seconds - ENDING)
                self.teller.chapter("The backend stops all sessions")
                await _remote_stop(scene)
                self.teller.chapter("The account")
                imbalances = await _settle(scene)
            finally:
                for task in running:
                    task.cancel()
        scene.show_account(imbalances)
        return imbalances

    def _changed(self) -> None:
        for pod in self.system.present() if self.system else ():
            if pod.name not in self.known:
                self.known.add(pod.name)
                self.teller.say(f"{pod.name} is started in its place")


def _charge_points(count: int, url: str) -> list[Station]:
    return [
        station(f"CP-{n + 1:03}", url, SUBPROTOCOLS[n % len(SUBPROTOCOLS)], meter_interval=2.0, thinking=THINKING)
        for n in range(count)
    ]


async def _connect(scene: Scene) -> None:
    stations = scene.stations
    await scene.must(lambda: all(one.online for one in stations), 20, "all charge points online")
    versions = Counter(one.subprotocol for one in stations)
    scene.teller.say(
        f"{len(stations)} charge points are online: {listed(versions)}; held by {listed(await scene.holders())}"
    )
    await scene.must(lambda: scene.events["DeviceBooted"] >= len(stations), 10, "DeviceBooted of each in Kafka")
    scene.teller.say(f"their events are in Kafka: {listed(scene.events)}")


async def _charge(scene: Scene) -> None:
    locally = scene.stations[::2]
    for one in locally:
        one.begin(f"LOCAL-{one.id}")
    await scene.must(
        lambda: scene.events["TransactionStarted"] >= len(locally), 10, "TransactionStarted of each in Kafka"
    )
    scene.teller.say(f"{len(locally)} sessions have begun; their charge points were answered once Kafka had the event")


async def _remote_start(scene: Scene) -> None:
    ids = []
    for one in scene.stations[1::2]:
        token = f"APP-{one.id}"  # at most 20 characters in 1.6; the ledger tells it from any other start
        payload = {"idToken": {"idToken": token, "type": "Central"}, "evseId": 1}
        ids.append(await scene.backend.send(one.id, "RequestStartTransaction", payload, DEADLINE, marker=token))
    outcomes = await scene.finals(ids, 15)
    scene.teller.say(f"{len(ids)} RequestStartTransaction: {outcomes}; {scene.latency()}")
    await scene.must(
        lambda: all(one.session is not None and one.session.transaction_id for one in scene.stations),
        10,
        "every charge point charging",
    )
    scene.teller.say(f"all {len(scene.stations)} are charging; meter values flow")


async def _remote_stop(scene: Scene) -> None:
    ids = []
    for one in scene.stations:
        if one.session is not None and one.session.transaction_id is not None:
            payload = {"transactionId": one.session.transaction_id}
            ids.append(await scene.backend.send(one.id, "RequestStopTransaction", payload, DEADLINE, urgent=True))
    scene.teller.say(f"{len(ids)} RequestStopTransaction: {await scene.finals(ids, 25)}")
    for one in scene.stations:
        one.end()  # whoever was not reached stops by hand


async def _settle(scene: Scene) -> list[str]:
    """Wait until both books are complete; where they differ."""
    left = max(5.0, LAST_CALL - 8.0 - scene.teller.elapsed)
    await scene.backend.until(
        lambda: not scene.account.open_commands() and not any(one.owing for one in scene.stations), left
    )
    await scene.backend.until(lambda: not scene.imbalances(), 3.0)
    return scene.imbalances()
