"""One running system per module: `site`, with the settings that the module's `SETTINGS` asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from ocpp_client.status import RedisAccess
from ocpp_local import store
from tests.conftest import running
from tests.system.site import Site, running_site
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisServer


@pytest.fixture(scope="module")
def module_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis for the tests of one module."""
    yield from running(request, RedisServer)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(request: pytest.FixtureRequest, kafka: KafkaServer, module_redis: RedisServer) -> AsyncIterator[Site]:
    """Two gateways (or `PODS`) that share the partitions."""
    await store.vouch_for_empty(module_redis.url)
    settings: dict[str, str] = getattr(request.module, "SETTINGS", {})
    pods: int = getattr(request.module, "PODS", 2)
    async with running_site(kafka.bootstrap, RedisAccess(module_redis.url), pods=pods, **settings) as running_now:
        yield running_now
