"""The operator as a user installs it: Helm and our chart, with the rights that the chart gives and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.chart.helm import helm
from tests.chart.publish import CHART
from tests.testbed.node import Node

NAME = "chargegateway-operator"
_RELEASE = "chargegateway"


@contextmanager
def installed(node: Node, namespace: str, serves: str, tag: str = "test") -> Iterator[None]:
    """Two replicas in `namespace`, available, for resources in `serves`. Uninstalled afterwards; the CRD stays, as for everybody."""
    values = {
        "image.registry": "localhost",
        "image.operator.tag": tag,
        "image.gateway.tag": tag,
        "watchNamespaces": f"{{{serves}}}",
        "settings.sweepInterval": "30",  # it asks the pods themselves then
    }
    given, access = _given(values), _access(node, namespace)
    # The CRD of an earlier test may be there, without a release.
    helm("install", _RELEASE, str(CHART), "--take-ownership", *given, environment=access)
    try:
        node.wait(namespace, f"deployment/{NAME}", "condition=Available", 120)
        yield
    finally:
        helm("uninstall", _RELEASE, environment=access)


def upgrade(node: Node, namespace: str, values: Mapping[str, str]) -> None:
    """As the chart's page says; these values change. Returns when the old replicas are gone."""
    helm(
        "upgrade", _RELEASE, str(CHART), "--reset-then-reuse-values", *_given(values),
        environment=_access(node, namespace),
    )  # fmt: skip
    node.kubectl("--namespace", namespace, "rollout", "status", f"deployment/{NAME}", "--timeout=120s", timeout=130)


def _given(values: Mapping[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def _access(node: Node, namespace: str) -> dict[str, str]:
    return {"KUBECONFIG": str(node.kubeconfig), "HELM_NAMESPACE": namespace}
