"""`chargegateway demo`: the whole story in a minute, told line by line, and an account that must balance at the end."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import typer

from ocpp_client.cli import tables
from ocpp_client.cli.running import DEBUG_VARIABLE, UsageError
from ocpp_contract.names import SUBPROTOCOLS
from ocpp_local.account import Account
from ocpp_local.backend import Backend
from ocpp_local.pods import Pod
from ocpp_local.processes import LocalError, root_cause, run
from ocpp_local.station_versions import station
from ocpp_local.stations import Station
from ocpp_local.system import System, Wanted
from ocpp_operator.core.plan import Pace, Planned

SHORTEST, LONGEST = 25.0, 70.0
INTERRUPTED = 128
LAST_CALL = 88.0
"""Whatever happens, the demo has ended by then."""
DEADLINE = 20.0
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
COMMANDS_PER_SECOND = 15.0
BURST = 4
"""Commands to each charge point of the gateway that is about to be killed: some are written, some are not, nobody knows which."""
THINKING = 0.05


class BrokerKind(StrEnum):
    """What carries the messages."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


class StoryError(Exception):
    """The story went wrong at this point; told in one line."""


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
        raise StoryError(f"not at its end after {LAST_CALL:g} s; last: {story.last_line}") from None


@dataclass(slots=True)
class Demo:
    """One telling."""

    pods: int
    station_count: int
    seconds: float
    broker: BrokerKind
    account: Account = field(default_factory=Account)
    stations: list[Station] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    system: System | None = None
    known: set[str] = field(default_factory=set)
    tokens: int = 0
    last_line: str = ""
    began: float = field(default_factory=time.monotonic)
    figures: dict[str, str] = field(default_factory=dict)

    def say(self, line: str) -> None:
        """One line of the story, with the time since its beginning."""
        self.last_line = line
        stamp = typer.style(f"{time.monotonic() - self.began:6.1f} s", dim=True)
        typer.echo(f"{stamp}  {line}")

    def title(self, line: str) -> None:
        """A new chapter."""
        typer.echo(f"\n{typer.style(line, bold=True)}")

    async def tell(self) -> int:
        """The story from beginning to end."""
        kind = (
            "embedded broker and store" if self.broker is BrokerKind.EMBEDDED else "Apache Kafka and an embedded store"
        )
        self.title(f"{self.pods} gateways, {self.station_count} charge points, {kind}; all on this machine")
        wanted = Wanted(
            pods=self.pods,
            broker=self.broker.value,
            replace_after=2.0,
            settings=SETTINGS,
            pace=Pace(lease=LEASE, quiet=2.0, ceiling=10.0),
            on_plan=self._planned,
            on_change=self._changed,
        )
        async with System.started(wanted, say=self.say) as system:
            self.system = system
            self.known = {pod.name for pod in system.present()}
            self.say(f"{self.pods} gateways are ready on {system.station_url}<station id>")
            backend = Backend(system.kafka, system.redis, system.partitions, self.account, self._event)
            async with backend, asyncio.TaskGroup() as group:
                running = [group.create_task(made.run()) for made in self._make_stations(system)]
                try:
                    await self._connect(backend)
                    await self._charge(backend)
                    await self._remote_start(backend)
                    await self._kill_under_load(system, backend)
                    await self._remote_stop(backend)
                    imbalances = await self._settle(backend)
                finally:
                    for task in running:
                        task.cancel()
            self._summary(imbalances)
            if imbalances:
                raise StoryError(f"the account does not balance: {len(imbalances)} differences (above)")
        self.say("everything is stopped")
        return 0

    # --- chapters -------------------------------------------------------------------------------------------------------

    async def _connect(self, backend: Backend) -> None:
        self.title("Charge points connect and boot")
        await self._must(backend, lambda: all(one.online for one in self.stations), 15, "all charge points online")
        holders = await self._holders(backend)
        versions = Counter(one.subprotocol for one in self.stations)
        self.say(f"{len(self.stations)} charge points are online: {_listed(versions)}; held by {_listed(holders)}")
        await self._must(
            backend,
            lambda: self.events["DeviceBooted"] >= len(self.stations),
            10,
            "DeviceBooted of each on ocpp-events-up",
        )
        self.say(f"their events are in Kafka: {_listed(self.events)}")

    async def _charge(self, backend: Backend) -> None:
        self.title("People plug in")
        locally = self.stations[::2]
        for one in locally:
            one.begin(f"LOCAL-{one.id}")
        await self._must(
            backend,
            lambda: self.events["TransactionStarted"] >= len(locally),
            10,
            "TransactionStarted of each in Kafka",
        )
        self.say(f"{len(locally)} sessions have begun; their charge points were answered once Kafka had the event")

    async def _remote_start(self, backend: Backend) -> None:
        self.title("A backend starts the others, through Kafka")
        remotely = self.stations[1::2]
        ids = []
        for one in remotely:
            token = f"APP-{one.id}"  # at most 20 characters in 1.6; the ledger tells it from any other start
            payload = {"idToken": {"idToken": token, "type": "Central"}, "evseId": 1}
            ids.append(await backend.send(one.id, "RequestStartTransaction", payload, DEADLINE, marker=token))
        await self._finals(backend, ids, 15)
        self.say(f"{len(ids)} RequestStartTransaction: {_listed(self._outcomes(ids))}; {self._latency()}")
        await self._must(
            backend,
            lambda: all(one.session is not None and one.session.transaction_id for one in self.stations),
            10,
            "every charge point charging",
        )
        self.say(f"all {len(self.stations)} are charging; meter values flow")

    async def _kill_under_load(self, system: System, backend: Backend) -> None:
        self.title("Commands flow, and a gateway is killed in the middle")
        end = self.began + self.seconds - 6.0
        stream = asyncio.create_task(self._stream(backend, end))
        try:
            await asyncio.sleep(max(3.0, (end - time.monotonic()) * 0.3))
            victim = await self._victim(system, backend)
            mine = [one for one in self.stations if (await self._pod_of(backend, one)) == victim.name]
            calm = self._latency()
            for one in mine * BURST:
                await self._data_transfer(backend, one)
            open_now = len(self.account.open_commands())
            killed = time.monotonic()
            victim.send(signal.SIGKILL)
            self.say(
                f"SIGKILL to {victim.name} (pid {victim.child.pid}): {len(mine)} charge points on it, "
                f"{open_now} commands under way; {calm} so far"
            )
            owned = asyncio.create_task(self._owned_again(system, backend, victim, killed))
            back = asyncio.create_task(self._stations_back(backend, mine, victim, killed))
            await asyncio.gather(owned, back)
            await stream
        finally:
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)
        sent, waiting = len(self.account.sent), len(self.account.open_commands())
        self.say(f"{sent} commands sent by now, {waiting} without an outcome yet")

    async def _stream(self, backend: Backend, end: float) -> None:
        """A steady flow, one kind after the other, each charge point in turn."""
        number = 0
        while time.monotonic() < end:
            one = self.stations[number % len(self.stations)]
            kind = ("DataTransfer", "GetVariables", "TriggerMessage")[(number // len(self.stations)) % 3]
            if kind == "DataTransfer":
                await self._data_transfer(backend, one)
            else:
                await backend.send(one.id, kind, _PAYLOADS[kind], DEADLINE, urgent=number % 5 == 0)
            number += 1
            await asyncio.sleep(1 / COMMANDS_PER_SECOND)

    async def _data_transfer(self, backend: Backend, one: Station) -> None:
        """A command that must never be written twice: its data shows in the ledgers how often it was."""
        self.tokens += 1
        token = f"demo-{self.tokens:05}"
        payload = {"vendorId": "demo", "messageId": "note", "data": token}
        await backend.send(one.id, "DataTransfer", payload, DEADLINE, marker=token)

    async def _owned_again(self, system: System, backend: Backend, victim: Pod, killed: float) -> None:
        async with asyncio.timeout(20):
            while True:
                owners = await backend.owners()
                if len(owners) == system.partitions and victim.name not in owners.values():
                    break
                await asyncio.sleep(0.05)
        took = time.monotonic() - killed
        self.figures["partitions owned again"] = f"{took:.1f} s after the SIGKILL"
        self.say(
            f"all {system.partitions} partitions are owned again after {took:.1f} s: {_listed(Counter(owners.values()))}"
        )

    async def _stations_back(self, backend: Backend, mine: list[Station], victim: Pod, killed: float) -> None:
        async with asyncio.timeout(20):
            while True:
                pods = [await self._pod_of(backend, one) for one in mine]
                if all(one.online for one in mine) and all(pod not in (None, victim.name) for pod in pods):
                    break
                await asyncio.sleep(0.05)
        took = time.monotonic() - killed
        self.figures["charge points served again"] = f"{took:.1f} s after the SIGKILL"
        self.say(f"its {len(mine)} charge points are served again after {took:.1f} s, sessions going on")

    async def _remote_stop(self, backend: Backend) -> None:
        self.title("The backend stops all sessions")
        ids = []
        for one in self.stations:
            if one.session is not None and one.session.transaction_id is not None:
                payload = {"transactionId": one.session.transaction_id}
                ids.append(await backend.send(one.id, "RequestStopTransaction", payload, DEADLINE, urgent=True))
        await self._finals(backend, ids, 25)
        self.say(f"{len(ids)} RequestStopTransaction: {_listed(self._outcomes(ids))}")
        for one in self.stations:
            one.end()  # whoever was not reached stops by hand

    async def _settle(self, backend: Backend) -> list[str]:
        """Wait until both sides are complete, and compare them."""
        self.title("The account")
        left = max(5.0, LAST_CALL - 8.0 - (time.monotonic() - self.began))
        await backend.until(
            lambda: not self.account.open_commands() and not any(one.owing for one in self.stations), left
        )
        await backend.until(lambda: not self._imbalances(), 3.0)
        return self._imbalances()

    # --- what is seen ---------------------------------------------------------------------------------------------------

    def _make_stations(self, system: System) -> list[Station]:
        for number in range(self.station_count):
            version = SUBPROTOCOLS[number % len(SUBPROTOCOLS)]
            self.stations.append(
                station(f"CP-{number + 1:03}", system.station_url, version, meter_interval=2.0, thinking=THINKING)
            )
        return self.stations

    def _event(self, kind: str, value: dict[str, Any]) -> None:
        self.events[kind] += 1

    def _changed(self) -> None:
        for pod in self.system.present() if self.system else ():
            if pod.name not in self.known:
                self.known.add(pod.name)
                self.say(f"{pod.name} is started in its place")

    def _planned(self, planned: Planned) -> None:
        self.say(f"plan {planned.plan.generation}: {planned.reason}")

    async def _pod_of(self, backend: Backend, one: Station) -> str | None:
        entry = await backend.entry(one.id)
        return entry.pod if entry else None

    async def _holders(self, backend: Backend) -> Counter[str]:
        pods = [await self._pod_of(backend, one) for one in self.stations]
        return Counter(pod for pod in pods if pod is not None)

    async def _victim(self, system: System, backend: Backend) -> Pod:
        """The gateway that holds most: killing it hurts most."""
        holders = await self._holders(backend)
        return max(system.present(), key=lambda pod: holders[pod.name])

    async def _must(self, backend: Backend, condition: Any, timeout: float, what: str) -> None:
        if not await backend.until(condition, timeout):
            raise StoryError(f"waited {timeout:g} s in vain for {what}")

    async def _finals(self, backend: Backend, ids: list[str], timeout: float) -> None:
        await self._must(
            backend, lambda: all(self.account.final(one) for one in ids), timeout, "the outcome of every command"
        )

    def _outcomes(self, ids: list[str]) -> Counter[str]:
        return Counter(final.result.outcome.value for one in ids if (final := self.account.final(one)))

    def _latency(self) -> str:
        found = self.account.latencies(before=time.monotonic())
        if not found:
            return "no answer yet"
        return f"answered within {found[len(found) // 2] * 1000:.0f} ms (median of {len(found)})"

    def _imbalances(self) -> list[str]:
        return self.account.imbalances(
            executed=[done.marker for one in self.stations for done in one.ledger.executed],
            answered={one.id: one.ledger.answered for one in self.stations},
            refused={one.id: one.ledger.refused for one in self.stations},
            owing={one.id: one.owing for one in self.stations},
        )

    def _summary(self, imbalances: list[str]) -> None:
        answered = sum(len(one.ledger.answered) for one in self.stations)
        marked = [sent for sent in self.account.sent.values() if sent.marker is not None]
        executed = Counter(done.marker for one in self.stations for done in one.ledger.executed)
        twice = sum(executed[sent.marker] > 1 for sent in marked if sent.marker)
        rows = [
            ("commands sent", str(len(self.account.sent))),
            (
                "  with one final outcome",
                f"{sum(self.account.outcomes().values())}: {_listed(self.account.outcomes())}",
            ),
            ("  repeated reports of the same outcome", str(self.account.copies())),
            ("  never to be written twice", f"{len(marked)}, of which executed twice: {twice}"),
            ("command to outcome", self._latency()),
            ("charging sessions", str(sum(one.ledger.sessions for one in self.stations))),
            (
                "transaction messages answered",
                f"{answered}, each with its event in Kafka" if not imbalances else str(answered),
            ),
            ("connections of charge points", str(sum(one.ledger.connections for one in self.stations))),
            *self.figures.items(),
            ("events in Kafka", _listed(self.events)),
        ]
        typer.echo(tables.columns(rows))
        typer.echo("")
        for line in imbalances[:20]:
            typer.echo(f"  differs: {line}")
        if not imbalances:
            typer.echo(
                typer.style("The account balances: every command is accounted for exactly once.", fg="green", bold=True)
            )


_PAYLOADS: dict[str, dict[str, Any]] = {
    "TriggerMessage": {"requestedMessage": "Heartbeat"},
    "GetVariables": {
        "getVariableData": [{"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}]
    },
}


def _listed(counter: Counter[Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "none"
