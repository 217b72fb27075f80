"""Container images without a container engine: our Dockerfiles built by buildah, and single folders packed by hand.

    archive = images.build("gateway")       # a docker-archive; image `localhost/chargegateway/gateway:test`

`build` builds for real, on the base that the test bed made (`node_components.BASE`), and only when something changed that the
image is made of: layers and archives stay in the cache. `configuration`, `layers` and `files` tell what is in an archive.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.testbed import cache

ROOT = Path(__file__).parents[2]
BASE_IMAGE = "localhost/chargegateway/base:test"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_KEPT = 3
_KEPT_LAYERS = 300  # of both planes, intermediate ones included; a build of changed sources makes about fifteen


def name(plane: str, tag: str = "test") -> str:
    """The image of `gateway` or `operator` that `build` makes."""
    return f"localhost/chargegateway/{plane}:{tag}"


def build(plane: str, tag: str = "test") -> Path:
    """The archive of Dockerfile.`plane`, built if need be. Raises Missing or InstallFailed."""
    from tests.testbed import node_components  # it packs its pause image with this module

    node_components.CONTAINER_PROGRAMS.find()
    base = node_components.BASE.find()
    digest = _digest(plane, base)
    destination = cache.folder() / "images" / f"{plane}-{digest}-{tag}"
    archive = destination / f"{plane}.tar"
    if archive.is_file():
        destination.touch()
        return archive

    def fill(part: Path) -> None:
        _ensure_base(base)
        # Where a proxy re-signs, the build must trust what this machine trusts. Mounted, so that the image stays as it is.
        trust = [f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro"] if _CERTIFICATES.is_file() else []
        built = name(plane, digest)  # of its own in the storage: another run may build other sources at the same time
        _buildah(
            "bud", "--isolation=chroot", "--network=host", "--layers", *trust, f"--build-arg=BASE_IMAGE={BASE_IMAGE}",
            f"--build-arg=VERSION={tag}", f"--file=Dockerfile.{plane}", f"--tag={built}", ".",
        )  # fmt: skip
        _buildah("push", built, f"docker-archive:{part / archive.name}:{name(plane, tag)}")

    cache.install(destination, fill)
    _forget_old(plane)
    return archive


def configuration(archive: Path) -> dict[str, Any]:
    """What the image says about itself: User, Env, Entrypoint, Labels, ..."""
    with tarfile.open(archive) as whole:
        config: dict[str, Any] = _json(whole, _manifest(whole)["Config"])["config"]
    return config


def layers(archive: Path) -> list[int]:
    """The bytes of each layer, unpacked; the base's first."""
    with tarfile.open(archive) as whole:
        return [whole.getmember(layer).size for layer in _manifest(whole)["Layers"]]


def packed(archive: Path) -> int:
    """The bytes of the last layer, ours, as a registry keeps them."""
    with tarfile.open(archive) as whole:
        layer = whole.extractfile(_manifest(whole)["Layers"][-1])
        assert layer is not None
        return len(gzip.compress(layer.read(), 6))


def files(archive: Path) -> Iterator[str]:
    """The paths of every layer of an archive."""
    with tarfile.open(archive) as whole:
        for layer in _manifest(whole)["Layers"]:
            packed = whole.extractfile(layer)
            assert packed is not None
            with tarfile.open(fileobj=packed) as opened:
                yield from (member.name for member in opened)


def pack(root: Path, archive: Path, image: str, command: Sequence[str]) -> None:
    """A folder as an image of one layer; the same folder gives the same bytes."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for path in sorted(root.rglob("*")):
            packed.add(path, path.relative_to(root), recursive=False, filter=_nobodys)
    content = layer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    config = json.dumps(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {"Entrypoint": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": named, "RepoTags": [image], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as whole:
        for file, data in ((named, config), ("manifest.json", manifest), ("layer.tar", content)):
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            whole.addfile(entry, io.BytesIO(data))


def _manifest(archive: tarfile.TarFile) -> dict[str, Any]:
    [only] = _json(archive, "manifest.json")
    return dict(only)


def _json(archive: tarfile.TarFile, file: str) -> Any:
    content = archive.extractfile(file)
    assert content is not None
    return json.load(content)


def _ensure_base(root: Path) -> None:
    """The base's root file system as an image of one layer."""
    stamp = f"{root.stat().st_mtime_ns}"
    listed = json.loads(_buildah("images", "--json"))
    if any(BASE_IMAGE in (each.get("names") or ()) for each in listed):
        inspected = json.loads(_buildah("inspect", "--type=image", BASE_IMAGE))
        if (inspected["OCIv1"]["config"].get("Labels") or {}).get("made") == stamp:
            return
    container = _buildah("from", "scratch").strip()
    _buildah("add", "--quiet", container, str(root), "/")
    _buildah("config", "--label", f"made={stamp}", container)
    _buildah("commit", "--quiet", "--rm", container, BASE_IMAGE)


def _buildah(*arguments: str) -> str:
    """buildah on storage of our own: nothing of the machine's images is seen or touched."""
    from tests.testbed import node_components

    program = node_components.CONTAINER_PROGRAMS.program("buildah")
    assert program is not None
    storage = cache.folder() / "images" / "storage"
    storage.mkdir(parents=True, exist_ok=True)
    return cache.run(
        str(program), "--root", str(storage), "--runroot", "/run/chargegateway-buildah", "--storage-driver", "overlay",
        *arguments, cwd=ROOT,
    )  # fmt: skip


def _digest(plane: str, base: Path) -> str:
    """Of all that the Dockerfile reads. A file more than it needs costs a build, a file less would cost the truth."""
    whole = hashlib.sha256(f"{base.stat().st_mtime_ns}".encode())
    single = (f"Dockerfile.{plane}", ".dockerignore", "pyproject.toml", "README.md", "LICENSE")
    sources = [*single, "requirements/build.txt", f"requirements/{plane}.txt"]
    for folder in ("gateway", "operator"):
        sources += sorted(
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
    for source in sources:
        whole.update(source.encode() + b"\0" + (ROOT / source).read_bytes() + b"\0")
    return whole.hexdigest()[:16]


def _forget_old(plane: str) -> None:
    """Keep the latest few archives and layers; they are a few hundred megabytes each."""
    archives = sorted((cache.folder() / "images").glob(f"{plane}-*"), key=lambda path: path.stat().st_mtime)
    for old in archives[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    if len(json.loads(_buildah("images", "--all", "--json"))) > _KEPT_LAYERS:
        _buildah("rmi", "--all", "--force")


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
