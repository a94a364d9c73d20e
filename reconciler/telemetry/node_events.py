"""Sends Kubernetes Events on this node's Node object, as `kubectl describe node` shows them. Only
with `--node-name` and a service account's files (config/kubernetes-events.yaml).

Never delays the daemon's work: at most one Event waits for each reason, sent at most once in 5
minutes with a count (notes.py), tried once, by a thread that nobody waits for longer than
`DEADLINE` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import http.client
import json
import os
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from ..domain.neutral import neutralised
from ..settings import SERVICE_ACCOUNT, may_be_there
from .logs import get_logger
from .metrics import Metrics
from .notes import Note, Notes
from .troubles import Once

POLL = 1.0  # seconds between checks for due Events
STEP_TIMEOUT = 5.0  # seconds for each network step of a call
DEADLINE = 10.0  # seconds until a call counts as failed
LONGEST = 1024  # bytes of a message: what events.k8s.io allows for a note
# Events on Nodes, which have no namespace, live in this one; kubelet's do too.
PATH = "/api/v1/namespaces/default/events"


class NotCreated(Exception):
    """The API server answered but created no Event; the text quotes its answer."""


def event_of(note: Note, node: str, ahead: float = 0.0) -> dict[str, Any]:
    """The Event as core/v1 defines it; its times are the wall clock's, `ahead` seconds ahead of the
    note's."""
    text = neutralised(note.text)
    if note.count > 1:
        text = f"{note.count} times, the newest: {text}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{node[:200]}.{secrets.token_hex(8)}", "namespace": "default"},
        # The name is the uid too, as kubelet does it: `kubectl describe node` looks for both.
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
        "reason": note.reason,
        "message": _cut(text),
        "type": "Warning" if note.warning else "Normal",
        "count": note.count,
        "firstTimestamp": _timestamp(note.began + ahead),
        "lastTimestamp": _timestamp(note.at + ahead),
        "source": {"component": "reconciler", "host": node},
        "reportingComponent": "reconciler",
        "reportingInstance": node,
    }


def _timestamp(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cut(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= LONGEST:
        return text
    return encoded[: LONGEST - 3].decode(errors="ignore") + "..."


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The API server and the service account; the token is read for every call: it rotates."""

    host: str
    port: int
    folder: Path

    @classmethod
    def of_this_pod(cls, environ: Mapping[str, str] = os.environ) -> ApiServer | None:
        """The API server that this pod's environment names; None outside of a pod."""
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        if (
            not host
            or not (port or "443").isdecimal()
            or not may_be_there(SERVICE_ACCOUNT / "token")
        ):
            return None
        return cls(host, int(port or 443), SERVICE_ACCOUNT)

    def create(self, event: dict[str, Any]) -> None:
        """Creates an Event; blocks. Raises NotCreated, OSError, ValueError or HTTPException."""
        token = (self.folder / "token").read_text().strip()
        trust = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        call = http.client.HTTPSConnection(
            self.host, self.port, timeout=STEP_TIMEOUT, context=trust
        )
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with contextlib.closing(call):
            call.request("POST", PATH, json.dumps(event), headers)
            answer = call.getresponse()
            if answer.status not in {200, 201}:
                body = answer.read(300).decode(errors="replace")
                raise NotCreated(
                    f"{answer.status} {answer.reason}: {body}; may its service account create "
                    "events in namespace default? (config/kubernetes-events.yaml)"
                )


class NodeEvents:
    """Sends the notes that are due."""

    def __init__(
        self,
        api: ApiServer,
        node: str,
        notes: Notes,
        metrics: Metrics,
        clock: Callable[[], float],
        wall: Callable[[], float] | None = None,
    ) -> None:
        self._api, self._node, self._notes = api, node, notes
        self._metrics, self._clock = metrics, clock
        self._wall = wall or clock
        self._once, self._log = Once(), get_logger()
        self._calling = False

    async def run(self) -> None:
        """Sends until cancelled."""
        while True:
            await self.send_due(self._clock())
            await anyio.sleep(POLL)

    async def send_due(self, now: float) -> None:
        """Sends what is due, one try each. A failure is logged once, then counted."""
        for note in self._notes.take(now):
            trouble = await self._send(event_of(note, self._node, self._wall() - self._clock()))
            self._metrics.node_events.labels("failed" if trouble else "sent").inc()
            if trouble is None:
                if self._once.over("node-events"):
                    self._log.info("node-events-work-again")
            elif self._once.due("node-events", "", now) is not None:
                self._log.warning("node-event-failed", reason=note.reason, detail=trouble)

    async def _send(self, event: dict[str, Any]) -> str | None:
        """Returns what went wrong, if anything did. The thread is a daemon thread: the process does
        not wait for it at its end, even if it hangs in a read."""
        if self._calling:
            return "the previous call still hangs"
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[str | None] = loop.create_future()

        def call() -> None:
            trouble = None
            try:
                self._api.create(event)
            except Exception as error:  # no failure may end the daemon
                trouble = str(error) or type(error).__name__
            self._calling = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, answered, trouble)

        self._calling = True
        threading.Thread(target=call, name="node event", daemon=True).start()
        with anyio.move_on_after(DEADLINE):
            return await answered
        return f"no answer in {DEADLINE:g} s"


def _settle(answered: asyncio.Future[str | None], trouble: str | None) -> None:
    if not answered.done():
        answered.set_result(trouble)
