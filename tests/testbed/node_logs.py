"""What the node's containers wrote, also those that are gone: the kubelet removes a log together with its container.

Each log is linked into a folder of ours within a fraction of a second of its first line; the link keeps the file, whatever is
written into it later and whoever removes it. A container that is gone sooner leaves nothing.
"""

import contextlib
import os
import threading
from pathlib import Path

_INTERVAL = 0.2


class PodLogs:
    """Follows the kubelet's folder of logs from `start` to `stop`. `kept` must lie on the same file system."""

    def __init__(self, written: Path, kept: Path) -> None:
        self._written, self._kept = written, kept
        self._ended = threading.Event()
        self._following = threading.Thread(target=self._follow, name="pod logs", daemon=True)

    def start(self) -> None:
        self._kept.mkdir()
        self._following.start()

    def stop(self) -> None:
        """Look a last time, then no more."""
        if self._following.is_alive():
            self._ended.set()
            self._following.join()

    def text(self, namespace: str, pod: str = "*") -> str:
        """What the containers of these pods wrote, one after the other; `pod` may be a pattern ("city-gateway-*")."""
        self._look()
        files = sorted(self._kept.glob(f"{namespace}_{pod}_*.log"), key=lambda file: file.stat().st_mtime_ns)
        return "".join(_plain(file.read_text(errors="replace")) for file in files)

    def _follow(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self._look()
        self._look()

    def _look(self) -> None:
        # NAMESPACE_POD_UID/CONTAINER/RESTARTS.log; a rotated one gets another name, so the inode tells files apart.
        for log in self._written.glob("*/*/*.log*"):
            with contextlib.suppress(OSError):  # gone meanwhile, or linked already
                folder, container = log.parts[-3:-1]
                os.link(log, self._kept / f"{folder}_{container}_{log.stat().st_ino}.log")


def _plain(text: str) -> str:
    """Lines without what the container runtime puts before each: time, stream, and F for a line that is whole."""
    found = []
    for line in text.splitlines():
        _, _, tag, said = [*line.split(" ", 3), "", "", ""][:4]
        found.append(said if tag == "P" else said + "\n")
    return "".join(found)
