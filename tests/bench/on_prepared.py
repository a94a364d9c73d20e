"""Figures on a node of any size, whose runtime answers with prepared bytes."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import bare
from .figures import Figure, median, quantile
from .prepared import PreparedNode
from .watched import Watched

POLICY = """apiVersion: reconciler/v1
kind: ImagePolicy
mode: {mode}
watermarks: {{high: 80%, low: 1%}}
minimumAge: 0s
exclusions:
{rules}
"""


@contextmanager
def home() -> Iterator[Path]:
    """A folder for one benchmark."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


def write_policy(folder: Path, mode: str = "enforce", rules: int = 100, edit: int = 0) -> Path:
    """A policy with `rules` rules, saved as an editor does: another file, renamed over it."""
    lines = [
        f'  - {{images: ["registry.example.com/kept-{edit}/app-{n}:v*"], reason: kept {n}}}'
        for n in range(rules)
    ]
    path, fresh = folder / "policy.yaml", folder / "policy.new"
    fresh.write_text(POLICY.format(mode=mode, rules="\n".join(lines)))
    fresh.replace(path)
    return path


def exclusion_in_force(edits: int = 200) -> list[Figure]:
    """An edit of a policy of 100 rules, from the return of its rename to the loop's own state."""
    waits = []
    with home() as folder, PreparedNode(folder, 100, 200) as node:
        (folder / "policy").mkdir()
        policy = write_policy(folder / "policy", "observe")
        with Watched(node.socket, policy, folder, "--used", "0.5") as daemon:
            daemon.until_ready()
            for edit in range(1, edits + 1):
                time.sleep(random.uniform(0.05, 0.15))
                daemon.report()
                write_policy(folder / "policy", "observe", edit=edit)
                saved = time.monotonic()
                waits.append(_in_force(daemon) - saved)
    made_of = {"p50 ms": 1e3 * median(waits), "worst ms": 1e3 * max(waits), "edits": edits}
    p99 = 1e3 * quantile(waits, 0.99)
    return [Figure("exclusion saved to in force, 100 rules, p99", p99, 25, "ms", made_of)]


def _in_force(daemon: Watched) -> float:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        time.sleep(0.03)  # asking costs the daemon time: not before it should be done
        policies = daemon.report()["policies"]
        if policies:
            return float(policies[0])
    raise TimeoutError("an edit did not come into force within 5 s")


def start_to_ready(rounds: int = 7) -> list[Figure]:
    """1,000 images and 5,000 containers: a daemon's start against the bare lists, in turns."""
    ready, certain, lists = [], [], []
    with home() as folder, PreparedNode(folder, 1000, 5000) as node:
        policy = write_policy(folder, "observe")
        for number in range(rounds):
            lists.append(bare.seconds("lists", node.socket))
            own = folder / str(number)
            own.mkdir()
            with Watched(node.socket, policy, own, "--used", "0.5") as daemon:
                time.sleep(1)
                notes = daemon.until_ready("certain")
                ready.append(notes["ready"])
                certain.append(notes["certain"])
    made_of = {
        "ready s": median(ready),
        "lists s": median(lists),
        "everything asked s": median(certain),
        "rounds": rounds,
    }
    value = median(ready) / median(lists)
    return [Figure("start to ready / bare lists, 1,000 and 5,000", value, 4, "times", made_of)]


def drain_while_planning(seconds: int = 30, rate: int = 5000) -> list[Figure]:
    """5,000 events a second from another process while the daemon wants to remove images, of 5,000,
    each by a plan of its own; and the longest step of the event loop in that time."""
    with home() as folder, PreparedNode(folder, 5000, 5000, used_images=1000) as node:
        policy = write_policy(folder)
        with Watched(node.socket, policy, folder, "--used", "0.9", "--steps") as daemon:
            start = daemon.until_ready("certain")
            time.sleep(1)
            before = daemon.report()
            sent = node.order(f"events {rate * seconds} {rate}")
            time.sleep(1)
            notes = daemon.report()
    ages, steps = notes["ages"], before["steps"] + notes["steps"] + start["steps"]
    wall, cpu = max(((step[0], step[1]) for step in steps), default=(0.0, 0.0))
    sizes = {
        "events": len(ages),
        "p50 ms": 1e3 * median(ages),
        "sent in s": sent["took"],
        "plans": notes["plans"],
        "listings": notes["listings"],
        "removed": notes["removals"],
    }
    sized = {"its CPU ms": 1e3 * cpu, "steps over 20 ms": len(steps)}
    return [
        Figure("5,000 events/s for 30 s, oldest at the mailbox", max(ages), 1, "s", sizes),
        Figure("longest step of the event loop, 5,000 and 5,000", 1e3 * wall, 50, "ms", sized),
    ]
