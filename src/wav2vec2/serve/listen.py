"""Listening on a port until the server is told to stop, and stopping so that nothing is lost."""

import asyncio
import contextlib
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from wav2vec2.errors import UserError, cause
from wav2vec2.serve import idle_memory
from wav2vec2.serve.app import build_app
from wav2vec2.serve.server import Server, ServerOptions

if TYPE_CHECKING:
    from wav2vec2.serve.command import ServeOptions


def serve_until_stopped(options: "ServeOptions", about: ServerOptions) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises UserError if the port is taken, or the model is refused."""
    with _bound(options.host, options.port) as listener:
        asyncio.run(_serve(options, Server(about), listener))


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: cannot be listened at ({cause(error)}); choose others") from None
    return listener


async def _serve(options: "ServeOptions", server: Server, listener: socket.socket) -> None:
    await server.start()  # before the port answers, so that a refused model is one line
    scheme = "http" if options.tls_cert is None else "https"
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        build_app(server),
        lifespan="off",
        log_level="warning",
        ssl_certfile=None if options.tls_cert is None else str(options.tls_cert),
        ssl_keyfile=None if options.tls_key is None else str(options.tls_key),
        timeout_graceful_shutdown=int(options.drain_seconds) + 5,
        timeout_keep_alive=30,
        ws_max_size=1 << 22,
        server_header=False,
    )
    web = _Web(config)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    idle_memory.watch()
    served = asyncio.create_task(web.serve(sockets=[listener]))
    print(f"serving {server.options.model_names[0]} at {scheme}://{host}:{port}", file=sys.stderr, flush=True)
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({asked, served}, return_when=asyncio.FIRST_COMPLETED)
    if not served.done():
        await _drain(server, options.drain_seconds)
        web.should_exit = True
    asked.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await served
    await server.stop()


class _Web(uvicorn.Server):
    """uvicorn without its own handling of signals: requests are let end before the port is closed."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


async def _drain(server: Server, seconds: float) -> None:
    """Take no more work, and wait until all of it is done, or the time is over."""
    server.places.draining = True
    print("shutting down: requests are let end", file=sys.stderr, flush=True)
    for session in tuple(server.sessions):
        session.end()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while server.places.running or server.places.waiting or server.sessions:
                await asyncio.sleep(0.05)
