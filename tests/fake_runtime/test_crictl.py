"""Kubernetes' own client talks to the fake runtime: what crictl asks, asked as crictl asks it.

crictl itself is in no suite of Debian and in no package of PyPI or npm. The half of it that speaks
is in Debian: the library k8s.io/cri-client on grpc-go, which kubelet uses too. `go/main.go` asks
with it what crictl asks; it is compiled once for each machine, from Debian's packages alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.fake_runtime.habits import ALL, CONTAINERD_1_6, CRIO_EVENTS_OFF, Habits
from reconciler.fake_runtime.node import Node, layer
from reconciler.fake_runtime.server import FakeRuntimeServer

from ..builders import T0
from ..real.debs import CACHE, one_at_a_time, unpacked, what_is_missing

MISSING = what_is_missing()
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),  # seconds; the first run compiles for minutes on a busy machine
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

SUITE = "sid"  # the first suite of Debian's that has the client
SOURCE = Path(__file__).parent / "go" / "main.go"
LIBRARIES = (
    "golang-github-cespare-xxhash-v2-dev",
    "golang-github-go-logr-logr-dev",
    "golang-github-go-logr-stdr-dev",
    "golang-github-golang-protobuf-1-5-dev",
    "golang-golang-x-net-dev",
    "golang-golang-x-sys-dev",
    "golang-golang-x-text-dev",
    "golang-google-genproto-dev",
    "golang-google-grpc-dev",
    "golang-google-protobuf-dev",
    "golang-k8s-component-base-dev",
    "golang-k8s-cri-api-dev",
    "golang-k8s-klog-dev",
    "golang-k8s-utils-dev",
    "golang-opentelemetry-contrib-dev",
    "golang-opentelemetry-otel-dev",
)
APP = "registry.example.com/shop/web:v1"
EVERY = pytest.mark.parametrize("habits", ALL.values(), ids=ALL.keys())


@pytest.fixture(scope="session")
def cri() -> Path:
    """The compiled client."""
    program = CACHE / SUITE / f"cri-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
    with one_at_a_time("cri-client"):
        if not program.exists():
            compile_to(program)
    return program


def compile_to(program: Path) -> None:
    """With Debian's Go and Debian's copies of the libraries; nothing is fetched by Go."""
    go = (unpacked(SUITE, "golang-go") / "usr/lib/go").readlink().name  # "go-1.27"
    compiler = (f"golang-{go.removeprefix('go-')}-go", f"golang-{go.removeprefix('go-')}-src")
    home = unpacked(SUITE, "golang-k8s-cri-client-dev", *compiler, *LIBRARIES)
    environment = os.environ | {
        "GOROOT": str(home / "usr/lib" / go),
        "GOPATH": str(home / "usr/share/gocode"),
        "GOCACHE": str(CACHE / "go"),
        "GO111MODULE": "off",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
    }
    command = [str(home / "usr/lib" / go / "bin/go"), "build", "-o", str(program), str(SOURCE)]
    built = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


async def answers(cri: Path, runtime: FakeRuntimeServer, *words: str) -> list[Any]:
    """What the client prints, each line as JSON; AssertionError with its words if it fails."""
    flags = [word for word in words if word.startswith("-")]
    verbs = [word for word in words if not word.startswith("-")]
    process = await asyncio.create_subprocess_exec(
        cri,
        *flags,
        f"unix://{runtime.path}",
        *verbs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.splitlines()]


def serving(habits: Habits, folder: Path) -> FakeRuntimeServer:
    """A runtime with an image in use, one unused, and a pod."""
    node = Node(habits, mountpoint="/var/lib/images")
    for name in (APP, "registry.example.com/shop/old:v1"):
        node.publish(name, [layer(name, 1000)])
        node.pull(name, T0)
    pod = node.run_pod("web-1", T0, "shop")
    node.start(node.create(pod.id, APP, T0, "web").id, T0)
    return FakeRuntimeServer(node, str(folder / "cri.sock"), lambda: T0)


@EVERY
async def test_images_ps_and_pods_show_the_node(habits: Habits, cri: Path, tmp_path: Path) -> None:
    """Every image, container and pod, by unary lists and by streamed ones where there are any."""
    async with serving(habits, tmp_path) as runtime:
        for flags in ((), ("-stream",)):
            (images,) = await answers(cri, runtime, *flags, "images")
            (containers,) = await answers(cri, runtime, *flags, "ps")
            (pods,) = await answers(cri, runtime, *flags, "pods")
            assert {one["id"] for one in images["images"]} == {
                habits.id_text(key) for key in runtime.node.images
            }
            (container,) = containers["containers"]
            assert (container["metadata"]["name"], container["image"]["image"]) == ("web", APP)
            assert container["state"] == "CONTAINER_RUNNING"
            (pod,) = pods["items"]
            assert (pod["metadata"]["namespace"], pod["metadata"]["name"]) == ("shop", "web-1")


@EVERY
async def test_inspecti_shows_names_and_layers(habits: Habits, cri: Path, tmp_path: Path) -> None:
    """With the debug JSON that a verbose status carries."""
    async with serving(habits, tmp_path) as runtime:
        (answer,) = await answers(cri, runtime, "inspecti", APP)
    assert answer["image"]["repoTags"] == [APP]
    spec = json.loads(answer["info"]["info"])["imageSpec"]
    assert len(spec["rootfs"]["diff_ids"]) == 1


@EVERY
async def test_imagefsinfo_names_the_mountpoint(habits: Habits, cri: Path, tmp_path: Path) -> None:
    """Where the client library insists on one filesystem at least."""
    async with serving(habits, tmp_path) as runtime:
        (answer,) = await answers(cri, runtime, "imagefsinfo")
    (filesystem,) = answer["imageFilesystems"]
    assert filesystem["fsId"]["mountpoint"] == "/var/lib/images"


@EVERY
async def test_rmi_removes_an_image_by_its_name(habits: Habits, cri: Path, tmp_path: Path) -> None:
    """The unused one; the one in use stays only where the runtime refuses."""
    async with serving(habits, tmp_path) as runtime:
        await answers(cri, runtime, "rmi", "registry.example.com/shop/old:v1")
        left = {tag for image in runtime.node.images.values() for tag in image.tags}
        assert left == {APP, runtime.node.pause_name}
        if habits.crio:
            with pytest.raises(AssertionError, match="image is in use by a container"):
                await answers(cri, runtime, "rmi", APP)
        else:
            await answers(cri, runtime, "rmi", APP)
        left = {tag for image in runtime.node.images.values() for tag in image.tags}
        assert (APP in left) == habits.crio


@EVERY
async def test_pull_takes_a_short_name(habits: Habits, cri: Path, tmp_path: Path) -> None:
    """`crictl pull busybox`, where the registry has it and the node does not."""
    async with serving(habits, tmp_path) as runtime:
        runtime.node.publish("busybox:latest", [layer("busybox", 1000)])
        (pulled,) = await answers(cri, runtime, "pull", "busybox")
        (found,) = await answers(cri, runtime, "inspecti", "busybox")
    assert found["image"]["id"] == pulled["imageRef"]
    assert found["image"]["repoTags"] == ["docker.io/library/busybox:latest"]


@EVERY
async def test_version_and_info_show_which_runtime_answers(
    habits: Habits, cri: Path, tmp_path: Path
) -> None:
    """The library refuses a runtime that names no version or lacks a condition."""
    async with serving(habits, tmp_path) as runtime:
        (version,) = await answers(cri, runtime, "version")
        (info,) = await answers(cri, runtime, "info")
    assert (version["runtimeName"], version["runtimeVersion"]) == (habits.name, habits.version)
    assert {one["type"] for one in info["status"]["conditions"]} >= {"RuntimeReady", "NetworkReady"}


@EVERY
async def test_events_arrive_as_they_happen(habits: Habits, cri: Path, tmp_path: Path) -> None:
    """Two of them, with their pod; a runtime without events says so in its own way."""
    async with serving(habits, tmp_path) as runtime:
        if habits is CONTAINERD_1_6:
            with pytest.raises(AssertionError, match="Unimplemented"):
                await answers(cri, runtime, "events", "1")
            return
        if habits.events is CRIO_EVENTS_OFF.events:
            with pytest.raises(AssertionError, match="EOF"):
                await answers(cri, runtime, "events", "1")
            return
        (container,) = runtime.node.containers
        client = asyncio.create_task(answers(cri, runtime, "events", "2"))
        while runtime.subscribers == 0 and not client.done():
            await asyncio.wait([client], timeout=0.01)
        runtime.node.exit(container, T0)
        runtime.node.remove(container, T0)
        _, stopped, deleted = await client
    assert [one["containerEventType"] for one in (stopped, deleted)] == [
        "CONTAINER_STOPPED_EVENT",
        "CONTAINER_DELETED_EVENT",
    ]
    assert {one["containerId"] for one in (stopped, deleted)} == {container}
    assert stopped["podSandboxStatus"]["metadata"]["name"] == "web-1"
