"""Every unary call of CRI, answered from a simulated node."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import answers
from ._pb import workload_pb2 as pb
from .habits import Events
from .node import Node, Refused

SAMPLED_EVERY = 10.0  # seconds between containerd's samples of its snapshots
CRIO_METADATA = 8_000  # bytes of an image's metadata, all that CRI-O counts as used


@dataclass(frozen=True, slots=True)
class Request:
    """One RemoveImage as it arrived, with the truth about the image at that instant."""

    text: str
    names: tuple[str, ...]
    users: tuple[str, ...]
    pinned: bool
    at: float


class Calls:
    """One method for each call, by its name in snake case; `removals` is the ground truth."""

    def __init__(self, node: Node, clock: Callable[[], float]) -> None:
        self.node, self._clock = node, clock
        self.removals: list[Request] = []
        self._sampled_at, self._sampled = -math.inf, 0

    def version(self, request: Any) -> pb.VersionResponse:
        habits = self.node.habits
        return pb.VersionResponse(
            version="0.1.0",
            runtime_name=habits.name,
            runtime_version=habits.version,
            runtime_api_version="v1",
        )

    def status(self, request: pb.StatusRequest) -> pb.StatusResponse:
        conditions = [
            pb.RuntimeCondition(type=kind, status=True) for kind in ("RuntimeReady", "NetworkReady")
        ]
        habits, config = self.node.habits, dict[str, object]()
        if habits.reports_configured_pause:
            config["sandboxImage"] = self.node.pause_name
        if habits.crio:
            config["crio"] = {"EnablePodEvents": habits.events is Events.PLAIN}
        info = {"config": json.dumps(config)} if request.verbose else {}
        return pb.StatusResponse(status=pb.RuntimeStatus(conditions=conditions), info=info)

    def list_images(self, request: pb.ListImagesRequest) -> pb.ListImagesResponse:
        return pb.ListImagesResponse(images=self.images(request))

    def list_containers(self, request: pb.ListContainersRequest) -> pb.ListContainersResponse:
        return pb.ListContainersResponse(containers=self.containers(request))

    def list_pod_sandbox(self, request: pb.ListPodSandboxRequest) -> pb.ListPodSandboxResponse:
        return pb.ListPodSandboxResponse(items=self.sandboxes(request))

    def images(self, request: Any) -> Iterable[pb.Image]:
        wanted = request.filter.image.image
        if wanted and self.node.habits.crio:
            found = self.node.look_up(wanted)
            return [answers.image(self.node, found, listed=True)] if found else []
        return [answers.image(self.node, one, listed=True) for one in self.node.images.values()]

    def containers(self, request: Any) -> Iterable[pb.Container]:
        asked = request.filter
        for one in self.node.containers.values():
            listed = answers.container(self.node, one)
            state = not asked.HasField("state") or asked.state.state == listed.state
            pod = one.sandbox_id.startswith(asked.pod_sandbox_id)
            wanted = state and pod and one.id.startswith(asked.id)
            if wanted and _labelled(one.labels, asked.label_selector):
                yield listed

    def sandboxes(self, request: Any) -> Iterable[pb.PodSandbox]:
        asked = request.filter
        for one in self.node.sandboxes.values():
            listed = answers.sandbox(self.node, one)
            state = not asked.HasField("state") or asked.state.state == listed.state
            wanted = state and one.id.startswith(asked.id)
            if wanted and _labelled(listed.labels, asked.label_selector):
                yield listed

    def container_status(self, request: pb.ContainerStatusRequest) -> pb.ContainerStatusResponse:
        one = _by_prefix(self.node.containers, request.container_id, "container")
        info = {"info": json.dumps({"sandboxID": one.sandbox_id})} if request.verbose else {}
        return pb.ContainerStatusResponse(
            status=answers.container_status(self.node, one), info=info
        )

    def pod_sandbox_status(
        self, request: pb.PodSandboxStatusRequest
    ) -> pb.PodSandboxStatusResponse:
        one = _by_prefix(self.node.sandboxes, request.pod_sandbox_id, "sandbox")
        info = answers.sandbox_info(self.node, one) if request.verbose else {}
        status = answers.sandbox_status(self.node, one)
        answer = pb.PodSandboxStatusResponse(status=status, info=info)
        if self.node.habits.events is Events.PLAIN:  # CRI-O, with events on (measured)
            inside = self.node.in_pod(one.id)
            answer.containers_statuses.extend(
                answers.container_status(self.node, container) for container in inside
            )
            answer.timestamp = int(self._clock() * 1e9)
        return answer

    def image_status(self, request: pb.ImageStatusRequest) -> pb.ImageStatusResponse:
        found = self.node.look_up(request.image.image)
        if found is None:
            return pb.ImageStatusResponse()
        info = answers.image_info(self.node, found) if request.verbose else {}
        return pb.ImageStatusResponse(image=answers.image(self.node, found), info=info)

    def image_fs_info(self, request: Any) -> pb.ImageFsInfoResponse:
        """Only the mountpoint is reliable: containerd's bytes are sampled every 10 s and leave out
        compressed layers, CRI-O's are its metadata (measured)."""
        crio, now = self.node.habits.crio, self._clock()
        if crio or now - self._sampled_at >= SAMPLED_EVERY:
            metadata = CRIO_METADATA * len(self.node.images)
            self._sampled_at, self._sampled = now, metadata if crio else self.node.unpacked()
        images = [self._filesystem(disk.mountpoint) for disk in self.node.disks]
        containers = images[:1] if crio else []
        return pb.ImageFsInfoResponse(image_filesystems=images, container_filesystems=containers)

    def _filesystem(self, mountpoint: str) -> pb.FilesystemUsage:
        return pb.FilesystemUsage(
            timestamp=int(self._sampled_at * 1e9),
            fs_id=pb.FilesystemIdentifier(mountpoint=mountpoint),
            used_bytes=pb.UInt64Value(value=self._sampled),
            inodes_used=pb.UInt64Value(value=1000),
        )

    # --- what changes the node -----------------------------------------------------------------

    def remove_image(self, request: pb.RemoveImageRequest) -> pb.RemoveImageResponse:
        self.note_removal(request.image.image)
        self.node.remove_image(request.image.image)
        return pb.RemoveImageResponse()

    def note_removal(self, text: str) -> None:
        """Keeps the request with the truth of this instant, in whatever form it names the image."""
        found = None
        with contextlib.suppress(Refused):
            found = self.node.find(text)
        names = (*found.tags, *found.digests) if found else ()
        users = tuple(self.node.users_of(found)) if found else ()
        pinned = found.pinned if found else False
        self.removals.append(Request(text, names, users, pinned, self._clock()))

    def pull_image(self, request: pb.PullImageRequest) -> pb.PullImageResponse:
        stored = self.node.pull(request.image.image, self._clock())
        return pb.PullImageResponse(image_ref=self.node.habits.id_text(stored.hex_id))

    def run_pod_sandbox(self, request: pb.RunPodSandboxRequest) -> pb.RunPodSandboxResponse:
        metadata = request.config.metadata
        made = self.node.run_pod(
            metadata.name,
            self._clock(),
            metadata.namespace,
            metadata.uid,
            dict(request.config.labels),
            metadata.attempt,
        )
        return pb.RunPodSandboxResponse(pod_sandbox_id=made.id)

    def stop_pod_sandbox(self, request: pb.StopPodSandboxRequest) -> pb.StopPodSandboxResponse:
        self.node.stop_pod(request.pod_sandbox_id, self._clock())
        return pb.StopPodSandboxResponse()

    def remove_pod_sandbox(
        self, request: pb.RemovePodSandboxRequest
    ) -> pb.RemovePodSandboxResponse:
        self.node.remove_pod(request.pod_sandbox_id, self._clock())
        return pb.RemovePodSandboxResponse()

    def create_container(self, request: pb.CreateContainerRequest) -> pb.CreateContainerResponse:
        config = request.config
        volumes = {
            mount.container_path: mount.image.image
            for mount in config.mounts
            if mount.HasField("image")
        }
        made = self.node.create(
            request.pod_sandbox_id,
            config.image.image,
            self._clock(),
            config.metadata.name,
            volumes,
            dict(config.labels),
        )
        return pb.CreateContainerResponse(container_id=made.id)

    def start_container(self, request: pb.StartContainerRequest) -> pb.StartContainerResponse:
        self.node.start(request.container_id, self._clock())
        return pb.StartContainerResponse()

    def stop_container(self, request: pb.StopContainerRequest) -> pb.StopContainerResponse:
        if request.container_id in self.node.containers:
            self.node.exit(request.container_id, self._clock(), 137)
        return pb.StopContainerResponse()

    def remove_container(self, request: pb.RemoveContainerRequest) -> pb.RemoveContainerResponse:
        self.node.remove(request.container_id, self._clock())
        return pb.RemoveContainerResponse()


def _by_prefix(among: dict[str, Any], wanted: str, what: str) -> Any:
    found = [one for key, one in among.items() if wanted and key.startswith(wanted)]
    if len(found) != 1:
        raise Refused("NOT_FOUND", f"{what} {wanted!r} not found")
    return found[0]


def _labelled(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())
