"""`python -m tests.testbed install | status [TIER ...]`: fetch what the tests need, or tell what is there.

The tier `test`, the default, is what `make test` uses. The others are for whoever asks: `node` (a real node), `chart`
(Helm), `scale` (KWOK and the scheduler).

`python -m tests.testbed run kubernetes` starts the API server that the tests use and keeps it until Ctrl-C, `run node` a
Kubernetes of one node with our images, Kafka and Redis (root): what the README says about Kubernetes can be typed there.
"""

import os
import sys
from collections.abc import Sequence
from typing import Protocol

from tests.testbed import components, kubernetes_components, node_components
from tests.testbed.cache import InstallFailed, Missing
from tests.testbed.processes import NotReady

TIERS = ("test", "node", "chart", "scale")
USAGE = f"""usage: python -m tests.testbed install | status [{" | ".join(TIERS)}] ...
       python -m tests.testbed run kubernetes | node"""


class Component(Protocol):
    @property
    def name(self) -> str: ...
    def find(self) -> object: ...
    def install(self) -> None: ...


def components_of(tier: str) -> Sequence[Component]:
    by_tier: dict[str, Sequence[Component]] = {
        "test": components.ALL,
        "node": node_components.ALL,
        "chart": kubernetes_components.CHART,
        "scale": kubernetes_components.SCALE,
    }
    return by_tier[tier]


def install(wanted: Sequence[Component]) -> int:
    """Fetch all. A component that this machine cannot have is named; with CI=true that is a failure."""
    missing = 0
    for component in wanted:
        print(f"{component.name}: ", end="", flush=True)
        try:
            component.install()
            print(component.find())
        except Missing as reason:
            missing += 1
            print(f"missing - {reason}")
        except InstallFailed as reason:
            print("failed")
            print(reason, file=sys.stderr)
            return 1
    return 1 if missing and os.environ.get("CI") else 0


def status(wanted: Sequence[Component]) -> int:
    """Tell what is there and what is not; 0 when all is."""
    missing = 0
    for component in wanted:
        try:
            print(f"{component.name}: {component.find()}")
        except Missing as reason:
            missing += 1
            print(f"{component.name}: missing - {reason}")
    return 1 if missing else 0


def run(what: str) -> int:
    """Servers to try things on by hand, until Ctrl-C."""
    from tests.testbed import run

    try:
        {"kubernetes": run.kubernetes, "node": run.node}[what]()
    except (Missing, NotReady) as reason:
        print(reason, file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str]) -> int:
    commands = {"install": install, "status": status}
    match arguments:
        case ["run", ("kubernetes" | "node") as what]:
            return run(what)
        case [command, *tiers] if command in commands and set(tiers) <= set(TIERS):
            wanted = [component for tier in tiers or ["test"] for component in components_of(tier)]
            return commands[command](wanted)
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
