"""Names that nobody answers for hold up no others. Their lookups hang as the C library's do: in a thread, for as long as the test wants."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from ocpp_operator.adapters import lookups
from ocpp_operator.adapters.lookups import LookupLoop
from ocpp_operator.adapters.redis_access import Address, Fault, RedisAccess, StoreUnavailable
from ocpp_operator.adapters.redis_masters import Master


class Names:
    """The name server: those that begin with "dead" it answers once `answer` is set, all others the system's own."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.asked: Counter[str] = Counter()
        self.inside = self.most = 0
        self._lock = threading.Lock()
        self._ask = socket.getaddrinfo

    def getaddrinfo(self, host: str, *question: Any) -> Any:
        if not host.startswith("dead"):
            return self._ask(host, *question)
        with self._lock:
            self.asked[host] += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.answer.wait(60)
        with self._lock:
            self.inside -= 1
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.answer.set()


def run(what: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=LookupLoop) as runner:
        runner.run(what)


async def look_up(name: str, patience: float = 60.0) -> Any:
    return await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo(name, 80, type=socket.SOCK_STREAM), patience)


async def given_up(*names: str) -> None:
    outcomes = await asyncio.gather(*(look_up(name, 0.05) for name in names), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TimeoutError}


def test_a_dead_name_that_is_asked_for_again_and_again_costs_one_thread_and_a_fine_one_is_found(names: Names) -> None:
    dead = [f"dead-{number}" for number in range(lookups.AT_ONCE - 1)]

    async def story() -> None:
        for _ in range(3):
            await given_up(*dead)
        assert names.asked == dict.fromkeys(dead, 1)
        found = await look_up("localhost")
        assert {address[0] for *_, address in found} <= {"127.0.0.1", "::1"}

    run(story())


def test_no_more_than_so_many_at_once_and_all_of_them_in_the_end(names: Names) -> None:
    dead = [f"dead-{number}" for number in range(lookups.AT_ONCE + 5)]

    async def story() -> None:
        await given_up(*dead)
        waiting = asyncio.create_task(look_up(dead[-1]))
        names.answer.set()
        with pytest.raises(socket.gaierror):
            await waiting

    run(story())
    assert names.most <= lookups.AT_ONCE


def test_who_gives_up_ends_nobody_elses_lookup(names: Names) -> None:
    async def story() -> None:
        patient = asyncio.create_task(look_up("dead"))
        await given_up("dead", "dead")
        names.answer.set()
        with pytest.raises(socket.gaierror):
            await patient
        assert names.asked == {"dead": 1}
        with pytest.raises(socket.gaierror):
            await look_up("dead")  # the answer is not kept
        assert names.asked == {"dead": 2}

    run(story())


def test_the_process_ends_without_them(names: Names) -> None:
    run(given_up("dead"))
    assert names.inside == 1


def test_a_name_that_is_none_is_said() -> None:
    async def story() -> None:
        with pytest.raises(UnicodeError):
            await look_up("a" * 70)

    run(story())


def test_the_store_is_told_in_time(names: Names) -> None:
    """redis-py connects by it."""

    async def story() -> None:
        master = Master(Address("dead", 6379), RedisAccess((Address("dead", 6379),), timeout=0.2))
        for _ in range(3):
            with pytest.raises(StoreUnavailable) as told:
                await master.exchange([("PING",)])
            assert told.value.reason is Fault.UNREACHABLE
        assert names.asked == {"dead": 1}

    run(story())
