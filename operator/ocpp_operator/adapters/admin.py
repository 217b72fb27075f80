"""The operator's own port: /livez, /readyz, /metrics. Plain HTTP, nothing secret, reached from within the cluster only.

A replica that stands by is ready: readiness is for the rollout of the operator itself, which must not wait for a lease that the
old replica holds.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

Trouble = Callable[[], str | None]


class AdminServer:
    """`unhealthy` and `unready` say why not; None: all is well. `port` is known after start()."""

    def __init__(
        self, host: str, port: int, unhealthy: Trouble, unready: Trouble, metrics: Callable[[], bytes]
    ) -> None:
        self._host, self.port = host, port
        self._unhealthy, self._unready = unhealthy, unready
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._page)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return _health(self._unhealthy())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _health(self._unready())

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _health(trouble: str | None) -> web.Response:
    return web.Response(text="ok\n") if trouble is None else web.Response(status=503, text=f"{trouble}\n")
