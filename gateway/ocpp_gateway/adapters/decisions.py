"""The webhook: one POST per decision, within its deadline.

Body and `ce-*` headers are the event as a CloudEvent in HTTP binary mode, `Idempotency-Key` is its id, so that a backend
sees the same key when a station retries. Only a failure to connect is retried: a request that may have arrived is not sent again.
Authorization and authorities are those that their files hold when the request is made.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from ocpp_contract.cloudevents import CloudEvent
from ocpp_contract.decisions import decode_response, request_headers
from ocpp_contract.errors import ContractError
from ocpp_gateway.adapters.secret_files import Followed
from ocpp_gateway.core.decisions import Breaker, OnFailure

log = logging.getLogger(__name__)

MAX_RESPONSE_BYTES = 65_536
RETRY_PAUSE = 0.1


class Webhook:
    """Asks the backend; `decide` always returns a decision, in the worst case the stated failure policy's."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        max_concurrent: int,
        breaker: Breaker,
        on_failure: OnFailure,
        count: Callable[[str, str], None],
        clock: Callable[[], float],
        authorization: Followed[str] | None = None,
        tls: Followed[ssl.SSLContext] | None = None,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._slots = asyncio.Semaphore(max_concurrent)
        self._breaker = breaker
        self._on_failure = on_failure
        self._count = count
        self._clock = clock
        self._authorization = authorization
        self._tls = tls
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=max_concurrent),
            timeout=aiohttp.ClientTimeout(total=None),  # one deadline for everything, below
        )

    async def decide(self, kind: str, event: CloudEvent, body: bytes) -> Mapping[str, Any]:
        """`body` is the event's JSON. Never raises for anything that the backend does."""
        if not self._breaker.allows(self._clock()):
            return self._failed(kind, "circuit breaker is open")
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                decision = await self._ask(kind, event, body)
        except TimeoutError:
            self._breaker.failed(self._clock())
            return self._failed(kind, f"no decision within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: also a header that HTTP cannot carry
            self._breaker.failed(self._clock())
            return self._failed(kind, str(error) or type(error).__name__)
        self._breaker.succeeded()
        self._count(kind, "webhook")
        return decision

    async def close(self) -> None:
        await self._http.close()

    async def _ask(self, kind: str, event: CloudEvent, body: bytes) -> Mapping[str, Any]:
        sent = request_headers(event)
        if self._authorization is not None:
            sent["Authorization"] = self._authorization.now()
        while True:
            # Connections are pooled per context: with another one none is used that the old authorities vouched for.
            context = self._tls.now() if self._tls is not None else True
            posting = self._http.post(self._url, data=body, headers=sent, allow_redirects=False, ssl=context)
            try:
                async with posting as response:
                    if response.status != 200:
                        raise ContractError("status", f"webhook answered {response.status}")
                    content = bytearray()
                    async for chunk in response.content.iter_any():
                        content += chunk
                        if len(content) > MAX_RESPONSE_BYTES:
                            raise ContractError("body", f"longer than {MAX_RESPONSE_BYTES} bytes")
                    return decode_response(kind, bytes(content))
            except aiohttp.ClientConnectorError:  # never arrived: nothing was decided
                await asyncio.sleep(RETRY_PAUSE)

    def _failed(self, kind: str, reason: str) -> Mapping[str, Any]:
        self._count(kind, "failure")
        log.warning("no decision from the webhook, the failure policy answers", extra={"kind": kind, "reason": reason})
        return self._on_failure.decision(kind)
