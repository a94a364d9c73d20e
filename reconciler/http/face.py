"""The HTTP face: starlette on uvicorn, inside the daemon's own event loop."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .api import Api
from .guard import Guard
from .health import SILENCE, missing
from .view import View

PAGE = Path(__file__).parent / "page"


class ListenFailed(Exception):
    """The address can not be listened on; the text says why."""


def application(view: View) -> Starlette:
    """Everything that is answered."""

    async def healthz(request: Request) -> Response:
        silent = view.pulse.silent_for()
        if silent <= SILENCE:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(f"the loop has not turned for {silent:.0f} s\n", 503)

    async def readyz(request: Request) -> Response:
        reasons = missing(view.state)
        return PlainTextResponse("\n".join(reasons or ["ok"]) + "\n", 503 if reasons else 200)

    async def prometheus(request: Request) -> Response:
        view.metrics.loop_lag.set(view.pulse.lag)
        text, kind = view.metrics.text(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": kind})

    async def index(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    paths = {"/healthz": healthz, "/readyz": readyz, "/metrics": prometheus, "/": index}
    routes = [Route(path, answer, methods=["GET"]) for path, answer in paths.items()]
    routes += Api(view).routes()
    for route in routes:  # starlette answers HEAD wherever it answers GET
        (route.methods or set()).discard("HEAD")
    page = Mount("/page", StaticFiles(directory=PAGE))
    guard = Middleware(Guard, loopback=view.loopback)
    return Starlette(routes=[*routes, page], middleware=[guard])


def listening(host: str, port: int) -> socket.socket:
    """A bound socket, so that a taken port is told before anything else starts. Raises
    ListenFailed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(64)
    except OSError as error:
        bound.close()
        text = f"can not listen on {host}:{port}: {error.strerror}; name another with --listen"
        raise ListenFailed(text) from error
    bound.setblocking(False)
    return bound


class _Server(uvicorn.Server):
    """uvicorn without hands on the process's signals: they are the daemon's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(bound: socket.socket, app: Starlette) -> None:
    """Answers until cancelled."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        loop="none",
        access_log=False,
        log_config=None,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        limit_concurrency=64,
    )
    server = _Server(config)
    with bound:
        try:
            await server.serve(sockets=[bound])
        finally:  # cancelled, it would leave them open
            for listener in getattr(server, "servers", ()):
                listener.close()
