"""The API server: one list of this node's pods from its watch cache, then a watch for as long as it
lasts, in protobuf. kubelet itself does the same, so clusters are built for it; it costs one
connection per node.

Ten thousand nodes must not ask at the same time: before each list there is a random pause, and a
watch gets a random end, from which the next continues.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import anyio

from ..aiokit import backoff_delays
from ..domain.facts import PodGone, PodReported, PodsReported
from ..domain.pods import Pod
from . import translate
from ._pb import pods_pb2 as pb
from .https import Broken, Https, Server
from .source import PodsUnavailable, Put, Sleep

FIRST_SPREAD, SPREAD = 3.0, 30.0  # seconds: the longest pause before the first and any other list
WATCH_SECONDS = 300, 600  # how long a watch may last: the request asks for a time in between
QUIET = 90.0  # seconds without a byte: there is a bookmark each minute, so the connection is dead
SHORT = 1.0  # seconds: a watch that ended sooner, without an event, is reopened with backoff
RESUME_SPREAD = 3.0  # seconds: the longest pause before a broken watch is reopened
LARGEST_FRAME = 16 << 20  # bytes; an object in etcd has up to 1.5 MiB
PROTOBUF = "application/vnd.kubernetes.protobuf"

_REFUSALS = {
    401: "the API server does not know our token (401)",
    403: "the API server refuses to list pods (403): bind config/pods-api.yaml",
    429: "the API server is too busy (429)",
}


class Expired(Exception):
    """The API server no longer has the resourceVersion from which the watch would begin."""


def server(host: str, port: int, token: Path, ca: Path) -> Server:
    """The cluster's API server, asked as the service account that the token belongs to."""

    def mistrusted(why: str) -> str:
        return f"the API server's certificate is not signed by {ca} ({why}): it gets no token"

    return Server("the API server", host, port, token, ca, mistrusted)


class ApiSource:
    """The pods bound to one node, as the API server reports them."""

    name = "api"

    def __init__(
        self, server: Server, node: str, clock: Callable[[], float], sleep: Sleep = anyio.sleep
    ) -> None:
        self._server, self._node, self._clock, self._sleep = server, node, clock, sleep
        self._version = "0"  # the newest resourceVersion seen; "0": any that the cache has
        self._spread = FIRST_SPREAD
        self._events_read = 0  # events of all watches

    @property
    def where(self) -> str:
        return f"the API server at {self._server}, for node {self._node}"

    async def ask(self, timeout: float) -> tuple[Pod, ...]:
        with anyio.move_on_after(timeout):
            async with Https(self._server) as https:
                return await self._listed(https)
        raise PodsUnavailable(
            f"the API server at {self._server} returned no list in {timeout:.1f} s"
        )

    async def watch(self, put: Put) -> None:
        while True:
            await self._sleep(random.uniform(0, self._spread))
            self._spread = SPREAD
            try:
                await self._list_and_watch(put)
            except Expired:
                self._version = "0"

    async def _list_and_watch(self, put: Put) -> None:
        """Raises Expired or PodsUnavailable. A watch that ended or broke is continued from where it
        was, as kubelet does, without a list; a loss is only when no server continues it."""
        async with Https(self._server) as https:
            asked = self._clock()
            put(PodsReported(asked, self.name, await self._listed(https)))
            delays = backoff_delays()
            while True:
                began, pause, read_before = self._clock(), 0.0, self._events_read
                try:
                    await self._follow(https, put)
                except Broken:  # an API server that crashed had the watches of thousands of nodes
                    pause = random.uniform(0, RESUME_SPREAD)
                if self._events_read > read_before or self._clock() - began >= SHORT:
                    delays = backoff_delays()
                await self._sleep(max(next(delays), pause))

    async def _listed(self, https: Https) -> tuple[Pod, ...]:
        """A list that is not older than anything seen before. Raises PodsUnavailable."""
        status, body = await https.get(self._target(), PROTOBUF)
        if status != 200:
            self._version = "0"  # perhaps this version was the reason
            raise PodsUnavailable(_refusal(status))
        try:
            self._version, pods = translate.pod_list(body)
        except translate.Unreadable as error:
            raise PodsUnavailable(f"the API server at {self._server}: {error}") from error
        return pods

    async def _follow(self, https: Https, put: Put) -> None:
        """Follows one watch to its end. Raises Expired, Broken or PodsUnavailable."""
        target = self._target(
            watch="true",
            allowWatchBookmarks="true",
            timeoutSeconds=str(random.randint(*WATCH_SECONDS)),
        )
        arrived = bytearray()
        try:
            async with https.open(target, f"{PROTOBUF};stream=watch", QUIET) as (status, chunks):
                if status == 410:
                    raise Expired
                if status != 200:
                    raise PodsUnavailable(_refusal(status))
                async for chunk in chunks:
                    arrived += chunk
                    for frame in whole_frames(arrived):
                        self._handle(frame, put)
        except translate.Unreadable as error:
            raise PodsUnavailable(f"the API server at {self._server}: {error}") from error

    def _handle(self, frame: bytes, put: Put) -> None:
        """Handles one event. Raises Expired, PodsUnavailable or Unreadable."""
        self._events_read += 1
        kind, message = translate.watch_event(frame)
        if isinstance(message, pb.Status):
            if message.code == 410:
                raise Expired
            raise PodsUnavailable(f"the API server ended the watch: {message.message}")
        self._version = message.metadata.resourceVersion or self._version
        pod = translate.pod(message)
        if pod is None:
            return  # a bookmark is a pod with nothing but a resourceVersion
        if kind == "DELETED":
            put(PodGone(self._clock(), self.name, pod.uid))
        elif kind in {"ADDED", "MODIFIED"}:
            put(PodReported(self._clock(), self.name, pod))

    def _target(self, **more: str) -> str:
        only = {"fieldSelector": f"spec.nodeName={self._node}", "resourceVersion": self._version}
        return "/api/v1/pods?" + urlencode(only | more)


def _refusal(status: int) -> str:
    return _REFUSALS.get(status, f"the API server answers {status} to a list of pods")


def whole_frames(arrived: bytearray) -> Iterator[bytes]:
    """Yields and removes the frames of a watch that have arrived whole, each after its length in 4
    bytes. Raises Unreadable for a length that no event has."""
    while len(arrived) >= 4:
        length = int.from_bytes(arrived[:4], "big")
        if length > LARGEST_FRAME:
            raise translate.Unreadable(f"a frame of {length} bytes")
        if len(arrived) < 4 + length:
            return
        frame = bytes(arrived[4 : 4 + length])
        del arrived[: 4 + length]
        yield frame
