"""A runtime that answers with bytes prepared beforehand, in a process of its own, so that what is
measured is the daemon and not its peer. It speaks as containerd 2.1 does, on a node of any size.

`PreparedNode` starts it; orders go to its stdin, a line each, and every order is answered by one
line. `events N RATE` sends N events, RATE a second (0: as fast as they are taken); they report
pods that come and go, eight events a pod. `doubt` sends one event that cannot be applied whole, so
that a listing is due.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.wire import OPTIONS, methods, path_of

from .messages import (
    ANNOTATIONS,
    PER_POD,
    container,
    hexadecimal,
    image,
    pause,
    pod_events,
    sandbox,
)

HOUR = 3_600_000_000_000  # nanoseconds


class Answers:
    """Every answer as bytes; lists are joined from the bytes of their items."""

    def __init__(self, images: int, containers: int, used_images: int, mountpoint: str) -> None:
        self._used = used_images
        long_ago = time.time_ns() - HOUR
        self._images = {
            one.id: pb.ListImagesResponse(images=[one]).SerializeToString()
            for one in [pause(), *map(image, range(images))]
        }
        self._containers = b"".join(
            pb.ListContainersResponse(
                containers=[container(n, used_images, long_ago)]
            ).SerializeToString()
            for n in range(containers)
        )
        self._sandboxes = b"".join(
            pb.ListPodSandboxResponse(items=[sandbox(n, long_ago)]).SerializeToString()
            for n in range(-(-containers // PER_POD))
        )
        self._list = b"".join(self._images.values())
        self._fixed = fixed_answers(mountpoint)
        self.removed = 0
        self.listings = 0
        self._subscribers: list[asyncio.Queue[bytes]] = []
        self._pods = 10_000_000  # numbers of the pods in events

    def unary(self, name: str) -> Callable[[bytes], bytes]:
        """How one method answers."""
        if name == "ListImages":
            return lambda request: self._list
        if name == "ListContainers":
            return lambda request: self._containers
        if name == "ListPodSandbox":
            return self._list_sandboxes
        if name == "RemoveImage":
            return self._remove
        if name == "PodSandboxStatus":
            return lambda request: self._fixed["PodSandboxStatus"]
        return lambda request: self._fixed.get(name, b"")

    def _list_sandboxes(self, request: bytes) -> bytes:
        self.listings += 1
        return self._sandboxes

    def _remove(self, request: bytes) -> bytes:
        removed = pb.RemoveImageRequest.FromString(request).image.image
        if self._images.pop(removed, None) is not None:
            self.removed += 1
            self._list = b"".join(self._images.values())
        return b""

    async def events(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=2000)
        self._subscribers.append(queue)
        try:
            while True:
                yield await queue.get()
                queue.task_done()
        finally:
            self._subscribers.remove(queue)

    async def send(self, count: int, rate: float) -> None:
        """Sends events to all subscribers, stamped as they are handed over."""
        began, sent = time.monotonic(), 0
        while sent < count:
            self._pods += 1
            for event in pod_events(self._pods, self._used):
                event.created_at = time.time_ns()
                await self._put(event.SerializeToString())
                sent += 1
            if rate and sent / rate > time.monotonic() - began + 0.002:
                await asyncio.sleep(sent / rate - (time.monotonic() - began))
        for queue in self._subscribers:
            await queue.join()

    async def doubt(self) -> None:
        """Sends one event about an unknown container."""
        self._pods += 1
        stranger = hexadecimal("stranger", self._pods)
        await self._put(pb.ContainerEventResponse(container_id=stranger).SerializeToString())

    async def _put(self, event: bytes) -> None:
        for queue in self._subscribers:
            await queue.put(event)


def fixed_answers(mountpoint: str) -> dict[str, bytes]:
    usage = pb.FilesystemUsage(fs_id=pb.FilesystemIdentifier(mountpoint=mountpoint))
    info = {"info": json.dumps({"image": "registry.k8s.io/pause:3.10", "pid": 1})}
    return {
        "Version": pb.VersionResponse(
            version="0.1.0", runtime_name="containerd", runtime_version="2.1.9"
        ).SerializeToString(),
        "Status": pb.StatusResponse().SerializeToString(),
        "ContainerStatus": pb.ContainerStatusResponse(
            status=pb.ContainerStatus(annotations=ANNOTATIONS)
        ).SerializeToString(),
        "PodSandboxStatus": pb.PodSandboxStatusResponse(info=info).SerializeToString(),
        "ImageFsInfo": pb.ImageFsInfoResponse(image_filesystems=[usage]).SerializeToString(),
    }


def handler(answers: Answers) -> list[grpc.GenericRpcHandler[Any, Any]]:
    """Handlers that take and return bytes as they are."""
    services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
    for name, method in methods().items():
        service = path_of(method).split("/")[1]
        if method.server_streaming and name != "GetContainerEvents":
            continue  # 2.1 does not stream its lists
        if method.server_streaming:
            made = grpc.unary_stream_rpc_method_handler(answers.events)
        else:
            made = grpc.unary_unary_rpc_method_handler(_unary(answers.unary(name)))
        services.setdefault(service, {})[name] = made
    return [grpc.method_handlers_generic_handler(*one) for one in services.items()]


def _unary(answer: Callable[[bytes], bytes]) -> Callable[[bytes, Any], Any]:
    async def respond(request: bytes, context: Any) -> bytes:
        return answer(request)

    return respond


async def obey(answers: Answers, order: list[str]) -> dict[str, float]:
    began = time.monotonic()
    if order[0] == "events":
        await answers.send(int(order[1]), float(order[2]))
    elif order[0] == "doubt":
        await answers.doubt()
    return {
        "took": time.monotonic() - began,
        "removed": answers.removed,
        "listings": answers.listings,
    }


async def serve(socket_path: str, answers: Answers) -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(tuple(handler(answers)))
    server.add_insecure_port(f"unix:{socket_path}")
    await server.start()
    print("{}", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await obey(answers, line.split())), flush=True)
    await server.stop(None)


class PreparedNode:
    """The server as a child process, from `with` to its end."""

    def __init__(self, home: Path, images: int, containers: int, used_images: int = 0) -> None:
        self.socket = home / "p.sock"
        self.mountpoint = home
        shape = [str(images), str(containers), str(used_images or images)]
        self._command = [sys.executable, "-m", "tests.bench.prepared", str(self.socket), *shape]

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [*self._command, str(self.mountpoint)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)

    def order(self, text: str) -> dict[str, float]:
        """Sends an order and waits for its answer."""
        self.begin(text)
        return self._answer()

    def begin(self, text: str) -> None:
        """Sends an order; `finish` waits for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def finish(self) -> dict[str, float]:
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the prepared node ended")
        return dict(json.loads(line))


if __name__ == "__main__":
    path, image_count, container_count, used_count, where = sys.argv[1:]
    asyncio.run(
        serve(path, Answers(int(image_count), int(container_count), int(used_count), where))
    )
