"""What stands before every answer: headers that keep a browser from doing more than show the page,
and, on loopback, a look at the Host, so that no stranger's web page can read a node's face through
a name that it has made to mean 127.0.0.1."""

from __future__ import annotations

import ipaddress

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; "
    b"img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}


class Guard:
    """An application with the guard before it. `loopback`: it is reached on this machine only."""

    def __init__(self, app: ASGIApp, *, loopback: bool) -> None:
        self._app, self._loopback = app, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS.items()]
            await send(message)

        if self._loopback and not is_local(_host(scope)):
            text = "this daemon listens on loopback: ask for it by localhost or 127.0.0.1\n"
            await PlainTextResponse(text, 421)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)


def is_local(host: str) -> bool:
    """Whether a Host header, with or without a port, means this machine by its own names."""
    bare = host.count(":") > 1 and not host.startswith("[")  # an IPv6 address without a port
    head, colon, port = host.rpartition(":")
    name = head if colon and port.isdecimal() and not bare else host
    name = name.strip("[]").lower()
    if name in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _host(scope: Scope) -> str:
    for key, value in scope["headers"]:
        if key == b"host":
            return str(value.decode("latin-1"))
    return ""
