"""Fixtures for every test: the real servers, started once per run, and names of one's own on them.

`kafka`, `redis_server`, `redis_cluster` and `kubernetes` live for the whole run, and each process of a parallel run has its
own; a test takes fresh names on them (`make_topics`, `redis_prefix`, `group_name`, `namespace`) instead of a restart. A test
that stops, freezes or empties a server takes `private_kafka`, `private_redis` or `private_kubernetes`. On a machine without a
component the tests that need it are skipped and say what is missing; with `CI=true` they fail.

Logs of the servers are kept when a test failed; the summary names their folders.
"""

import gc
import os
import secrets
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import settings

from tests.testbed.cache import Missing
from tests.testbed.kafka import EmbeddedBroker, KafkaCluster, KafkaServer, create_topics
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.redis import RedisCluster, RedisServer

_MARKED_BY_FIXTURE = {
    "kafka": {"kafka", "private_kafka", "private_kafka_cluster", "make_topics"},
    "redis": {"redis_server", "redis_cluster", "private_redis", "module_redis", "package_redis"},
    "kubernetes": {"kubernetes", "namespace", "private_kubernetes"},
}
# aiokafka 0.14 leaves the socket behind on which it waits for its first metadata when it is cancelled. Our clients let it end
# first, but not for longer than seconds; tests that harm brokers meet that. Everywhere else an unclosed socket is an error.
_HARM_BROKERS = {"private_kafka", "private_kafka_cluster"}
_LONGEST_FIRST = ("operator_cluster", "chart", "system", "gateway/adapters", "client", "local", "operator_adapters")
# An example that takes long says that the machine is busy, nothing of what it tries.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_kept_folders = pytest.StashKey[list[str]]()


class _Server(Protocol):
    keep_logs: bool

    def start(self) -> None: ...
    def close(self) -> None: ...


ServerType = TypeVar("ServerType", bound=_Server)


def require(make: Callable[[], ServerType]) -> ServerType:
    """What `make` makes; skip the test where a component is missing, fail it when `CI` says all must be there."""
    try:
        return make()
    except Missing as reason:
        if os.environ.get("CI"):
            pytest.fail(f"with CI set nothing may be missing: {reason}", pytrace=False)
        pytest.skip(str(reason))


def running(request: pytest.FixtureRequest, make: Callable[[], ServerType]) -> Iterator[ServerType]:
    """A started server for a fixture's life; its logs are kept if a test failed meanwhile."""
    server = require(make)
    failed_before = request.session.testsfailed
    try:
        server.start()
        yield server
    finally:
        if request.session.testsfailed > failed_before:
            server.keep_logs = True
        if server.keep_logs:
            folders = getattr(server, "folders", None) or [server.folder]  # type: ignore[attr-defined]
            request.config.stash.setdefault(_kept_folders, []).extend(map(str, folders))
        server.close()


# --- one of each for the whole run ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaServer]:
    """The run's Apache Kafka. Use topics and groups of your own; never stop it."""
    yield from running(request, KafkaServer)


@pytest.fixture(scope="session")
def embedded_broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker]:
    """The run's Tansu, the broker that `demo` and `up` embed."""
    yield from running(request, EmbeddedBroker)


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """The run's Redis. Use keys with a prefix of your own; never stop or flush it."""
    yield from running(request, RedisServer)


@pytest.fixture(scope="session")
def redis_cluster(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    """Three masters that share the slots."""
    yield from running(request, RedisCluster)


@pytest.fixture(scope="session")
def kubernetes(request: pytest.FixtureRequest) -> Iterator[KubernetesServer]:
    """The run's API server with its controllers and no node. Use a `namespace` of your own; never stop it."""
    yield from running(request, KubernetesServer)


# --- servers for one test, to be harmed -------------------------------------------------------------------------------


@pytest.fixture
def private_kafka(request: pytest.FixtureRequest) -> Iterator[KafkaServer]:
    """A Kafka for this test alone: `stop_async`, `start_async`, `kill`, `pause`, `resume`, `restart_empty_async`."""
    yield from running(request, KafkaServer)


@pytest.fixture
def private_kafka_cluster(request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    """Three Kafka nodes for this test alone, to kill or freeze one of."""
    yield from running(request, KafkaCluster)


@pytest.fixture
def private_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis for this test alone, with the same levers and `snapshot`."""
    yield from running(request, RedisServer)


@pytest.fixture
def private_kubernetes(request: pytest.FixtureRequest) -> Iterator[KubernetesServer]:
    """An API server for this test alone: `stop_api`, `start_api`, `pause_api`, `resume_api`."""
    yield from running(request, KubernetesServer)


# --- names of one's own -----------------------------------------------------------------------------------------------


def _fresh(what: str) -> str:
    return f"{what}-{secrets.token_hex(5)}"


@pytest.fixture
def fresh_name() -> Callable[[str], str]:
    """A maker of names that nobody else has: `fresh_name("events") -> "events-3f0c..."`."""
    return _fresh


@pytest.fixture
def redis_prefix() -> str:
    """A key prefix of this test's own, ending in a colon."""
    return _fresh("t") + ":"


@pytest.fixture
def group_name() -> str:
    """A consumer group id of this test's own."""
    return _fresh("group")


@pytest.fixture
def namespace(kubernetes: KubernetesServer) -> Iterator[str]:
    """A fresh namespace on the run's API server. It goes afterwards with all that is in it; nobody waits for that."""
    name = _fresh("t")
    kubernetes.make_namespace(name)
    yield name
    kubernetes.request("DELETE", f"/api/v1/namespaces/{name}")


MakeTopics = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def make_topics(kafka: KafkaServer) -> MakeTopics:
    """`[up, down] = await make_topics(up=4, down=128)`: fresh topics on the run's Kafka, every partition led."""

    async def make(settings: Mapping[str, str] | None = None, /, **partitions: int) -> list[str]:
        names = {_fresh(name.replace("_", "-")): number for name, number in partitions.items()}
        await create_topics(kafka.bootstrap, names, settings)
        return list(names)

    return make


# --- pytest itself ----------------------------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses a server's fixture carries its marker, so that `-m "not kafka"` cannot miss one.

    And the longest come first: the processes of a parallel run take file after file, and who takes a long one last keeps the
    others waiting.
    """
    items.sort(key=_rank)
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        if used & _HARM_BROKERS:
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
        for marker, fixtures in _MARKED_BY_FIXTURE.items():
            if used & fixtures:
                item.add_marker(marker)


def _rank(item: pytest.Item) -> int:
    path = item.path.as_posix()
    return next(
        (rank for rank, folder in enumerate(_LONGEST_FIRST) if f"/tests/{folder}/" in path), len(_LONGEST_FIRST)
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """What a test with Kafka left open is its own ResourceWarning, not that of whichever test meets the next collection."""
    yield
    used = set(getattr(item, "fixturenames", ()))
    if used & _MARKED_BY_FIXTURE["kafka"] and not used & _HARM_BROKERS:
        gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """The garbage of a test that harms brokers goes in silence, and all of it before the next test begins.

    Only here: pytest lets go of the values of fixtures after every teardown hook. More than once, because tasks and streams
    that die in one collection let go of what only the next one finds. Without the hook for what cannot be raised, because
    a stream of a closed loop does not warn but raises in its `__del__`.
    """
    done = yield
    if _HARM_BROKERS & set(getattr(item, "fixturenames", ())):
        told, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                for _ in range(3):
                    gc.collect()
        finally:
            sys.unraisablehook = told
    return done


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of a parallel run tells the one that writes the summary."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["kept_folders"] = session.config.stash.get(_kept_folders, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """It heard that."""
    told = getattr(node, "workeroutput", {}).get("kept_folders", [])
    node.config.stash.setdefault(_kept_folders, []).extend(told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if kept := config.stash.get(_kept_folders, []):
        terminalreporter.section("server logs kept")
        for folder in kept:
            terminalreporter.write_line(folder)
