"""Sends Kubernetes Events on this node's Node object, for whoever looks with `kubectl describe
node`. Only with `--node-name` and a service account's files (config/kubernetes-events.yaml).

Never in the way of the daemon's work: for each reason there is room for one Event, sent at most
once in 5 minutes with a count (notes.py), tried once, by a thread that nobody waits for longer than
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

POLL = 1.0  # seconds between looks at what is due
SILENCE = 5.0  # seconds that the API server may take for each step
DEADLINE = 10.0  # seconds until a call counts as failed
LONGEST = 1024  # bytes of a message: what events.k8s.io allows for a note
# Events on Nodes, which have no namespace, live in this one; kubelet's do too.
PATH = "/api/v1/namespaces/default/events"


class NotTaken(Exception):
    """The API server answered, but made no Event; the text says what it said."""


def event_of(note: Note, node: str, ahead: float = 0.0) -> dict[str, Any]:
    """The Event as core/v1 has it; its times are the wall clock's, which is so far ahead."""
    text = neutralised(note.text)
    if note.count > 1:
        text = f"{note.count} times, the newest: {text}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{node[:200]}.{secrets.token_hex(8)}", "namespace": "default"},
        # By its name as uid too, as kubelet's: `kubectl describe node` looks for both.
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
    """Where Events go, and as whom: the token is read for every call, since it rotates."""

    host: str
    port: int
    folder: Path

    @classmethod
    def of_this_pod(cls, environ: Mapping[str, str] = os.environ) -> ApiServer | None:
        """The one that a pod's environment and service account name; None outside of a pod."""
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        if (
            not host
            or not (port or "443").isdecimal()
            or not may_be_there(SERVICE_ACCOUNT / "token")
        ):
            return None
        return cls(host, int(port or 443), SERVICE_ACCOUNT)

    def create(self, event: dict[str, Any]) -> None:
        """Blocks. Raises NotTaken, OSError, ValueError or HTTPException."""
        token = (self.folder / "token").read_text().strip()
        trust = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        call = http.client.HTTPSConnection(self.host, self.port, timeout=SILENCE, context=trust)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with contextlib.closing(call):
            call.request("POST", PATH, json.dumps(event), headers)
            answer = call.getresponse()
            if answer.status not in {200, 201}:
                said = answer.read(300).decode(errors="replace")
                raise NotTaken(
                    f"{answer.status} {answer.reason}: {said}; may its service account create "
                    "events in namespace default? (config/kubernetes-events.yaml)"
                )


class NodeEvents:
    """Sends what is due of what was noted."""

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
        """Sends for ever."""
        while True:
            await self.send_due(self._clock())
            await anyio.sleep(POLL)

    async def send_due(self, now: float) -> None:
        """Sends what may be sent now, one try each. A failure is told once, then counted."""
        for note in self._notes.take(now):
            trouble = await self._send(event_of(note, self._node, self._wall() - self._clock()))
            self._metrics.node_events.labels("failed" if trouble else "sent").inc()
            if trouble is None:
                if self._once.over("node-events"):
                    self._log.info("node-events-work-again")
            elif self._once.due("node-events", "", now) is not None:
                self._log.warning("node-event-failed", reason=note.reason, detail=trouble)

    async def _send(self, event: dict[str, Any]) -> str | None:
        """What went wrong, if something did. The thread is a daemon's: not even one that hangs in
        a read is waited for at the end of the process."""
        if self._calling:
            return "the call before it still hangs"
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[str | None] = loop.create_future()

        def call() -> None:
            trouble = None
            try:
                self._api.create(event)
            except Exception as error:  # whatever it is must not end the daemon
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
