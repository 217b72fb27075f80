"""The admin port: /livez, /readyz, /metrics and the internal API. Separate from the station ports, never exposed outside.

The internal API wants the bearer token that the operator made; the token file is read at each request, so that a rotated
Secret needs no restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson
from aiohttp import web

log = logging.getLogger(__name__)

MAX_PAGE = 10_000


class View(Protocol):
    """What the admin port shows of the pod."""

    def unready(self) -> str | None:
        """Why the pod is not ready; None: it is."""

    def unhealthy(self) -> str | None:
        """Why the process should be restarted; None: it should not."""

    def connections(self, after: str, limit: int) -> Sequence[dict[str, Any]]:
        """Live connections with an id above `after`, in order of their ids (internal API)."""

    def start_drain(self) -> None:
        """Begin to drain; a second call changes nothing."""

    def trace(self, charge_point_id: str) -> AsyncGenerator[bytes, None]:
        """Frames of one station as JSON lines, secrets redacted, until the reader leaves."""


class AdminServer:
    """Serves one pod's View. `port` is known after start()."""

    def __init__(self, host: str, port: int, token_file: Path | None, view: View, metrics: Callable[[], bytes]) -> None:
        self._host, self.port = host, port
        self._token_file = token_file
        self._view = view
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._page)
        app.router.add_get("/internal/v1/connections", self._connections)
        app.router.add_post("/internal/v1/drain", self._drain)
        app.router.add_get("/internal/v1/trace/{id}", self._trace)
        # A trace of a silent station would otherwise outlive its reader: nothing is written that could fail.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and end running requests."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return _health(self._view.unhealthy())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _health(self._view.unready())

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _connections(self, request: web.Request) -> web.Response:
        self._authorize(request)
        text = request.query.get("limit", "1000")
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= MAX_PAGE:
            raise web.HTTPBadRequest(text=f"limit: {text[:40]!r} is no number from 1 to {MAX_PAGE}\n")
        items = self._view.connections(request.query.get("after", ""), int(text))
        return web.Response(body=orjson.dumps(list(items)), content_type="application/json")

    async def _drain(self, request: web.Request) -> web.Response:
        self._authorize(request)
        self._view.start_drain()
        return web.Response(status=202, text="draining\n")

    async def _trace(self, request: web.Request) -> web.StreamResponse:
        self._authorize(request)
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await response.prepare(request)
        try:
            async with contextlib.aclosing(self._view.trace(request.match_info["id"])) as lines:
                async for line in lines:
                    await response.write(line)
        except (ConnectionError, asyncio.CancelledError):
            log.debug("trace reader left")
        return response

    def _authorize(self, request: web.Request) -> None:
        expected = b""
        if self._token_file is not None:
            try:
                expected = self._token_file.read_bytes().strip()
            except OSError as error:
                log.warning("token file %s: %s", self._token_file, error)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        given_bytes = given.strip().encode("utf-8", "surrogateescape")  # as aiohttp decoded them
        if scheme.lower() != "bearer" or not expected or not hmac.compare_digest(given_bytes, expected):
            raise web.HTTPUnauthorized(text="a bearer token is needed\n", headers={"WWW-Authenticate": "Bearer"})


def _health(trouble: str | None) -> web.Response:
    return web.Response(text="ok\n") if trouble is None else web.Response(status=503, text=f"{trouble}\n")
