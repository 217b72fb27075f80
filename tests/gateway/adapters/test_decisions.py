"""The webhook over real HTTP: what is sent, what is understood, and what happens when it does not answer."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from ocpp_contract.cloudevents import CloudEvent
from ocpp_gateway.adapters.decisions import Webhook
from ocpp_gateway.adapters.secret_files import followed_context, followed_text
from ocpp_gateway.core.decisions import Breaker, OnFailure
from tests.testbed.processes import free_port

EVENT = CloudEvent("e-1", "/chargegateway/r/pod", "io.chargegateway.AuthorizationRequested.v1", "CP 1")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Backend:
    """A backend whose answer each test sets."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer: Handler = lambda request: _json({"idTokenInfo": {"status": "Accepted"}})
        self.port = free_port()
        self._runner: web.AppRunner | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_post("/ocpp", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((dict(request.headers), await request.read()))
        return await self.answer(request)


async def _json(body: object, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    found = Backend()
    yield found
    await found.stop()


@pytest.fixture
async def hook(backend: Backend, tmp_path: Path) -> AsyncIterator[Webhook]:
    token = tmp_path / "token"
    token.write_text("Bearer abc\n")
    found = Webhook(
        f"http://127.0.0.1:{backend.port}/ocpp",
        timeout=1.0,
        max_concurrent=2,
        breaker=Breaker(3, 60.0),
        on_failure=OnFailure(),
        count=lambda kind, origin: None,
        clock=time.monotonic,
        authorization=followed_text(token),
    )
    yield found
    await found.close()


async def test_the_event_goes_out_as_a_cloud_event_with_its_idempotency_key(backend: Backend, hook: Webhook) -> None:
    await backend.start()
    decision = await hook.decide("authorize", EVENT, b'{"data":{}}')
    assert decision == {"idTokenInfo": {"status": "Accepted"}}
    [(headers, body)] = backend.requests
    assert body == b'{"data":{}}'
    assert headers["Idempotency-Key"] == headers["ce-id"] == "e-1"
    assert headers["ce-type"] == "io.chargegateway.AuthorizationRequested.v1"
    assert headers["ce-subject"] == "CP%201"
    assert headers["Authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: _json({"idTokenInfo": {"status": "Accepted"}}, status=500),
        lambda request: _json({"idTokenInfo": {"status": "Perhaps"}}),
        lambda request: _json([1]),
        lambda request: _json({"idTokenInfo": {"status": "Accepted"}, "more": "x" * 100_000}),
    ],
    ids=["status 500", "unknown status", "no object", "too large"],
)
async def test_an_answer_that_is_none_leaves_it_to_the_policy(backend: Backend, hook: Webhook, answer: Handler) -> None:
    backend.answer = answer
    await backend.start()
    assert await hook.decide("authorize", EVENT, b"{}") == {"idTokenInfo": {"status": "Invalid"}}
    assert len(backend.requests) == 1, "a request that arrived is not repeated"


async def test_a_rotated_authorization_is_sent_from_the_next_request_on(
    backend: Backend, hook: Webhook, tmp_path: Path
) -> None:
    await backend.start()
    await hook.decide("authorize", EVENT, b"{}")
    (tmp_path / "token").write_text("Bearer new\n")
    await hook.decide("authorize", EVENT, b"{}")
    assert [headers["Authorization"] for headers, _ in backend.requests] == ["Bearer abc", "Bearer new"]


@pytest.mark.parametrize("content", [b"Bearer a\nX-Injected: b", b"\xff\xfe", b"", None])
async def test_an_authorization_that_cannot_be_sent_does_not_replace_the_last_good_one(
    backend: Backend, hook: Webhook, tmp_path: Path, content: bytes | None
) -> None:
    await backend.start()
    token = tmp_path / "token"
    token.unlink()
    if content is not None:
        token.write_bytes(content)
    assert await hook.decide("authorize", EVENT, b"{}") == {"idTokenInfo": {"status": "Accepted"}}
    assert backend.requests[0][0]["Authorization"] == "Bearer abc"


async def test_the_authorities_follow_their_file(backend: Backend, tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    new.issue_cert("127.0.0.1").configure_cert(served)
    await backend.start(served)
    file = tmp_path / "ca.crt"
    old.cert_pem.write_to_path(file)
    hook = Webhook(
        f"https://127.0.0.1:{backend.port}/ocpp",
        timeout=2.0,
        max_concurrent=2,
        breaker=Breaker(99, 60.0),
        on_failure=OnFailure(),
        count=lambda kind, origin: None,
        clock=time.monotonic,
        tls=followed_context(file),
    )
    try:
        assert await hook.decide("authorize", EVENT, b"{}") == {"idTokenInfo": {"status": "Invalid"}}
        assert not backend.requests, "the old authority does not vouch for this backend"
        new.cert_pem.write_to_path(file)
        assert await hook.decide("authorize", EVENT, b"{}") == {"idTokenInfo": {"status": "Accepted"}}
        old.cert_pem.write_to_path(file)
        assert await hook.decide("authorize", EVENT, b"{}") == {"idTokenInfo": {"status": "Invalid"}}, (
            "nor a pooled socket"
        )
    finally:
        await hook.close()


async def test_silence_ends_with_the_deadline_and_is_not_repeated(backend: Backend, hook: Webhook) -> None:
    silent = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        await silent.wait()
        return await _json({})

    backend.answer = never
    await backend.start()
    assert await hook.decide("boot", EVENT, b"{}") == {"status": "Pending"}
    assert len(backend.requests) == 1
    silent.set()


async def test_a_refused_connection_is_tried_again_within_the_deadline(backend: Backend, hook: Webhook) -> None:
    deciding = asyncio.create_task(hook.decide("authorize", EVENT, b"{}"))
    await asyncio.sleep(0.25)  # the backend's late start is the case itself
    await backend.start()
    assert await deciding == {"idTokenInfo": {"status": "Accepted"}}


async def test_after_failures_in_a_row_nobody_waits_any_more(backend: Backend, hook: Webhook) -> None:
    backend.answer = lambda request: _json({}, status=503)
    await backend.start()
    for _ in range(3):
        await hook.decide("authorize", EVENT, b"{}")
    await hook.decide("authorize", EVENT, b"{}")
    assert len(backend.requests) == 3
