"""Two candidates on a real API server: one leads, hands over, and stops by itself when the API server refuses or hangs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ocpp_operator.adapters.api_errors import ApiUnavailable
from ocpp_operator.adapters.cluster import Cluster
from ocpp_operator.adapters.connection import Connection
from ocpp_operator.adapters.election import LEASE, LeaderElection
from ocpp_operator.core.election import NotLeader, Timing
from tests.operator_adapters.conftest import eventually
from tests.testbed.kubernetes import KubernetesServer

QUICK = Timing(duration=3, renew_deadline=2, retry=0.2)


@asynccontextmanager
async def candidate(
    connection: Connection,
    namespace: str,
    replica: str,
    timing: Timing = QUICK,
    attempted: Callable[[], None] = lambda: None,
) -> AsyncIterator[LeaderElection]:
    """Runs until the block ends; it resigns then, as the process would."""
    election = LeaderElection(connection, namespace, "operator", replica, timing, attempted)
    task = asyncio.create_task(election.run())
    try:
        yield election
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await election.resign()


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(30):
        await event.wait()


async def holder(connection: Connection, namespace: str) -> str:
    lease = await Cluster(connection, lambda: None, "t").get(LEASE, namespace, "operator")
    return str(lease["spec"].get("holderIdentity", ""))


async def test_one_leads_and_the_other_follows_at_once_when_it_resigns(connection: Connection, namespace: str) -> None:
    looks: list[int] = []
    patient = Timing(duration=600, renew_deadline=300, retry=0.2)
    async with candidate(connection, namespace, "a", patient) as first:
        await soon(first.leading)
        first.check()
        async with candidate(connection, namespace, "b", patient, lambda: looks.append(1)) as second:
            await eventually(lambda: len(looks) >= 5)
            assert not second.leads()
            with pytest.raises(NotLeader, match=r"b_.* does not lead"):
                second.check()

            await first.resign()
            with pytest.raises(NotLeader, match="resigned"):
                first.check()
            await soon(second.leading)
            assert await holder(connection, namespace) == second.identity
    assert await holder(connection, namespace) == ""


async def test_the_lease_is_plain_to_read_and_keeps_what_others_wrote_on_it(
    connection: Connection, kubernetes: KubernetesServer, namespace: str
) -> None:
    async with candidate(connection, namespace, "a") as election:
        await soon(election.leading)
        kubernetes.kubectl("-n", namespace, "label", "lease", "operator", "team=charging")
        path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator"
        labelled = kubernetes.request("GET", path)["spec"]["renewTime"]
        await eventually(lambda: kubernetes.request("GET", path)["spec"]["renewTime"] != labelled)
        lease = kubernetes.request("GET", path)
        assert lease["metadata"]["labels"] == {"team": "charging"}
        assert lease["spec"]["holderIdentity"].startswith("a_")
        assert lease["spec"]["leaseDurationSeconds"] == 3
        assert election.leads()


async def test_a_silent_holder_is_followed(connection: Connection, namespace: str) -> None:
    """The first one is killed: it neither renews nor resigns."""
    election = LeaderElection(connection, namespace, "operator", "a", QUICK)
    task = asyncio.create_task(election.run())
    await soon(election.leading)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    async with candidate(connection, namespace, "b") as second:
        await soon(second.leading)
        assert not election.leads(), "its own clock ended its right before"


async def test_a_lease_somebody_takes_away_is_lost(
    connection: Connection, kubernetes: KubernetesServer, namespace: str
) -> None:
    async with candidate(connection, namespace, "a") as election:
        await soon(election.leading)
        kubernetes.kubectl(
            "-n",
            namespace,
            "patch",
            "lease",
            "operator",
            "--type=merge",
            "-p",
            '{"spec": {"holderIdentity": "somebody"}}',
        )
        await soon(election.lost)
        with pytest.raises(NotLeader, match="held by somebody"):
            election.check()
    assert await holder(connection, namespace) == "somebody", "what is not ours is not released"


async def test_a_missing_right_is_said_and_tried_again(
    kubernetes: KubernetesServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = kubernetes.service_account_token(namespace, "default")
    async with (
        await Connection.open(kubeconfig=kubernetes.kubeconfig_for("candidate", token)) as connection,
        candidate(connection, namespace, "a") as election,
    ):
        await eventually(lambda: 'cannot get resource "leases"' in caplog.text)
        kubernetes.kubectl(
            "-n",
            namespace,
            "create",
            "role",
            "elector",
            "--verb=get,create,patch",
            "--resource=leases.coordination.k8s.io",
        )
        kubernetes.kubectl(
            "-n",
            namespace,
            "create",
            "rolebinding",
            "elector",
            "--role=elector",
            f"--serviceaccount={namespace}:default",
        )
        await soon(election.leading)


@pytest.mark.parametrize("fault", ["refused", "black-holed"])
async def test_a_leader_stops_within_its_renew_deadline_when_the_api_server_is_away(
    private_kubernetes: KubernetesServer, fault: str
) -> None:
    harm: Callable[[], None] = private_kubernetes.stop_api if fault == "refused" else private_kubernetes.pause_api
    async with (
        await Connection.open(kubeconfig=private_kubernetes.kubeconfig) as connection,
        candidate(connection, "default", "a") as first,
        candidate(connection, "default", "b") as second,
    ):
        await eventually(lambda: first.leads() or second.leads())
        leader, other = (first, second) if first.leads() else (second, first)
        writer = Cluster(connection, leader.check, "leader")
        plan = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plan", "namespace": "default"}}
        await asyncio.to_thread(harm)

        await soon(leader.lost)
        assert not leader.leads()
        with pytest.raises(NotLeader, match="could not be renewed for 2 s"):
            await writer.store(plan, None)
        assert not other.leads()
        assert not other.lost.is_set(), "whoever only waited has lost nothing"

        if fault == "refused":
            await private_kubernetes.start_api_async()
        else:
            private_kubernetes.resume_api()
        await soon(other.leading)
        async with candidate(connection, "default", "a-again") as again:
            await other.resign()
            await soon(again.leading)


@pytest.mark.parametrize("fault", ["refused", "black-holed"])
async def test_after_an_outage_another_leads_without_waiting_for_the_silence_of_who_lost_its_right(
    private_kubernetes: KubernetesServer, fault: str
) -> None:
    harm: Callable[[], None] = private_kubernetes.stop_api if fault == "refused" else private_kubernetes.pause_api
    long = Timing(duration=6_000, renew_deadline=2, retry=0.2)
    async with (
        await Connection.open(kubeconfig=private_kubernetes.kubeconfig) as connection,
        candidate(connection, "default", "a", long) as first,
    ):
        await soon(first.leading)
        async with candidate(connection, "default", "b", long) as second:
            await asyncio.to_thread(harm)
            await soon(first.lost)
            parting = asyncio.create_task(first.resign())
            if fault == "refused":
                await private_kubernetes.start_api_async()
            else:
                private_kubernetes.resume_api()
            await soon(second.leading)
            assert not first.leads()
            await asyncio.wait_for(parting, 30)


async def test_a_farewell_that_nobody_hears_is_bounded(private_kubernetes: KubernetesServer) -> None:
    async with (
        await Connection.open(kubeconfig=private_kubernetes.kubeconfig) as connection,
        candidate(connection, "default", "a") as election,
    ):
        await soon(election.leading)
        private_kubernetes.pause_api()
        async with asyncio.timeout(30):
            await election.resign()
        assert not election.leads()
        with pytest.raises(ApiUnavailable):
            await connection.request("get", "version", "GET", "/version", timeout=0.2)
        private_kubernetes.resume_api()
