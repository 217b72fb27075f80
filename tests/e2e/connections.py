"""The TCP connections that pods of the node really have, looked at twice a second from the host.

`/proc/<pid>/net/tcp` shows the network of a pod's process. A connection that was closed from here stays there for a minute, so that
short ones are seen too. Who a process is, its pod's `/etc/hostname` tells: the API server may be away.
"""

from __future__ import annotations

import contextlib
import fnmatch
import ipaddress
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.network_policy import Connection, Peer
from tests.testbed.node_ground import CONTROL_GROUP, POD_RANGE

_INTERVAL = 0.5
_LISTENS = "0A"
_PODS = ipaddress.ip_network(POD_RANGE)
_BRIDGE = _PODS[1]
"""The node itself, for its pods: the kubelet's probes, and whatever comes through a Service from outside."""


class Connections:
    """Follows pods with these names ("city-gateway-*") from `start` to `stop`, and those who dial them: which of the two keeps a closed
    connection for its minute is whoever closed it first."""

    def __init__(self, pods: str, dialling: str) -> None:
        self.seen: Counter[Connection] = Counter()
        """By number of looks."""
        self._pods, self._dialling = pods, dialling
        self._listened: dict[int, set[int]] = {}
        """Ports that somebody listened on, per network namespace: accepted connections outlive their listener."""
        self._ended = threading.Event()
        self._following = threading.Thread(target=self._follow, name="connections", daemon=True)

    def start(self) -> None:
        self._following.start()

    def stop(self) -> None:
        self._ended.set()
        self._following.join()

    def _follow(self) -> None:
        while not self._ended.wait(_INTERVAL):
            for process in _processes(self._pods):
                self.seen.update(self._of(process))
            for process in _processes(self._dialling):
                dialled = (each for each in self._of(process) if (each.direction, each.peer) == ("egress", "pod"))
                self.seen.update(Connection("ingress", "pod", each.port) for each in dialled)

    def _of(self, process: Path) -> set[Connection]:
        try:
            listened = self._listened.setdefault((process / "ns/net").stat().st_ino, set())
            return _connections(process, listened)
        except OSError:  # it ended meanwhile
            return set()


def _processes(pods: str) -> Iterator[Path]:
    """One process of each container of these pods, as a folder of /proc."""
    for member in _members():
        process = Path("/proc", member)
        with contextlib.suppress(OSError):
            if fnmatch.fnmatch((process / "root/etc/hostname").read_text().strip(), pods):
                yield process


def _members() -> Iterator[str]:
    """The first process of each container of the node; one hierarchy of control groups shows all."""
    groups = Path("/sys/fs/cgroup")
    whole = next(
        (each for each in (groups / CONTROL_GROUP, *sorted(groups.glob(f"*/{CONTROL_GROUP}"))) if each.is_dir()), None
    )
    for listed in sorted(whole.rglob("cgroup.procs")) if whole else ():
        with contextlib.suppress(OSError):
            yield from listed.read_text().split()[:1]


def _connections(process: Path, listened: set[int]) -> set[Connection]:
    """`listened` grows by the ports that are listened on now."""
    lines = [
        line.split() for table in ("net/tcp", "net/tcp6") for line in (process / table).read_text().splitlines()[1:]
    ]
    listened |= {_port(local) for _, local, _, state, *_ in lines if state == _LISTENS}
    found = set()
    for _, local, remote, state, *_ in lines:
        address = _address(remote)
        if state == _LISTENS or address.is_loopback or address.is_unspecified:
            continue
        if (port := _port(local)) in listened:
            found.add(Connection("ingress", _peer(address), port))
        else:
            found.add(Connection("egress", _peer(address), _port(remote)))
    return found


def _peer(address: ipaddress.IPv4Address) -> Peer:
    if address == _BRIDGE:
        return "node"
    return "pod" if address in _PODS else "outside"


def _port(written: str) -> int:
    return int(written.rpartition(":")[2], 16)


def _address(written: str) -> ipaddress.IPv4Address:
    """Of an IPv4 connection, also in the table of IPv6; its words are written in the machine's (little) order of bytes."""
    return ipaddress.IPv4Address(bytes.fromhex(written.partition(":")[0][-8:])[::-1])
