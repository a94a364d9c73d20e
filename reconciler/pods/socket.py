"""kubelet's Pods API over its unix socket: no token, no API server, and each change within
milliseconds.

A watch begins with all pods that kubelet has, static ones too, then says that this was all, then
reports changes. In that first part a pod may come twice, or newer before older. kubelet drops a
watcher that does not read, and replays nothing: then, as after every end, all pods come again.
"""

from __future__ import annotations

import math
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import grpc
import grpc.aio

from ..domain.facts import PodGone, PodReported, PodsReported
from ..domain.pods import Pod
from . import translate
from ._pb import pods_pb2 as pb
from .source import PodsUnavailable, Put, Sleep

VERSIONS = ("v1", "v1beta1", "v1alpha1")  # of the package, in the order they are tried
SYNC_LIMIT = 30.0  # seconds that kubelet may take to report all its pods
NOT_SYNCED_TRIES, NOT_SYNCED_PAUSE = 30, 1.0  # while kubelet itself does not know its pods yet
BURST = 100  # events read before the event loop gets a turn

# No keepalive: a kubelet that hangs starts no pods either, one that is gone closes the socket, and
# grpc-go disconnects a client that pings more often than it expects.
OPTIONS = (
    ("grpc.max_receive_message_length", 80 << 20),  # bytes; 250 pods of 100 KiB are 25 MiB
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
Code = grpc.StatusCode
EOF: object = grpc.aio.EOF  # type: ignore[attr-defined] # the stubs lack it
NOT_SYNCED = "kubelet has started just now and does not know its pods yet (FAILED_PRECONDITION)"


class SocketSource:
    """The pods as kubelet streams them."""

    name = "socket"

    def __init__(self, path: Path, clock: Callable[[], float], sleep: Sleep = anyio.sleep) -> None:
        self._path, self._clock, self._sleep = path, clock, sleep
        self._version = ""  # of the API that answered last

    @property
    def where(self) -> str:
        return f"kubelet's Pods API {self._version} at {self._path}"

    async def ask(self, timeout: float) -> tuple[Pod, ...]:
        """All pods, by ListPods. The deadline is gRPC's own, as in cri."""
        self._reachable()
        async with self._channel() as channel:
            for version in VERSIONS:
                call = _method(channel, version, "ListPods")
                try:
                    answer = await call(pb.ListPodsRequest(), timeout=timeout)
                except grpc.aio.AioRpcError as error:
                    if error.code() is Code.UNIMPLEMENTED:
                        continue
                    raise PodsUnavailable(self._why(error)) from error
                if answer is None:
                    raise PodsUnavailable("kubelet's answer is not a list of pods")
                self._version = version
                return translate.pods(answer.pods)
        raise PodsUnavailable(self._unknown())

    async def watch(self, put: Put) -> None:
        """Raises PodsUnavailable when the watch ends, or none begins."""
        self._reachable()
        async with self._channel() as channel:
            for _ in range(NOT_SYNCED_TRIES):
                if not await self._watched(channel, put):
                    raise PodsUnavailable(self._unknown())
                await self._sleep(NOT_SYNCED_PAUSE * random.uniform(0.8, 1.2))
        raise PodsUnavailable(NOT_SYNCED)

    async def _watched(self, channel: grpc.aio.Channel, put: Put) -> bool:
        """Runs one watch, of the first version that is there, and raises its end. True: kubelet
        does not know its pods yet. False: kubelet has no version that we know."""
        for version in VERSIONS:
            reading = Reading(put, self._clock)
            try:
                self._version = version
                await reading.run(_method(channel, version, "WatchPods"))
            except grpc.aio.AioRpcError as error:
                if error.code() is Code.UNIMPLEMENTED:
                    continue
                if error.code() is Code.FAILED_PRECONDITION and not reading.synced:
                    return True
                raise PodsUnavailable(self._why(error)) from error
            raise PodsUnavailable("kubelet ended the watch")
        return False

    def _channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"unix:{self._path}", options=OPTIONS)

    def _reachable(self) -> None:
        trouble = unreachable(self._path)
        if trouble:
            raise PodsUnavailable(trouble)

    def _why(self, error: grpc.aio.AioRpcError) -> str:
        code, details = error.code(), error.details() or ""
        if code is Code.UNAVAILABLE:
            return unreachable(self._path) or f"kubelet does not answer there: {details}"
        if code is Code.RESOURCE_EXHAUSTED:
            return f"kubelet dropped us for reading too slowly (RESOURCE_EXHAUSTED: {details})"
        if code is Code.FAILED_PRECONDITION:
            return NOT_SYNCED
        return f"{code.name}: {details}"

    def _unknown(self) -> str:
        tried = ", ".join(f"{version}.Pods" for version in VERSIONS)
        return f"{self._path} answers, but knows none of {tried}"


class Reading:
    """One watch, event by event."""

    def __init__(self, put: Put, clock: Callable[[], float]) -> None:
        self._put, self._clock = put, clock
        self._first: dict[str, Pod] = {}  # pods of the initial sync, by uid
        self._gone: set[str] = set()
        self.synced = False

    async def run(self, method: Any) -> None:
        """Raises AioRpcError, or PodsUnavailable if the initial sync does not end."""
        call = method(pb.WatchPodsRequest())
        count = 0
        try:
            with anyio.move_on_after(SYNC_LIMIT) as limit:
                while (event := await call.read()) is not EOF:
                    if event is not None:  # None: bytes that are no event
                        self.handle(event)
                    if self.synced:
                        limit.deadline = math.inf
                    count += 1
                    if count % BURST == 0:
                        await anyio.lowlevel.checkpoint()
        finally:
            call.cancel()
        if limit.cancelled_caught:
            raise PodsUnavailable(f"kubelet did not report all its pods in {SYNC_LIMIT:g} s")

    def handle(self, event: pb.WatchPodsEvent) -> None:
        """Handles one event. Within the initial sync there is no reliable order: a pod reported
        deleted stays so, and a pod reported twice needs what either report says."""
        if event.type == pb.INITIAL_SYNC_COMPLETE:
            if not self.synced:
                self.synced = True
                self._put(PodsReported(self._clock(), "socket", tuple(self._first.values())))
                self._first, self._gone = {}, set()
            return
        message = translate.decoded(event.pod)
        uid = translate.uid_of(message) if message is not None else None
        if message is None or uid is None:
            return
        if event.type == pb.DELETED:
            self._delete(uid)
        elif event.type in (pb.ADDED, pb.MODIFIED):
            self._report(cast("Pod", translate.pod(message)))

    def _delete(self, uid: str) -> None:
        if self.synced:
            self._put(PodGone(self._clock(), "socket", uid))
        else:
            self._gone.add(uid)
            self._first.pop(uid, None)

    def _report(self, pod: Pod) -> None:
        if self.synced:
            self._put(PodReported(self._clock(), "socket", pod))
        elif pod.uid not in self._gone:
            before = self._first.get(pod.uid)
            self._first[pod.uid] = translate.union(before, pod) if before else pod


def _method(channel: grpc.aio.Channel, version: str, name: str) -> Any:
    """A method by its path on the wire, made from its descriptor and the version."""
    service = pb.DESCRIPTOR.services_by_name["Pods"]
    method = service.methods_by_name[name]
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    request = getattr(pb, method.input_type.name)
    response = getattr(pb, method.output_type.name)
    path = f"/{version}.{service.name}/{name}"
    return make(path, request.SerializeToString, response.FromString)


def unreachable(path: Path) -> str | None:
    """Why the socket cannot be reached, in words; None: the file system shows no reason."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return (
            f"there is no {path} (kubelet has its Pods API from 1.37 on, before that behind a "
            "feature gate)"
        )
    except OSError as error:
        return f"{path}: {error.strerror}; this needs to run as root"
    if not stat.S_ISSOCK(found.st_mode):
        return f"{path} is not a socket"
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return f"{path}: permission denied; this needs to run as root"
    return None
