"""One cache folder for all that is fetched; a component is either there whole or not there at all.

An installation writes into a temporary folder beside its destination, is verified there, and takes its place with one
rename. So an interrupted installation leaves nothing that looks finished, and a second run starts it again.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Missing(Exception):
    """A component that a test needs is not there. The text says what to do about it."""


class InstallFailed(Exception):
    """A component could not be fetched, or what came was not what is pinned."""


def folder() -> Path:
    """The cache: `$XDG_CACHE_HOME/chargegateway`, by default below `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "chargegateway"


def install(destination: Path, fill: Callable[[Path], None]) -> None:
    """Make `destination` by `fill(temporary folder)` and one rename. `fill` raises to refuse what it got."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(destination.with_name(f".{destination.name}.lock")):
        for leftover in destination.parent.glob(f".{destination.name}.part-*"):
            shutil.rmtree(leftover)  # under the lock, so its maker is gone
        part = Path(tempfile.mkdtemp(prefix=f".{destination.name}.part-", dir=destination.parent))
        try:
            fill(part)
            part.chmod(0o755)
            shutil.rmtree(destination, ignore_errors=True)
            part.rename(destination)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def run(*command: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run an installer, with `environment` added to ours; its words are shown only when it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise InstallFailed(f"{' '.join(command)} ended with {done.returncode}:\n{tail}")
    return done.stdout


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
