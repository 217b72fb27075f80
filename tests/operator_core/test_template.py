"""No new version of the operator rolls pods; a change of the spec does, and only where it concerns them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from ocpp_operator.core import template, template_inputs
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.template import Chosen, RevisionError, choose, from_revision, render, to_revision
from ocpp_operator.core.template_inputs import Inputs
from ocpp_operator.core.upgrade import Upgrade
from tests.operator_core.manifests import variants

Raw = dict[str, Any]


def changed(variant: str, *steps: tuple[str, Any]) -> Resource:
    """The variant with other values at paths (`redis.mode`, `listeners.0.port`)."""
    raw = copy.deepcopy(variants.raw(variant))
    for path, value in steps:
        *parents, last = path.split(".")
        at: Any = raw["spec"]
        for step in parents:
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        at[int(last) if isinstance(at, list) else last] = value
    return Resource.parse(raw)


def fresh(resource: Resource, version: str = "0.2.0") -> template.Rendered:
    return render(resource, version, "r/gateway")


def through_kubernetes(manifest: Mapping[str, Any]) -> Raw:
    """As it comes back: keys sorted, whole numbers as such."""
    found: Raw = json.loads(json.dumps(manifest, sort_keys=True))
    found["metadata"] |= {"uid": "r-1", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return found


class Cluster:
    """The revisions of one resource, as the loop would write and delete them."""

    def __init__(self) -> None:
        self.revisions: dict[str, Raw] = {}

    def run(self, resource: Resource, version: str = "0.2.0") -> Chosen:
        return self.follow(choose(resource, list(self.revisions.values()), fresh(resource, version)))

    def follow(self, chosen: Chosen) -> Chosen:
        if chosen.write is not None:
            stored = through_kubernetes(chosen.write)
            name = stored["metadata"]["name"]
            there = self.revisions.get(name)
            assert there is None or there["data"] == stored["data"], "the data of a revision cannot change"
            self.revisions[name] = stored
        for name in chosen.stale:
            del self.revisions[name]
        return chosen


# --- versions of the operator -----------------------------------------------------------------------------------------


def test_the_first_rendering_is_stored_and_used() -> None:
    cluster = Cluster()
    first = cluster.run(variants.resource("minimal"))
    assert first.write is not None
    assert first.write["revision"] == 1
    again = cluster.run(variants.resource("minimal"))
    assert again.write is None
    assert again.rendered == first.rendered
    assert again.upgrade is None


def test_a_newer_operator_rolls_nothing_and_says_what_it_would_run() -> None:
    cluster = Cluster()
    before = cluster.run(variants.resource("minimal"), "0.2.0")
    after = cluster.run(variants.resource("minimal"), "0.3.0")
    assert after.write is None
    assert after.rendered == before.rendered
    assert after.rendered.version == "0.2.0"
    assert after.upgrade == Upgrade(running="0.2.0", offered="0.3.0")


def test_a_change_of_the_spec_takes_the_newer_rendering_along() -> None:
    cluster = Cluster()
    cluster.run(variants.resource("minimal"), "0.2.0")
    after = cluster.run(changed("minimal", ("ocpp.heartbeatInterval", "60s")), "0.3.0")
    assert after.rendered.version == "0.3.0"
    assert after.changed == ("/ocpp/heartbeatInterval",)
    assert after.write is not None
    assert after.write["revision"] == 2
    assert after.upgrade is None


def test_a_version_in_the_spec_is_what_runs_whatever_the_operators_is() -> None:
    cluster = Cluster()
    cluster.run(variants.resource("minimal"), "0.2.0")
    pinned = changed("minimal", ("version", "0.1.9"))
    assert cluster.run(pinned, "0.3.0").rendered.version == "0.1.9"
    assert cluster.run(pinned, "0.4.0").rendered.version == "0.1.9"


def test_fields_that_a_newer_version_adds_roll_nothing_until_they_are_used() -> None:
    now = Inputs.of(variants.resource("minimal").spec)
    later = Inputs(now.told, {**now.defaulted, "/ocpp/newField": 5, "/newGroup": "object", "/newGroup/field": None})
    assert later.changes(now) == []
    assert now.changes(later) == []  # nor does going back to the older operator
    assert later.fingerprint == now.fingerprint
    used = Inputs({**now.told, "/ocpp/newField": 6}, now.defaulted)
    assert used.changes(now) == ["/ocpp/newField"]
    assert now.changes(used) == ["/ocpp/newField"]


def test_another_default_in_a_newer_version_rolls_nothing_where_the_old_one_is_stored() -> None:
    """The API server wrote the old default into the object; to the newer operator it looks like somebody's wish."""
    now = Inputs.of(variants.resource("minimal").spec)
    told = {**now.told, "/ocpp/pingInterval": now.defaulted["/ocpp/pingInterval"]}
    later = Inputs(told, {pointer: value for pointer, value in now.defaulted.items() if pointer not in told})
    assert later.changes(now) == []


def test_an_empty_group_is_not_the_same_as_none() -> None:
    """`tls: {}` switches TLS on."""
    without, with_tls = variants.resource("minimal"), changed("minimal", ("kafka.tls", {}))
    assert Inputs.of(with_tls.spec).changes(Inputs.of(without.spec)) != []
    assert Inputs.of(without.spec).changes(Inputs.of(with_tls.spec)) != []


def test_labels_that_come_and_go_are_changes() -> None:
    without, labelled = variants.resource("minimal"), changed("minimal", ("template.pod.labels", {"a/b": "c"}))
    assert Inputs.of(labelled.spec).changes(Inputs.of(without.spec)) == ["/template/pod/labels/a~1b"]
    assert Inputs.of(without.spec).changes(Inputs.of(labelled.spec)) == ["/template/pod/labels/a~1b"]


def test_a_default_that_is_written_out_is_no_change() -> None:
    """As when the API server fills it in."""
    written = changed("minimal", ("ocpp.callTimeout", "30s"), ("rollout", {"maxSurge": 1}), ("limits", {}))
    assert Inputs.of(written.spec).changes(Inputs.of(variants.resource("minimal").spec)) == []


# --- what concerns pods -----------------------------------------------------------------------------------------------

NOT_OF_PODS = [
    ("replicas", 3),
    ("autoscaling", {"minReplicas": 2, "maxReplicas": 9}),
    ("service.type", "NodePort"),
    ("networkPolicy", "Disabled"),
    ("monitoring.podMonitor", "Disabled"),
    ("listeners", [{"name": "ws", "port": 8080, "securityProfiles": [0, 1]}]),
    ("commands.partitions", 64),
    ("kafka.topics.management", "None"),
    ("kafka.topics.replicas", 5),
    ("kafka.topics.minInSyncReplicas", 1),
    ("kafka.topics.eventsUp.partitions", 48),
    ("kafka.topics.eventsUp.retention", "2h"),
    ("kafka.topics.commandResults.partitions", 48),
    ("kafka.topics.commandResults.retention", "2h"),
    ("kafka.topics.commandsDlq.partitions", 9),
    ("kafka.topics.commandsDlq.retention", "2h"),
    ("kafka.topics.stations.partitions", 2),
    ("template.pod.serviceAccountAnnotations", {"a": "b"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), NOT_OF_PODS, ids=[path for path, _ in NOT_OF_PODS])
def test_what_pods_are_not_made_of_rolls_none(path: str, value: object) -> None:
    cluster = Cluster()
    before = cluster.run(variants.resource("minimal"))
    resource = changed("minimal", (path, value))
    after = cluster.run(resource)
    assert after.write is None
    assert after.rendered == before.rendered
    # And rightly so: it would be rendered the same.
    now = fresh(resource)
    assert (now.template, now.settings) == (before.rendered.template, before.rendered.settings)


def test_every_field_that_is_no_input_is_tried_above() -> None:
    def paths(fields: Mapping[str, Any], at: str = "") -> set[str]:
        found: set[str] = set()
        for name, below in fields.items():
            head, *tail = name.split("_")
            camel = at + head + "".join(word.capitalize() for word in tail)
            found |= {camel} if below is True else paths(below, f"{camel}.")
        return found

    tried = {path for path, _ in NOT_OF_PODS}
    for path in paths({name: fields for name, fields in template_inputs.NO_INPUTS.items() if name != "listeners"}):
        assert any(one == path or one.startswith(f"{path}.") for one in tried), path


OF_PODS = [
    ("image.repository", "other/gateway"),
    ("image.pullPolicy", "Always"),
    ("listeners", [{"name": "other", "port": 80, "securityProfiles": [0]}]),
    ("stations.unknown", "Reject"),
    ("decisions", {"type": "Webhook", "webhook": {"url": "http://b/"}}),
    ("kafka.bootstrapServers", "other:9092"),
    ("kafka.topics.eventsUp.name", "other"),
    ("redis.keyPrefix", "p:"),
    ("commands.retention", "12h"),
    ("limits.connectionsPerPod", 5),
    ("drain.loadBalancerWait", "1s"),
    ("rollout.maxSurge", 3),
    ("disruption.maxUnavailable", 3),
    ("template.pod.annotations", {"a": "b"}),
    ("template.pod.topologySpread", "None"),
    ("template.container.env", [{"name": "A", "value": "b"}]),
]


@pytest.mark.parametrize(("path", "value"), OF_PODS, ids=[path for path, _ in OF_PODS])
def test_what_pods_are_made_of_is_rendered_anew(path: str, value: object) -> None:
    cluster = Cluster()
    before = cluster.run(variants.resource("minimal"))
    after = cluster.run(changed("minimal", (path, value)))
    assert after.write is not None
    assert after.rendered.template != before.rendered.template


# --- revisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", variants.NAMES)
def test_a_revision_comes_back_as_it_was_stored(variant: str) -> None:
    rendered = fresh(variants.resource(variant))
    assert from_revision(through_kubernetes(to_revision(variants.resource(variant), rendered, 3))) == rendered


def test_going_back_takes_up_the_revision_of_then_under_a_new_number() -> None:
    cluster = Cluster()
    first = cluster.run(variants.resource("minimal"))
    cluster.run(changed("minimal", ("limits.connectionsPerPod", 5)))
    back = cluster.run(variants.resource("minimal"))
    assert back.rendered == first.rendered
    assert first.write is not None
    assert back.write is not None
    assert back.write["metadata"]["name"] == first.write["metadata"]["name"]
    assert back.write["revision"] == 3
    assert len(cluster.revisions) == 2
    assert cluster.run(variants.resource("minimal")).write is None


def test_five_revisions_stay_with_the_settings_that_their_pods_read() -> None:
    cluster = Cluster()
    for connections in range(1, 9):
        chosen = cluster.run(changed("minimal", ("limits.connectionsPerPod", connections)))
    assert sorted(raw["revision"] for raw in cluster.revisions.values()) == [4, 5, 6, 7, 8]
    assert [rendered.settings["limits"]["connections"] for rendered in chosen.kept] == [8, 7, 6, 5, 4]


def test_nothing_is_deleted_before_the_new_one_is_written() -> None:
    """`stale` counts the one to be written, so whoever writes first and deletes then always has five."""
    cluster = Cluster()
    for connections in range(1, 6):
        cluster.run(changed("minimal", ("limits.connectionsPerPod", connections)))
    resource = changed("minimal", ("limits.connectionsPerPod", 6))
    chosen = choose(resource, list(cluster.revisions.values()), fresh(resource))
    oldest = min(cluster.revisions.values(), key=lambda raw: int(raw["revision"]))
    assert chosen.stale == (oldest["metadata"]["name"],)


def test_revisions_of_an_earlier_resource_of_the_name_are_nobodys() -> None:
    cluster = Cluster()
    cluster.run(variants.resource("minimal"))
    raw = variants.raw("minimal")
    raw["metadata"]["uid"] = "another"
    chosen = choose(Resource.parse(raw), list(cluster.revisions.values()), fresh(Resource.parse(raw)))
    assert chosen.write is not None
    assert chosen.write["revision"] == 1
    assert chosen.stale == ()
    assert chosen.write["metadata"]["name"] not in cluster.revisions


@pytest.mark.parametrize(
    "data", [None, {}, {"template": {}, "settings": {}, "inputs": {"told": {}, "defaulted": {}}}, {"template": 5}]
)
def test_a_revision_that_nobody_can_read_is_passed_over(data: object) -> None:
    cluster = Cluster()
    cluster.run(variants.resource("minimal"))
    [stored] = cluster.revisions.values()
    odd = copy.deepcopy(stored)
    odd["metadata"]["name"], odd["revision"], odd["data"] = "city-odd", 9, data
    with pytest.raises(RevisionError, match="city-odd"):
        from_revision(odd)
    chosen = choose(variants.resource("minimal"), [odd, stored], fresh(variants.resource("minimal")))
    assert chosen.write is None
    assert chosen.rendered == from_revision(stored)
    alone = choose(variants.resource("minimal"), [odd], fresh(variants.resource("minimal")))
    assert alone.write is not None
    assert alone.write["revision"] == 10


def test_a_change_of_settings_changes_the_pod_template() -> None:
    """Otherwise pods would go on with the settings they began with."""
    before, after = fresh(variants.resource("minimal")), fresh(changed("minimal", ("ocpp.callTimeout", "10s")))
    assert before.template["metadata"]["annotations"] != after.template["metadata"]["annotations"]
