"""All that a fake and a real runtime are asked alike, and their answers as lines to compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc

from reconciler.fake_runtime._pb import workload_pb2 as pb
from tests.workload import Workload

Push = Callable[[str], None]  # makes a whole name mean a new image
Alias = Callable[[str, str], None]  # makes a second name mean what the first means now


class Transcript:
    """Answers, with the ids and digests of one run replaced by words."""

    def __init__(self, workload: Workload) -> None:
        self.lines: list[str] = []
        self._workload = workload
        self._words: dict[str, str] = {}

    def name_image(self, name: str, word: str) -> str:
        """Writes `word` for an image's id and manifest from now on; returns its id."""
        image = self._workload.image(name)
        digest = image.repo_digests[0].partition("@sha256:")[2]
        self._words |= {image.id: f"<{word} id>", digest: f"<{word} manifest>"}
        return str(image.id)

    def write(self, what: str, value: object) -> None:
        self.lines.append(self._worded(f"{what}: {value}"))

    def _worded(self, text: str) -> str:
        for known, word in self._words.items():
            text = text.replace(known, word)
        return text

    def call(self, name: str, **fields: Any) -> Any:
        """An answer, or None after writing down the error's code."""
        try:
            return self._workload.driver.call(name, **fields)
        except grpc.RpcError as error:
            self.write(name, error.code().name)
            return None

    def attempt(self, what: str, action: Callable[[], object]) -> None:
        """Writes down that something is done, or the error's code."""
        try:
            action()
        except grpc.RpcError as error:
            self.write(what, error.code().name)
        else:
            self.write(what, "done")

    def images(self, what: str) -> None:
        """Writes down all images with their names, but the pause image, in an order of our own."""
        listed = [
            self._worded(str((one.id, list(one.repo_tags), list(one.repo_digests), one.pinned)))
            for one in self._workload.images().values()
            if not any("/pause" in name for name in (*one.repo_tags, *one.repo_digests))
        ]
        self.write(what, sorted(listed))

    def status(self, what: str, name: str) -> None:
        answer = self.call("ImageStatus", image=pb.ImageSpec(image=name))
        if answer is not None:
            self.write(what, answer.image.id if answer.HasField("image") else "no such image")

    def container(self, what: str, container_id: str) -> None:
        """Writes down what list and status say of a container's image."""
        for one in self._workload.driver.call("ListContainers").containers:
            if one.id == container_id:
                fields = (one.image.image, one.image_ref, one.image_id, one.state)
                self.write(f"{what}, listed", fields)
        answer = self.call("ContainerStatus", container_id=container_id)
        if answer is not None:
            one = answer.status
            fields = (one.image.image, one.image_ref, one.image_id, one.state)
            self.write(f"{what}, status", fields)


def transcript(workload: Workload, address: str, push: Push, alias: Alias, pause: str) -> list[str]:
    """Asks all questions; returns what was answered, a line each."""
    script = Transcript(workload)
    app, other = f"{address}/habit:v1", f"{address}/habit:other"
    push(app)
    workload.pull(app)
    old = script.name_image(app, "old")
    pod, container = workload.run(app)
    script.images("pulled")
    script.container("running", container)

    push(app)
    workload.pull(app)
    new = script.name_image(app, "new")
    script.images("tag moved")
    script.container("tag moved", container)
    for what, name in (
        ("by id", old),
        ("by bare id", old.removeprefix("sha256:")),
        ("by prefix", old.removeprefix("sha256:")[:14]),
        ("by tag and digest", f"{app}@{digest_of(workload, new)}"),
        ("by unknown id", f"sha256:{'0' * 64}"),
        ("by unknown name", f"{address}/nothing:v1"),
    ):
        script.status(what, name)

    script.call("RemoveImage", image=pb.ImageSpec(image=""))  # ambiguous: there are several
    removed = pb.ImageSpec(image=old)
    script.call("RemoveImage", image=removed)
    script.call("RemoveImage", image=removed)
    script.images("old removed in use")
    script.container("old removed in use", container)
    workload.stop(container)
    script.container("exited", container)

    alias(app, other)
    workload.pull(other)
    script.images("two tags")
    script.call("RemoveImage", image=pb.ImageSpec(image=other))
    script.images("one of two tags removed")

    push(app)
    workload.pull(app)
    script.name_image(app, "newest")
    try:
        mounting = workload.create(pod, app, volumes={"/data": app})
    except grpc.RpcError as error:
        script.write("mounted", error.code().name)
    else:
        (mount,) = workload.driver.call("ContainerStatus", container_id=mounting).status.mounts
        script.write("mounted", (mount.image.image, mount.host_path.rpartition("/")[2]))
    script.call("RemoveImage", image=pb.ImageSpec(image=app))
    script.images("removed while mounted")

    refusals(script, workload, pod, container)
    names(script, workload, f"{address}/bare", push)
    verbose(script, pod, pause)
    script.call("ContainerStatus", container_id="0" * 64)
    script.call("PodSandboxStatus", pod_sandbox_id="0" * 64)
    script.call("RemoveContainer", container_id="0" * 64)
    script.call("RemovePodSandbox", pod_sandbox_id="0" * 64)
    script.call("PullImage", image=pb.ImageSpec(image=f"{address}/nothing:v1"))
    return script.lines


def digest_of(workload: Workload, name: str) -> str:
    return str(workload.image(name).repo_digests[0].partition("@")[2])


def refusals(script: Transcript, workload: Workload, pod: str, exited: str) -> None:
    """What cannot be made, and what is made already."""
    script.attempt("started again", lambda: workload.start(exited))
    script.attempt("of no image", lambda: workload.create(pod, "example.com/no/image:v1"))
    script.attempt("of an id of none", lambda: workload.create(pod, f"sha256:{'0' * 64}"))
    config = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name="nowhere"), image=pb.ImageSpec(image="example.com/a:1")
    )
    script.call("CreateContainer", pod_sandbox_id="0" * 64, config=config)
    script.attempt("the same pod", lambda: workload.run_pod_again(pod))
    answer = script.call("PodSandboxStatus", pod_sandbox_id=pod)
    fields = (len(answer.containers_statuses), answer.timestamp, sorted(answer.status.labels))
    script.write("a pod's status", fields)


def names(script: Transcript, workload: Workload, bare: str, push: Push) -> None:
    """What a name without a tag means, one with tag and digest, and a text that is none."""
    push(f"{bare}:latest")
    script.attempt("pulled without a tag", lambda: workload.pull(bare))
    script.name_image(f"{bare}:latest", "bare")
    script.images("pulled without a tag")
    by_both = f"{bare}:v9@{digest_of(workload, bare)}"
    script.attempt("pulled by tag and digest", lambda: workload.pull(by_both))
    script.images("pulled by tag and digest")
    for what, text in (
        ("without a tag", bare),
        ("without its tag", f"{bare}:"),
        ("in capitals", "Bare"),
        ("twelve digits of none", "0123456789ab"),
        ("a short name", "bare"),
    ):
        script.status(what, text)
        script.call("RemoveImage", image=pb.ImageSpec(image=text if text != bare else "bare:v0"))
    for text in (f"{bare}:", "Bare"):
        script.call("PullImage", image=pb.ImageSpec(image=text))
    script.images("removed by what is none")


def verbose(script: Transcript, pod: str, pause: str) -> None:
    """What the debug JSON of a runtime and of a pod says of the pause image."""
    config = json.loads(script.call("Status", verbose=True).info["config"])
    script.write("configured pause", config.get("sandboxImage") == pause)
    answer = script.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True)
    info = json.loads(answer.info["info"])
    annotations = info["runtimeSpec"].get("annotations", {})
    configured = annotations.get("io.kubernetes.cri.podsandbox.image-name")
    script.write("a pod's pause", (info["image"] == pause, configured == pause))
    status = script.call("ImageStatus", image=pb.ImageSpec(image=pause), verbose=True)
    script.write("pause pinned", status.image.pinned)
    info = json.loads(status.info["info"])
    script.write("verbose image", sorted(info))
    script.write("has layers", bool(info["imageSpec"]["rootfs"]["diff_ids"]))
