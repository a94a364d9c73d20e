"""The main job on real containerds: images go, space comes back, and never the wrong one."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest

from .containerd import Containerd
from .daemon import Daemon
from .images import MEBIBYTE, Registry, until

APP = 16 * MEBIBYTE  # bytes of one app's own layer: about 32 MiB on disk, packed and unpacked


def percent(node: Containerd) -> float:
    return 100 * node.used_bytes() / node.capacity()


def test_crossing_the_high_mark_ends_at_the_low_mark(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """Usage over the high mark comes down to the low one, and not to an empty cache. What crosses
    it is a file of no image's: only images can be removed."""
    ids = [node.workload.pull(name) for name in registry.stock(8, APP)]
    full = percent(node)
    daemon.write_policy(high=f"{full + 5:.2f}%", low=f"{full - 8:.2f}%")
    with daemon:
        daemon.wait_for("policy-in-force")
        assert all(node.workload.has(image_id) for image_id in ids)
        node.fill(node.capacity() // 100 * 6)
        daemon.wait_for("reached-low")
    left = [image_id for image_id in ids if node.workload.has(image_id)]
    assert percent(node) <= full - 8, daemon.tail()
    one = (full + 6 - percent(node)) / (len(ids) - len(left))  # percent that an image took
    assert percent(node) > full - 8 - 2 * one, "it went on below the low mark"
    assert left


def test_of_two_daemons_with_state_of_their_own_one_removes_until_it_is_killed(
    node: Containerd, daemon: Daemon, registry: Registry, tmp_path: Path
) -> None:
    """Two removers would each decide on a view that the other has changed. The second keeps what
    the first may remove, says which one that is, and takes over after a kill -9."""
    first, second = (node.workload.pull(registry.app(f"{n}:v1", APP)) for n in ("one", "two"))
    daemon.write_policy("2%", "1%", exclusions=[f"{registry.address}/two:*"])
    successor = Daemon(node.endpoint, tmp_path / "successor")
    successor.write_policy("2%", "1%")
    with daemon:
        until(lambda: not node.workload.has(first), 30, daemon.tail)
        with successor:
            assert f"(pid {daemon.pid}: " in successor.wait_for("standing-by")["detail"]
            assert successor.get("/readyz")[0] == 200
            successor.wait_for("hold")
            assert node.workload.has(second)
            assert successor.command("prune").returncode == 1
            assert node.workload.has(second)
            daemon.kill()
            until(lambda: not node.workload.has(second), 30, successor.tail)
            assert not successor.lines("ledger-trouble")


def test_in_use_pinned_pause_and_excluded_images_stay(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """Under pressure that nothing can satisfy, every protected image is still there."""
    work = node.workload
    running, created, exited = (registry.app(f"{n}:v1", APP) for n in ("run", "made", "done"))
    kept = {name: work.pull(name) for name in (running, created, exited)}
    work.run(running)
    work.create(work.run_pod(), created)
    _, container = work.run(exited)
    work.stop(container)
    excluded = registry.app("keep/me:v1", APP)
    kept[excluded] = work.pull(excluded)
    goes = work.pull(registry.app("goes:v1", APP))
    daemon.write_policy("2%", "1%", exclusions=[f"{registry.address}/keep/**"])
    with daemon:
        until(lambda: not work.has(goes), 30, daemon.tail)
    for name, image_id in kept.items():
        assert work.has(image_id), f"{name} was removed: {daemon.tail()}"
    assert work.has(work.image(f"{registry.address}/pause:3.10").id)


def nothing_may_go(daemon: Daemon) -> bool:
    """Whether it logged that; before, pods of the previous story may have held all removal."""
    return any("0 candidates" in line["detail"] for line in daemon.lines("hold"))


def test_young_images_stay(node: Containerd, daemon: Daemon, registry: Registry) -> None:
    """An image that was pulled a moment ago stays, however full the disk is."""
    daemon.write_policy("2%", "1%", minimum_age="10m")
    young = node.workload.pull(registry.app("young:v1", APP))
    with daemon:
        until(lambda: nothing_may_go(daemon), 30, daemon.tail)
    assert node.workload.has(young)


def test_pause_image_stays_without_a_pin_and_without_the_size_floor(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """The pause image stays on 1.6 too, which pins nothing, and with no size floor to save it."""
    work = node.workload
    work.run_pod()
    goes = work.pull(registry.app("goes:v1", APP))
    daemon.write_policy("2%", "1%", minimum_size="0")
    with daemon:
        until(lambda: not work.has(goes), 30, daemon.tail)
        listed = work.image(f"{registry.address}/pause:3.10")
        explained = daemon.command("explain", f"{registry.address}/pause:3.10", "-o", "json")
    verdicts = {p["kind"]: p for p in json.loads(explained.stdout)["protections"]}
    assert verdicts["sandbox"]["holds"]
    assert verdicts["pinned"]["holds"] == (node.major != "1.6")
    assert work.has(listed.id)


def test_tag_moved_image_stays_while_its_container_lives_and_may_go_after(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """A running container's image whose tag has moved stays, and so does the one its tag means
    now, which it would be made from next time; with the container gone both may go."""
    work = node.workload
    name = registry.app("moves:v1", APP)
    old = work.pull(name)
    pod, _ = work.run(name)
    registry.app("moves:v1", APP)
    new = work.pull(name)
    assert new != old
    goes = work.pull(registry.app("goes:v1", APP))
    daemon.write_policy("2%", "1%")
    with daemon:
        until(lambda: not work.has(goes), 30, daemon.tail)
        assert work.has(old), daemon.tail()
        assert work.has(new), daemon.tail()
        work.remove_pod(pod)
        until(lambda: not work.has(old) and not work.has(new), 60, daemon.tail)


def test_an_image_volume_is_a_use(node: Containerd, daemon: Daemon, registry: Registry) -> None:
    """An image that a container mounts stays, also after its tag has moved (2.x; before that a
    container can mount none, and the runtime says so)."""
    work = node.workload
    app, data = registry.app("app:v1", APP), registry.app("data:v1", APP)
    work.pull(app)
    mounted = work.pull(data)
    if not node.has_image_volumes:
        with pytest.raises(grpc.RpcError):
            work.run(app, volumes={"/data": data})
        return
    work.run(app, volumes={"/data": data})
    registry.app("data:v1", APP)
    moved = work.pull(data)
    daemon.write_policy("2%", "1%")
    with daemon:
        goes = work.pull(registry.app("goes:v1", APP))
        until(lambda: not work.has(goes), 60, daemon.tail)
    assert work.has(mounted), daemon.tail()
    assert work.has(moved), daemon.tail()  # what the tag in the mount means now: kept, in doubt


def test_an_image_imported_with_digests_stays_whole(
    node: Containerd, daemon: Daemon, registry: Registry, tmp_path: Path
) -> None:
    """`ctr images import --digests`, as kind and air-gapped nodes import: the name by digest that
    it makes is no registry's, and RemoveImage would take the tag that pods ask for."""
    work, name, archive = node.workload, registry.app("tool:v1", APP), tmp_path / "tool.tar"
    work.pull(name)
    node.export(name, archive)
    work.remove_all()
    node.ctr("images", "import", "--digests", str(archive))

    def is_listed() -> bool:
        """CRI lists each of the names a moment later; ctr of 2.x makes none by digest."""
        found = [one for one in work.images().values() if name in one.repo_tags]
        return bool(found) and (node.major == "2.x" or bool(found[0].repo_digests))

    until(is_listed, 10, "it is not listed")
    imported = work.image(name)
    goes = work.pull(registry.app("goes:v1", APP))
    daemon.write_policy("2%", "1%")
    with daemon:
        until(lambda: not work.has(goes), 30, daemon.tail)
        why = json.loads(daemon.command("explain", name, "-o", "json").stdout)["protections"]
    assert {one["kind"]: one["holds"] for one in why}["unpullable"], imported.repo_digests
    assert work.image(name) == imported


def test_an_image_that_ctr_runs_beside_kubernetes_is_in_use(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """CRI lists no container that `ctr` or `nerdctl` made in its namespace; containerd does. Once
    it is gone the image may go."""
    work, name = node.workload, registry.app("beside:v1", APP)
    beside = work.pull(name)
    node.ctr("run", "-d", name, "mine", "/bin/sleep", "1000")
    assert not work.driver.call("ListContainers").containers
    goes = work.pull(registry.app("goes:v1", APP))
    daemon.write_policy("2%", "1%")
    with daemon:
        until(lambda: not work.has(goes), 30, daemon.tail)
        assert "container mine, which CRI does not list" in daemon.command("explain", name).stdout
        assert work.has(beside)
        node.ctr("tasks", "kill", "-s", "KILL", "mine")
        until(lambda: "RUNNING" not in node.ctr("tasks", "ls"), 10, "it runs on")
        node.ctr("tasks", "rm", "mine")
        node.ctr("containers", "rm", "mine")
        until(lambda: not work.has(beside), 60, daemon.tail)
