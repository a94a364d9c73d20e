"""The fake runtime's pods and disk behave as real ones were measured to: what each answer says,
which bytes are freed when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.fake_runtime._pb import workload_pb2 as pb
from reconciler.fake_runtime.calls import Calls
from reconciler.fake_runtime.habits import (
    ALL,
    CONTAINERD_1_6,
    CONTAINERD_1_7,
    CONTAINERD_2,
    CRIO,
    CRIO_1_29,
    CRIO_EVENTS_OFF,
    Habits,
)
from reconciler.fake_runtime.life import Life
from reconciler.fake_runtime.node import Node, Refused, layer

from ..builders import T0

APP = "localhost:5000/app:v1"
DATA = "localhost:5000/data:v1"
EVERY = pytest.mark.parametrize("habits", ALL.values(), ids=ALL.keys())


class Clock:
    """Time that moves only on command."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> float:
        return self.now


def a_node(habits: Habits) -> Node:
    """A node with two images of two layers, one of them shared; 1500 bytes each, 4500 unpacked."""
    node = Node(habits, base=7)
    for name in (APP, DATA):
        node.publish(name, [layer("base", 1000, ratio=3), layer(name, 500, ratio=3)])
        node.pull(name, T0)
    return node


def info(answer: Any, key: str = "info") -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(answer.info[key])
    return fields


# --- the disk ------------------------------------------------------------------------------------


def test_shared_layers_count_once_on_the_disk() -> None:
    """Two images of 1500 bytes share 1000: 2000 compressed, three times that unpacked."""
    assert a_node(CONTAINERD_2).used() == 7 + 2000 + 6000
    assert a_node(CRIO).used() == 7 + 6000


def test_removing_one_of_two_images_frees_only_what_is_its_own() -> None:
    """The listed size promised 1500."""
    node = a_node(CONTAINERD_2)
    node.remove_image(DATA)
    assert node.used() == 7 + 1500 + 4500


def test_an_image_removed_under_its_container_frees_its_compressed_bytes_only() -> None:
    """The unpacked ones go with the container."""
    node = a_node(CONTAINERD_2)
    pause = node.run_pod("web", T0).pause
    made = node.create(next(iter(node.sandboxes)), DATA, T0)
    node.remove_image(DATA)
    remaining = 7 + 1500 + 4500 + pause.compressed + pause.unpacked
    assert node.used() == remaining + 1500
    node.remove(made.id, T0)
    assert node.used() == remaining


def test_a_removed_image_volume_stays_unpacked_as_long_as_its_pod() -> None:
    """The pod's lease holds it, not the container's."""
    node = a_node(CONTAINERD_2)
    pod = node.run_pod("web", T0)
    pause = pod.pause
    made = node.create(pod.id, APP, T0, volumes={"/data": DATA})
    node.remove_image(DATA)
    node.remove(made.id, T0)
    assert node.used() == 7 + 1500 + 4500 + 1500 + pause.compressed + pause.unpacked
    node.remove_pod(pod.id, T0)
    assert node.used() == 7 + 1500 + 4500 + pause.compressed + pause.unpacked


def test_what_a_container_writes_counts() -> None:
    """It is on the same disk, and no removal of images brings it back."""
    node = a_node(CONTAINERD_2)
    pod = node.run_pod("web", T0)
    before = node.used()
    node.create(pod.id, APP, T0).writable = 123
    assert node.used() == before + 123


def test_usage_is_what_statvfs_would_say() -> None:
    """Of the whole disk, and never more than it holds."""
    node = Node(CONTAINERD_2, capacity=1000, base=2000)
    usage = node.usage("/sim")
    assert (usage.mountpoint, usage.capacity, usage.used) == ("/sim", 1000, 1000)


def used_bytes(calls: Calls) -> int:
    (filesystem,) = calls.image_fs_info(pb.ImageFsInfoRequest()).image_filesystems
    return int(filesystem.used_bytes.value)


def test_containerds_own_figure_is_ten_seconds_late_and_leaves_out_the_compressed_half() -> None:
    """After a removal it says the old figure: a daemon that goes by it removes too much."""
    clock = Clock()
    node = a_node(CONTAINERD_2)
    calls = Calls(node, clock)
    assert used_bytes(calls) == 6000
    node.remove_image(DATA)
    clock.now += 9
    assert used_bytes(calls) == 6000
    clock.now += 1
    assert used_bytes(calls) == 4500


def test_cri_os_own_figure_is_its_metadata() -> None:
    """At once, and three orders of magnitude off; it names a container filesystem as well."""
    node = a_node(CRIO)
    calls = Calls(node, Clock())
    assert used_bytes(calls) == 16_000
    node.remove_image(DATA)
    assert used_bytes(calls) == 8_000
    answer = calls.image_fs_info(pb.ImageFsInfoRequest())
    assert [fs.fs_id.mountpoint for fs in answer.container_filesystems] == ["/sim"]


# --- what is reported ----------------------------------------------------------------------------


@EVERY
def test_the_version_is_the_real_ones(habits: Habits) -> None:
    """With what distributions append to it."""
    answer = Calls(Node(habits), Clock()).version(pb.VersionRequest())
    assert (answer.version, answer.runtime_api_version) == ("0.1.0", "v1")
    assert (answer.runtime_name, answer.runtime_version) == (habits.name, habits.version)


@pytest.mark.parametrize(
    ("habits", "names"),
    [
        (CONTAINERD_1_6, True),
        (CONTAINERD_1_7, True),
        (CONTAINERD_2, False),
        (CRIO, True),
    ],
    ids=["containerd-1.6", "containerd-1.7", "containerd-2", "cri-o"],
)
def test_the_configured_pause_image_is_reported_by_all_but_containerd_2(
    habits: Habits, names: bool
) -> None:
    """In the debug JSON of a verbose status alone."""
    node = Node(habits)
    calls = Calls(node, Clock())
    config = info(calls.status(pb.StatusRequest(verbose=True)), "config")
    assert config.get("sandboxImage") == (node.pause_name if names else None)
    assert dict(calls.status(pb.StatusRequest()).info) == {}


def test_cri_o_reports_whether_events_are_on() -> None:
    """Without anyone having to subscribe."""
    for habits, on in ((CRIO, True), (CRIO_EVENTS_OFF, False)):
        answer = Calls(Node(habits), Clock()).status(pb.StatusRequest(verbose=True))
        assert info(answer, "config")["crio"]["EnablePodEvents"] is on


def test_a_sandbox_names_its_pause_image_where_each_runtime_puts_it() -> None:
    """containerd as the image, from 2.1 with the configured one; CRI-O as an annotation alone."""
    expected: dict[Habits, Any] = {
        CONTAINERD_1_7: ("old", {}),
        CONTAINERD_2: ("old", {"io.kubernetes.cri.podsandbox.image-name": "new"}),
        CRIO: (None, {"io.kubernetes.cri-o.ImageName": "old"}),
    }
    for habits, listed in expected.items():
        node = Node(habits)
        old = node.pause_name
        pod = node.run_pod("web", T0)
        node.pause_name = "registry.k8s.io/pause:new"
        names = {old: "old", node.pause_name: "new", None: None}
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=pod.id, verbose=True)
        answer = info(Calls(node, Clock()).pod_sandbox_status(request))
        annotations = answer["runtimeSpec"]["annotations"]
        assert (
            names[answer.get("image")],
            {key: names[value] for key, value in annotations.items()},
        ) == listed


@EVERY
def test_lists_hold_all_states_and_filters_work(habits: Habits) -> None:
    """Exited containers and stopped pods are there; ids may be prefixes, as crictl sends them."""
    node = a_node(habits)
    calls = Calls(node, Clock())
    pods = [node.run_pod(name, T0, labels={"app": name}) for name in ("web", "db")]
    made = [node.create(pod.id, APP, T0, labels=pod.labels) for pod in pods]
    node.start(made[0].id, T0)
    node.exit(made[0].id, T0)
    node.stop_pod(pods[0].id, T0)

    def containers(**wanted: Any) -> list[str]:
        request = pb.ListContainersRequest(filter=pb.ContainerFilter(**wanted))
        return [one.id for one in calls.list_containers(request).containers]

    def sandboxes(**wanted: Any) -> list[str]:
        request = pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(**wanted))
        return [one.id for one in calls.list_pod_sandbox(request).items]

    exited = pb.ContainerStateValue(state=pb.CONTAINER_EXITED)
    assert containers() == [one.id for one in made]
    assert containers(state=exited) == [made[0].id]
    assert containers(id=made[1].id[:12]) == [made[1].id]
    assert containers(pod_sandbox_id=pods[1].id) == [made[1].id]
    assert containers(label_selector={"app": "db"}) == [made[1].id]
    ready = pb.PodSandboxStateValue(state=pb.SANDBOX_READY)
    assert sandboxes() == [pod.id for pod in pods]
    assert sandboxes(state=ready) == [pods[1].id]
    assert sandboxes(label_selector={"app": "web"}) == [pods[0].id]
    assert sandboxes(id=pods[1].id[:12]) == [pods[1].id]


@EVERY
def test_the_image_filter_is_a_look_up_on_cri_o_and_nothing_on_containerd(habits: Habits) -> None:
    """Sent by mistake it would make a list look whole that is not."""
    calls = Calls(a_node(habits), Clock())
    wanted = pb.ImageFilter(image=pb.ImageSpec(image=APP))
    found = calls.list_images(pb.ListImagesRequest(filter=wanted)).images
    assert len(found) == (1 if habits.crio else 2)


@EVERY
def test_what_is_gone_is_not_found_and_removing_it_is_fine(habits: Habits) -> None:
    """Status says NOT_FOUND, Stop and Remove say OK."""
    calls = Calls(a_node(habits), Clock())
    with pytest.raises(Refused) as refused:
        calls.container_status(pb.ContainerStatusRequest(container_id="0" * 64))
    assert refused.value.code == "NOT_FOUND"
    with pytest.raises(Refused) as refused:
        calls.pod_sandbox_status(pb.PodSandboxStatusRequest(pod_sandbox_id="0" * 64))
    assert refused.value.code == "NOT_FOUND"
    calls.stop_container(pb.StopContainerRequest(container_id="0" * 64))
    calls.remove_container(pb.RemoveContainerRequest(container_id="0" * 64))
    calls.stop_pod_sandbox(pb.StopPodSandboxRequest(pod_sandbox_id="0" * 64))
    calls.remove_pod_sandbox(pb.RemovePodSandboxRequest(pod_sandbox_id="0" * 64))


@EVERY
def test_a_missing_image_makes_no_container_and_an_unknown_one_no_pull(habits: Habits) -> None:
    """What a removal of the wrong image leads to."""
    node = a_node(habits)
    pod = node.run_pod("web", T0)
    with pytest.raises(Refused, match="failed to resolve image") as refused:
        node.create(pod.id, "localhost:5000/other:v1", T0)
    assert refused.value.code == ("UNKNOWN" if habits.crio else "NOT_FOUND")
    with pytest.raises(Refused, match="manifest unknown") as refused:
        node.pull("localhost:5000/other:v1", T0)
    assert refused.value.code == ("UNKNOWN" if habits.crio else "NOT_FOUND")


@EVERY
def test_a_containers_life_leaves_its_marks(habits: Habits) -> None:
    """Created, started, ended, each with its time and state."""
    node = a_node(habits)
    calls = Calls(node, Clock())
    made = node.create(node.run_pod("web", T0).id, APP, T0 + 1)
    node.start(made.id, T0 + 2)
    node.exit(made.id, T0 + 3, code=4)
    request = pb.ContainerStatusRequest(container_id=made.id[:12], verbose=True)
    answer = calls.container_status(request)
    status = answer.status
    assert (status.created_at, status.started_at, status.finished_at, status.exit_code) == (
        int((T0 + 1) * 1e9),
        int((T0 + 2) * 1e9),
        int((T0 + 3) * 1e9),
        4,
    )
    assert status.state == pb.CONTAINER_EXITED
    assert info(answer)["sandboxID"] == made.sandbox_id


@EVERY
def test_a_container_is_started_once(habits: Habits) -> None:
    """One that has exited is made again, under another id."""
    node = a_node(habits)
    made = node.create(node.run_pod("web", T0).id, APP, T0)
    node.start(made.id, T0)
    node.exit(made.id, T0)
    with pytest.raises(Refused, match="not in created state") as refused:
        node.start(made.id, T0)
    assert refused.value.code == "UNKNOWN"


@pytest.mark.parametrize(
    ("habits", "code"),
    [
        (CONTAINERD_1_6, "UNKNOWN"),
        (CONTAINERD_1_7, "UNKNOWN"),
        (CONTAINERD_2, "FAILED_PRECONDITION"),
    ],
    ids=["containerd-1.6", "containerd-1.7", "containerd-2"],
)
def test_containerd_makes_no_pod_twice(habits: Habits, code: str) -> None:
    """It has taken the name; of another attempt it is another one."""
    node = a_node(habits)
    node.run_pod("web", T0, "shop", "u")
    with pytest.raises(Refused, match="failed to reserve sandbox name") as refused:
        node.run_pod("web", T0, "shop", "u")
    assert refused.value.code == code
    node.run_pod("web", T0, "shop", "u", attempt=1)
    assert len(node.sandboxes) == 2


def test_the_pause_image_is_pulled_for_a_pod_that_needs_it() -> None:
    """Removed, it comes back by itself where the registry is reached: pinned again."""
    node = a_node(CONTAINERD_2)
    first = node.run_pod("web", T0).pause
    node.remove_image(f"sha256:{first.hex_id}")
    again = node.run_pod("db", T0).pause
    assert (again.hex_id, again.pinned) == (first.hex_id, True)


def test_the_forms_of_an_old_cri_o_are_among_the_habits() -> None:
    """Up to 1.29 no image_id, and the bare id as the reference."""
    node = a_node(CRIO_1_29)
    made = node.create(node.run_pod("web", T0).id, APP, T0)
    (listed,) = Calls(node, Clock()).list_containers(pb.ListContainersRequest()).containers
    assert (listed.image_ref, listed.image_id) == (made.image.hex_id, "")


# --- a simulated life ----------------------------------------------------------------------------


@EVERY
def test_the_same_seed_gives_the_same_life(habits: Habits) -> None:
    """A run that shows a bug can be run again."""
    lives = []
    for _ in range(2):
        node = Node(habits)
        life = Life(node, seed=5)
        life.begin(T0)
        for tick in range(60):
            life.step(T0 + tick)
        lives.append((sorted(node.images), sorted(node.containers), node.used(), life.happened))
    assert lives[0] == lives[1]


@EVERY
def test_a_life_goes_on_whatever_unused_image_is_removed(habits: Habits) -> None:
    """The demo's daemon removes images between any two steps: what is needed is pulled again."""
    node = Node(habits)
    life = Life(node, seed=5)
    life.begin(T0)
    for tick in range(200):
        life.step(T0 + tick)
        for image in list(node.images.values()):
            if not image.pinned and not any(node.users_of(image)):
                node.remove_image(habits.id_text(image.hex_id))
    assert all(container.image.hex_id in node.images for container in node.containers.values())
