"""Asks an ASGI application directly: no socket, no client library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.applications import Starlette

from tests.builders import HANGS


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: Starlette,
    path: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    at: str = "127.0.0.1",
) -> Answered:
    """One request and its complete answer; `at` is the daemon's address that it came to."""
    return await _asked(app, path, method, headers or {}, None, at)


async def listen(
    app: Starlette, path: str, messages: int, headers: dict[str, str] | None = None
) -> list[tuple[str, Any]]:
    """The first server-sent events of a stream, as (event, data); then the reader leaves."""
    answered = await _asked(app, path, "GET", headers or {}, messages)
    found = []
    for block in answered.body.decode().split("\n\n")[:messages]:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields["event"], json.loads(fields["data"])))
    return found


async def _asked(
    app: Starlette,
    path: str,
    method: str,
    headers: dict[str, str],
    messages: int | None,
    at: str = "127.0.0.1",
) -> Answered:
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()],
        "server": (at, 9723),
        "client": ("127.0.0.1", 1),
    }
    sent: list[Any] = []
    enough = anyio.Event()

    requests = iter([b""])

    async def receive() -> dict[str, Any]:
        if next(requests, None) is not None:
            return {"type": "http.request", "body": b"", "more_body": False}
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        body = b"".join(one.get("body", b"") for one in sent)
        if messages is not None and body.count(b"\n\n") >= messages:
            enough.set()

    with anyio.fail_after(HANGS):
        await app(scope, receive, send)
    start = sent[0]
    fields = {key.decode(): value.decode() for key, value in start["headers"]}
    body = b"".join(one.get("body", b"") for one in sent[1:])
    return Answered(int(start["status"]), fields, body)
