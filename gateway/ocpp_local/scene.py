"""Everything that takes part in the demo: the system, its backend, the charge points, and what is known of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import typer

from ocpp_client.cli import tables
from ocpp_local.account import Account
from ocpp_local.backend import Backend
from ocpp_local.stations import Station
from ocpp_local.system import System
from ocpp_local.telling import StoryError, Teller, listed

DEADLINE = 20.0
"""Of every command of the demo; seconds."""


@dataclass(slots=True)
class Scene:
    """One run of the demo."""

    teller: Teller
    system: System
    backend: Backend
    stations: list[Station]
    events: Counter[str]
    figures: dict[str, str] = field(default_factory=dict)
    tokens: int = 0

    @property
    def account(self) -> Account:
        """The backend's book."""
        return self.backend.account

    async def data_transfer(self, one: Station) -> None:
        """Send a command that must never be written twice: its data shows in the ledgers how often it was."""
        self.tokens += 1
        token = f"demo-{self.tokens:05}"
        payload = {"vendorId": "demo", "messageId": "note", "data": token}
        await self.backend.send(one.id, "DataTransfer", payload, DEADLINE, marker=token)

    async def pod_of(self, one: Station) -> str | None:
        """The gateway that holds a charge point."""
        entry = await self.backend.entry(one.id)
        return entry.pod if entry else None

    async def holders(self) -> Counter[str]:
        """How many charge points each gateway holds."""
        pods = [await self.pod_of(one) for one in self.stations]
        return Counter(pod for pod in pods if pod is not None)

    async def must(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait for what is read from Kafka or done by charge points. Raises StoryError."""
        if not await self.backend.until(condition, timeout):
            raise StoryError(f"waited {timeout:g} s in vain for {what}")

    async def must_see(self, look: Callable[[], Awaitable[bool]], timeout: float, what: str) -> None:
        """Wait for what only a look at the store can tell. Raises StoryError."""
        give_up = time.monotonic() + timeout
        while not await look():
            if time.monotonic() > give_up:
                raise StoryError(f"waited {timeout:g} s in vain for {what}")
            await asyncio.sleep(0.05)

    async def finals(self, ids: list[str], timeout: float) -> str:
        """Wait for the outcomes of these commands; how many of which."""
        await self.must(lambda: all(self.account.final(one) for one in ids), timeout, "the outcome of every command")
        return listed(Counter(final.result.outcome.value for one in ids if (final := self.account.final(one))))

    def latency(self) -> str:
        """From produced to answered, of all commands so far."""
        found = self.account.latencies(before=time.monotonic())
        if not found:
            return "no answer yet"
        return f"answered within {found[len(found) // 2] * 1000:.0f} ms (median of {len(found)})"

    def imbalances(self) -> list[str]:
        """Where the two books differ."""
        return self.account.imbalances(
            executed=[done.marker for one in self.stations for done in one.ledger.executed],
            answered={one.id: one.ledger.answered for one in self.stations},
            refused={one.id: one.ledger.refused for one in self.stations},
            owing={one.id: one.owing for one in self.stations},
        )

    def show_account(self, imbalances: list[str]) -> None:
        """The summary table, and the verdict."""
        outcomes = self.account.outcomes()
        answered = sum(len(one.ledger.answered) for one in self.stations)
        marked = [sent.marker for sent in self.account.sent.values() if sent.marker is not None]
        executed = Counter(done.marker for one in self.stations for done in one.ledger.executed)
        rows = [
            ("commands sent", str(len(self.account.sent))),
            ("  with one final outcome", f"{outcomes.total()}: {listed(outcomes)}"),
            ("  repeated reports of the same outcome", str(self.account.copies())),
            (
                "  never to be written twice",
                f"{len(marked)}, executed twice: {sum(executed[one] > 1 for one in marked)}",
            ),
            ("command to outcome", self.latency()),
            ("charging sessions", str(sum(one.ledger.sessions for one in self.stations))),
            ("transaction messages answered", str(answered) + ("" if imbalances else ", each with its event in Kafka")),
            ("connections of charge points", str(sum(one.ledger.connections for one in self.stations))),
            *self.figures.items(),
            ("events in Kafka", listed(self.events)),
        ]
        typer.echo(tables.columns(rows))
        typer.echo("")
        if outcomes["Uncertain"]:
            typer.echo(
                "Uncertain: written to a charge point whose gateway died before the answer came. Nobody knows whether it was"
            )
            typer.echo(
                "carried out, so it is said once and never sent again by itself (docs/backend.md: what a backend may do)."
            )
        for line in imbalances[:20]:
            typer.echo(f"  differs: {line}")
        if not imbalances:
            typer.echo(
                typer.style("The account balances: every command is accounted for exactly once.", fg="green", bold=True)
            )
