"""Commands under way while the control plane breaks: operators die, freeze and take over, the API server goes away, hangs, forgets pods.

Everything happens to an API server of this module's own, which writes down who wrote what (its audit log). Each case runs operators of
its own under a Lease of its own; pods, stations and commands go on as if nothing were.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import pytest_asyncio

from tests.conftest import running
from tests.operator_cluster.conftest import install_crd
from tests.operator_cluster.load import settled, under_load
from tests.operator_cluster.rig import Operator, Place, eventually, serving
from tests.testbed.kafka import KafkaServer
from tests.testbed.kubernetes import KubernetesServer
from tests.testbed.redis import RedisServer

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

PODS, PARTITIONS = 2, 16
QUICK_LEASE = {"lease_duration": "5", "lease_renew_deadline": "3.5", "lease_retry": "0.5"}
PATIENT_LEASE = {"lease_duration": "120", "lease_renew_deadline": "100", "lease_retry": "0.5"}
"""An API server that is away for less than the deadline is no reason to leave."""
_AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete]
"""


class Audited:
    """An API server that may be harmed, and its audit log."""

    def __init__(self, server: KubernetesServer, log: Path) -> None:
        self.server = server
        self._log = log

    def writes(self, user: str, since: datetime) -> list[str]:
        """What this user wrote, or tried to, since then; its farewell to a Lease that is another's by now is refused and left out."""
        found = []
        for line in self._log.read_text().splitlines():
            event = json.loads(line)
            at = datetime.fromisoformat(event["requestReceivedTimestamp"])
            refused = event["objectRef"]["resource"] == "leases" and event["responseStatus"]["code"] == 409
            if event["user"]["username"] == user and at > since and not refused:
                found.append(f"{at} {event['verb']} {event['requestURI']}")
        return found


@pytest.fixture(scope="module")
def audited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audit")
    policy, log = folder / "policy.yaml", folder / "audit.log"
    policy.write_text(_AUDIT)
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking")
    for server in running(request, lambda: KubernetesServer(api_arguments=flags)):
        install_crd(server)
        yield Audited(server, log)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(audited: Audited, kafka: KafkaServer, redis_server: RedisServer) -> AsyncIterator[Place]:
    namespace = f"control-{secrets.token_hex(4)}"
    await asyncio.to_thread(audited.server.make_namespace, namespace)
    async with serving(audited.server, namespace, kafka.bootstrap, redis_server.port, **QUICK_LEASE) as place:
        await place.apply(place.resource(replicas=PODS))
        await settled(place)
        await place.operator.stop()
        yield place


def user_of(place: Place, name: str) -> str:
    return f"system:serviceaccount:{place.namespace}:{name}"


@contextlib.asynccontextmanager
async def operators(place: Place, *names: str, **settings: str) -> AsyncIterator[list[Operator]]:
    """Replicas, each with a user of its own, the first of which leads; stopped at the end."""
    lease = f"lease-{secrets.token_hex(3)}"
    made = []
    for name in names:
        kubeconfig = await asyncio.to_thread(_user, place, name)
        made.append(place.another_operator(kubeconfig, lease_name=lease, **settings))
    try:
        for operator in made:
            operator.start()
            await eventually(made[0].leads)
        yield made
    finally:
        for operator in made:
            if operator.running:
                await operator.stop()


def _user(place: Place, name: str) -> Path:
    kubernetes, namespace = place.kubernetes, place.namespace
    kubernetes.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
    binding: dict[str, Any] = {
        "metadata": {"name": f"{namespace}-{name}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
    }
    kubernetes.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    return kubernetes.kubeconfig_for(f"{namespace}-{name}", kubernetes.service_account_token(namespace, name))


async def lose_a_pod(place: Place) -> None:
    """One pod is lost with its machine; wait until every partition has an owner again and the pod a successor."""
    prefix = (await place.get())["spec"]["redis"]["keyPrefix"]
    victim = place.kubelet.ready()[0]
    await place.force_away(victim)
    await replaced(place, prefix, victim)


async def replaced(place: Place, prefix: str, victim: str) -> None:
    async def ask() -> bool:
        held, now = await place.held(prefix), await place.ready_pods()
        return len(held) == PARTITIONS and victim not in held.values() and len(now) == PODS and victim not in now

    await eventually(ask, f"until {victim} is replaced", timeout=120)


async def test_of_two_operators_one_is_killed_and_the_other_takes_over(place: Place) -> None:
    async with operators(place, "first", "second", **QUICK_LEASE) as (first, second), under_load(place):
        assert not await second.leads()
        first.kill()
        await eventually(second.leads)
        await lose_a_pod(place)


async def test_a_leader_that_was_frozen_beyond_its_lease_writes_nothing_and_leaves(
    place: Place, audited: Audited
) -> None:
    async with operators(place, "sleeper", "awake", **QUICK_LEASE) as (sleeper, awake), under_load(place, patience=150):
        before = set(await place.ready_pods())
        await place.patch("city", {"limits": {"messagesPerSecond": 35}})

        async def under_way() -> bool:
            return len(await place.pods()) > PODS

        await eventually(under_way)
        sleeper.freeze()  # with a roll to go on with
        await eventually(awake.leads)
        thawed = datetime.now(UTC)
        sleeper.thaw()
        assert await sleeper.ended() == 1

        async def rolled() -> bool:
            now = set(await place.ready_pods())
            return len(now) == PODS == len(await place.pods()) and not now & before

        await eventually(rolled, timeout=120)
        assert audited.writes(user_of(place, "awake"), thawed)  # the log does tell
        assert audited.writes(user_of(place, "sleeper"), thawed) == []


async def test_the_api_server_goes_away_and_comes_back_without_a_pod(place: Place, audited: Audited) -> None:
    prefix = (await place.get())["spec"]["redis"]["keyPrefix"]
    async with operators(place, "patient", **PATIENT_LEASE) as (operator,), under_load(place) as load:
        process = operator.process
        await asyncio.to_thread(audited.server.stop_api)
        await asyncio.sleep(12)  # the fault: pods' leases would be over twice if they hung on it
        await load.serves(list(load.connected))
        # A pod goes while nobody can see it: no watch will ever tell of it.
        ghost = place.kubelet.ready()[0]
        await asyncio.to_thread(_forget, audited.server, f"/registry/pods/{place.namespace}/{ghost}")
        place.kubelet.kill(ghost)
        await audited.server.start_api_async()
        await replaced(place, prefix, ghost)
        assert operator.process is process
        assert operator.running


def _forget(server: KubernetesServer, key: str) -> None:
    """Delete a key of the API server's in etcd."""
    body = json.dumps({"key": base64.b64encode(key.encode()).decode()}).encode()
    url = f"http://127.0.0.1:{server.etcd.port}/v3/kv/deleterange"
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=5) as answer:
        assert int(json.loads(answer.read())["deleted"]) == 1


async def test_a_leader_steps_down_when_the_api_server_hangs_and_another_process_takes_over(
    place: Place, audited: Audited
) -> None:
    async with operators(place, "hanging", **QUICK_LEASE) as (operator,), under_load(place) as load:
        process = operator.process
        audited.server.pause_api()
        try:
            assert await operator.ended(60) == 1  # it tries to release the lease for a while
            assert "no longer the leader" in operator.text()
            await load.serves(list(load.connected))
        finally:
            audited.server.resume_api()
        operator.keep()  # as its Deployment would
        await eventually(operator.leads)
        assert operator.process is not process
        await lose_a_pod(place)
