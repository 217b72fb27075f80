"""What the chart renders, and which values it refuses. Needs Helm and no cluster."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocpp_operator import settings
from tests.chart import helm
from tests.chart.helm import (
    GOLDEN,
    KUBERNETES,
    NAMES,
    NAMESPACE,
    RELEASE,
    RENEW,
    HelmFailed,
    manifests,
    of_kind,
    template,
)
from tests.chart.publish import CHART
from tests.operator_core.manifests.test_schemas import kubeconform
from tests.operator_core.publish import CRD
from tests.testbed import manifest_schemas

CASES = pytest.mark.parametrize("name", NAMES)
LEFT_TO_THE_OPERATOR = {
    "admin_host": "all addresses of the pod",
    "admin_port": "the one of the probes",
}


def values_of(name: str) -> list[str]:
    return ["--values", str(GOLDEN / f"{name}.values.yaml")]


def environment(text: str, pod: str = "operator-0") -> dict[str, str]:
    """What the operator's process would find, in the pod of that name."""
    [deployment] = of_kind(text, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    fields = {"metadata.name": pod, "spec.nodeName": "node"}
    return {
        each["name"]: each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in container["env"]
    }


@CASES
def test_rendered_as_in_the_golden_file(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    assert path.is_file(), f"run `{RENEW}` and look at what it wrote"
    assert helm.golden(name) == path.read_text(encoding="utf-8"), f"if that is as it should be, run `{RENEW}`"


@CASES
def test_lint_has_nothing_to_say(name: str) -> None:
    told = helm.helm("lint", "--strict", str(CHART), "--kube-version", KUBERNETES, *values_of(name))
    assert "0 chart(s) failed" in told
    assert not re.search(r"\[(WARNING|ERROR)\]", told)


@pytest.mark.parametrize("version", manifest_schemas.VERSIONS)
def test_kubernetes_would_know_every_field(version: str) -> None:
    done = kubeconform(version, *(str(GOLDEN / f"{name}.yaml") for name in NAMES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Skipped: 0" in done.stdout


@pytest.mark.parametrize(
    ("version", "admitted"),
    [
        *((f"{version}.0", True) for version in manifest_schemas.VERSIONS),
        ("1.34.3-gke.1245000", True),
        ("1.36.1+k3s1", True),
        ("1.33.9", False),
    ],
)
def test_it_installs_on_the_versions_that_we_promise(version: str, admitted: bool) -> None:
    command = ("template", RELEASE, str(CHART), "--kube-version", version)
    if admitted:
        helm.helm(*command)
    else:
        with pytest.raises(HelmFailed, match="incompatible with Kubernetes"):
            helm.helm(*command)


# --- the CRD ----------------------------------------------------------------------------------------------------------


def test_the_crd_is_the_one_of_the_operator_and_stays_when_the_release_goes() -> None:
    [rendered] = of_kind(template(), "CustomResourceDefinition")
    metadata = rendered["metadata"]
    assert metadata.pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert metadata.pop("labels")["app.kubernetes.io/managed-by"] == "Helm"
    assert rendered == yaml.safe_load(CRD.read_text())


def test_without_the_crd_and_with_namespaces_nothing_concerns_the_whole_cluster() -> None:
    for manifest in manifests((GOLDEN / "namespaced.yaml").read_text()):
        assert manifest["metadata"]["namespace"] in (NAMESPACE, "charging", "depot")


# --- the operator's settings --------------------------------------------------------------------------------------------


@CASES
def test_the_operator_takes_its_settings(name: str) -> None:
    settings.load(environment(template(*values_of(name))))


def test_what_values_say_reaches_the_operator() -> None:
    loaded = settings.load(environment(template(*values_of("production"))))
    assert loaded.identity == "operator-0"
    assert loaded.watch_namespaces == ("charging",)
    assert (loaded.lease_namespace, loaded.lease_name) == (NAMESPACE, "gateways")
    assert (loaded.lease_duration, loaded.lease_renew_deadline, loaded.lease_retry) == (30, 20, 4)
    assert (loaded.gateway_repository, loaded.version) == ("registry.example/chargegateway/gateway", "0.1.0-hotfix.1")
    assert (loaded.resync, loaded.store_interval, loaded.kafka_interval) == (120, 0.5, 30)
    assert (loaded.sweep_interval, loaded.status_interval) == (3600, 2)
    assert loaded.stalled_after == 90
    assert (loaded.request_timeout, loaded.watch_inactivity) == (5, 60)
    assert (loaded.log_level, loaded.log_format) == ("warning", "text")


def test_every_setting_is_written_or_left_alone_for_a_reason() -> None:
    written = {
        name.removeprefix(settings.PREFIX).lower()
        for name in environment(template())
        if name.startswith(settings.PREFIX)
    }
    assert written | LEFT_TO_THE_OPERATOR.keys() == settings.Settings.model_fields.keys()


def test_a_large_number_stays_a_number() -> None:
    """Helm reads numbers as floating point, and prints them so: 1e+06."""
    text = template("--set", "settings.sweepInterval=86400000")
    assert settings.load(environment(text)).sweep_interval == 86_400_000


# --- names and images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "chargegateway/operator:0.1.0"),
        ({"registry": "registry.example"}, "registry.example/chargegateway/operator:0.1.0"),
        ({"registry": "registry.example:5000/a/b", "operator": {"tag": "x"}}, "registry.example:5000/a/b/chargegateway/operator:x"),
        ({"operator": {"repository": "mirror/op", "digest": "sha256:" + "0" * 64}}, "mirror/op@sha256:" + "0" * 64),
    ],
)  # fmt: skip
def test_the_operators_image(values: dict[str, Any], image: str) -> None:
    [deployment] = of_kind(template(values={"image": values}), "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("chargegateway", "chargegateway-operator"),
        ("team-a", "team-a-chargegateway-operator"),
        ("my-chargegateway-2", "my-chargegateway-2-operator"),
        ("x" * 53, "x" * 53 + "-operator"),
    ],
)
def test_a_release_has_names_and_a_lease_of_its_own(release: str, name: str) -> None:
    text = template(release=release)
    [deployment] = of_kind(text, "Deployment")
    assert deployment["metadata"]["name"] == name
    assert len(name) <= 63
    assert settings.load(environment(text)).lease_name == name
    [role] = of_kind(text, "Role")
    assert role["rules"][0]["resourceNames"] == [name]


def test_as_a_part_of_another_chart(tmp_path: Path) -> None:
    """`global` comes from there whether one wants it or not."""
    shutil.copytree(CHART, tmp_path / "charts" / "chargegateway")
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: platform\nversion: 1.0.0\n")
    (tmp_path / "values.yaml").write_text("global: {region: north}\nchargegateway: {watchNamespaces: [charging]}\n")
    text = helm.helm("template", "platform", str(tmp_path), "--kube-version", KUBERNETES)
    [deployment] = of_kind(text, "Deployment")
    assert deployment["metadata"]["name"] == "platform-chargegateway-operator"


# --- what it says -----------------------------------------------------------------------------------------------------


def notes(*arguments: str) -> str:
    return helm.helm("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", *arguments)


def test_notes_tell_the_next_step_and_what_an_uninstall_leaves() -> None:
    told = notes("--set", "watchNamespaces={charging,depot}", "--set", "image.registry=registry.example")
    assert "serves ChargeGateways in charging, depot." in told
    assert f"kubectl -n {NAMESPACE} rollout status deployment/chargegateway-operator" in told
    assert "kubectl -n charging wait --for=condition=Ready cgw/city" in told
    assert "kubectl -n charging get cgw" in told
    assert "leaves the kind of resource, the resources and all that belongs to\nthem" in told
    assert "kubectl delete crd chargegateways.chargegateway.io" in told
    assert "image.registry" not in told


def test_notes_warn_of_images_that_are_nowhere() -> None:
    assert "nodes need chargegateway/operator:0.1.0 and\nchargegateway/gateway:0.1.0 already" in notes()


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"replicas": 0}, "at '/replicas': minimum"),
        ({"replicas": "2"}, "at '/replicas': got string, want integer"),
        ({"image": {"registry": "https://registry.example"}}, "at '/image/registry'"),
        ({"image": {"registry": "registry.example/"}}, "at '/image/registry'"),
        ({"image": {"operator": {"digest": "sha256:short"}}}, "at '/image/operator/digest'"),
        ({"image": {"operator": {"repository": "operator:tag"}}}, "at '/image/operator/repository'"),
        ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy'"),
        ({"image": {"pullSecrets": ["regcred"]}}, "at '/image/pullSecrets/0': got string, want object"),
        ({"image": {"tag": "1"}}, "additional properties 'tag' not allowed"),
        ({"watchNamespaces": "charging"}, "at '/watchNamespaces': got string, want array"),
        ({"watchNamespaces": ["*"]}, "at '/watchNamespaces/0'"),
        ({"watchNamespaces": ["a", "a"]}, "at '/watchNamespaces': items at 0 and 1 are equal"),
        ({"crds": {"keep": False}}, "additional properties 'keep' not allowed"),
        ({"leaderElection": {"retry": 0}}, "at '/leaderElection/retry'"),
        ({"settings": {"resync": "5m"}}, "at '/settings/resync': got string, want number"),
        ({"log": {"level": "trace"}}, "at '/log/level'"),
        ({"extraEnv": [{"name": "CHARGEGATEWAY_OPERATOR_RESYNC", "value": "1"}]}, "at '/extraEnv/0/name'"),
        ({"extraEnv": [{"value": "1"}]}, "missing property 'name'"),
        ({"tolerations": [{"effect": "NoStart"}]}, "at '/tolerations/0/effect'"),
        ({"resources": {"cpu": "1"}}, "additional properties 'cpu' not allowed"),
        ({"topologySpread": "Never"}, "at '/topologySpread'"),
        ({"podLabels": {"app.kubernetes.io/name": "mine"}}, "invalid propertyName 'app.kubernetes.io/name'"),
        ({"serviceAccount": {"create": False}}, "at '/serviceAccount/name': minLength"),
        ({"serviceMonitor": {"interval": "often"}}, "at '/serviceMonitor/interval'"),
        ({"fullnameOverride": "A"}, "at '/fullnameOverride'"),
        ({"terminationGracePeriodSeconds": 1}, "at '/terminationGracePeriodSeconds': minimum"),
    ],
    ids=str,
)
def test_nonsense_is_refused_and_named(values: dict[str, Any], told: str) -> None:
    with pytest.raises(HelmFailed) as refused:
        template(values=values)
    assert told in str(refused.value)
