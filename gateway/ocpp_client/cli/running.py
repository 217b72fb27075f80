"""Where a running `chargegateway up` says how to reach it, so that the other commands need no flags.

`up` writes the file, and removes it when it ends. Every value can be given by flag or by environment variable as well.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

STATE_VARIABLE = "CHARGEGATEWAY_STATE"
DEBUG_VARIABLE = "CHARGEGATEWAY_DEBUG"
"""Set to anything: an error shows its traceback, for whoever works on the command line itself."""


class UsageError(Exception):
    """The command cannot be carried out as it was given; one line for a person."""


@dataclass(frozen=True, slots=True)
class RunningPod:
    """One gateway of a running `up`."""

    name: str
    pid: int
    station_url: str
    admin_url: str


@dataclass(frozen=True, slots=True)
class Running:
    """What the state file says. Station URLs end in `/`: append the station's id."""

    pods: tuple[RunningPod, ...]
    station_url: str
    kafka: str
    redis: str
    token_file: Path


def default_state_file() -> Path:
    """`$XDG_RUNTIME_DIR/chargegateway/up.json`, or below `~/.cache` where there is no such folder."""
    root = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "chargegateway" / "up.json"


def find_running(state: Path | None) -> Running | None:
    """The running `up` of `state`, of $CHARGEGATEWAY_STATE, or of the default place; None: there is none at the default place.

    Raises UsageError when a file that was named cannot be read.
    """
    named = state or (Path(os.environ[STATE_VARIABLE]) if os.environ.get(STATE_VARIABLE) else None)
    path = named or default_state_file()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Running(
            pods=tuple(
                RunningPod(pod["name"], pod["pid"], pod["stationUrl"], pod["adminUrl"]) for pod in values["pods"]
            ),
            station_url=values["stationUrl"],
            kafka=values["kafka"],
            redis=values["redis"],
            token_file=Path(values["tokenFile"]),
        )
    except FileNotFoundError:
        if named is None:
            return None
        raise UsageError(f"{path}: there is no such state file; is `chargegateway up` running?") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no state file of `chargegateway up`: {error!r}") from None
