"""PyPI `ocpp` on websockets.asyncio as a central system: every message is validated, then answered at once.

python pypi_ocpp.py PORT TLS_PORT CHAIN KEY
"""

import asyncio
import contextlib
import logging
import ssl
import sys
from datetime import UTC, datetime
from typing import Any

import uvloop
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Station(ChargePoint):
    @on("BootNotification")
    def on_boot(self, **_: Any) -> call_result.BootNotification:
        return call_result.BootNotification(current_time=now(), interval=300, status="Accepted")

    @on("Heartbeat")
    def on_heartbeat(self) -> call_result.Heartbeat:
        return call_result.Heartbeat(current_time=now())

    @on("MeterValues")
    def on_meter_values(self, **_: Any) -> call_result.MeterValues:
        return call_result.MeterValues()


async def handler(connection: ServerConnection) -> None:
    assert connection.request is not None
    with contextlib.suppress(ConnectionClosed):
        await Station(connection.request.path.rpartition("/")[2], connection).start()


async def main(port: int, tls_port: int, chain: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    logging.getLogger("ocpp").setLevel(logging.WARNING)  # it writes every frame at INFO
    plain = serve(handler, "127.0.0.1", port, subprotocols=["ocpp1.6"])  # type: ignore[list-item]
    secure = serve(handler, "127.0.0.1", tls_port, subprotocols=["ocpp1.6"], ssl=context)  # type: ignore[list-item]
    async with plain, secure:
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
