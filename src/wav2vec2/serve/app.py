"""The front: routes, and what happens to every request. It never imports torch."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from wav2vec2 import __version__
from wav2vec2.serve.captions import add_captions
from wav2vec2.serve.described import DESCRIPTION, ERROR_ANSWERS
from wav2vec2.serve.failures import ApiError
from wav2vec2.serve.guard import Guard
from wav2vec2.serve.page_files import add_page
from wav2vec2.serve.realtime import add_realtime
from wav2vec2.serve.server import Server
from wav2vec2.serve.transcriptions import add_transcriptions


def build_app(server: Server) -> FastAPI:
    """Return the application of a server."""
    app = FastAPI(
        title="wav2vec2",
        version=__version__,
        description=DESCRIPTION,
        responses=ERROR_ANSWERS,
        redirect_slashes=False,
    )
    _add_errors(app, server)
    _add_health(app, server)
    add_transcriptions(app, server)
    add_captions(app, server)
    add_realtime(app, server)
    add_page(app)
    app.add_middleware(Guard, server=server, paths=frozenset(getattr(route, "path", "") for route in app.routes))
    if server.options.cors:  # around the guard, as a browser asks without a key whether it may ask
        origins = server.options.cors
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    return app


def _add_errors(app: FastAPI, server: Server) -> None:
    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        server.metrics.refused.labels(error.code).inc()
        return JSONResponse(error.body(), error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    async def validation_error(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first.get("loc", ())[1:])
        return await api_error(_, ApiError(400, f"{place}: {first.get('msg')}", "invalid_value", param=place or None))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        message = f"{request.method} {request.url.path}: {error.detail}"
        return await api_error(request, ApiError(error.status_code, message, code, headers=dict(error.headers or {})))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)


def _add_health(app: FastAPI, server: Server) -> None:
    @app.get("/health/live", tags=["server"], summary="Whether the front answers")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", tags=["server"], summary="Whether audio is computed: in the last 30 s, or now")
    async def ready() -> Response:
        if server.places.draining:
            return JSONResponse({"status": "shutting down"}, 503)
        good = await server.pool.probe(10)
        return JSONResponse({"status": "ready" if good else "no audio could be computed"}, 200 if good else 503)

    @app.get("/metrics", tags=["server"], summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        server.metrics.waiting_pieces.set(server.pool.scheduler.waiting)
        return Response(server.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models", tags=["models"], summary="The models that can be named")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [server.model_card(name) for name in server.options.model_names]}

    @app.get("/v1/models/{model:path}", tags=["models"], summary="One model")
    async def model(model: str) -> dict[str, Any]:
        return server.model_card(server.checked_model(model))
