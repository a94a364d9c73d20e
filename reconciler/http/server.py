"""The HTTP server: starlette on uvicorn, inside the daemon's own event loop. /healthz has to run on
the loop whose health it reports."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..domain.neutral import neutralised
from .api import Api
from .connections import Connection, Connections, accept
from .guard import Guard
from .health import SILENCE, missing
from .query import accepts
from .token import Token
from .view import View

PAGE = Path(__file__).parent / "page"
BACKLOG = 1024  # connections that wait in the kernel
SCRAPE_FRESH = 1.0  # seconds for which a scrape is reused


class ListenFailed(Exception):
    """The address cannot be listened on; the text says why."""


def application(view: View) -> Starlette:
    """The application with all its routes."""

    async def healthz(request: Request) -> Response:
        silent = view.pulse.silent_for()
        if silent <= SILENCE:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(f"the loop has not turned for {silent:.0f} s\n", 503)

    async def readyz(request: Request) -> Response:
        reasons = missing(view.state)
        return PlainTextResponse("\n".join(reasons or ["ok"]) + "\n", 503 if reasons else 200)

    scrapes = Scrapes(view)

    async def prometheus(request: Request) -> Response:
        text, kind = scrapes.text(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": kind})

    async def index(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    paths = {"/healthz": healthz, "/readyz": readyz, "/metrics": prometheus, "/": index}
    routes = [Route(path, answer, methods=["GET"]) for path, answer in paths.items()]
    token = Token(view.token_file)
    api = Api(view, token)
    routes += api.routes()
    for route in routes:  # starlette answers HEAD wherever it answers GET
        (route.methods or set()).discard("HEAD")
    page = Mount("/page", StaticFiles(directory=PAGE))
    guard = Middleware(
        Guard, token=token, open_to_token=view.open_to_token, monotonic=view.monotonic
    )
    app = Starlette(routes=[*routes, page], middleware=[guard])
    app.state.drop_unused = api.drop_unused
    return app


class Scrapes:
    """The metrics as text, made at most once a second for all scrapers of a format."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._made: dict[bool, tuple[float, tuple[bytes, str]]] = {}  # when; OpenMetrics or not

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type: OpenMetrics for a scraper that accepts it, in any
        version, else Prometheus text format."""
        view, now = self._view, self._view.monotonic()
        openmetrics = accepts(accept, "application/openmetrics-text")
        made = self._made.get(openmetrics)
        if made is None or now - made[0] >= SCRAPE_FRESH:
            view.metrics.loop_lag.set(view.pulse.lag)
            made = self._made[openmetrics] = now, view.metrics.text(openmetrics)
        return made[1]


def listening(host: str, port: int) -> socket.socket:
    """Returns a bound socket, so that a port in use is reported before anything else starts. Raises
    ListenFailed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as undo:
        try:
            bound = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            bound.listen(BACKLOG)
        except OSError as error:
            why = error.strerror or str(error)
        except (TypeError, ValueError, OverflowError):  # a host that does not encode, a port
            why = "there can be no such address"
        else:
            bound.setblocking(False)
            undo.pop_all()
            return bound
    shown = neutralised(f"{host}:{port}")
    raise ListenFailed(f"cannot listen on {shown}: {why}; name another with --listen")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    bound: socket.socket, app: Starlette, connections: Connections | None = None
) -> None:
    """Serves until cancelled. Tests pass connections with a clock of their own."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        loop="none",
        access_log=False,
        log_config=None,
        log_level="error",  # bad requests of strangers are not worth a line
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        proxy_headers=False,  # a client's address is what it comes from, not what it says
    )
    config.load()
    server, connections = _Server(config), connections or Connections()
    make = functools.partial(Connection, connections, config, server.server_state)
    with bound:
        async with anyio.create_task_group() as group:
            group.start_soon(accept, bound, make)
            group.start_soon(sweep, connections, app.state.drop_unused)
            await server.serve(sockets=[])


async def sweep(connections: Connections, drop_unused: Callable[[], None]) -> None:
    """Once a second, closes connections that have taken too long and frees unused documents."""
    while True:
        await anyio.sleep(1.0)
        connections.sweep()
        drop_unused()
