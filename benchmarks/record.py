"""What was measured, kept as JSON (`results.json`) part by part; RESULTS.md is made of it.

A part is always measured whole, all rivals in turn, so its figures are of one run. Parts may be of different runs: each
carries its date and the load of the machine.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.testbed import components

FILE = Path(__file__).with_name("results.json")
_PACKAGES = ("uvloop", "websockets", "orjson", "jsonschema-rs", "aiokafka", "redis", "ocpp")


def load() -> dict[str, Any]:
    """All parts measured so far."""
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def keep(part: str, command: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Put the figures of one part beside the others; returns all."""
    parts = load()
    parts[part] = {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "load": round(os.getloadavg()[1], 1),
        "figures": figures,
    }
    parts["surroundings"] = surroundings()
    FILE.write_text(json.dumps(parts, indent=1) + "\n")
    return parts


def surroundings() -> dict[str, str]:
    """Machine and versions."""
    memory = int(
        next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")).split()[1]
    )
    redis = subprocess.run([components.REDIS.find(), "--version"], capture_output=True, text=True, check=True).stdout
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    lock = json.loads((components.OCPP_RPC.find() / "package-lock.json").read_text())
    return {
        "machine": f"{os.cpu_count()} CPUs ({_cpu_model()}), {memory / 2**20:.0f} GiB, shared with other work",
        "system": f"Linux {platform.release()}, {platform.machine()}",
        "Python": platform.python_version(),
        "Node.js": node.strip(),
        "Kafka": components.KAFKA_VERSION,
        "Redis": redis.split("v=")[1].split()[0],
        "ocpp-rpc": lock["packages"]["node_modules/ocpp-rpc"]["version"],
        **{package: version(package) for package in _PACKAGES},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
