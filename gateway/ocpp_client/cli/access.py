"""How a command reaches the system: flags, environment, or a running `chargegateway up`, in this order."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ocpp_client.cli.running import Running, UsageError, find_running
from ocpp_client.kafka import KafkaAccess
from ocpp_client.status import RedisAccess

T = TypeVar("T")

KafkaOption = Annotated[
    str | None,
    typer.Option(
        "--kafka", metavar="HOST:PORT", envvar="KAFKA_BOOTSTRAP_SERVERS", help="Brokers; default: a running `up`."
    ),
]
RedisOption = Annotated[
    str | None,
    typer.Option("--redis", metavar="URL", envvar="REDIS_URL", help="redis://HOST:PORT; default: a running `up`."),
]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="FILE", help="State file of the `up` that is meant.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]


@dataclass(frozen=True, slots=True)
class System:
    """The system that a command is about. What was not given may be missing; asking for it then says what to do."""

    kafka_servers: str | None
    redis_url: str | None
    running: Running | None

    @property
    def kafka(self) -> KafkaAccess:
        """Raises UsageError."""
        if self.kafka_servers is None:
            raise UsageError("which system? start `chargegateway up`, or give --kafka HOST:PORT")
        return KafkaAccess.of(self.kafka_servers)

    @property
    def redis(self) -> RedisAccess:
        """Raises UsageError."""
        if self.redis_url is None:
            raise UsageError("which store? start `chargegateway up`, or give --redis redis://HOST:PORT")
        return RedisAccess(self.redis_url)

    @property
    def redis_if_known(self) -> RedisAccess | None:
        """None: do without, which costs a command one hop."""
        return None if self.redis_url is None else RedisAccess(self.redis_url)


def system(kafka: str | None, redis: str | None, state: Path | None) -> System:
    """Put together what was given. A broker that was named is never mixed with the store of some running `up`."""
    running = find_running(state) if state is not None or (kafka is None and redis is None) else None
    return System(kafka or (running.kafka if running else None), redis or (running.redis if running else None), running)


def duration(text: str, option: str) -> float:
    """`30s`, `5m` or a plain number of seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text.strip())
    seconds = float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"{option} {text!r}: write 30s, 5m or a number of seconds above 0")
    return seconds


def carry_out(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; libraries are heard only where they matter to a person."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what matters comes as an exception as well
    return asyncio.run(work)
