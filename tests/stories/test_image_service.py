"""Images that are asked for at a socket of their own: is it this runtime's?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.cri.client import open_client
from reconciler.domain.decision import HoldReason, decide
from reconciler.domain.inventory import ContainerState, Image
from reconciler.domain.runtime import ImageService, RuntimeUnavailable, RuntimeVersion
from reconciler.domain.state import State
from reconciler.fake_runtime.habits import CONTAINERD_2, CRIO, Habits
from reconciler.fake_runtime.images import Refused
from reconciler.fake_runtime.node import Node, layer
from reconciler.fake_runtime.server import FakeRuntimeServer
from tests.builders import CONTAINERD_2 as THIS
from tests.builders import DAY, GIB, T0, container, image, state_of
from tests.commands.desk import desk

SOCKET = "/run/other.sock"
SILENT = replace(THIS, images=ImageService(SOCKET))
ALIKE = replace(THIS, images=ImageService(SOCKET, THIS.name, THIS.version))
USED, OTHER, FREE = image("used:v1", GIB), image("other:v1", GIB), image("free:v1", GIB)


def held(state: State, version: RuntimeVersion) -> str | None:
    """What holds removal when images are listed by such a service; None: the free image goes."""
    state.runtime.version = version
    plan = decide(state, state.operator.policy, T0)
    if plan.hold is None:
        assert plan.eviction is not None
        return None
    assert plan.hold.reason is HoldReason.ANOTHER_IMAGE_SERVICE
    return plan.hold.detail


def on(*images_listed: Image, state: ContainerState = ContainerState.RUNNING) -> State:
    """A full disk; a container of that state was made from `USED`, another one from `OTHER`."""
    made = [replace(container(one.tags[0], one, one.tags[0]), state=state) for one in (USED, OTHER)]
    return state_of(images_listed, made, seen=T0 - DAY)


@pytest.mark.parametrize("version", [SILENT, ALIKE], ids=["silent", "alike"])
def test_a_service_that_lists_none_of_the_images_in_use_is_another_runtimes(
    version: RuntimeVersion,
) -> None:
    """A second containerd may be of the same version, and an image service reports none."""
    detail = held(on(FREE), version)
    assert detail is not None
    assert f"not one of the images of 2 running containers is listed at {SOCKET}" in detail
    assert "/etc/crictl.yaml" in detail


@pytest.mark.parametrize("version", [SILENT, ALIKE, THIS], ids=["silent", "alike", "one-socket"])
def test_a_single_image_that_is_missing_holds_nothing(version: RuntimeVersion) -> None:
    """Somebody removed it: that is reported, and the disk is as full as before."""
    assert held(on(FREE, USED), version) is None


def test_on_one_socket_no_image_is_another_runtimes() -> None:
    """Whatever is missing there, somebody removed."""
    assert held(on(FREE), THIS) is None


def test_containers_that_do_not_run_say_nothing_of_the_service() -> None:
    """What an exited one was made from may have gone long ago, by anybody's hand."""
    assert held(on(FREE, state=ContainerState.EXITED), ALIKE) is None


@pytest.mark.parametrize(
    ("name", "number"), [("cri-o", "1.37.0"), ("containerd", "1.7.24"), ("cri-o", "2.1.9")]
)
def test_a_service_of_another_name_or_version_is_another_runtimes(name: str, number: str) -> None:
    """Even where images of the same id are on both: what uses the others is not known here."""
    detail = held(on(FREE, USED, OTHER), replace(THIS, images=ImageService(SOCKET, name, number)))
    assert detail is not None
    assert f"images are listed by {name} {number} at {SOCKET}, and containers by" in detail


def a_node(habits: Habits, name: str) -> Node:
    """A node on which a container runs, and an image that nobody uses."""
    node = Node(habits)
    for one in (name, f"free-{name}"):
        node.publish(f"reg.example/{one}:v1", [layer(one, GIB)])
        node.pull(f"reg.example/{one}:v1", T0)
    pod = node.run_pod(name, T0)
    node.start(node.create(pod.id, f"reg.example/{name}:v1", T0).id, T0)
    return node


async def test_both_sockets_are_asked_who_answers(tmp_path: Path) -> None:
    """By Version; one that knows no such call is no other runtime for that, one that is away is
    waited for."""
    here, there = str(tmp_path / "here.sock"), str(tmp_path / "there.sock")

    async def unknown(request: object) -> None:
        raise Refused("UNIMPLEMENTED", "unknown service runtime.v1.RuntimeService")

    async with FakeRuntimeServer(a_node(CONTAINERD_2, "here"), here):
        other = FakeRuntimeServer(a_node(CRIO, "there"), there)
        async with other, open_client(here, there) as client:
            assert (await client.version()).images == ImageService(there, "cri-o", "1.37.0")
            other.faults["Version"] = unknown
            assert (await client.version()).images == ImageService(there)
        async with open_client(here, there, patience=0.5) as client:
            with pytest.raises(RuntimeUnavailable, match=r"there\.sock"):
                await client.version()
        link = tmp_path / "link.sock"
        link.symlink_to(here)
        async with open_client(here, str(link)) as client:
            assert (await client.version()).images is None


@pytest.mark.parametrize("habits", [CRIO, CONTAINERD_2], ids=["cri-o", "second-containerd"])
async def test_prune_with_a_stale_image_endpoint_removes_nothing(
    habits: Habits,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it happened: containers of one runtime, images of another, and what that one's running
    containers were made from went."""
    other = str(tmp_path / "other.sock")
    there = a_node(habits, "there")
    async with desk(capsys, monkeypatch) as made, FakeRuntimeServer(there, other) as runtime:
        made.image("used:v1")
        made.run_pod("used:v1")
        done = await made.run("prune", "--all-unused", "--image-endpoint", other)
    assert done.code == 1, done.err
    assert "another-image-service" in done.err
    assert not runtime.calls.removals
