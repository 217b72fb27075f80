"""The election in a thread of its own on a real API server: work that blocks the main loop costs nobody the lease."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest

from ocpp_operator.adapters.connection import Connection, NoCluster
from ocpp_operator.adapters.election import LeaderElection
from ocpp_operator.adapters.election_apart import ElectionApart
from ocpp_operator.core.election import NotLeader, Timing
from tests.operator_adapters.test_election import candidate, holder, soon
from tests.testbed.kubernetes import KubernetesServer

BRIEF = Timing(duration=4, renew_deadline=3, retry=0.2)


def apart(kubernetes: KubernetesServer, namespace: str, kind: type[LeaderElection] = LeaderElection) -> ElectionApart:
    return ElectionApart(
        partial(Connection.open, kubeconfig=kubernetes.kubeconfig),
        lambda connection: kind(connection, namespace, "operator", "a", BRIEF),
    )


async def test_work_that_blocks_the_main_loop_for_longer_than_the_lease_does_not_cost_it(
    connection: Connection, kubernetes: KubernetesServer, namespace: str
) -> None:
    async with apart(kubernetes, namespace) as election:
        await soon(election.leading)
        ours = await holder(connection, namespace)
        time.sleep(BRIEF.duration + 1)  # noqa: ASYNC251 - this is the fault
        assert election.leads()
        election.check()
        await asyncio.sleep(0)
        assert not election.lost.is_set()
        assert await holder(connection, namespace) == ours


async def test_the_lease_is_given_back_at_the_end(
    connection: Connection, kubernetes: KubernetesServer, namespace: str
) -> None:
    async with candidate(connection, namespace, "b", BRIEF) as other:
        await soon(other.leading)
        async with apart(kubernetes, namespace) as election:
            assert not election.leads()
            with pytest.raises(NotLeader):
                election.check()
            await other.resign()
            await soon(election.leading)
        assert not election.leads()
        assert election.lost.is_set()
    assert await holder(connection, namespace) == ""


class Defective(LeaderElection):
    """Breaks as soon as it leads."""

    async def run(self) -> None:
        running = asyncio.create_task(super().run())
        await self.leading.wait()
        running.cancel()
        raise RuntimeError("a defect")


async def test_a_defect_ends_it_and_is_told(
    connection: Connection, kubernetes: KubernetesServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with apart(kubernetes, namespace, Defective) as election:
        await soon(election.lost)
    assert "the election ended by an error" in caplog.text
    assert await holder(connection, namespace) == ""


async def test_without_a_cluster_it_does_not_begin(tmp_path: Path) -> None:
    nowhere = partial(Connection.open, kubeconfig=tmp_path / "none")
    election = ElectionApart(nowhere, lambda connection: LeaderElection(connection, "n", "operator", "a", BRIEF))
    with pytest.raises(NoCluster):
        async with election:
            pass
