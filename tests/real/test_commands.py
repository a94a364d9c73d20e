"""The one-shot commands on real containerds, where `crictl rmi --prune` removes images in use
(measured: docs/runtimes.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .containerd import Containerd
from .daemon import Daemon
from .images import MEBIBYTE, Registry, until

SIZE = 4 * MEBIBYTE  # bytes of one image's own layer


@dataclass
class Images:
    """The images of a node on which use is not obvious: ids by what they are."""

    used: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def images(node: Containerd, registry: Registry, daemon: Daemon) -> Images:
    """A running container whose tag has moved, an exited one, a created one, one that mounts an
    image; and three unused images. No pod is starting any more."""
    work, made = node.workload, Images()
    moved = registry.app("moved:v1", SIZE)
    made.used["moved"] = work.pull(moved)
    work.run(moved)
    registry.app("moved:v1", SIZE)
    made.used["the tag's new image"] = work.pull(moved)
    exited, created = registry.app("exited:v1", SIZE), registry.app("created:v1", SIZE)
    made.used |= {"exited": work.pull(exited), "created": work.pull(created)}
    work.stop(work.run(exited)[1])
    work.create(work.run_pod(), created)
    if node.has_image_volumes:
        data = registry.app("data:v1", SIZE)
        made.used["mounted"] = work.pull(data)
        work.run(exited, volumes={"/data": data})
    made.used["pause"] = work.image(f"{registry.address}/pause:3.10").id
    for number in range(3):
        made.unused[f"unused{number}"] = work.pull(registry.app(f"unused{number}:v1", SIZE))
    daemon.write_policy("99%", "98%")
    plan = "plan", "-o", "json"
    until(lambda: json.loads(daemon.command(*plan).stdout)["hold"] is None, 30, "pods are starting")
    return made


def test_prune_removes_what_is_unused_and_nothing_that_only_looks_so(
    node: Containerd, daemon: Daemon, images: Images
) -> None:
    """What crictl's prune gets wrong (the moved tag, the pause image on 1.6, the image volume)
    stays, and all that nothing uses goes, in one pass, whatever the mode."""
    daemon.write_policy("99%", "98%", mode="observe")
    done = daemon.command("prune", "--all-unused")
    assert done.returncode == 0, done.stderr
    assert node.workload.images().keys() == set(images.used.values()), done.stdout + done.stderr


def test_prune_stops_at_the_mark_it_was_given(
    node: Containerd, daemon: Daemon, images: Images
) -> None:
    """With --to it goes on until the filesystem is down there, and no further; when only images in
    use are left above the mark it says so, ends with 1, and has removed none of them."""
    daemon.write_policy("99%", "98%")
    before = node.used_bytes()
    done = daemon.command("prune", "--to", f"{(before - MEBIBYTE) // 1024}Ki")
    assert done.returncode == 0, done.stderr
    left = node.workload.images().keys()
    assert len(left & set(images.unused.values())) == len(images.unused) - 1, done.stdout
    assert node.used_bytes() <= before - MEBIBYTE
    failed = daemon.command("prune", "--to", "0.01%")
    assert failed.returncode == 1
    assert "over the mark" in failed.stderr
    assert node.workload.images().keys() == set(images.used.values())


def test_plan_has_every_image_in_one_list_and_removes_none(
    node: Containerd, daemon: Daemon, images: Images
) -> None:
    """Candidates are what nothing uses; all others are kept, each for a true reason."""
    daemon.write_policy("2%", "1%")
    done = daemon.command("plan", "-o", "json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert {one["id"] for one in plan["candidates"]} == set(images.unused.values())
    assert all(one["goes"] for one in plan["candidates"])
    kept = {one["id"]: {p["kind"] for p in one["protections"]} for one in plan["kept"]}
    assert kept.keys() == set(images.used.values())
    assert "sandbox" in kept.pop(images.used["pause"])
    assert all("in-use" in kinds for kinds in kept.values())
    assert node.workload.images().keys() == set(images.used.values()) | set(images.unused.values())


def test_explain_finds_an_image_by_tag_digest_id_and_beginning_of_its_id(
    node: Containerd, daemon: Daemon, images: Images, registry: Registry
) -> None:
    """Every way to name an image leads to the same verdict; what is no image here ends with 1."""
    daemon.write_policy("2%", "1%", exclusions=[f"{registry.address}/unused1"])
    image = node.workload.images()[images.unused["unused1"]]
    for query in (
        image.repo_tags[0],
        image.repo_digests[0],
        image.id,
        image.id[7:20],
        "unused1:v1",
    ):
        done = daemon.command("explain", query, "-o", "json")
        assert done.returncode == 0, done.stderr
        explained = json.loads(done.stdout)
        assert explained["image"]["id"] == image.id
        assert explained["verdict"] == "kept"
        excluded = next(p for p in explained["protections"] if p["kind"] == "excluded")
        assert excluded["rule"]["file"] == str(daemon.policy)
    moved = json.loads(daemon.command("explain", images.used["moved"], "-o", "json").stdout)
    assert next(p["kind"] for p in moved["protections"] if p["holds"]) == "in-use"
    assert daemon.command("explain", "no/such:image").returncode == 1


def test_diff_shows_what_an_edit_would_do_and_does_none_of_it(
    node: Containerd, daemon: Daemon, images: Images, registry: Registry, tmp_path: Path
) -> None:
    """An exclusion that is not rolled out yet changes the verdict on its image on paper only."""
    daemon.write_policy("2%", "1%")
    edited = daemon.write_policy(
        "2%", "1%", exclusions=[f"{registry.address}/unused1"], path=tmp_path / "edited.yaml"
    )
    done = daemon.command("diff", str(edited), "-o", "json")
    assert done.returncode == 0, done.stderr
    changed = {
        one["id"]: (one["before"], one["after"]) for one in json.loads(done.stdout)["images"]
    }
    assert changed == {images.unused["unused1"]: ("goes", "kept")}
    assert set(images.unused.values()) <= node.workload.images().keys()
