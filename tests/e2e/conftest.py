"""One node for the whole run, with Kafka and Redis where its pods reach them, and our images in it.

Tests take a namespace, topics and a key prefix of their own. What a run measured stands at its end (`measured`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require, running
from tests.testbed import images
from tests.testbed.kafka import KafkaServer
from tests.testbed.node import Node
from tests.testbed.redis import RedisServer

HERE = Path(__file__).parent
_measured = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """The run's node. Use a `node_namespace`; whoever harms a part of it (`node.parts`) repairs it too."""
    yield from running(request, Node)


@pytest.fixture(scope="session")
def node_kafka(request: pytest.FixtureRequest, node: Node) -> Iterator[KafkaServer]:
    """The run's Apache Kafka for pods and tests alike, at `node.host_address`."""
    yield from running(request, lambda: KafkaServer(host=node.host_address))


@pytest.fixture(scope="session")
def node_redis(request: pytest.FixtureRequest, node: Node) -> Iterator[RedisServer]:
    """The run's Redis, there too."""
    yield from running(request, lambda: RedisServer(host=node.host_address))


@pytest.fixture
def node_namespace(node: Node, fresh_name: Callable[[str], str]) -> Iterator[str]:
    """A fresh namespace with restricted pod security. It goes afterwards with all that is in it; nobody waits for that."""
    name = node.namespace(fresh_name("e2e"))
    yield name
    node.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def gateway_archive() -> Path:
    """Dockerfile.gateway, built."""
    return require(lambda: images.build("gateway"))


@pytest.fixture(scope="session")
def operator_archive() -> Path:
    """Dockerfile.operator, built."""
    return require(lambda: images.build("operator"))


@pytest.fixture(scope="session")
def gateway_image(node: Node, gateway_archive: Path) -> str:
    """The gateway's image in the node; pods name it with `imagePullPolicy: Never`."""
    node.load(gateway_archive)
    return images.name("gateway")


@pytest.fixture(scope="session")
def operator_image(node: Node, operator_archive: Path) -> str:
    """The operator's, likewise."""
    node.load(operator_archive)
    return images.name("operator")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """`measured("pod Ready 0.7 s after its assignment")`: a line of the summary."""
    return request.config.stash.setdefault(_measured, []).append


# --- pytest itself ----------------------------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with nodes of their own come before the run's node starts: there is one at a time on a machine."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.node_e2e)
            item.add_marker(pytest.mark.timeout(900))  # the first one builds images
    items.sort(key=lambda item: "node" in getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """What a Kafka client left open is found in the test that left it."""
    yield
    if "node_kafka" in getattr(item, "fixturenames", ()):
        gc.collect()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(_measured, []):
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
