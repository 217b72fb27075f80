"""Two teams, a namespace and a Role for each: one that deletes its namespace disturbs the other no more than a stranger would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.operator_cluster.rig import Operator, eventually
from tests.testbed.kubernetes import ApiError, KubernetesServer
from tests.testbed.processes import free_port

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(120)]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
EVERYTHING = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
"""What exactly is needed is another test's business (tests/chart)."""


class Teams:
    """Namespaces of one operator, whose account has rights in them and nowhere else."""

    def __init__(self, kubernetes: KubernetesServer, home: str, *names: str) -> None:
        self.kubernetes, self.home, self.names = kubernetes, home, names
        kubernetes.request("POST", f"/api/v1/namespaces/{home}/serviceaccounts", {"metadata": {"name": "operator"}})
        self._admit(home)
        token = kubernetes.service_account_token(home, "operator")
        self._kubeconfig = kubernetes.kubeconfig_for(home, token)

    def operator(self) -> Operator:
        """A replica, started. A quiet watch is soon begun anew, as it is within the hour elsewhere."""
        names = ",".join(self.names)
        found = Operator(self.kubernetes, self.home, self._kubeconfig, watch_namespaces=names, watch_inactivity="4")
        found.start()
        return found

    async def make(self, name: str) -> None:
        """The namespace, the Role, and a resource there whose Kafka and Redis are nowhere."""
        await asyncio.to_thread(self.kubernetes.make_namespace, name)
        await asyncio.to_thread(self._admit, name)
        spec = {
            "replicas": 0,
            "kafka": {"bootstrapServers": f"127.0.0.1:{free_port()}"},
            "redis": {"addresses": [f"127.0.0.1:{free_port()}"]},
            "stations": {"unknown": "Accept"},
            "decisions": {"type": "Accept"},
        }
        body = {"apiVersion": "chargegateway.io/v1alpha1", "kind": "ChargeGateway", "metadata": {"name": "city"}}
        await asyncio.to_thread(self.kubernetes.request, "POST", _resources(name), {**body, "spec": spec})

    async def delete(self, name: str) -> None:
        """It goes with all that is in it, the Role too; nobody waits for that."""
        await asyncio.to_thread(self.kubernetes.request, "DELETE", f"/api/v1/namespaces/{name}")

    async def gone(self, name: str) -> None:
        """Until there is nothing left of it."""

        async def gone() -> bool:
            try:
                await asyncio.to_thread(self.kubernetes.request, "GET", f"/api/v1/namespaces/{name}")
            except ApiError as error:
                return error.status == 404
            return False

        await eventually(gone)

    async def change(self, name: str) -> None:
        """Another spec, that makes no pods."""
        body = {"spec": {"service": {"annotations": {"tests.chargegateway.io/word": "changed"}}}}
        path, merge = f"{_resources(name)}/city", "application/merge-patch+json"
        await asyncio.to_thread(self.kubernetes.request, "PATCH", path, body, content_type=merge)

    async def served(self, name: str) -> None:
        """Until the status there is about the present spec."""

        async def told() -> bool:
            there = await asyncio.to_thread(self.kubernetes.request, "GET", f"{_resources(name)}/city")
            generation: int = there["metadata"]["generation"]
            return bool(there.get("status", {}).get("observedGeneration") == generation)

        await eventually(told, f"{name} is served")

    def _admit(self, name: str) -> None:
        metadata = {"metadata": {"name": "operator"}}
        subject = {"kind": "ServiceAccount", "name": "operator", "namespace": self.home}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"}
        where = f"{RBAC}/namespaces/{name}"
        self.kubernetes.request("POST", f"{where}/roles", {**metadata, "rules": EVERYTHING})
        binding = {**metadata, "subjects": [subject], "roleRef": reference}
        self.kubernetes.request("POST", f"{where}/rolebindings", binding)


def _resources(namespace: str) -> str:
    return f"/apis/chargegateway.io/v1alpha1/namespaces/{namespace}/chargegateways"


async def test_a_namespace_that_is_deleted_takes_no_other_along_and_is_served_again_when_it_is_back(
    kubernetes: KubernetesServer, crd: str, namespace: str, fresh_name: Callable[[str], Any]
) -> None:
    staying, going = fresh_name("staying"), fresh_name("going")
    teams = Teams(kubernetes, namespace, staying, going)
    operators = [teams.operator()]
    try:
        for name in teams.names:
            await teams.make(name)
        for name in teams.names:
            await teams.served(name)

        await teams.delete(going)

        async def refused() -> bool:
            metrics = await operators[-1].metrics()
            return metrics["chargegateway_operator_namespaces_refused"] == 1

        await eventually(refused, "the operator that runs has noticed")
        await teams.change(staying)
        await teams.served(staying)

        assert await operators[-1].stop() == 0
        operators.append(teams.operator())
        await eventually(operators[-1].leads)
        await eventually(refused, "so has the one that comes next")
        await teams.gone(going)
        await teams.make(going)
        await teams.served(going)
        await teams.served(staying)
        for operator in operators:
            assert operator.text().count(f"namespace {going} is not served") == 1
            assert "Traceback" not in operator.text()
    finally:
        for operator in operators:
            if operator.running:
                operator.kill()
        for name in teams.names:
            kubernetes.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
