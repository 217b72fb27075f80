"""`python -m ocpp_gateway`: settings -> logs -> one event loop -> signals and drain.

Exit codes: 0 drained, 1 something this process cannot work without failed, 2 the settings make no sense.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # Until `calm_collector`. What a start makes stays, and looking at it again and again is a tenth of the imports' time: that of
    # a container restarted in place, while its partitions wait.
    gc.disable()

import asyncio
import logging
import os
import resource
import secrets
import signal
import sys

import uvloop

from ocpp_gateway import settings as settings_module
from ocpp_gateway.adapters import logs
from ocpp_gateway.adapters.commands import LanesDiffer
from ocpp_gateway.adapters.secret_files import UnusableFile
from ocpp_gateway.adapters.tls import TlsError
from ocpp_gateway.composition import Gateway
from ocpp_gateway.settings import Settings, SettingsError

log = logging.getLogger("ocpp_gateway")

_OTHER_FILES = 512
"""Brokers, store, webhook, admin port, certificates: generously."""

_YOUNG, _MIDDLE, _OLD = 10_000, 10, 10


def calm_collector() -> None:
    """Keep Python's cycle collector from stopping the loop (ADR 0051 has the figures).

    Reference counts free nearly all of what messages and connections leave behind. With Python's own thresholds a batch of
    messages waiting for Kafka is enough to set off collections, and a full one looks at every object there is: tens of
    milliseconds with a thousand stations, a multiple of a command's whole latency. So what exists before the first station is
    not looked at again, and the rest is collected after some 10,000 new objects instead of 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    gc.enable()


async def serve(settings: Settings) -> None:
    """One pod's life. The first SIGTERM or SIGINT drains, a second one stops at once."""
    gateway = Gateway(settings, secrets.token_hex(4))
    calm_collector()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        gateway.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    await gateway.run()


def allow_files(sockets: int) -> None:
    """Let this process open so many sockets. A common soft limit of 1,024 would otherwise cut stations off long before
    limits.connections does, and Redis and Kafka with them."""
    wanted = sockets + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    reached = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (reached, hard))
    if reached < wanted:
        log.warning(
            "the file limit allows fewer sockets than the settings do", extra={"limit": reached, "wanted": wanted}
        )


def main() -> int:
    try:
        settings = settings_module.load(os.environ)
    except SettingsError as error:
        print(f"chargegateway: cannot start with these settings:\n{error}", file=sys.stderr)  # noqa: T201 - no log yet
        return 2
    logs.configure(settings.log.level, settings.log.format)
    allow_files(settings.limits.connections + settings.limits.pending_handshakes)
    code = 0
    try:
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve(settings))
    except* TlsError as errors:
        code = 2
        log.error("cannot start: %s", *errors.exceptions)
    except* UnusableFile as errors:
        code = 2
        log.error("cannot start: %s", *errors.exceptions)
    except* LanesDiffer as errors:
        code = 2
        log.error("cannot start: %s", *errors.exceptions)
    except* OSError as errors:
        code = 1
        log.error("cannot go on: %s", "; ".join(str(trouble) for trouble in errors.exceptions))
    return code


if __name__ == "__main__":
    exit_code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: everything that matters is done, and closing a uvloop 0.23 loop waits for ever for a socket that was being
    # connected to a frozen broker when its task was cancelled (seen in the tests of leader moves).
    os._exit(exit_code)
