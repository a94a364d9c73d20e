"""Stand-ins for the sources of pods, with the behaviour that is documented or measured: kubelet's
Pods API on a unix socket, kubelet's HTTPS server and the API server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import grpc
import grpc.aio

from reconciler.domain.facts import PodGone, PodReported, PodsReported
from reconciler.pods._pb import pods_pb2 as pb
from reconciler.pods.source import PodsUnavailable, Source
from reconciler.pods.translate import MAGIC
from tests.api_server import TOKEN, https
from tests.builders import HANGS

Fact = PodsReported | PodReported | PodGone
NODE = "node-7"


def pod(name: str, *images: str, uid: str | None = None, phase: str = "Running") -> pb.Pod:
    """A pod with a container for each image."""
    meta = pb.ObjectMeta(
        name=name, namespace="shop", uid=f"uid-{name}" if uid is None else uid, resourceVersion="7"
    )
    made = [
        pb.Container(name=f"c{number}", image=image, imagePullPolicy="IfNotPresent")
        for number, image in enumerate(images)
    ]
    return pb.Pod(metadata=meta, spec=pb.PodSpec(containers=made), status=pb.PodStatus(phase=phase))


def nameplate(pod: pb.Pod) -> pb.Pod:
    """All that is guaranteed of a deleted pod: name, namespace and uid."""
    meta = pod.metadata
    return pb.Pod(metadata=pb.ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid))


def images(fact: Fact) -> dict[str, set[str]]:
    """What a fact says is needed, by uid."""
    pods = fact.pods if isinstance(fact, PodsReported) else ()
    if isinstance(fact, PodReported):
        pods = (fact.pod,)
    return {one.uid: {need.image for need in one.needs} for one in pods}


class Naps:
    """Replaces sleep: notes for how long, and takes no time. The nap after `limit` naps never
    ends."""

    def __init__(self, limit: int | None = None) -> None:
        self.taken: list[float] = []
        self.limit = limit

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if self.limit is not None and len(self.taken) > self.limit:
            await asyncio.Event().wait()
        await asyncio.sleep(0)


class Listening:
    """A source's watch, running; its facts are taken one by one."""

    def __init__(self, source: Source) -> None:
        self._facts: asyncio.Queue[Fact] = asyncio.Queue()
        self._task = asyncio.ensure_future(source.watch(self._facts.put_nowait))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def fact(self) -> Fact:
        """The next one; the watch's own failure if it ends instead."""
        waiting = asyncio.ensure_future(self._facts.get())
        await asyncio.wait({waiting, self._task}, timeout=HANGS, return_when="FIRST_COMPLETED")
        if not waiting.done():
            waiting.cancel()
            assert self._task.done(), "no fact came"
            self._task.result()
        return waiting.result()

    async def reason(self) -> str:
        """Why it ended."""
        await asyncio.wait({self._task}, timeout=HANGS)
        assert self._task.done(), "it did not end"
        error = self._task.exception()
        assert isinstance(error, PodsUnavailable), error
        return str(error)


# --- kubelet's Pods API ------------------------------------------------------------------------

KINDS = {"added": pb.ADDED, "modified": pb.MODIFIED, "deleted": pb.DELETED}
BUFFER = 100  # events that kubelet keeps for a watcher that does not read


class PodsApi:
    """The gRPC server. `first` are events that come before the list of a watch, since the watcher
    is registered before the list is taken; `unsynced` calls are answered as right after a start."""

    def __init__(self, path: Path, version: str = "v1alpha1") -> None:
        self.path, self.version = path, version
        self.pods: dict[str, pb.Pod] = {}
        self.first: list[tuple[str, pb.Pod]] = []
        self.late: list[tuple[str, pb.Pod]] = []  # after the list, before it is said to be complete
        self.unsynced = 0
        self.hangs = False  # never says that the list is complete
        self.calls: list[str] = []
        self._watchers: list[asyncio.Queue[bytes | None]] = []
        self._server = grpc.aio.server()

    async def __aenter__(self) -> Self:
        handlers = {
            "WatchPods": grpc.unary_stream_rpc_method_handler(self._watch),
            "ListPods": grpc.unary_unary_rpc_method_handler(self._list),
        }
        generic = grpc.method_handlers_generic_handler(f"{self.version}.Pods", handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self._server.add_insecure_port(f"unix:{self.path}")
        await self._server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.stop(None)

    def send(self, kind: str, pod: pb.Pod) -> None:
        """Something happens to a pod now; a watcher with a full buffer is dropped."""
        if kind == "deleted":
            self.pods.pop(pod.metadata.uid, None)
            pod = nameplate(pod)
        else:
            self.pods[pod.metadata.uid] = pod
        for watcher in self._watchers:
            self._into(watcher, _event(kind, pod))

    def send_raw(self, message: pb.WatchPodsEvent) -> None:
        for watcher in self._watchers:
            self._into(watcher, message.SerializeToString())

    def drop(self) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(None)

    @staticmethod
    def _into(watcher: asyncio.Queue[bytes | None], event: bytes) -> None:
        watcher.put_nowait(event if watcher.qsize() < BUFFER else None)

    async def _asked(self, context: Any, call: str) -> None:
        self.calls.append(call)
        if self.unsynced:
            self.unsynced -= 1
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "sources not synced")

    async def _watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        await self._asked(context, "WatchPods")
        mine: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._watchers.append(mine)
        listed = [("added", one) for one in self.pods.values()]
        for kind, one in (*self.first, *listed, *self.late):
            yield _event(kind, one)
        if not self.hangs:
            yield pb.WatchPodsEvent(type=pb.INITIAL_SYNC_COMPLETE).SerializeToString()
        while (event := await mine.get()) is not None:
            yield event
        self._watchers.remove(mine)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "watcher is too slow")

    async def _list(self, request: bytes, context: Any) -> bytes:
        await self._asked(context, "ListPods")
        items = [one.SerializeToString() for one in self.pods.values()]
        return pb.ListPodsResponse(pods=items).SerializeToString()


def _event(kind: str, pod: pb.Pod) -> bytes:
    event = pb.WatchPodsEvent(type=KINDS[kind], pod=pod.SerializeToString())
    return event.SerializeToString()


# --- HTTPS -------------------------------------------------------------------------------------


@dataclass
class Web:
    """One server: which token it takes, what it answers, and what it was asked."""

    folder: Path
    port: int = 0
    token: str = TOKEN
    statuses: list[int] = field(default_factory=list)  # for the next answers, else 200
    body: bytes = b""  # of a list
    asked: list[str] = field(default_factory=list)  # paths with queries
    tokens: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)  # the kinds of answers that were asked for
    # What a watch sends, of all watches in turn: bytes, "end" or "break"; "410": not even that one.
    script: queue.Queue[bytes | str] = field(default_factory=queue.Queue)
    on_ask: Callable[[], object] = lambda: None

    @property
    def queries(self) -> list[dict[str, str]]:
        """What each question had behind its question mark."""
        found = (parse_qs(urlsplit(path).query) for path in self.asked)
        return [{key: value for key, (value,) in one.items()} for one in found]


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            web.asked.append(self.path)
            bearer = self.headers.get("Authorization", "")
            web.tokens.append(bearer)
            web.accepted.append(self.headers.get("Accept", ""))
            web.on_ask()
            status = web.statuses.pop(0) if web.statuses else 200
            if bearer != f"Bearer {web.token}":
                status = 401
            if status == 200 and "watch=true" in self.path:
                self._watch()
            else:
                self._answer(status, web.body if status == 200 else b'{"kind":"Status"}')

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _watch(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            while isinstance(chunk := web.script.get(), bytes):
                self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                self.wfile.flush()
            if chunk == "end":
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    return Handler


@contextlib.contextmanager
def web(folder: Path) -> Iterator[Web]:
    """The server; open watches end with it."""
    made = Web(folder)
    with https(folder, _handler(made)) as made.port:
        try:
            yield made
        finally:
            for _ in range(20):
                made.script.put("break")


def enveloped(message: Any) -> bytes:
    """As the API server sends protobuf."""
    raw: bytes = message.SerializeToString()
    return MAGIC + pb.Unknown(raw=raw).SerializeToString()


def pod_list(version: str, *pods: pb.Pod) -> bytes:
    """Its answer to a list."""
    items = [one.SerializeToString() for one in pods]
    return enveloped(pb.PodList(metadata=pb.ListMeta(resourceVersion=version), items=items))


def frame(kind: str, message: Any, version: str = "", *, bare: bool = False) -> bytes:
    """One event of a watch, with a resourceVersion of its own."""
    if version:
        message.metadata.resourceVersion = version
    raw = message.SerializeToString() if bare else enveloped(message)
    event = pb.WatchEvent(type=kind, object=pb.RawExtension(raw=raw)).SerializeToString()
    return len(event).to_bytes(4, "big") + event


def json_list(*pods: dict[str, Any]) -> bytes:
    """kubelet's answer."""
    return json.dumps({"kind": "PodList", "apiVersion": "v1", "items": list(pods)}).encode()


def json_pod(name: str, *images: str, **more: Any) -> dict[str, Any]:
    """A pod as kubelet's JSON has it."""
    containers = [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": {"a": "b"}},
        "spec": {"containers": containers, "nodeName": NODE} | more,
        "status": {"phase": "Running", "startTime": "2027-01-15T08:00:05Z"},
    }
