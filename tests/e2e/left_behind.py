"""`python -m tests.e2e.left_behind`: a node with a pod, for whoever kills this process to see what becomes of it."""

import signal
import sys

from tests.e2e.pods import container, pod
from tests.testbed.node import Node
from tests.testbed.node_parts import PAUSE_IMAGE


def main() -> None:
    node = Node()
    node.start()
    rights = container("")["securityContext"] | {"runAsUser": 65532}
    node.apply(pod(node.namespace("left"), "behind", container(PAUSE_IMAGE, securityContext=rights)))
    node.wait("left", "pod/behind", "condition=Ready")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
