"""/api/v1: the same documents as the commands print, live. Whoever passes the guard may read;
commands (pause, resume, reclaim) need the token of `--token-file`."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..domain.facts import Fact, Paused, ReclaimAsked, Resumed
from ..domain.lookup import images_meant
from ..domain.policy import Mode
from ..report import API_VERSION, Json, image_json
from . import documents
from .document_cache import DocumentCache
from .openapi import openapi
from .query import BadQuery, checked, last_event, text, whole_number
from .status import status
from .token import Token
from .view import View

MOST_ENTRIES = 1000  # of one answer
STREAMS = 16  # pages that may be open at once
EVERY = 1.0  # seconds between updates of an open page

Answer = Callable[[Request], Awaitable[Response]]


class JsonResponse(JSONResponse):
    """JSON in plain ASCII, as everywhere here. starlette's own raises UnicodeEncodeError for the
    name of a file that is not UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


class Api:
    """The routes, on one view."""

    def __init__(self, view: View, token: Token) -> None:
        self._view, self._token = view, token
        self._status: Json = {}
        self._status_text = ""
        self._status_at = float("-inf")
        cache = functools.partial(DocumentCache, arrived=view.arrived, monotonic=view.monotonic)
        self._all_images = cache(functools.partial(documents.images, view))
        self._whole_plan = cache(functools.partial(documents.plan, view))
        self._open_streams = 0

    def routes(self) -> list[Route]:
        """Everything below /api/v1."""
        reading: dict[str, Answer] = {
            "status": self._status_now,
            "images": self._images,
            "images/{query:path}": self._image,
            "plan": self._plan,
            "events": self._events,
            "history": self._history,
            "policy": self._policy,
            "usage": self._usage,
            "stream": self._stream,
            "openapi.json": self._openapi,
        }
        commands: dict[str, Answer] = {
            "pause": self._command(Paused),
            "resume": self._command(Resumed),
            "reclaim": self._reclaim,
        }
        return [
            *(
                Route(f"/api/v1/{path}", refusing_bad_queries(do), methods=["GET"])
                for path, do in reading.items()
            ),
            *(Route(f"/api/v1/{path}", do, methods=["POST"]) for path, do in commands.items()),
        ]

    def drop_unused(self) -> None:
        """Frees big documents that nobody requests any more."""
        self._all_images.drop_if_unused()
        self._whole_plan.drop_if_unused()

    # --- reading -------------------------------------------------------------------------------

    def _fresh_status(self) -> Json:
        """The status, made at most once a second for all readers."""
        now = self._view.clock()
        if now - self._status_at >= EVERY:
            self._status, self._status_at = status(self._view), now
            self._status_text = _message("status", self._status)
        return self._status

    async def _status_now(self, request: Request) -> Response:
        return JsonResponse(self._fresh_status())

    async def _images(self, request: Request) -> Response:
        limit, after = whole_number(request, "limit", 0), text(request, "continue")
        document = await self._all_images.get()
        if limit or after:
            document = document.page(after, limit or len(document.ids))
        return await self._all_images.answer(document, request.headers.get("accept-encoding", ""))

    async def _image(self, request: Request) -> Response:
        query = checked("the image", str(request.path_params["query"]))
        found = images_meant(self._view.state.graph, query)
        if not found:
            return error_response(404, f"no image here matches {query!r}")
        if len(found) > 1:
            choices = [image_json(one) for one in found[:20]]
            sentence = f"{query!r} could be any of {len(found)} images; say which"
            return error_response(409, sentence, choices=choices)
        return JsonResponse(documents.image(self._view, found[0]))

    async def _plan(self, request: Request) -> Response:
        document = await self._whole_plan.get()
        return await self._whole_plan.answer(document, request.headers.get("accept-encoding", ""))

    async def _events(self, request: Request) -> Response:
        after = whole_number(request, "after", 0)
        now = self._view.state.wall(self._view.clock())
        return JsonResponse(documents.events(self._view.recent.after(after), now))

    async def _history(self, request: Request) -> Response:
        view, count = self._view, whole_number(request, "count", 100, MOST_ENTRIES)
        since = float(whole_number(request, "since", 0))
        entries = await view.history(count, since, text(request, "image"))
        return JsonResponse(documents.history(entries, view.state.wall(view.clock())))

    async def _policy(self, request: Request) -> Response:
        return JsonResponse(documents.policy(self._view))

    async def _usage(self, request: Request) -> Response:
        return JsonResponse(documents.usage(self._view))

    async def _openapi(self, request: Request) -> Response:
        return JsonResponse(openapi())

    # --- live ----------------------------------------------------------------------------------

    async def _stream(self, request: Request) -> Response:
        """Server-sent events: a `status` every second and every log line as `line`."""
        if self._open_streams >= STREAMS:
            return error_response(503, f"{STREAMS} pages are open already")
        return StreamingResponse(
            self._live(last_event(request)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    async def _live(self, after: int) -> AsyncIterator[str]:
        self._open_streams += 1
        try:
            while True:
                self._fresh_status()
                yield self._status_text
                for line in self._view.recent.after(after):
                    after = line.number
                    yield _message("line", {"number": after} | dict(line.fields), after)
                await anyio.sleep(EVERY)
        finally:
            self._open_streams -= 1

    # --- commands ------------------------------------------------------------------------------

    def _command(self, make: Callable[[float], Fact]) -> Answer:
        async def answer(request: Request) -> Response:
            refusal = await self._refusal(request)
            if refusal is None:
                self._view.submit(make(self._view.clock()))
            return refusal or JsonResponse({"apiVersion": API_VERSION, "kind": "Done"}, 202)

        return answer

    async def _reclaim(self, request: Request) -> Response:
        policy = self._view.state.operator.policy
        refusal = await self._refusal(request)
        if refusal is None and policy is not None and policy.mode is Mode.OBSERVE:
            sentence = "the policy's mode is observe: set mode: enforce, or run `reconciler prune`"
            return error_response(409, sentence)
        return refusal or await self._command(ReclaimAsked)(request)

    async def _refusal(self, request: Request) -> Response | None:
        """The answer unless the request carries the token as Bearer token. A password that the
        browser remembers does not count here: a foreign page could make a browser send it."""
        authorization = request.headers.get("authorization", "")
        refusal = await self._token.refusal(authorization, basic=False)
        if refusal is None:
            return None
        return error_response(403 if self._token.file is None else 401, refusal)


def refusing_bad_queries(answer: Answer) -> Answer:
    """Wraps an answer so that a BadQuery becomes status 400 with what is wrong."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except BadQuery as error:
            return error_response(400, str(error))

    return answered


def error_response(code: int, text: str, **more: object) -> Response:
    """An error as JSON, for people."""
    return JsonResponse({"apiVersion": API_VERSION, "kind": "Error", "error": text} | more, code)


def _message(event: str, data: Json, number: int | None = None) -> str:
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {event}\ndata: {json.dumps(data)}\n\n"
