"""The operator as a user installs it: Helm and our chart, with the rights that the chart gives and no more."""

from __future__ import annotations

from collections.abc import Iterator
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
    given = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    access = {"KUBECONFIG": str(node.kubeconfig), "HELM_NAMESPACE": namespace}
    # The CRD of an earlier test may be there, without a release.
    helm("install", _RELEASE, str(CHART), "--take-ownership", *given, environment=access)
    try:
        node.wait(namespace, f"deployment/{NAME}", "condition=Available", 120)
        yield
    finally:
        helm("uninstall", _RELEASE, environment=access)
