"""Which pods a scale-down takes away is said before it takes them, and only by who knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from ocpp_contract.scripts.records import PodRecord
from ocpp_operator.adapters.directory import StoreView
from ocpp_operator.adapters.metrics import Metrics
from ocpp_operator.core import fleet, kinds, names, template
from ocpp_operator.core.manifests.metadata import child
from ocpp_operator.core.mirror import Mirror
from ocpp_operator.reconcile.resource import ResourceLoop
from ocpp_operator.reconcile.surroundings import Surroundings
from ocpp_operator.settings import Settings
from tests.operator_core.test_findings import resource
from tests.operator_core.test_fleet import raw, record
from tests.operator_core.test_pacing import told
from tests.operator_reconcile.test_children import KEY, Server

CITY = resource(replicas=1)


class Annotating(Server):
    """Keeps what pods are told."""

    def __init__(self) -> None:
        super().__init__()
        self.costs: dict[str, str] = {}

    async def patch_annotations(
        self, namespace: str, name: str, annotations: Mapping[str, str], version: str
    ) -> Mapping[str, Any]:
        self.costs[name] = annotations[names.DELETION_COST]
        metadata = {**raw(name)["metadata"], "annotations": annotations, "namespace": namespace}
        return self.stored({**raw(name), "metadata": metadata})


@pytest.mark.parametrize(("store_answers", "costs"), [(True, {"a": "7", "b": "5"}), (False, {})])
async def test_pods_are_priced_anew_while_the_store_tells_their_stations(
    store_answers: bool, costs: dict[str, str]
) -> None:
    server, mirror, unused = Annotating(), Mirror(), cast(Any, None)
    loop = ResourceLoop(
        Surroundings(Settings(), cast(Any, server), mirror, unused, Metrics(), unused, lambda: None), KEY, unused
    )
    there = server.stored(child(CITY, kinds.DEPLOYMENT, names.gateway(CITY.name)))
    mirror.note(kinds.DEPLOYMENT, "ADDED", {**there, **told(2), "metadata": there["metadata"]})
    if store_answers:
        records = {each.incarnation.pod: each for each in (record("a", connections=7), record("b"))}
        loop._store.view = view(records)
    pods = fleet.pods_of([raw("a", annotations={names.DELETION_COST: "9"}), raw("b")])
    chosen = template.choose(CITY, [], template.render(CITY, "1", "r"))
    await loop._make_children(CITY, chosen, "token", pods, running=True)
    [deployment] = mirror.of(kinds.DEPLOYMENT, KEY)
    assert deployment["spec"]["replicas"] == 1
    assert server.costs == costs


def view(records: Mapping[Any, PodRecord]) -> StoreView:
    return StoreView(records, {}, None, frozenset(), 0, 0)
