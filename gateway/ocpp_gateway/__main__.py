"""`python -m ocpp_gateway`: settings -> logs -> one event loop -> signals and drain.

Exit codes: 0 drained, 1 something this process cannot work without failed, 2 the settings make no sense.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys

import uvloop

from ocpp_gateway import settings as settings_module
from ocpp_gateway.adapters import logs
from ocpp_gateway.adapters.commands import LanesDiffer
from ocpp_gateway.adapters.tls import TlsError
from ocpp_gateway.composition import Gateway
from ocpp_gateway.settings import Settings, SettingsError

log = logging.getLogger("ocpp_gateway")


async def serve(settings: Settings) -> None:
    """One pod's life. The first SIGTERM or SIGINT drains, a second one stops at once."""
    gateway = Gateway(settings, secrets.token_hex(4))
    loop = asyncio.get_running_loop()

    def asked() -> None:
        gateway.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    await gateway.run()


def main() -> int:
    try:
        settings = settings_module.load(os.environ)
    except SettingsError as error:
        print(f"chargegateway: cannot start with these settings:\n{error}", file=sys.stderr)  # noqa: T201 - no log yet
        return 2
    logs.configure(settings.log.level, settings.log.format)
    code = 0
    try:
        uvloop.run(serve(settings))
    except* TlsError as errors:
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
    sys.exit(main())
