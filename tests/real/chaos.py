"""Chaos on real containerds: `python -m tests.real.chaos --minutes 10 --majors 1.7,2.x --seed 7`.

On each major several workers do what kubelet does, at the rate the machine bears, while the daemon
is kept under pressure by tight marks, and containerd and the daemon are ended and started again at
random. A separate observer notes who uses which image. At the end: every container's image is
there, no image in use was removed, no record without a name is left that cannot be removed, and
the filesystem is within the marks or everything left is protected. Ends with 1 on a violation.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from reconciler.fake_runtime._pb import workload_pb2 as pb

from .chaos_kubelet import Worker, publish
from .chaos_observer import WINDOW, Finding, Observer, findings
from .containerd import SUITES, Containerd
from .daemon import Daemon
from .debs import install_tools, what_is_missing
from .images import MEBIBYTE, Registry, until

WORKERS = 3
HIGH, LOW = 70 * MEBIBYTE, 50 * MEBIBYTE  # over an empty node: little more than what pods use
MORE = "comeBackFor: 2s"  # the default hour would soon keep everything
PATIENCE = 90.0  # seconds more, until the disk was too full once
SETTLE = 60.0  # seconds the daemon has to bring usage down at the end


@dataclass
class Outcome:
    """What happened on one major."""

    major: str
    seed: int
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    raced: list[Finding] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For people: one paragraph."""
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        lines = [f"containerd {self.major}, {self.seconds:.0f} s, seed {self.seed}: {counts}"]
        worst = max((one.seconds or 0.0 for one in self.raced), default=0.0)
        lines.append(
            f"  removed within {WINDOW:g} s of a container's creation: {len(self.raced)}"
            + (f" (the latest after {1000 * worst:.0f} ms)" if self.raced else "")
        )
        lines += [f"  {note}" for note in self.notes]
        lines.append(f"  violations: {len(self.violations)}")
        return "\n".join(lines + [f"  VIOLATION: {one}" for one in self.violations])


class Chaos:
    """One node with everything on it, from `run` to its outcome."""

    def __init__(self, node: Containerd, registry: Registry, folder: Path, seed: int) -> None:
        self._node, self._registry = node, registry
        self._random = random.Random(f"{seed} {node.major}")
        self._outcome = Outcome(node.major, seed)
        self._pause = f"{registry.address}/pause:3.10"
        node.workload.pull(self._pause)
        self._empty = node.used_bytes()
        self._daemon = Daemon(node.endpoint, folder / node.major)
        high, low = (f"{(self._empty + mark) // 1024}Ki" for mark in (HIGH, LOW))
        self._daemon.write_policy(high, low, minimum_age="1s", more=MORE)
        self._workers = [Worker(node, registry, f"{seed}-{n}") for n in range(WORKERS)]
        self._observer = Observer(str(node.socket), self._pause, node.has_image_volumes)

    def run(self, length: float) -> Outcome:
        """Runs chaos for `length` seconds, then judges what is left."""
        began = time.monotonic()
        self._daemon.start()
        self._observer.start()
        for worker in self._workers:
            worker.start()
        while (left := began + length - time.monotonic()) > 0:
            time.sleep(min(self._random.expovariate(1 / 6), left))
            self._end_and_start_one()
        while not self._has_removed() and time.monotonic() < began + length + PATIENCE:
            time.sleep(0.2)
        for worker in self._workers:
            worker.end()
        self._outcome.seconds = time.monotonic() - began
        try:
            self._judge()
        finally:
            self._observer.end()
            if self._daemon.running:
                self._daemon.stop()
        self._count()
        return self._outcome

    def _has_removed(self) -> bool:
        """Whether it has removed anything: on a busy machine the workers fill the disk slowly."""
        return bool(self._daemon.lines("removed"))

    def _end_and_start_one(self) -> None:
        """Ends the daemon or containerd, by kill -9 or SIGTERM; starts it again at once or soon."""
        what = self._random.choices(("daemon", "containerd"), (5, 4))[0]
        how = self._random.choices(("kill -9", "SIGTERM"), (3, 1))[0]
        self._outcome.counts[f"{how} of {what}"] += 1
        one = self._daemon if what == "daemon" else self._node
        one.kill() if how == "kill -9" else one.stop()
        time.sleep(self._random.choice((0.0, 0.0, 1.0, 2.0)))
        one.start()

    # --- the judgement -------------------------------------------------------------------------

    def _judge(self) -> None:
        """Checks what must be true once all runs and no worker works any more."""
        violations = self._outcome.violations
        try:
            until(self._within_the_marks, SETTLE, self._over_the_marks)
        except AssertionError as error:
            violations.append(str(error))
        looks = self._observer.records.looks
        until(lambda: self._observer.records.looks >= looks + 3, 30, "the observer sees nothing")
        self._observer.end()
        removals = self._daemon.lines("removing")
        for finding in findings(self._observer.records, removals):
            if finding.in_the_window:
                self._outcome.raced.append(finding)
            else:
                violations.append(self._text(finding))
        if self._observer.records.pause_missing:
            violations.append(
                f"the pause image was missing {self._observer.records.pause_missing} times"
            )
        broken = [(one.name, one.failure) for one in self._workers]
        broken.append(("the observer", self._observer.failure))
        violations += [f"{name} broke: {failure!r}" for name, failure in broken if failure]
        self._check_living_containers()
        self._check_for_orphans()

    def _within_the_marks(self) -> bool:
        """Whether usage is within the marks, or everything left is protected."""
        return self._node.used_bytes() < self._empty + HIGH or not self._plan()["candidates"]

    def _plan(self) -> dict[str, Any]:
        done = self._daemon.command("plan", "-o", "json")
        assert done.returncode == 0, done.stderr
        plan: dict[str, Any] = json.loads(done.stdout)
        return plan

    def _over_the_marks(self) -> str:
        over = self._node.used_bytes() - self._empty - HIGH
        return f"{over} bytes over the high mark with candidates left: {self._daemon.tail()}"

    def _check_living_containers(self) -> None:
        """Checks that every container's image is listed, but for those in the window."""
        listed = self._node.workload.images()
        raced = {one.image for one in self._outcome.raced}
        for container in self._node.workload.driver.call("ListContainers").containers:
            self._outcome.counts["containers alive at the end"] += 1
            if container.image_ref not in listed and container.image_ref not in raced:
                text = (
                    f"container {container.id[:13]} lives without its image {container.image_ref}"
                )
                self._outcome.violations.append(text)

    def _check_for_orphans(self) -> None:
        """Removes all pods, then images without a name: what cannot be removed is an orphan."""
        work = self._node.workload
        for pod in work.driver.call("ListPodSandbox").items:
            work.remove_pod(pod.id)
        self._daemon.stop()
        done = self._daemon.command("prune", "--all-unused", "--minimum-age", "0s")
        if "not removed" in done.stderr:
            self._outcome.violations.append(f"prune could not remove all: {done.stderr}")
        nameless = [
            i for i, one in work.images().items() if not one.repo_tags and not one.repo_digests
        ]
        self._outcome.counts["images without a name at the end"] = len(nameless)
        for image_id in nameless:
            try:
                work.driver.call("RemoveImage", image=pb.ImageSpec(image=image_id))
            except grpc.RpcError as error:
                self._outcome.violations.append(f"orphan {image_id}: {error.details()}")
            if work.has(image_id):
                self._outcome.violations.append(f"orphan {image_id} is listed after its removal")
        left = (self._node.used_bytes() - self._empty) / MEBIBYTE
        kinds = Counter(one["protections"][0]["kind"] for one in self._plan()["kept"])
        why = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        self._outcome.notes.append(f"after a last prune: {left:.1f} MiB over empty; kept: {why}")

    def _text(self, finding: Finding) -> str:
        after = "no removal of ours" if finding.seconds is None else f"{finding.seconds:.3f} s old"
        names = [
            line["names"]
            for line in self._daemon.lines("removing")
            if line["image"] == finding.image
        ]
        return (
            f"container {finding.container[:13]} ({after}), {finding.image} {names}: {finding.how}"
        )

    def _count(self) -> None:
        for worker in self._workers:
            self._outcome.counts.update(worker.counts)
        counts = self._outcome.counts
        counts["removals"] = len(self._daemon.lines("removed"))
        counts["removals not done"] = len(self._daemon.lines("not-removed"))
        counts["removals spared at the last look"] = len(self._daemon.lines("spared"))
        counts["looks of the observer"] = self._observer.records.looks


def chaos(major: str, length: float, seed: int, registry: Registry, folder: Path) -> Outcome:
    """One major, on a node of its own."""
    with Containerd(major, registry) as node:
        return Chaos(node, registry, folder, seed).run(length)


def main() -> int:
    """The command line; 1 if anything was violated anywhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="on each major")
    parser.add_argument("--majors", default=",".join(SUITES))
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    options = parser.parse_args()
    missing = what_is_missing()
    if missing is not None:
        print(missing, file=sys.stderr)
        return 1
    install_tools()
    outcomes = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos")))
        registry = stack.enter_context(Registry(folder / "registry"))
        publish(registry)
        for major in options.majors.split(","):
            outcome = chaos(major, 60 * options.minutes, options.seed, registry, folder)
            print(outcome.text(), flush=True)
            outcomes.append(outcome)
    total = sum(len(one.violations) for one in outcomes)
    print(f"violations: {total}, seed {options.seed}, pid {os.getpid()}")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
