"""Containers that were asked for by a name without a host: which image do they mean?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.graph import ImageGraph
from reconciler.domain.inventory import Image, Listing
from reconciler.fake_runtime.habits import CRIO, CRIO_1_29, Habits
from reconciler.fake_runtime.node import layer
from tests.builders import MIB, T0, container, digest
from tests.commands.desk import LONG_AGO, desk


def named(name: str, content: str) -> Image:
    repository = name.rpartition(":")[0]
    digests = (f"{repository}@sha256:{digest(content)}",)
    return Image(digest(content), (name,), digests, 100 * MIB)


HERE, HUB = named("localhost:5000/short:v1", "here"), named("docker.io/library/short:v1", "hub")
DEEP = named("reg.example/team/short:v1", "deep")
OTHER, OLD = named("localhost:5000/other:v1", "other"), digest("old")


def asked_of(asked: str, ref: str, image_id: str = OLD) -> set[str]:
    """The images that a container keeps for having asked for such a text, its own having lost its
    tag: the names of those that are meant now."""
    one = replace(container("c", ref), image=asked, image_id=image_id)
    images = (HERE, HUB, DEEP, OTHER)
    graph = ImageGraph()
    graph.replace(Listing(T0, T0, images, (one,), ()))
    found = {image.tags[0] for image in images if graph.asking_for(image)}
    assert graph.asked_keys() == {image.key for image in images if image.tags[0] in found}
    graph.replace(Listing(T0, T0, images, (), ()))
    assert not graph.asked_keys()  # and it ends with the container
    return found


EVERYWHERE = {HERE.tags[0], HUB.tags[0], DEEP.tags[0]}


@pytest.mark.parametrize(
    ("asked", "ref", "meant"),
    [
        ("short:v1", f"localhost:5000/short@sha256:{digest('m')}", {HERE.tags[0]}),
        ("short:v1", f"docker.io/library/short@sha256:{digest('m')}", {HUB.tags[0]}),
        ("team/short:v1", f"reg.example/team/short@sha256:{digest('m')}", {DEEP.tags[0]}),
        ("short:v1", f"aaa.example/alias@sha256:{digest('m')}", EVERYWHERE),  # it has two names
        ("short:v1", OLD, EVERYWHERE),  # CRI-O to 1.29
        ("short:v2", OLD, set()),
        ("hort:v1", OLD, set()),
        ("short:v1", f"sha256:{OLD}", {HUB.tags[0]}),  # containerd
        ("localhost:5000/short:v1", f"localhost:5000/short@sha256:{digest('m')}", {HERE.tags[0]}),
        ("alias:v1", f"localhost:5000/other@sha256:{digest('m')}", {OTHER.tags[0]}),
        (OLD, f"localhost:5000/short@sha256:{digest('m')}", set()),  # as kubelet asks
    ],
)
def test_a_short_name_means_what_the_runtime_found_under_it(
    asked: str, ref: str, meant: set[str]
) -> None:
    """Where it is unknown, all that any host has of that name."""
    assert asked_of(asked, ref) == meant


def test_another_way_to_name_the_image_changes_what_was_asked_for() -> None:
    """An event says less of a container than the list that comes after it."""
    vague = replace(container("c", OLD), image="short:v1", image_id=OLD)
    exact = replace(vague, image_ref=HERE.digests[0])
    graph = ImageGraph()
    graph.replace(Listing(T0, T0, (HERE, HUB), (vague,), ()))
    assert graph.asked_keys() == {HERE.key, HUB.key}
    graph.replace(Listing(T0, T0, (HERE, HUB), (exact,), ()))
    assert graph.asked_keys() == {HERE.key}


@pytest.mark.parametrize("habits", [CRIO, CRIO_1_29], ids=["1.37", "1.29"])
async def test_the_image_that_a_short_name_means_by_now_stays(
    habits: Habits, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container runs on what a search registry had; the tag has moved there and was pulled. Made
    again the container would be made from the new one."""
    async with desk(capsys, monkeypatch, habits) as made:
        node = made.node
        node.search.append("localhost:5000")
        node.publish("localhost:5000/short:v1", [layer("old", 100 * MIB)])
        old = node.pull("short:v1", LONG_AGO)
        pod = node.run_pod("web", LONG_AGO)
        node.start(node.create(pod.id, "short:v1", LONG_AGO).id, LONG_AGO)
        node.publish("localhost:5000/short:v1", [layer("new", 100 * MIB)])
        new = node.pull("short:v1", LONG_AGO)
        assert (await made.run("prune", "--all-unused")).code == 0
        assert {old.hex_id, new.hex_id} <= node.images.keys()
