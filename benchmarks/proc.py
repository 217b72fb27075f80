"""What Linux says of a process: CPU time and memory, read from /proc by its pid; and how many files ours may open."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """Seconds of all threads so far; the kernel counts in ticks of 10 ms."""

    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system


def open_all_files() -> None:
    """As many as the machine allows, for this process and those that it starts: each socket is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpu(pid: int) -> Cpu:
    """What `/proc/PID/stat` says."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return Cpu(int(fields[11]) / _TICK, int(fields[12]) / _TICK)


def pss_bytes(pid: int) -> int:
    """Proportional set size: what it has alone, plus its share of what others map too."""
    return _rollup(pid, "Pss:")


def rss_bytes(pid: int) -> int:
    """Resident set size."""
    return _rollup(pid, "Rss:")


def _rollup(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name} in smaps_rollup of {pid}")
