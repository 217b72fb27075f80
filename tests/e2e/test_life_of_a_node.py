"""A node takes back all that it made on this machine; what a killed run left, the next one clears.

These tests start nodes of their own, so they take no `node`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.testbed.images import ROOT
from tests.testbed.node import Node
from tests.testbed.node_ground import SYSCTLS
from tests.testbed.node_traces import FOLDERS
from tests.testbed.processes import NotReady


def machine() -> dict[str, str]:
    """What a node changes on its machine."""
    seen = {name: Path("/proc/sys", name).read_text() for name in (*SYSCTLS, "net/ipv4/ip_forward")}
    seen |= {str(folder): " ".join(sorted(map(str, folder.glob("*")))) for folder in FOLDERS}
    for command in (("ip", "route"), ("ip", "-brief", "link"), ("nft", "list", "ruleset")):
        seen[" ".join(command)] = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return seen


@pytest.fixture
def left_behind() -> Iterator[subprocess.Popen[str]]:
    """Another process with a node and a pod."""
    require(Node)
    command = (sys.executable, "-m", "tests.e2e.left_behind")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()
            child.wait()
            Node().ground.remove()


def test_a_node_takes_back_what_it_made(measured: Callable[[str], None]) -> None:
    node = require(Node)
    node.ground.remove()  # of a run that was killed
    before = machine()
    began = time.monotonic()
    with node:
        measured(f"node: Ready {time.monotonic() - began:.1f} s after its start")
        began = time.monotonic()
    measured(f"node: gone in {time.monotonic() - began:.1f} s")
    assert node.ground.leftovers() == []
    assert machine() == before


def test_what_a_killed_run_left_the_next_one_clears(left_behind: subprocess.Popen[str]) -> None:
    assert left_behind.stdout is not None
    before = machine()
    assert left_behind.stdout.readline() == "ready\n"
    with pytest.raises(NotReady, match="another node runs"):
        Node().start()
    left_behind.kill()
    left_behind.wait()
    node = Node()
    assert [what for what in node.ground.leftovers() if what.startswith("process ")]  # the pod lives on
    with node:
        assert "left" not in node.kubectl("get", "namespaces")
        assert [line.split()[1] for line in node.kubectl("get", "nodes", "--no-headers").splitlines()] == ["Ready"]
    assert node.ground.leftovers() == []
    assert machine() == before
