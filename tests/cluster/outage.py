"""Whoever tells of pods goes away and comes back: what it told of stays protected meanwhile, and
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

TOLD = 30.0  # seconds until the daemon has to know of a pod
NOTICED = 150.0  # seconds until a lost source is said: a silent watch counts as dead after 90 s
BACK = 200.0  # seconds until it is told again: kubelet renews a token's file within 90 s or so
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
    """Whatever the API server and kubelet send to the daemon's pod is dropped without a word;
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
        lab.tell("outage", "not run", "the runtime alone has no source to lose")
        return
    stories: list[Story] = []
    with Watcher(lab.api) as watcher:
        for number, one in enumerate(OUTAGES):
            stories += _through(lab, watcher, one, number)
        lab.api.create(SECRET, {"metadata": {"name": "late"}, "stringData": {"a": "b"}})
        try:
            stuck = watcher.wait_running(stories, PATIENCE)
            watcher.wait_told(stories)
        finally:
            lab.api.delete(f"{SECRET}/late")
    pulled = [story.name for story in stories if story.pulled]
    lab.tell(
        "outage", "pods that waited and pulled", f"{len(pulled)} of {len(stories)}", "0", not pulled
    )
    lab.tell("outage", "stuck", len(stuck), "0", not stuck)
    lab.tell("outage", "restarts of the daemon", lab.daemon.restarts, "0", not lab.daemon.restarts)


def _through(lab: Lab, watcher: Watcher, one: Outage, number: int) -> list[Story]:
    """One pod that is told of before the outage, one after it."""
    name = f"outage: {one.name}"
    before, before_image = _waiting(lab, watcher, f"before{number}")
    began = time.time()
    with one.happen(lab):
        if lab.daemon.mode in one.hits:
            noticed = _seconds(lambda: bool(_source(lab)[1]), NOTICED)
            lab.tell(
                name,
                "said in status after",
                _told(noticed),
                f"<= {NOTICED:.0f} s",
                noticed is not None,
            )
            lab.tell(
                name,
                "said in the log",
                bool(lab.daemon.lines("pods-lost", began)),
                "True",
                bool(lab.daemon.lines("pods-lost", began)),
            )
        with removing(lab):
            pass
        gone = {line["image"] for line in lab.daemon.lines("removing", began)}
        removed = len(lab.daemon.lines("removed", began))
    lab.tell(name, "removed meanwhile", removed, "> 0", removed > 0)
    lab.tell(name, "awaited image removed", before_image in gone, "False", before_image not in gone)
    back = _seconds(lambda: _source(lab) == (lab.daemon.mode, None), BACK)
    lab.tell(name, "told again after", _told(back), f"<= {BACK:.0f} s", back is not None)
    after, after_image = _waiting(lab, watcher, f"after{number}")
    began = time.time()
    with removing(lab):
        pass
    gone = {line["image"] for line in lab.daemon.lines("removing", began)}
    lost = {before_image, after_image} & gone
    lab.tell(name, "awaited images removed after it", len(lost), "0", not lost)
    return [before, after]


def _waiting(lab: Lab, watcher: Watcher, word: str) -> tuple[Story, str]:
    """A pod that waits for a Secret, told of, with the id of its image; and old images again."""
    image = lab.registry.app(f"{VICTIM}{word}:v1")
    image_id = lab.pulled(image)
    lab.stock()
    time.sleep(OLD)
    known = _count(lab)
    story = watcher.make(pod(word, image, secret="late"))
    # Not at once: while usage is calm kubelet is asked every 10 seconds.
    until(lambda: _count(lab) > known, TOLD, lambda: f"no source told of it: {lab.daemon.tail()}")
    return story, image_id


def _source(lab: Lab) -> tuple[str | None, str | None]:
    """Who tells of pods, and what is wrong with that, as status has it."""
    told = lab.daemon.status().get("pods") or {}
    return told.get("source"), told.get("trouble")


def _count(lab: Lab) -> int:
    """Of how many pods the daemon was told."""
    return int((lab.daemon.status().get("pods") or {}).get("count", 0))


def _seconds(condition: Callable[[], bool], longest: float) -> float | None:
    """How long it took; None: longer than that."""
    began = time.monotonic()
    try:
        until(condition, longest, "")
    except AssertionError:
        return None
    return time.monotonic() - began


def _told(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s"
