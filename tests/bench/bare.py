"""What the daemon's work is compared with: bare calls, made by the same client library, in a
process of its own. Prints the seconds they took; imports do not count."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import grpc.aio

from reconciler.cri._pb import runtime_pb2 as pb
from reconciler.cri.rpc import open_channel
from tests.programs import output_of


def calls(channel: grpc.aio.Channel, service: str) -> dict[str, Any]:
    """The unary calls of one service by name, their answers decoded whole."""
    made = {}
    for method in pb.DESCRIPTOR.services_by_name[service].methods:
        request, answer = (getattr(pb, one.name) for one in (method.input_type, method.output_type))
        path = f"/{method.containing_service.full_name}/{method.name}"
        made[method.name] = channel.unary_unary(path, request.SerializeToString, answer.FromString)
    return made


async def lists(path: str) -> float:
    """The three lists, decoded."""
    began = time.monotonic()
    channel = open_channel(path)
    runtime, images = calls(channel, "RuntimeService"), calls(channel, "ImageService")
    await images["ListImages"](pb.ListImagesRequest())
    await runtime["ListContainers"](pb.ListContainersRequest())
    await runtime["ListPodSandbox"](pb.ListPodSandboxRequest())
    took = time.monotonic() - began
    await channel.close(None)
    return took


async def removals(path: str) -> float:
    """One RemoveImage after the other, for every image that is not pinned."""
    channel = open_channel(path)
    images = calls(channel, "ImageService")
    listed = (await images["ListImages"](pb.ListImagesRequest())).images
    ids = [image.id for image in listed if not image.pinned]
    began = time.monotonic()
    for image_id in ids:
        await images["RemoveImage"](pb.RemoveImageRequest(image=pb.ImageSpec(image=image_id)))
    took = time.monotonic() - began
    await channel.close(None)
    return took


async def versions(path: str, count: int = 300) -> list[float]:
    """Round trips of the smallest call there is."""
    channel = open_channel(path)
    version = calls(channel, "RuntimeService")["Version"]
    took = []
    for _ in range(count):
        began = time.monotonic()
        await version(pb.VersionRequest())
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.001)
    await channel.close(None)
    return took


def seconds(what: str, socket: Path) -> float:
    """One of the above, in a fresh process."""
    command = [sys.executable, "-m", "tests.bench.bare", what, str(socket)]
    return float(output_of(command))


if __name__ == "__main__":
    print(asyncio.run({"lists": lists, "removals": removals}[sys.argv[1]](sys.argv[2])))
