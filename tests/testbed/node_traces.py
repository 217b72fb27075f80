"""What containerd and the kubelet leave in folders that no setting moves: found by the node's own ids, never by guessing.

Another containerd of this machine writes there too. A kubelet of its own could not live beside ours: both take the same socket
for device plugins, and each clears its folder at start.
"""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins/kubelet.sock")
_POD_LOGS = Path("/var/log/containers")
_NETWORKS = Path("/var/lib/cni/results")
_SHIMS = Path("/run/containerd/s")
_NAMESPACES = Path("/run/netns")
# Made by whoever needs them first; the inner ones stand first.
FOLDERS = (
    _DEVICE_PLUGINS.parent,
    _DEVICE_PLUGINS.parent.parent,
    _POD_LOGS,
    _NETWORKS,
    _NETWORKS.parent,
    _SHIMS,
    _SHIMS.parent,
)


def kubelet_runs() -> bool:
    """Whether somebody's kubelet listens on this machine."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(_DEVICE_PLUGINS)) == 0


def remove(state: Path, run: Path, network: str) -> None:
    """The traces of the node with these folders and this pod network. All of its processes have ended."""
    for trace in [*_traces(state, run, network)]:
        trace.unlink(missing_ok=True)
    if _DEVICE_PLUGINS.exists() and not kubelet_runs():
        _DEVICE_PLUGINS.unlink()
    if _NAMESPACES.is_mount() and not any(_NAMESPACES.iterdir()):  # ip mounts it for the first namespace
        subprocess.run(("umount", str(_NAMESPACES)), check=False, stderr=subprocess.DEVNULL)
    for folder in FOLDERS:
        with contextlib.suppress(OSError):  # not there, or in use by others
            folder.rmdir()


def _traces(state: Path, run: Path, network: str) -> Iterator[Path]:
    for link in _POD_LOGS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{state}/"):
            yield link
    # Shims were killed before they could clean up: their folders tell which sockets and networks were theirs.
    for bundle in (run / "containerd").glob("io.containerd.runtime.v2.task/*/*"):
        with contextlib.suppress(FileNotFoundError):
            yield Path((bundle / "address").read_text().removeprefix("unix://"))
        yield from _NETWORKS.glob(f"cni-loopback-{bundle.name}-*")
    yield from _NETWORKS.glob(f"{network}-*")
