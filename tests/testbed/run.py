"""Real servers to try things on by hand, as `python -m tests.testbed run`: they live until Ctrl-C, and nothing of them stays.

What is printed goes into a shell: `kubectl`, `helm` and where things are.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.testbed import images, kubernetes_components, node_components
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.node import Node
from tests.testbed.redis import RedisServer


@contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    yield ended
    while not ended.wait(0.5):
        pass


def kubernetes() -> None:
    """An API server with its controllers and no node."""
    with KubernetesServer() as server, _until_interrupted():
        _tell(server.kubeconfig, [Path(server.kubectl_program)])
        print(f"# {server.url}; Ctrl-C ends it", flush=True)


def node() -> None:
    """A Kubernetes of one node with our images in it, and Kafka and Redis where its pods reach them."""
    with contextlib.ExitStack() as all_of_it:
        programs = [Path(node_components.programs()["kubectl"]), kubernetes_components.HELM.find()]
        archives = {plane: images.build(plane) for plane in ("operator", "gateway")}
        server = all_of_it.enter_context(Node())
        for archive in archives.values():
            server.load(archive)
        kafka = all_of_it.enter_context(KafkaServer(host=server.host_address))
        redis = all_of_it.enter_context(RedisServer(host=server.host_address))
        with _until_interrupted():
            _tell(server.kubeconfig, programs)
            tags = " ".join(f"--set image.{plane}.tag={images.name(plane).rpartition(':')[2]}" for plane in archives)
            registry = images.name("operator").partition("/")[0]
            print(f"# Images: helm install ... --set image.registry={registry} {tags}")
            print(
                f'# Kafka, one broker: kafka: {{bootstrapServers: "{kafka.bootstrap}", topics: {{replicas: 1, minInSyncReplicas: 1}}}}'
            )
            print(f'# Redis: redis: {{addresses: ["{redis.host}:{redis.port}"]}}')
            print("# No DNS, no load balancer; nothing enforces NetworkPolicies. Ctrl-C ends it.", flush=True)


def _tell(kubeconfig: Path, programs: list[Path]) -> None:
    print(f"export KUBECONFIG={kubeconfig}")
    print(f"export PATH={':'.join(str(program.parent) for program in programs)}:$PATH", flush=True)
