"""The gateway runs on uvloop, so its adapters are tested on uvloop - but for those that freeze brokers under aiokafka.

Closing a uvloop 0.23 loop waits for ever, inside C where no time-out reaches it, for a socket that was being connected to a
frozen broker when its task was cancelled. The gateway does not close its loop (see `ocpp_gateway.__main__`); the system
tests have Kafka clients on uvloop, in processes of their own.
"""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

_ON_KAFKA = ("test_kafka", "test_redis_stations")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name.startswith(_ON_KAFKA):
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}
