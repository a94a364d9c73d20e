"""Pods that are bound and have not made all their containers yet: what they will need must stay.

Their images are the first in line to go, by the policy that the harness writes: nothing but a
protection keeps them while usage is brought down from the high mark.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.real.images import MEBIBYTE, until

from .daemonset import VICTIM
from .lab import Lab
from .watching import MAIN, Story, Watcher, pod

OLD = 7.0  # seconds until what is unused is older than the policy's minimumAge
RUNS = 20.0  # seconds of an init container
REPORTED_WITHIN = 3.0  # seconds until every source has reported a pod, or it is too late
PATIENCE = 150.0  # seconds for a pod: kubelet looks for a missing Secret ever more rarely


def init(lab: Lab) -> None:
    """While an init container runs, the main container's image is not in use yet. With the runtime
    alone it is known if a pod of the same template ran here before, and only then it has to stay;
    `Never` cannot even pull what has gone."""
    first = lab.registry.app("first:v1", 2 * MEBIBYTE)
    lab.stock()
    with Watcher(lab.api) as watcher:
        if lab.daemon.alone:
            new = round_of(lab, watcher, "new", first)
            note(lab, "init, template never seen", new, None)
            lab.remove_pods()
        seen = round_of(lab, watcher, "seen", first, before=lab.daemon.alone)
        scenario = "init, template seen before" if lab.daemon.alone else "init"
        note(lab, scenario, seen, 0)


def round_of(
    lab: Lab, watcher: Watcher, name: str, first: str, before: bool = False
) -> list[tuple[Story, bool]]:
    """A pod that may pull and one that may not, in their init containers while images go; each
    with whether its main image was removed. `before`: pods of their templates run first."""
    made = {}
    for policy in ("IfNotPresent", "Never"):
        image = lab.registry.app(f"{VICTIM}{name}-{policy.lower()}:v1")
        made[policy] = (image, lab.pulled(image))

    def pods(generation: str, seconds: float) -> list[Story]:
        return [
            watcher.make(
                pod(
                    f"{name}{policy.lower()}{generation}",
                    image,
                    policy=policy,
                    init=(first, seconds),
                    labels={"pod-template-hash": f"{name}{policy.lower()}"},
                )
            )
            for policy, (image, _) in made.items()
        ]

    if before:
        assert not watcher.wait_running(pods("before", 1), PATIENCE), "the first twins do not run"
        seen = time.time()
        # A runtime without events is listed every few seconds: what ends before is never seen.
        until(lambda: lab.daemon.listed_at() > seen + 1, 90, lab.daemon.tail)
        lab.remove_pods()
    lab.stock()
    time.sleep(OLD)
    began = time.time()
    stories = pods("now", RUNS)
    until(lambda: len(lab.running()) >= 3, 40, "the init containers do not run")
    with removing(lab):
        watcher.wait_running(stories, 60)
        watcher.wait_for_events(stories)
    gone = {line["image"] for line in lab.daemon.lines("removing", began)}
    return [(story, made[policy][1] in gone) for story, policy in zip(stories, made, strict=True)]


def note(lab: Lab, scenario: str, found: list[tuple[Story, bool]], most: int | None) -> None:
    """What became of the pods; `most` that may lose their image, None: for information only."""
    lost = [story for story, gone in found if gone]
    pulled = [story for story, _ in found if story.pulls.get(MAIN, 0)]
    stuck = [story for story, _ in found if story.running_at is None]
    never = [story for story, _ in found if "ErrImageNeverPull" in story.troubles]
    for name, some in (
        ("main image removed before its container", lost),
        ("pulled again", pulled),
        ("ErrImageNeverPull", never),
        ("not running at the end", stuck),
    ):
        value = f"{len(some)} of {len(found)}"
        good = None if most is None else len(some) <= most
        lab.note(scenario, name, value, "" if most is None else str(most), good)


@contextmanager
def removing(lab: Lab) -> Iterator[None]:
    """Usage over the high mark, and enough images gone that those first in line are among them."""
    began = time.time()
    with lab.pressure():
        until(lambda: len(lab.daemon.lines("removed", began)) >= 5, 25, lab.daemon.tail)
        yield


def secret(lab: Lab) -> None:
    """A pod that waits for a Secret has not even a sandbox: only a source can report it."""
    alone = lab.daemon.alone
    name = "not-there-yet"
    image = lab.registry.app(f"{VICTIM}secret:v1")
    image_id = lab.pulled(image)
    lab.stock()
    time.sleep(OLD)
    with Watcher(lab.api) as watcher:
        began = time.time()
        story = watcher.make(pod("waiting", image, secret=name))
        time.sleep(REPORTED_WITHIN)
        with removing(lab):
            time.sleep(3.0)
        gone = any(line["image"] == image_id for line in lab.daemon.lines("removing", began))
        assert "waiting" not in lab.sandboxes(), "it has a sandbox: this shows nothing"
        path = "/api/v1/namespaces/default/secrets"
        lab.api.create(path, {"metadata": {"name": name}, "stringData": {"a": "b"}})
        try:
            stuck = watcher.wait_running([story], PATIENCE)
            watcher.wait_for_events([story])
        finally:
            lab.api.delete(f"{path}/{name}")
    for what, value in (("image removed", gone), ("pulled again", bool(story.pulled))):
        lab.note("secret", what, value, "" if alone else "False", None if alone else not value)
    lab.note("secret", "runs once the Secret is there", not stuck, "True", not stuck)
