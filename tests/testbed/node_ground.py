"""What the test node needs of the kernel, made and taken back: a network namespace, one veth, two routes.

The node lives in a network namespace of its own, so the host's firewall and forwarding stay as they are. The host gets one end
of a veth pair (`HOST_ADDRESS`: brokers and stores for pods listen there) and a route each to pods and services. Pods reach the
host there and nothing further.

`Ground.remove` works from names and records on the disk alone. So the next run clears what a run left that was killed with
SIGKILL: nothing here depends on a process that remembers.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.testbed import node_traces

NAMESPACE = "chargegateway"
HOST_LINK = "chargegateway0"
HOST_ADDRESS = "10.200.0.1"
NODE_ADDRESS = "10.200.0.2"
POD_RANGE = "10.201.0.0/24"
SERVICE_RANGE = "10.202.0.0/16"
KUBERNETES_ADDRESS = "10.202.0.1"
BRIDGE_NETWORK = "chargegateway-node"
CONTROL_GROUP = "chargegateway-node"

# The kubelet sets these machine-wide.
SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
_PROGRAMS = {
    "containerd-shim-runc-v2",
    "containerd",
    "etcd",
    "kubelet",
    "kube-proxy",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
}
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_INSIDE = ("nsenter", f"--net=/run/netns/{NAMESPACE}")


def inside(*command: str) -> list[str]:
    """`command` in the node's network. Not `ip netns exec`: that mounts /sys anew and the cgroups are gone."""
    return [*_INSIDE, *command]


class Ground:
    """See module. `state` holds what may be deleted with the node, `run` its sockets and mounts."""

    def __init__(self, state: Path, run: Path) -> None:
        self.state, self.run = state, run
        self._sysctls = state.with_suffix(".sysctls")

    def make(self) -> None:
        """Remember the sysctls, then make the network."""
        self.state.mkdir(parents=True)
        self.run.mkdir(mode=0o711, parents=True)
        before = {name: (Path("/proc/sys") / name).read_text() for name in SYSCTLS}
        self._sysctls.write_text(json.dumps(before))
        _make_control_groups()
        _run("ip", "netns", "add", NAMESPACE)
        _run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
        _run("ip", "address", "add", f"{HOST_ADDRESS}/30", "dev", HOST_LINK)
        _run("ip", "link", "set", HOST_LINK, "up")
        _run("ip", "-n", NAMESPACE, "address", "add", f"{NODE_ADDRESS}/30", "dev", "eth0")
        for link in ("eth0", "lo"):
            _run("ip", "-n", NAMESPACE, "link", "set", link, "up")
        # Kubernetes wants a default route; the host forwards nothing.
        _run("ip", "-n", NAMESPACE, "route", "add", "default", "via", HOST_ADDRESS)
        for addresses in (POD_RANGE, SERVICE_RANGE):
            _run("ip", "route", "add", addresses, "via", NODE_ADDRESS, "dev", HOST_LINK)
        _run(*inside("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"))
        # Answers between two pods of the bridge must pass the address translation too. Absent without br_netfilter.
        _run(*inside("sh", "-c", "f=/proc/sys/net/bridge/bridge-nf-call-iptables; test ! -e $f || echo 1 >$f"))

    def remove(self) -> None:
        """Take everything back, whoever made it. Safe to call twice, and when nothing was made."""
        self._end_leftovers()
        for mount in self._mounts():
            subprocess.run(("umount", "--lazy", mount), check=False, stderr=subprocess.DEVNULL)
        for command in (("ip", "link", "delete", HOST_LINK), ("ip", "netns", "delete", NAMESPACE)):
            subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
        self._remove_cgroups()
        node_traces.remove(self.state, self.run, BRIDGE_NETWORK)
        with contextlib.suppress(FileNotFoundError):
            for name, value in json.loads(self._sysctls.read_text()).items():
                (Path("/proc/sys") / name).write_text(value)
            self._sysctls.unlink()
        if mounts := self._mounts():  # whatever is behind them is not ours to delete
            raise OSError(f"still mounted: {', '.join(mounts)}")
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """What is still there of a node, in words; empty after `remove`."""
        found = [str(path) for path in (self.state, self.run, self._sysctls) if path.exists()]
        found += [f"mount {mount}" for mount in self._mounts()]
        found += [f"process {pid}" for pid in [*self._members(), *self._processes()]]
        found += [f"cgroup {group}" for group in _cgroups()]
        if Path("/sys/class/net", HOST_LINK).exists():
            found.append(f"link {HOST_LINK}")
        if Path("/run/netns", NAMESPACE).exists():
            found.append(f"network namespace {NAMESPACE}")
        return found

    def _processes(self) -> Iterator[int]:
        """The shims of our containerd, and a node's programs that were started with our folders."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    program, *arguments = (entry / "cmdline").read_bytes().split(b"\0")
                    ours = any(os.fsencode(folder) in word for word in arguments for folder in (self.state, self.run))
                    if ours and Path(os.fsdecode(program)).name in _PROGRAMS and not _ended(int(entry.name)):
                        yield int(entry.name)

    def _end_leftovers(self) -> None:
        """Containers first (they are members of pods' cgroups), then the shims."""
        deadline = time.monotonic() + 10
        while left := [*self._members(), *self._processes()]:
            for pid in left:  # again and again: what was killed may just have had a child
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)

    def _members(self) -> set[int]:
        """The processes of pods."""
        return {pid for group in _cgroups() for pid in map(int, _listed(group)) if not _ended(pid)}

    def _mounts(self) -> list[str]:
        """Our mounts, the innermost first."""
        with open("/proc/self/mountinfo") as table:
            points = [line.split()[4] for line in table]
        return sorted((p for p in points if p.startswith((f"{self.state}/", f"{self.run}/"))), reverse=True)

    def _remove_cgroups(self) -> None:
        deadline = time.monotonic() + 5
        while groups := _cgroups():
            for group in groups:
                with contextlib.suppress(OSError):  # busy for a moment after its last process
                    group.rmdir()
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)


def _make_control_groups() -> None:
    """A group of our own in every hierarchy: pods of a kubelet that may run here already are none of our business."""
    if (_CONTROL_GROUPS / "cgroup.controllers").exists():  # one hierarchy (version 2)
        controllers = (_CONTROL_GROUPS / "cgroup.controllers").read_text().split()
        enabled = " ".join(f"+{name}" for name in controllers)
        (_CONTROL_GROUPS / "cgroup.subtree_control").write_text(enabled)
        (_CONTROL_GROUPS / CONTROL_GROUP).mkdir()
        (_CONTROL_GROUPS / CONTROL_GROUP / "cgroup.subtree_control").write_text(enabled)
        return
    for hierarchy in sorted(path for path in _CONTROL_GROUPS.iterdir() if (path / "cgroup.procs").exists()):
        if (hierarchy / CONTROL_GROUP).exists():  # the same hierarchy under a second name, as cpu and cpu,cpuacct
            continue
        (hierarchy / CONTROL_GROUP).mkdir()
        for inherited in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / inherited).exists():
                (hierarchy / CONTROL_GROUP / inherited).write_text((hierarchy / inherited).read_text())


def _cgroups() -> list[Path]:
    """Our control groups, in every hierarchy, the innermost first."""
    roots = [*_CONTROL_GROUPS.glob(f"*/{CONTROL_GROUP}"), *_CONTROL_GROUPS.glob(CONTROL_GROUP)]
    return [Path(folder) for root in roots for folder, _, _ in os.walk(root, topdown=False)]


def _listed(group: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return (group / "cgroup.procs").read_text().split()
    return []


def _ended(pid: int) -> bool:
    """A process that nobody has reaped yet has ended all the same."""
    with contextlib.suppress(OSError):
        status = Path("/proc", str(pid), "status").read_text()
        return "\nState:\tZ" in status or "\nState:\tX" in status
    return True


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
