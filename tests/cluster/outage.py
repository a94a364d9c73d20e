"""A source of pods goes away and comes back: the pods it reported stay protected all the time, and
removal goes on for everything else."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.real.images import until

from .daemonset import VICTIM
from .lab import Lab
from .waiting import OLD, PATIENCE, removing
from .watching import Story, Watcher, pod

KNOWN_WITHIN = 30.0  # seconds until the daemon has to know of a pod
NOTICED = 150.0  # seconds until a lost source is reported: a silent watch counts as dead after 90 s
BACK = 200.0  # seconds until it reports again: kubelet renews a token's file within 90 s or so
SECRET = "/api/v1/namespaces/default/secrets"


@dataclass
class Outage:
    """One way to go away; `hits` are the modes whose source it silences."""

    name: str
    hits: frozenset[str]
    happen: Callable[[Lab], AbstractContextManager[None]]


@contextmanager
def kubelet_down(lab: Lab) -> Iterator[None]:
    lab.node.kubelet.stop()
    try:
        yield
    finally:
        lab.node.restart_kubelet()


@contextmanager
def api_server_down(lab: Lab) -> Iterator[None]:
    lab.node.api_server.stop()
    try:
        yield
    finally:
        lab.node.api_server.start()


@contextmanager
def token_outdated(lab: Lab) -> Iterator[None]:
    """Tokens are signed with another key from now on, and the pod still has its old one."""
    lab.node.certificates.new_token_key()
    for program in (lab.node.api_server, lab.node.controllers):
        program.stop()
        program.start()
    try:
        yield
    finally:
        lab.node.restart_kubelet()  # it forgets the tokens that it has, and asks for new ones


@contextmanager
def network_cut(lab: Lab) -> Iterator[None]:
    """All that the API server and kubelet send to the daemon's pod is dropped silently;
    kubelet's probes, which go the other way, are not."""
    rules = [
        f"to {lab.daemon.address} ipproto tcp sport {port} blackhole".split()
        for port in (443, 10250)
    ]
    for rule in rules:
        subprocess.run(["ip", "rule", "add", *rule], check=True)
    try:
        yield
    finally:
        for rule in rules:
            subprocess.run(["ip", "rule", "del", *rule], check=True)


OUTAGES = (
    Outage("kubelet down", frozenset({"kubelet", "socket"}), kubelet_down),
    Outage("API server down", frozenset({"api"}), api_server_down),
    Outage("token outdated", frozenset({"api", "kubelet"}), token_outdated),
    Outage("network cut", frozenset({"api", "kubelet"}), network_cut),
)


def outage(lab: Lab) -> None:
    """Every outage in turn; at the end all pods that waited start, and none pulls again."""
    if lab.daemon.alone:
        lab.note("outage", "not run", "the runtime alone has no source to lose")
        return
    stories: list[Story] = []
    with Watcher(lab.api) as watcher:
        for number, one in enumerate(OUTAGES):
            stories += _through(lab, watcher, one, number)
        lab.api.create(SECRET, {"metadata": {"name": "late"}, "stringData": {"a": "b"}})
        try:
            stuck = watcher.wait_running(stories, PATIENCE)
            watcher.wait_for_events(stories)
        finally:
            lab.api.delete(f"{SECRET}/late")
    pulled = [story.name for story in stories if story.pulled]
    lab.note(
        "outage", "pods that waited and pulled", f"{len(pulled)} of {len(stories)}", "0", not pulled
    )
    lab.note("outage", "stuck", len(stuck), "0", not stuck)
    lab.note("outage", "restarts of the daemon", lab.daemon.restarts, "0", not lab.daemon.restarts)


def _through(lab: Lab, watcher: Watcher, one: Outage, number: int) -> list[Story]:
    """One pod that is reported before the outage, one after it."""
    name = f"outage: {one.name}"
    before, before_image = _waiting(lab, watcher, f"before{number}")
    began = time.time()
    with one.happen(lab):
        if lab.daemon.mode in one.hits:
            noticed = _seconds(lambda: bool(_source(lab)[1]), NOTICED)
            lab.note(
                name,
                "in status after",
                _text(noticed),
                f"<= {NOTICED:.0f} s",
                noticed is not None,
            )
            lab.note(
                name,
                "in the log",
                bool(lab.daemon.lines("pods-lost", began)),
                "True",
                bool(lab.daemon.lines("pods-lost", began)),
            )
        with removing(lab):
            pass
        gone = {line["image"] for line in lab.daemon.lines("removing", began)}
        removed = len(lab.daemon.lines("removed", began))
    lab.note(name, "removed during it", removed, "> 0", removed > 0)
    lab.note(name, "awaited image removed", before_image in gone, "False", before_image not in gone)
    back = _seconds(lambda: _source(lab) == (lab.daemon.mode, None), BACK)
    lab.note(name, "reported again after", _text(back), f"<= {BACK:.0f} s", back is not None)
    after, after_image = _waiting(lab, watcher, f"after{number}")
    began = time.time()
    with removing(lab):
        pass
    gone = {line["image"] for line in lab.daemon.lines("removing", began)}
    lost = {before_image, after_image} & gone
    lab.note(name, "awaited images removed after it", len(lost), "0", not lost)
    return [before, after]


def _waiting(lab: Lab, watcher: Watcher, name: str) -> tuple[Story, str]:
    """A pod that waits for a Secret, already reported, with the id of its image; and old images."""
    image = lab.registry.app(f"{VICTIM}{name}:v1")
    image_id = lab.pulled(image)
    lab.stock()
    time.sleep(OLD)
    known = _count(lab)
    story = watcher.make(pod(name, image, secret="late"))
    # Not at once: while usage is calm kubelet is asked every 10 seconds.
    until(
        lambda: _count(lab) > known,
        KNOWN_WITHIN,
        lambda: f"no source reported it: {lab.daemon.tail()}",
    )
    return story, image_id


def _source(lab: Lab) -> tuple[str | None, str | None]:
    """The source of pods and its trouble, as status shows them."""
    pods = lab.daemon.status().get("pods") or {}
    return pods.get("source"), pods.get("trouble")


def _count(lab: Lab) -> int:
    """How many pods the daemon knows of."""
    return int((lab.daemon.status().get("pods") or {}).get("count", 0))


def _seconds(condition: Callable[[], bool], longest: float) -> float | None:
    """How long it took; None: longer than `longest`."""
    began = time.monotonic()
    try:
        until(condition, longest, "")
    except AssertionError:
        return None
    return time.monotonic() - began


def _text(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s"
