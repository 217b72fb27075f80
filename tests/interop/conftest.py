"""One running system for all interoperability tests: two gateways, decisions accepted, registered or not."""

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


@pytest.fixture(scope="package")
def package_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    yield from running(request, RedisServer)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def site(kafka: KafkaServer, package_redis: RedisServer) -> AsyncIterator[Site]:
    await store.vouch_for_empty(package_redis.url)
    async with running_site(kafka.bootstrap, RedisAccess(package_redis.url)) as running_now:
        yield running_now
