"""Decides who is answered, when, and with which headers.

Everybody may use the probes. The page and /api/v1 are answered on loopback, which `kubectl
port-forward` reaches, and elsewhere only if the operator opened them, with the token. On loopback
the Host header is checked, so that no foreign web page reads the API through a name that it has
made resolve to 127.0.0.1. The headers keep a browser from doing more than showing the page.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .connections import PROBES, scope_of_work
from .token import Token
from .turns import Turns

HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; "
    b"img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}
PROBE_PAUSE, ANSWER_PAUSE = 0.002, 0.02  # seconds from one answer to the next, at least


class Guard:
    """An application behind a guard. `open_to_token`: the page and /api/v1 are answered on every
    address to requests with the token."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: Token,
        open_to_token: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._token, self._open = app, token, open_to_token
        self._probes = {path: Turns(PROBE_PAUSE, monotonic) for path in PROBES}  # one each
        self._answers = Turns(ANSWER_PAUSE, monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        turns = self._probes.get(scope["path"], self._answers)
        address, _ = scope.get("client") or ("", 0)
        with scope_of_work(scope):
            turn = await turns.take(address)

            async def guarded(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", ()), *HEADERS.items()]
                    turn.length = int(Headers(raw=message["headers"]).get("content-length", 0))
                    turns.give_back(turn)
                await send(message)

            try:
                answer = await self._refusal(scope) or self._app
                await answer(scope, receive, guarded)
            finally:
                turns.give_back(turn)

    async def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that is not allowed here; None if it is."""
        if scope["path"] in PROBES:
            return None
        headers = Headers(scope=scope)
        if came_by_loopback(scope):
            if is_local(headers.get("host", "")):
                return None
            text = "the page and /api/v1 are on loopback: use localhost or 127.0.0.1 as the host\n"
            return PlainTextResponse(text, 421)
        if not self._open:
            text = (
                "the page and /api/v1 are answered on loopback alone: reach them by `kubectl "
                "port-forward`, or start the daemon with --api token\n"
            )
            return PlainTextResponse(text, 403)
        refusal = await self._token.refusal(headers.get("authorization", ""))
        if refusal is None:
            return None
        challenge = {"WWW-Authenticate": 'Basic realm="reconciler"'}
        return PlainTextResponse(f"{refusal}\n", 401, challenge)


def came_by_loopback(scope: Scope) -> bool:
    """Whether the request came to a loopback address."""
    address, _ = scope.get("server") or ("", None)
    return _is_loopback(address)


def is_local(host: str) -> bool:
    """Whether a Host header, with or without a port, means this machine by its own names."""
    bare = host.count(":") > 1 and not host.startswith("[")  # an IPv6 address without a port
    head, colon, port = host.rpartition(":")
    name = head if colon and port.isdecimal() and not bare else host
    name = name.strip("[]").lower()
    return name in ("localhost", "") or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # IPv4 on a dual-stack socket
    return bool((mapped or address).is_loopback)
