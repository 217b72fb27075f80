"""`python -m tests.testbed install | status`: fetch what the tests need, or tell what is there."""

import os
import sys

from tests.testbed.cache import InstallFailed, Missing
from tests.testbed.components import ALL


def install() -> int:
    """Fetch all. A component that this machine cannot have is named; with CI=true that is a failure."""
    missing = 0
    for component in ALL:
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


def status() -> int:
    """Tell what is there and what is not; 0 when all is."""
    missing = 0
    for component in ALL:
        try:
            print(f"{component.name}: {component.find()}")
        except Missing as reason:
            missing += 1
            print(f"{component.name}: missing - {reason}")
    return 1 if missing else 0


if __name__ == "__main__":
    commands = {"install": install, "status": status}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit("usage: python -m tests.testbed install | status")
    sys.exit(commands[sys.argv[1]]())
