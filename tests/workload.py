"""What kubelet does to a runtime, for tests: pulls, pods, containers; on any CRI socket, real or
fake."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import Any

import grpc

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.wire import Driver

_numbers = itertools.count()


class Workload:
    """One node's pods and containers, made over its CRI socket."""

    def __init__(self, socket_path: str) -> None:
        self.driver = Driver(socket_path)
        self._configs: dict[str, Any] = {}

    def close(self) -> None:
        self.driver.close()

    def pull(self, name: str) -> str:
        """Pulls an image; returns its id as listed, from the answer itself: a moment later a daemon
        may have removed it."""
        answer = self.driver.call("PullImage", deadline=120, image=pb.ImageSpec(image=name))
        return str(answer.image_ref)

    def image(self, name: str) -> Any:
        """The image of a name or id; AssertionError if there is none."""
        answer = self.driver.call("ImageStatus", image=pb.ImageSpec(image=name))
        assert answer.HasField("image"), f"no image {name}"
        return answer.image

    def images(self) -> dict[str, Any]:
        """All images by id."""
        return {image.id: image for image in self.driver.call("ListImages").images}

    def has(self, image_id: str) -> bool:
        return image_id in self.images()

    def run_pod(self, name: str | None = None, labels: dict[str, str] | None = None) -> str:
        """A pod sandbox on the host's network, with its pod's labels as kubelet passes them on;
        returns its id."""
        number = next(_numbers)
        uid = str(uuid.uuid4())
        name = name or f"pod{number}"
        options = pb.NamespaceOption(network=pb.NODE, pid=pb.CONTAINER)
        config = pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, uid=uid, namespace="default"),
            log_directory="/tmp",
            labels={
                "io.kubernetes.pod.name": name,
                "io.kubernetes.pod.namespace": "default",
                "io.kubernetes.pod.uid": uid,
                **(labels or {}),
            },
            linux=pb.LinuxPodSandboxConfig(
                security_context=pb.LinuxSandboxSecurityContext(namespace_options=options)
            ),
        )
        pod = str(self.driver.call("RunPodSandbox", config=config).pod_sandbox_id)
        self._configs[pod] = config
        return pod

    def run_pod_again(self, pod: str) -> str:
        """Asks again for a pod that exists; returns the id."""
        config = self._configs[pod]
        return str(self.driver.call("RunPodSandbox", config=config).pod_sandbox_id)

    def create(
        self,
        pod: str,
        image: str,
        volumes: dict[str, str] | None = None,
        annotation: str = "",
        deadline: float = 60.0,
        name: str | None = None,
    ) -> str:
        """A container made, not started; `volumes` are image names by mount path, `annotation` is
        some text stored with it. Returns its id."""
        config = self._configs[pod]
        options = pb.NamespaceOption(network=pb.NODE, pid=pb.CONTAINER)
        mounts = [
            pb.Mount(container_path=path, readonly=True, image=pb.ImageSpec(image=name))
            for path, name in (volumes or {}).items()
        ]
        container = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=name or f"c{next(_numbers)}"),
            image=pb.ImageSpec(image=image),
            command=["/bin/sleep", "3600"],
            mounts=mounts,
            labels=dict(config.labels),
            annotations={"note": annotation} if annotation else {},
            linux=pb.LinuxContainerConfig(
                security_context=pb.LinuxContainerSecurityContext(namespace_options=options)
            ),
        )
        answer = self.driver.call(
            "CreateContainer",
            deadline,
            pod_sandbox_id=pod,
            config=container,
            sandbox_config=config,
        )
        return str(answer.container_id)

    def run(self, image: str, volumes: dict[str, str] | None = None) -> tuple[str, str]:
        """Starts a pod with one running container; returns their ids."""
        pod = self.run_pod()
        container = self.create(pod, image, volumes)
        self.start(container)
        return pod, container

    def start(self, container: str) -> None:
        self.driver.call("StartContainer", container_id=container)

    def stop(self, container: str, deadline: float = 60.0) -> None:
        self.driver.call("StopContainer", deadline, container_id=container, timeout=0)

    def process(self, container: str) -> int:
        """The process id of a running container, as containerd's verbose status shows it."""
        status = self.driver.call("ContainerStatus", container_id=container, verbose=True)
        return int(json.loads(status.info["info"])["pid"])

    def remove(self, container: str, deadline: float = 60.0) -> None:
        self.driver.call("RemoveContainer", deadline, container_id=container)

    def remove_pod(self, pod: str) -> None:
        """Stops and removes a pod with all that is in it."""
        self.driver.call("StopPodSandbox", pod_sandbox_id=pod)
        self.driver.call("RemovePodSandbox", pod_sandbox_id=pod)

    def remove_all(self) -> None:
        """Removes every pod and image: a clean node for the next story."""
        for pod in self.driver.call("ListPodSandbox").items:
            self.remove_pod(pod.id)
        for image_id in self.images():
            self.driver.call("RemoveImage", image=pb.ImageSpec(image=image_id))

    def answers(self) -> bool:
        """Whether the runtime answers at all, with both its services."""
        try:
            self.driver.call("Version", deadline=2)
            self.driver.call("ListImages", deadline=2)
        except grpc.RpcError:
            return False
        return True
