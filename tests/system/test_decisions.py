"""Decisions of a backend over the webhook: asked first, then Kafka, then the answer to the station."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from ocpp_client.status import RedisAccess
from ocpp_local import store
from ocpp_local.processes import free_port
from tests.system.site import Site, running_site, until
from tests.system.station import Station, boot2, boot16, connected, meter16
from tests.testbed.kafka import KafkaServer
from tests.testbed.redis import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
AT = "2026-11-22T10:00:00Z"
START = {"connectorId": 1, "idTag": "TAG1", "meterStart": 5, "timestamp": AT}
SECRET = "Bearer of-the-webhook"
Decide = Callable[[dict[str, Any]], Any]


@dataclass
class Backend:
    """Answers decisions by `answers[ce_type]`; a missing one is an error 500. Keeps what it was asked."""

    port: int
    answers: dict[str, Decide] = field(default_factory=dict)
    asked: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/decide", self._decide)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    def of(self, station: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
        return [(headers, body) for headers, body in self.asked if body["chargePointId"] == station]

    async def _decide(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append((dict(request.headers), body))
        short = request.headers["ce-type"].removeprefix("io.chargegateway.").removesuffix(".v1")
        answer = self.answers.get(short)
        if answer is None:
            return web.Response(status=500)
        decision = answer(body)
        return decision if isinstance(decision, web.Response) else web.json_response(decision)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    found = Backend(free_port())
    await found.start()
    yield found
    await found.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    kafka: KafkaServer, module_redis: RedisServer, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """One gateway that asks the backend."""
    secret = tmp_path_factory.mktemp("webhook") / "authorization"
    secret.write_text(SECRET + "\n")
    await store.vouch_for_empty(module_redis.url)
    settings = {
        "DECISIONS__TYPE": "Webhook",
        "DECISIONS__WEBHOOK__URL": f"http://127.0.0.1:{backend.port}/decide",
        "DECISIONS__WEBHOOK__TIMEOUT": "800ms",
        "DECISIONS__WEBHOOK__AUTHORIZATION_FILE": str(secret),
        "DECISIONS__WEBHOOK__BREAKER_FAILURES": "4",
        "DECISIONS__WEBHOOK__BREAKER_PAUSE": "500ms",
    }
    async with running_site(kafka.bootstrap, RedisAccess(module_redis.url), pods=1, **settings) as running_now:
        yield running_now


@pytest.fixture(autouse=True)
def said(backend: Backend) -> None:
    """What the backend says unless a test wants something else."""
    info = {"idTokenInfo": {"status": "Accepted"}}
    backend.answers = {
        "DeviceBooted": lambda body: {"status": "Accepted", "interval": 120},
        "AuthorizationRequested": lambda body: info,
        "TransactionStarted": lambda body: info,
        "DataTransferReceived": lambda body: {"status": "Accepted", "data": "heard"},
    }


async def test_a_boot_is_pending_until_the_backend_accepts(site: Site, backend: Backend) -> None:
    verdicts = iter(("Pending", "Accepted"))
    backend.answers["DeviceBooted"] = lambda body: {"status": next(verdicts), "interval": 7}
    async with _station(site) as station:
        first = await station.call("BootNotification", boot16())
        assert (first["status"], first["interval"]) == ("Pending", 7)
        refused = await station.ask("MeterValues", meter16())
        assert (refused[0], refused[2]) == (4, "SecurityError")
        # A pending station may be inspected and told to say something.
        station.replies["TriggerMessage"] = lambda payload: {"status": "Accepted"}
        sent = await site.send(station.name, "TriggerMessage", {"requestedMessage": "StatusNotification"})
        assert await site.outcome(sent) == "Accepted"
        await station.call("StatusNotification", {"connectorId": 0, "errorCode": "NoError", "status": "Available"})
        assert (await station.call("BootNotification", boot16()))["status"] == "Accepted"
        await station.call("MeterValues", meter16())
        name = station.name
    await site.event(name, "MeterValues")
    assert [event["data"]["status"] for event in site.events(name, "DeviceBooted")] == ["Pending", "Accepted"]


async def test_pending_outlives_the_socket(site: Site, backend: Backend) -> None:
    backend.answers["DeviceBooted"] = lambda body: {"status": "Pending", "interval": 7}
    async with _station(site) as station:
        await station.call("BootNotification", boot16())
        name = station.name
    async with _station(site, name) as again:
        refused = await again.ask("MeterValues", meter16())
        assert refused[2] == "SecurityError"


async def test_a_rejected_station_is_sent_nothing(site: Site, backend: Backend) -> None:
    backend.answers["DeviceBooted"] = lambda body: {"status": "Rejected", "interval": 9}
    async with _station(site) as station:
        assert (await station.call("BootNotification", boot16()))["status"] == "Rejected"
        sent = await site.send(station.name, "ClearCache")
        await station.ask("Heartbeat", {})
        backend.answers["DeviceBooted"] = lambda body: {"status": "Accepted"}
        assert station.received("ClearCache") == []
        station.replies["ClearCache"] = lambda payload: {"status": "Accepted"}
        await station.call("BootNotification", boot16())
        # What waited comes now.
        assert await site.outcome(sent) == "Accepted"


async def test_the_request_is_the_event_as_a_cloudevent(site: Site, backend: Backend) -> None:
    async with _station(site) as station:
        await station.call("StartTransaction", START)
        event = await site.event(station.name, "TransactionStarted")
        ((headers, body),) = backend.of(station.name)
    assert headers["Idempotency-Key"] == headers["ce-id"] == event["ce_id"]
    assert headers["ce-type"] == "io.chargegateway.TransactionStarted.v1"
    assert headers["ce-subject"] == station.name
    assert headers["Authorization"] == SECRET
    assert body["data"]["idToken"] == {"idToken": "TAG1", "type": "Central"}
    assert body["data"]["meterStart"] == "5"


@pytest.mark.parametrize("verdict", ["Invalid", "Blocked", "Expired", "ConcurrentTx"])
async def test_an_authorization_is_answered_as_the_backend_says(site: Site, backend: Backend, verdict: str) -> None:
    backend.answers["AuthorizationRequested"] = lambda body: {"idTokenInfo": {"status": verdict}}
    async with _station(site) as station:
        assert (await station.call("Authorize", {"idTag": "T"}))["idTagInfo"]["status"] == verdict
        event = await site.event(station.name, "AuthorizationRequested")
    assert event["data"]["idTokenInfo"]["status"] == verdict
    async with _station(site, version="ocpp2.0.1") as station:
        answer = await station.call("Authorize", {"idToken": {"idToken": "T", "type": "Central"}})
        assert answer["idTokenInfo"]["status"] == verdict


async def test_the_backend_may_give_the_transaction_id(site: Site, backend: Backend) -> None:
    backend.answers["TransactionStarted"] = lambda body: {
        "idTokenInfo": {"status": "Accepted"},
        "transactionId": "424242",
    }
    async with _station(site) as station:
        answer = await station.call("StartTransaction", START)
        assert answer == {"transactionId": 424242, "idTagInfo": {"status": "Accepted"}}
        # A retry under a new message id gets the remembered answer, without another question.
        assert (await station.call("StartTransaction", START)) == answer
        assert len(backend.of(station.name)) == 1
        event = await site.event(station.name, "TransactionStarted")
    assert event["data"]["transactionId"] == "424242"


async def test_a_data_transfer_gets_the_backends_data(site: Site) -> None:
    async with _station(site) as station:
        answer = await station.call("DataTransfer", {"vendorId": "v", "data": "question"})
        assert answer == {"status": "Accepted", "data": "heard"}


async def test_a_transaction_event_with_a_token_is_decided_and_others_are_not_asked_about(
    site: Site, backend: Backend
) -> None:
    backend.answers["TransactionStarted"] = lambda body: {"idTokenInfo": {"status": "Invalid"}}
    event = {
        "eventType": "Started",
        "timestamp": AT,
        "triggerReason": "Authorized",
        "seqNo": 0,
        "transactionInfo": {"transactionId": "T2"},
    }
    async with _station(site, version="ocpp2.1") as station:
        answer = await station.call("TransactionEvent", event | {"idToken": {"idToken": "T", "type": "Central"}})
        assert answer["idTokenInfo"]["status"] == "Invalid"
        update = event | {"eventType": "Updated", "seqNo": 1, "triggerReason": "MeterValuePeriodic"}
        assert await station.call("TransactionEvent", update) == {}
        await station.call("BootNotification", boot2())
        assert [body["data"].get("seqNo") for _, body in backend.of(station.name)] == [0, None]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda body: web.Response(status=503), id="error-503"),
        pytest.param(lambda body: web.Response(text="certainly"), id="no-json"),
        pytest.param(lambda body: {"status": "Perhaps"}, id="unknown-status"),
        pytest.param(lambda body: web.Response(text="[" * 10_000), id="deep"),
        pytest.param(lambda body: web.Response(text="x" * 200_000), id="too-long"),
        pytest.param(lambda body: web.Response(status=307, headers={"Location": "/decide"}), id="redirect"),
    ],
)
async def test_a_wrong_answer_of_the_webhook_is_answered_by_the_stated_policy(
    site: Site, backend: Backend, wrong: Decide
) -> None:
    backend.answers["DeviceBooted"] = wrong
    async with site.counted("decisions", "boot", "failure"), _station(site) as station:
        assert (await station.call("BootNotification", boot16()))["status"] == "Pending"
    # The next good decision closes the matter, and the breaker.
    async with site.counted("decisions", "authorize", "webhook"), _station(site) as station:
        await station.call("Authorize", {"idTag": "T"})


async def test_a_webhook_that_is_down_is_answered_by_the_stated_policy(site: Site, backend: Backend) -> None:
    """Defaults: boot Pending, authorize Reject, a start is accepted - its energy flows already."""
    await backend.stop()
    try:
        async with _station(site) as station:
            started = await station.call("StartTransaction", START)
            assert started["transactionId"] > 0
            assert started["idTagInfo"]["status"] == "Accepted"
            assert (await station.call("Authorize", {"idTag": "T"}))["idTagInfo"]["status"] == "Invalid"
            assert (await station.call("DataTransfer", {"vendorId": "v"}))["status"] == "Rejected"
            assert (await station.call("BootNotification", boot16()))["status"] == "Pending"
            await site.event(station.name, "TransactionStarted")
    finally:
        await backend.start()

    async def decided() -> bool:
        async with _station(site) as station:
            return bool((await station.call("BootNotification", boot16()))["status"] == "Accepted")

    await until(decided, "the breaker closes again")


_numbers = iter(range(1_000_000))


@contextlib.asynccontextmanager
async def _station(site: Site, name: str | None = None, version: str = "ocpp1.6") -> AsyncIterator[Station]:
    async with connected(site.pods[0].station_url, name or f"DEC-{next(_numbers):06d}", version) as station:
        yield station
