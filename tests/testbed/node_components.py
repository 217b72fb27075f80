"""What a node needs beside Kubernetes' own programs: container programs from Debian, a pause image, a base for our images.

Debian's packages are installed, not unpacked: nft and buildah bring shared libraries. Nothing starts by that: while apt runs,
`policy-rc.d` forbids it. Whatever is on the PATH already is used as it is.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed import cache, images
from tests.testbed.cache import InstallFailed, Missing
from tests.testbed.kubernetes_components import ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBECTL, NODE
from tests.testbed.node_parts import PAUSE_IMAGE

HERE = Path(__file__).parent
_POLICY = Path("/usr/sbin/policy-rc.d")
_SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class ContainerPrograms:
    """containerd, runc, the bridge plugin, nftables and what builds images."""

    name: str = "Debian's container programs (containerd, runc, nftables, buildah, ...)"
    packages: dict[str, str] = field(
        default_factory=lambda: {
            "containerd": "containerd",
            "ctr": "containerd",
            "runc": "runc",
            # Its plugins in one folder, of which "bridge" is no sign: iproute2 has a program of that name.
            "host-local": "containernetworking-plugins",
            "nft": "nftables",
            "conntrack": "conntrack",
            "ip": "iproute2",
            "nsenter": "util-linux",
            "buildah": "buildah",
            "mmdebstrap": "mmdebstrap",
        }
    )
    """Program -> package."""

    def find(self) -> Path:
        """The folder of containerd, or Missing."""
        if os.geteuid() != 0:
            raise Missing("a node needs root")
        if absent := sorted({self.packages[name] for name in self.packages if self.program(name) is None}):
            raise Missing(f"not installed: {', '.join(absent)}; run `python -m tests.testbed install node`")
        found = self.program("containerd")
        assert found is not None
        return found.parent

    def program(self, name: str) -> Path | None:
        """Where a program is."""
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM}:/usr/lib/cni:/opt/cni/bin")
        return Path(found) if found else None

    def install(self) -> None:
        with contextlib.suppress(Missing):
            self.find()
            return
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise Missing(f"{self.name}: needs root and Debian's apt")
        install = (
            "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=500",
            *sorted(set(self.packages.values())),
        )  # fmt: skip
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        with _no_service_starts():
            try:
                cache.run(*install, environment=quiet)
            except InstallFailed:  # no package lists yet, or stale ones, or an installation that was interrupted
                cache.run("dpkg", "--configure", "-a", environment=quiet)
                cache.run("apt-get", "update", "--quiet")
                cache.run(*install, environment=quiet)


@dataclass(frozen=True, slots=True)
class PauseImage:
    """The process that holds a pod's namespaces: a few lines of Go, packed as an image."""

    name: str = "pause image"
    tier: str = "node"

    @property
    def archive(self) -> Path:
        return cache.folder() / "images" / "pause" / "pause.tar"

    def find(self) -> Path:
        """Its archive, or Missing."""
        source = self.archive.with_name("main.go")
        if not source.is_file() or source.read_bytes() != self._source.read_bytes():
            raise Missing("the pause image is not in the cache: run `python -m tests.testbed install node`")
        return self.archive

    def install(self) -> None:
        with contextlib.suppress(Missing):
            self.find()
            return
        if not (go := shutil.which("go")):
            raise Missing("the pause image is built with Go and there is no `go`")

        def fill(part: Path) -> None:
            root = part / "root"
            root.mkdir()
            flags = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false"}
            cache.run(go, "build", "-o", str(root / "pause"), str(self._source), cwd=part, environment=flags)
            images.pack(root, part / "pause.tar", PAUSE_IMAGE, ["/pause"])
            shutil.copy(self._source, part / "main.go")
            shutil.rmtree(root)

        cache.install(self.archive.parent, fill)

    @property
    def _source(self) -> Path:
        return HERE / "go" / "pause" / "main.go"


@dataclass(frozen=True, slots=True)
class BaseImage:
    """Debian with Python, made by mmdebstrap: what BASE_IMAGE of our Dockerfiles is here."""

    name: str = "base image (Debian bookworm with Python 3.11)"

    @property
    def archive(self) -> Path:
        return cache.folder() / "images" / "base" / "root.tar"

    def find(self) -> Path:
        """Its root file system, or Missing."""
        if not self.archive.is_file():
            raise Missing("the base image is not in the cache: run `python -m tests.testbed install node`")
        return self.archive

    def install(self) -> None:
        if self.archive.is_file():
            return
        programs = ContainerPrograms()
        programs.find()
        without = [
            f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "i18n")
        ]  # as the slim images of others do

        def fill(part: Path) -> None:
            cache.run(
                str(programs.program("mmdebstrap")), "--variant=minbase", "--include=python3,python3-venv,ca-certificates",
                *without, "bookworm", str(part / "root.tar"),
            )  # fmt: skip

        cache.install(self.archive.parent, fill)


CONTAINER_PROGRAMS, PAUSE, BASE = ContainerPrograms(), PauseImage(), BaseImage()
ALL = (*NODE, CONTAINER_PROGRAMS, PAUSE, BASE)
"""The tier `node`, beside the API server's own tier."""


def programs() -> dict[str, Path]:
    """Every program of a node by name, or Missing."""
    CONTAINER_PROGRAMS.find()
    found = {name: path for name in CONTAINER_PROGRAMS.packages if (path := CONTAINER_PROGRAMS.program(name))}
    for component in (ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, *NODE, KUBECTL):
        program = component.find()
        found[program.name] = program
    return found


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian asks this script before a package's installation starts a service; 101 means no."""
    forbids = "#!/bin/sh\n# chargegateway's test bed, while it installs\nexit 101\n"
    if (
        _POLICY.exists() and _POLICY.read_text() != forbids
    ):  # somebody's own policy stays; ours was left by a killed run
        yield
        return
    _POLICY.write_text(forbids)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
