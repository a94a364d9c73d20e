"""Short pods come and go all the time: they may slow a reclaim down, and must not stop it."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

from .lab import PODS, Lab
from .watching import Watcher, pod

COUNT, RATE = 250, 5.0  # pods, and how many a second
JOBS = 10  # templates, each with an image of its own
RUNS = 2.0  # seconds of each pod
# Seconds that the low mark may still take after the last pod was made: a small machine is behind
# with the pods by then, and containerd takes ten seconds and more for one removal.
AFTER = 300.0
OLD = 6.0  # seconds until what is unused is older than the policy's minimumAge
WARM = 25  # pods that come before usage crosses the high mark


def churn(lab: Lab) -> None:
    """250 pods of 10 jobs at 5 a second, and usage over the high mark while they do."""
    stock = sorted(lab.stock())
    time.sleep(OLD)
    over = threading.Event()
    with Watcher(lab.api) as watcher, ExitStack() as stack:
        sweeper = threading.Thread(target=_delete_ended, args=(lab, watcher, over), daemon=True)
        stack.callback(sweeper.join, 10)
        stack.callback(over.set)
        sweeper.start()
        began = time.time()
        crossed = began
        for number in range(COUNT):
            time.sleep(max(0.0, began + number / RATE - time.time()))
            if number == WARM:
                crossed = time.time()
                stack.enter_context(lab.pressure())
            job = number % JOBS
            labels = {"job-name": f"job{job}"}
            watcher.make(pod(f"job{job}-{number}", stock[job], seconds=RUNS, labels=labels))
        made = time.time()
        low = _reached(lab, crossed, made + AFTER)
        stories = list(watcher.stories.values())
    # kubelet is far behind with its Events by now, and drops some: the next scenario misses them.
    lab.node.restart_kubelet()
    removals = len(lab.daemon.lines("removed", crossed))
    ended = sum(one.ended_at is not None for one in stories)
    pulled = sum(bool(one.pulled) for one in stories)
    lab.note("churn", "pods made, a second", f"{COUNT}, {COUNT / (made - began):.1f}")
    lab.note("churn", "ended, pulled again", f"{ended}, {pulled}")
    lab.note("churn", "removals", removals, "> 0", removals > 0)
    text = "never" if low is None else f"{low - crossed:.0f} s"
    lab.note("churn", "low mark reached after", text, "reached", low is not None)
    lasted = f"{made - crossed:.0f} s"
    lab.note("churn", "pods came for as long as", lasted)


def _reached(lab: Lab, since: float, until: float) -> float | None:
    """When the low mark was reached; None: not until then."""
    while True:
        lines = lab.daemon.lines("reached-low", since)
        if lines:
            return float(lines[0]["at"])
        if time.time() > until:
            print(lab.daemon.tail())
            return None
        time.sleep(0.5)


def _delete_ended(lab: Lab, watcher: Watcher, over: threading.Event) -> None:
    """Deletes pods that have ended, as their controller does; the node forgets them later."""
    deleted: set[str] = set()
    while not over.wait(1.0):
        for name, story in list(watcher.stories.items()):
            if story.ended_at is not None and name not in deleted:
                deleted.add(name)
                lab.api.delete(f"{PODS}/{name}")
