"""What happens to every request before its route: the key, the rate, and what is counted."""

import time
from collections.abc import Set

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wav2vec2.serve.failures import ApiError
from wav2vec2.serve.server import Server

GUARDED = "/v1/"
"""Paths that need a key, if keys are asked for."""


class Guard:
    """An ASGI application around another one. paths: the routes, by which requests are counted."""

    def __init__(self, app: ASGIApp, server: Server, paths: Set[str]) -> None:
        self._app, self._server, self._paths = app, server, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; a websocket is guarded by its own route."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.monotonic(), 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if scope["path"].startswith(GUARDED):
                self.check(scope)
            await self._app(scope, receive, counted)
        except ApiError as error:
            self._server.metrics.refused.labels(error.code).inc()
            await JSONResponse(error.body(), error.status, error.headers)(scope, receive, counted)
        finally:
            metrics, path = self._server.metrics, scope["path"] if scope["path"] in self._paths else "other"
            metrics.requests.labels(path, str(status)).inc()
            metrics.request_seconds.labels(path).observe(time.monotonic() - begin)

    def check(self, scope: Scope) -> None:
        """Raise ApiError unless the client may ask now."""
        self._server.keys.check(Headers(scope=scope).get("authorization"))
        client = scope.get("client")
        self._server.rate.check(client[0] if client else "")
