"""Pods that are about to start on real containerds, reported by the runtime alone: what
their containers will need stays."""

from __future__ import annotations

import json

from reconciler.domain.starting_pods import LONGEST_START

from .containerd import Containerd
from .daemon import Daemon
from .images import MEBIBYTE, Registry, until

APP = 16 * MEBIBYTE
WEB = {"pod-template-hash": "7d4b9c6f8d"}  # as kubelet passes on what a Deployment labels


def seen_used(daemon: Daemon, image: str) -> bool:
    """Whether the daemon has seen a container of an image."""
    status, text = daemon.get(f"/api/v1/images/{image}")
    return status == 200 and bool(json.loads(text)["usedBy"])


def test_the_main_image_stays_while_the_init_container_of_a_twin_runs(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """A Deployment's pod ran here once. The next one is in its init container, the main one's image
    is unused, and kubelet must not pull it again (`imagePullPolicy: Never`). A restart of the
    daemon forgets none of it."""
    work = node.workload
    init, main = registry.app("init:v1", APP), registry.app("main:v1", APP)
    kept = {name: work.pull(name) for name in (init, main)}
    daemon.write_policy("99%", "98%")
    with daemon:
        first = work.run_pod("web-7d4b9c6f8d-x2x4z", WEB)
        for name, image in (("wait", init), ("app", main)):
            work.start(work.create(first, image, name=name))
        until(lambda: seen_used(daemon, init) and seen_used(daemon, main), 30, daemon.tail)
    work.remove_pod(first)
    second = work.run_pod("web-7d4b9c6f8d-bq9tz", WEB)
    work.start(work.create(second, init, name="wait"))
    goes = work.pull(registry.app("goes:v1", APP))
    daemon.write_policy("2%", "1%")
    with daemon:
        until(lambda: not work.has(goes), 60, daemon.tail)
        explained = daemon.command("explain", main).stdout
        assert all(work.has(image_id) for image_id in kept.values()), daemon.tail()
        assert "pod default/web-7d4b9c6f8d-bq9tz may need it" in explained
        work.remove_pod(second)
        until(lambda: not any(map(work.has, kept.values())), 60, daemon.tail)


def test_nothing_goes_from_a_new_sandbox_until_its_first_container_is_made(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """A pod whose needs are unknown: its sandbox is there in mid-reclaim, and its container is
    made seconds later from an image that would have been the next to go."""
    work = node.workload
    apps = registry.stock(6, APP)
    ids = {name: work.pull(name) for name in apps}
    base = registry.app("base:v1", APP)
    work.pull(base)
    work.run(base)
    daemon.write_policy("99%", "98%")
    with daemon:
        daemon.wait_for("policy-in-force")
        pod = work.run_pod("single")
        daemon.write_policy("2%", "1%")
        held = daemon.wait_for("hold")
        assert held["reason"] == "pod-starting", daemon.tail()
        assert "default/single" in held["detail"]
        made = work.create(pod, apps[0], name="app")
        work.start(made)
        until(lambda: not any(work.has(ids[name]) for name in apps[1:]), 60, daemon.tail)
        assert work.has(ids[apps[0]]), daemon.tail()


def test_a_pod_without_containers_holds_the_reclaim_for_seconds_only(
    node: Containerd, daemon: Daemon, registry: Registry
) -> None:
    """It waits for a pull, and the pull for space."""
    work = node.workload
    goes = work.pull(registry.app("goes:v1", APP))
    base = registry.app("base:v1", APP)
    work.pull(base)
    work.run(base)
    daemon.write_policy("99%", "98%")
    with daemon:
        daemon.wait_for("policy-in-force")
        work.run_pod("pulls")
        daemon.write_policy("2%", "1%")
        until(lambda: not work.has(goes), LONGEST_START + 25, daemon.tail)
