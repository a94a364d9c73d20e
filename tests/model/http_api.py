"""The HTTP API of the daemon in the model: documents built while everything changes, and what they
say compared with what the judge knows.

`HttpApi` is the only part that knows how documents are made.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reconciler import app
from reconciler.aiokit import run_in_steps
from reconciler.assembly import Daemon
from reconciler.domain.steps import Steps
from reconciler.http import documents
from reconciler.http.document_cache import Document
from reconciler.http.status import status
from reconciler.http.view import View

from .oracle import Oracle, Violation

TOKEN = "the operator's"
Json = dict[str, Any]


class HttpApi:
    """Requests as a stranger or the operator would make them, without sockets."""

    def __init__(self, daemon: Daemon, token_file: Path) -> None:
        token_file.write_text(TOKEN)
        daemon.settings = _with_token(daemon, token_file)
        self._application = app.web(daemon)
        self.view = _view(daemon)

    def status(self) -> Json:
        return status(self.view)

    def image(self, key: str) -> Json:
        return documents.image(self.view, self.view.state.graph.images[key])

    async def images(self) -> Json:
        return await self._whole(documents.images(self.view))

    async def plan(self) -> Json:
        return await self._whole(documents.plan(self.view))

    async def _whole(self, steps: Steps[Document]) -> Json:
        """As a client reads it, with everything going on between two slices."""
        listing = await run_in_steps(steps, self.view.arrived)
        return dict(json.loads(b"".join(listing.pieces())))

    async def everything(self) -> None:
        """Makes JSON of all documents, one after the other. Raises what is wrong with them."""
        for document in (self.status(), documents.policy(self.view)):
            json.dumps(document)
        for key in list(self.view.state.graph.images):
            if key in self.view.state.graph.images:
                json.dumps(self.image(key))
            await asyncio.sleep(0)
        images, plan = await self.images(), await self.plan()
        json.dumps([images, plan])
        ids = [one["id"] for one in images["items"]]
        assert len(ids) == len(set(ids)), "an image is in the list twice"
        ids = [one["id"] for one in (*plan["candidates"], *plan["kept"])]
        assert len(ids) == len(set(ids)), "an image is in the plan twice"

    async def post(self, action: str) -> int:
        """POST /api/v1/pause, resume or reclaim, with the token; the status."""
        answers: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            answers.append(message)

        headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": f"/api/v1/{action}",
            "raw_path": f"/api/v1/{action}".encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 9723),
        }
        await self._application(scope, receive, send)
        return int(answers[0]["status"])


def _with_token(daemon: Daemon, token_file: Path) -> Any:
    return replace(daemon.settings, token_file=token_file)


def _view(daemon: Daemon) -> View:
    """What the HTTP API may read, as the daemon gives it to its application."""
    names = vars(app)
    before, names["server"] = names["server"], SimpleNamespace(application=lambda view: view)
    try:
        return app.web(daemon)  # type: ignore[return-value] # the stand-in returns its argument
    finally:
        names["server"] = before


def is_settled(view: View) -> bool:
    """Whether the state is whole: no listing due or under way, no removal, no doubt."""
    state = view.state
    stale = state.runtime.listing_stale or state.graph.needs_relist
    stale = stale or state.runtime.listing_trouble is not None
    return not stale and state.removals.under_way is None


def disagreements(api: HttpApi, oracle: Oracle, images: Json, plan: Json) -> Iterator[Violation]:
    """Where documents are wrong in a quiet moment, by the promise that it would break."""
    look = oracle.knows.look
    assert look is not None
    assert look.images is not None
    listed = {one.text for one in look.images.values()}
    for invariant, text in _of_status(api.status(), oracle, len(listed)):
        yield Violation(invariant, text, oracle.clock())
    for name, rows in (
        ("images", images["items"]),
        ("plan", [*plan["candidates"], *plan["kept"]]),
    ):
        ids = {one["id"] for one in rows}
        if ids != listed:
            yield Violation("http", f"the {name} are {sorted(ids)}", oracle.clock())
    for row in images["items"]:
        if row["verdict"] == "candidate":
            yield from _of_candidate(row, oracle, "list of images")
        for invariant, text in _of_image(row, api.image(_key(row)), oracle):
            yield Violation(invariant, text, oracle.clock())
    for one in plan["candidates"]:
        yield from _of_candidate(one, oracle, "plan")


def _key(row: Json) -> str:
    return str(row["id"]).removeprefix("sha256:")


def _of_candidate(row: Json, oracle: Oracle, where: str) -> Iterator[Violation]:
    for one in oracle.objections(_key(row)):
        yield Violation(
            one.invariant, f"{_key(row)} is a candidate in the {where}; {one.text}", one.at
        )


def _of_status(status: Json, oracle: Oracle, images: int) -> Iterator[tuple[str, str]]:
    if (status["paused"] is not None) != oracle.paused:
        yield "S7", f"the status says paused: {status['paused']}; it is {oracle.paused}"
    if status["counts"]["images"] != images:
        yield "http", f"the status counts {status['counts']['images']} images of {images}"
    policy = oracle.book.read
    mode = policy and ("enforce" if policy.enforce else "observe")
    if status["mode"] != mode:
        yield "S7", f"the status says mode {status['mode']}, which is {mode}"
    sample = oracle.shortage.sample
    used = {one.mountpoint: one.used for one in sample.filesystems} if sample else {}
    shown = {one["mountpoint"]: one["usedBytes"] for one in status["filesystems"]}
    if shown != used:
        yield "http", f"the status shows {shown} in use; measured was {used}"
    if policy is not None and status["pressure"] == "reclaiming" and not oracle.shortage.short:
        yield "S7", f"the status says reclaiming; {oracle.shortage}"


def _of_image(row: Json, page: Json, oracle: Oracle) -> Iterator[tuple[str, str]]:
    """One image's page: its users, and the same verdict as in the list."""
    knows, key = oracle.knows, _key(row)
    assert knows.look is not None
    users = {one["id"] for one in page["usedBy"]}
    listed = (knows.look.containers or {}).keys() - knows.unresolved.keys() - knows.deleted
    known = {one for one in listed if knows.users.get(one, ("",))[0] == key}
    if not known <= users:
        yield "S1", f"the page of {key} lacks its users {sorted(known - users)}"
    holding = [one["kind"] for one in page["image"]["protections"] if one["holds"]]
    if (row["verdict"] == "kept") != bool(holding):
        yield "http", f"{key}: the list says {row['verdict']}, its page {holding}"
