"""A directed run of the world: everything is prompt, except what a test holds back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ocpp_contract.ids import ChargePointId, CommandId, Partition
from ocpp_contract.outcome import CommandResult, Outcome
from ocpp_gateway.core import effects as e
from ocpp_gateway.core.downlink_settings import DownlinkSettings
from tests.simulation.world import Op, Order, Process, Sessions, World

S1, S2 = ChargePointId("S1"), ChargePointId("S2")
P0, P1 = Partition(0), Partition(1)

E = TypeVar("E")


def command(
    number: int = 1,
    *,
    station: ChargePointId = S1,
    safe: bool = False,
    expires_in: float | None = None,
    wait: bool = True,
    urgent: bool = False,
) -> Order:
    return Order(CommandId(f"00000000-0000-4000-8000-{number:012}"), station, safe, expires_in, wait, urgent)


class Story(World):
    """One pod per name; partition n belongs to the n-th of them."""

    def __init__(
        self,
        *pods: str,
        partitions: int | None = None,
        settings: DownlinkSettings | None = None,
        sessions: Callable[[], Sessions] = Sessions,
    ) -> None:
        self._held: list[Callable[[Op], bool]] = []
        self.effects: list[tuple[str, Any]] = []
        """(process, request) in the order in which they took effect, local ones too."""
        self.sent: list[tuple[str, Any]] = []
        """(process, request) in the order in which they were sent: of a pipeline once, whatever it holds."""
        self.results: list[CommandResult] = []
        names = pods or ("A",)
        super().__init__(names, partitions or len(names), (), trace=[], settings=settings, sessions=sessions)
        self.go()

    # ------------------------------------------------------------------------------------------------------------- time
    def go(self) -> None:
        """Let happen what can happen now."""
        self.settle(lambda op: any(held(op) for held in self._held))

    def passes(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.tick()
            self.go()

    def hold(self, kind: type, *, process: str | None = None, about: Any = None) -> None:
        """Requests of this kind stay in flight: sent, without effect."""
        self._held.append(
            lambda op: (
                isinstance(op.effect, kind)
                and (process is None or (op.process is not None and op.process.name == process))
                and (about is None or about in _fields(op.effect))
            )
        )

    def hold_all(self) -> None:
        self._held.append(lambda op: True)

    def let_go(self) -> None:
        self._held.clear()
        self.go()

    def in_flight(self, kind: type, process: str | None = None) -> Op:
        """The oldest held request of a kind."""
        return next(
            op
            for op in self.ops
            if isinstance(op.effect, kind)
            and op.task is not None
            and (process is None or (op.process is not None and op.process.name == process))
        )

    # --------------------------------------------------------------------------------------------------------- recording
    def _local(self, task: Any, effect: Any) -> Any:
        if isinstance(effect, e.StartFetch | e.StopFetch | e.WriteCall | e.CallTimedOut | e.CloseSocket):
            self.effects.append((self.label(task.process), effect))
        local = super()._local(task, effect)
        if task.op is not None:
            self.sent.append((self.label(task.process), effect))
        return local

    def _serve(self, op: Op) -> Any:
        self.effects.append((self.label(op.process), op.effect))
        if isinstance(op.effect, e.PublishResult):
            self.results.append(op.effect.result)
        return super()._serve(op)

    def seen(self, kind: type[E], process: str | None = None) -> list[E]:
        """All requests of a kind so far."""
        return [effect for who, effect in self.effects if isinstance(effect, kind) and process in (None, who)]

    def order_of(self, *kinds: type, process: str | None = None) -> list[str]:
        return [type(x).__name__ for who, x in self.effects if isinstance(x, kinds) and process in (None, who)]

    def forget_so_far(self) -> None:
        self.effects.clear()
        self.sent.clear()
        self.results.clear()

    # ------------------------------------------------------------------------------------------------------------ actors
    def pod(self, name: str) -> Process:
        return self.processes[name]

    def connect(self, station: ChargePointId, name: str) -> None:
        self.dial(station, self.pod(name))
        self.go()

    def send(self, *orders: Order, partition: Partition = P0) -> None:
        for order in orders:
            self.orders[order.id] = order
            self.produce(order, partition)
        self.go()

    def put(
        self,
        value: bytes,
        partition: Partition = P0,
        headers: Iterable[tuple[str, bytes]] = (),
        lane: e.Lane = e.Lane.NORMAL,
    ) -> None:
        """Any bytes on a command topic."""
        self.append(partition, lane, b"key", value, tuple(headers))
        self.go()

    def assign(self, **wish: set[Partition]) -> None:
        self.plan({name: set(wish.get(name, set())) for name in self.wish})
        self.go()

    # ------------------------------------------------------------------------------------------------------------- facts
    def outcomes(self, order: Order) -> list[Outcome]:
        """What was published about a command, in order, copies included."""
        return [result.outcome for result in self.results if result.command_id == order.id]

    def written(self, order: Order) -> int:
        return self.checks.writes.get(order.id, 0)

    def held_by(self, name: str) -> set[Partition]:
        return set(self.pod(name).pod.ownership.owned)

    def tenure(self, name: str, partition: Partition = P0) -> Any:
        return self.pod(name).pod.ownership.owned[partition]

    def offset(self, partition: Partition = P0, lane: e.Lane = e.Lane.NORMAL) -> int:
        return self.committed[partition, lane][0]

    def stored(self, order: Order) -> e.CommandRecord | None:
        return self.store.record(order.station, order.id)


def _fields(effect: Any) -> tuple[Any, ...]:
    return tuple(getattr(effect, name) for name in effect.__dataclass_fields__)
