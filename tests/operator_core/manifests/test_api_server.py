"""The children on a real API server: stored as they were written, written again without effect, pods admitted as `restricted`."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from ocpp_operator.core import drift, kinds, names, template
from ocpp_operator.core.manifests.metadata import Manifest
from ocpp_operator.core.spec import Resource
from ocpp_operator.core.template_inputs import Inputs
from tests.operator_cluster.conftest import install_crd
from tests.operator_core.manifests import variants
from tests.testbed.kubernetes import ApiError, KubernetesServer

Raw = dict[str, Any]
HAVE_CONTROLLERS = ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")


@pytest.fixture(scope="module")
def known(kubernetes: KubernetesServer) -> KubernetesServer:
    """The server, with our kind of resource."""
    install_crd(kubernetes)
    return kubernetes


@pytest.fixture
def restricted(known: KubernetesServer, namespace: str) -> str:
    """A namespace that lets in only pods of the strictest level."""
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
    }
    body = {"metadata": {"labels": labels}}
    known.request("PATCH", f"/api/v1/namespaces/{namespace}", body, content_type="application/merge-patch+json")
    return namespace


def create(kubernetes: KubernetesServer, namespace: str, variant: str) -> Resource:
    """The variant's resource, as the API server shows it: with a uid, and defaults filled in."""
    raw = variants.raw(variant)
    raw["metadata"] = {"name": raw["metadata"]["name"], "namespace": namespace}
    collection = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"
    return Resource.parse(kubernetes.request("POST", collection, raw))


def apply(kubernetes: KubernetesServer, manifest: Mapping[str, Any]) -> Raw:
    """As the operator does."""
    kind, metadata = kinds.of(dict(manifest)), manifest["metadata"]
    root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
    path = f"{root}/namespaces/{metadata['namespace']}/{kind.plural}/{metadata['name']}"
    query = f"?fieldManager={names.FIELD_OWNER}&force=true&fieldValidation=Strict"
    return kubernetes.request("PATCH", path + query, manifest, content_type="application/apply-patch+yaml")


def of_kubernetes(resource: Resource) -> list[Manifest]:
    """All but the kinds of other projects, which this server does not have."""
    return [one for one in variants.manifests(resource) if kinds.of(one) not in kinds.OPTIONAL]


@pytest.mark.parametrize("variant", variants.NAMES)
def test_children_are_stored_as_written_and_their_pods_admitted(
    known: KubernetesServer, restricted: str, variant: str
) -> None:
    resource = create(known, restricted, variant)
    assert Inputs.of(resource.spec).changes(Inputs.of(variants.resource(variant).spec)) == [], "defaults are no wishes"
    for manifest in of_kubernetes(resource):
        stored = apply(known, manifest)
        assert drift.differences(manifest, stored) == [], manifest["kind"]
        again = apply(known, manifest)
        # Controllers write the status of some in between; the generation counts what we can write.
        counter = "generation" if manifest["kind"] in HAVE_CONTROLLERS else "resourceVersion"
        assert again["metadata"].get(counter) == stored["metadata"].get(counter), manifest["kind"]

    pod = template.render(resource, variants.VERSION, variants.REPOSITORY).template
    admitted = known.request("POST", f"/api/v1/namespaces/{restricted}/pods", named(pod))
    assert admitted["spec"]["serviceAccountName"] == names.gateway(resource.name)
    mounted = [volume["name"] for volume in admitted["spec"]["volumes"]]
    assert mounted == [volume["name"] for volume in pod["spec"]["volumes"]], "no token was added"


def named(pod: Mapping[str, Any]) -> Raw:
    return {**pod, "metadata": {**pod["metadata"], "generateName": "by-hand-"}}


def test_a_pod_that_asks_for_more_would_be_refused(known: KubernetesServer, restricted: str) -> None:
    resource = create(known, restricted, "minimal")
    for manifest in of_kubernetes(resource):
        apply(known, manifest)
    pod = copy.deepcopy(dict(template.render(resource, "1", "r").template))
    del pod["spec"]["containers"][0]["securityContext"]["capabilities"]
    with pytest.raises(ApiError, match="violates PodSecurity"):
        known.request("POST", f"/api/v1/namespaces/{restricted}/pods", named(pod))


def test_a_stored_revision_is_the_one_that_was_rendered(known: KubernetesServer, namespace: str) -> None:
    """Nothing of it is changed by the way through the API server, or pods would roll for it."""
    resource = create(known, namespace, "production")
    rendered = template.render(resource, variants.VERSION, variants.REPOSITORY)
    stored = apply(known, template.to_revision(resource, rendered, 1))
    assert template.from_revision(stored) == rendered
    chosen = template.choose(resource, [stored], rendered)
    assert chosen.write is None
    assert chosen.upgrade is None


def test_a_revision_may_get_a_new_number(known: KubernetesServer, namespace: str) -> None:
    """Its data may not change: neither does it when fields come in another order, as from another version of us."""
    resource = create(known, namespace, "placement")
    rendered = template.render(resource, variants.VERSION, variants.REPOSITORY)
    apply(known, template.to_revision(resource, rendered, 1))
    again = template.to_revision(resource, rendered, 3)
    again["data"] = json.loads(json.dumps(again["data"], sort_keys=True))
    assert apply(known, again)["revision"] == 3


def test_a_service_may_change_its_type_and_back(known: KubernetesServer, namespace: str) -> None:
    inside = create(known, namespace, "minimal")
    raw = copy.deepcopy(dict(inside.raw))
    raw["spec"]["service"] = variants.raw("load-balancer-class")["spec"]["service"]
    outside = Resource.parse(raw)

    def service(resource: Resource) -> Manifest:
        [found] = [one for one in of_kubernetes(resource) if one["kind"] == "Service"]
        return found

    for resource in (inside, outside, inside):
        stored = apply(known, service(resource))
        assert drift.differences(service(resource), stored) == []
    assert "loadBalancerClass" not in stored["spec"]
    assert "externalTrafficPolicy" not in stored["spec"]
    assert "example.com/ip" not in (stored["metadata"].get("annotations") or {})
