"""Pods that are bound while images are being removed: does what they are about to need stay?

In every round 40 old images lie unused, 20 pods that ask for some of them (IfNotPresent) are made
within 3 seconds, half of them bound by the scheduler, and usage crosses the high mark right before
the first of them or between them. A pod is in the race if images were removed between its binding
and its start. What counts is the moment at which the daemon could know of it: with a source of pods
when it is bound, with the runtime alone when its sandbox is made. What went before that could
not have been kept; it is counted apart.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.real.chaos_observer import Observer
from tests.real.images import until

from .lab import Lab
from .watching import Story, Watcher, pod

AT_ONCE = 20  # pods of a round
# How many of them come before usage crosses the high mark, whether the others wait for the first
# removal, and in how many seconds all of them come: a reclaim begins up to a second after the
# crossing, and lasts from one second to ten.
WAYS = ((0, False, 3.0), (0, True, 1.5), (4, False, 3.0))
OLD = 6.0  # seconds until an image is older than the policy's minimumAge
PATIENCE = 60.0  # seconds until a pod that does not run counts as stuck
ROUNDS = 40  # at the most


@dataclass
class Racer:
    """One pod that was about to start in mid-reclaim, with the time of the removal of its image."""

    story: Story
    sandbox_at: float | None
    gone_at: float  # infinity: it stayed

    def knowable_at(self, alone: bool) -> float:
        """When the daemon could know of it at the earliest."""
        at = self.sandbox_at if alone else self.story.bound_at
        return float("inf") if at is None else at


@dataclass
class Tally:
    """What all rounds showed."""

    racers: list[Racer] = field(default_factory=list)
    outside: int = 0  # started before the removals, or bound after them
    stuck: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)  # running containers whose image was not there
    rounds: int = 0
    removals: int = 0
    # Seconds from the sandbox to the first container, of pods that pulled nothing.
    starts: list[float] = field(default_factory=list)


def race(lab: Lab) -> None:
    """Rounds until enough pods were about to start in mid-reclaim, then the figures."""
    tally, dice = Tally(), random.Random(20)
    with Watcher(lab.api) as watcher, lab.observed() as observer:
        while len(tally.racers) < lab.enough and tally.rounds < ROUNDS:
            tally.rounds += 1
            one_round(lab, watcher, observer, tally, dice)
            lab.remove_pods()
    report(lab, tally)


def one_round(
    lab: Lab, watcher: Watcher, observer: Observer, tally: Tally, dice: random.Random
) -> None:
    """One crossing of the high mark, and the pods in it."""
    stock = lab.stock()
    time.sleep(OLD)
    used = lab.used()
    began = time.time()
    names = dice.sample(sorted(stock), AT_ONCE)
    with ExitStack() as stack:
        before, after_first, within = WAYS[tally.rounds % len(WAYS)]
        first = time.time()
        stories = []
        for number, name in enumerate(names):
            if number == before:
                stack.enter_context(lab.pressure())
                if after_first:
                    until(lambda: lab.daemon.lines("removing", began), 30, lab.daemon.tail)
                    first = time.time()
            time.sleep(max(0.0, first + within * number / AT_ONCE - time.time()))
            name_of_pod = f"race{tally.rounds}p{number}"  # a name of no template
            stories.append(watcher.make(pod(name_of_pod, name, direct=bool(number % 2))))
        until(lambda: lab.daemon.lines("removing", began), 30, lab.daemon.tail)
        tally.stuck += [one.name for one in watcher.wait_running(stories, PATIENCE)]
        watcher.wait_for_events(stories)
        boxes, running, made = lab.sandboxes(), lab.running(), lab.first_containers()
        here = lab.node.workload.images().keys()
    removals = removal_times(lab.daemon.lines("removing", began))
    lasted = [at for times in removals.values() for at in times]
    low = [line["at"] for line in lab.daemon.lines("reached-low", began)]
    over = min(low, default=float("inf"))
    tally.removals += len(lasted)
    tally.missing |= {name for name, image in running.items() if image not in here}
    tally.missing |= {container for container, _ in observer.records.missing}
    tally.starts += [made[one.name] for one in stories if not one.pulled and one.name in made]
    for story in stories:
        starting = story.bound_at is not None and story.bound_at <= over
        if not starting or (story.running_at or over) < min(lasted):
            tally.outside += 1
            continue
        gone = min(removals.get(stock[story.image], []), default=float("inf"))
        tally.racers.append(Racer(story, boxes.get(story.name), gone))
    pulled = sum(bool(story.pulled) for story in stories)
    took = max(lasted) - min(lasted)
    print(
        f"  round {tally.rounds}: {len(lasted)} removals in {took:.1f} s, {pulled} pods pulled,"
        f" {len(tally.racers)} in mid-reclaim so far ({used >> 20} MiB used before)",
        flush=True,
    )


def removal_times(lines: list[dict[str, Any]]) -> dict[str, list[float]]:
    """When each image's removal was sent, from the daemon's own log."""
    found = defaultdict(list)
    for line in lines:
        found[line["image"]].append(line["at"])
    return found


def report(lab: Lab, tally: Tally) -> None:
    """The figures, against the targets."""
    alone = lab.daemon.alone
    limit = 5.0 if alone else 1.0
    count = len(tally.racers)
    early = [one for one in tally.racers if one.gone_at < one.story.created_at]
    late = [
        one for one in tally.racers if one.story.created_at <= one.gone_at < one.knowable_at(alone)
    ]
    there = [one for one in tally.racers if one.gone_at >= one.knowable_at(alone)]
    pulled = [one for one in there if one.story.pulled]
    share = 100 * len(pulled) / max(1, len(there))
    troubles = itertools.chain.from_iterable(one.story.troubles for one in tally.racers)
    failed = sum(name == "CreateContainerError" for name in troubles)
    moment = "sandbox made" if alone else "bound"

    def note(name: str, value: object, target: str = "", good: bool | None = None) -> None:
        lab.note("race", name, value, target, good)

    note("pods about to start in mid-reclaim", count, f">= {lab.enough}", count >= lab.enough)
    note("rounds, removals", f"{tally.rounds}, {tally.removals}", "", tally.removals > 0)
    for word, some in (("by the scheduler", False), ("directly", True)):
        note(f"of them bound {word}", sum(one.story.direct is some for one in tally.racers))
    all_pulled = sum(bool(one.story.pulled) for one in tally.racers)
    note("pulled again, of all", f"{all_pulled} ({100 * all_pulled / max(1, count):.1f} %)")
    note("image gone before the pod was made", len(early))
    note(f"image gone after that, before {moment}", len(late))
    note(f"image there when {moment}", len(there), "> 0", bool(there))
    value = f"{len(pulled)} ({share:.1f} %)"
    note("of those pulled again", value, f"<= {limit:g} %", share <= limit)
    note("CreateContainerError on the way", failed)
    tally.starts.sort()
    if tally.starts:
        shares = [tally.starts[int(len(tally.starts) * part)] for part in (0.5, 0.9, 0.99)]
        text = ", ".join(f"{seconds:.1f} s" for seconds in (*shares, tally.starts[-1]))
        note("sandbox to container without a pull, p50, p90, p99, longest", text)
    note("running on a missing image", len(tally.missing), "0", not tally.missing)
    note("stuck", len(tally.stuck), "0", not tally.stuck)
    for one in pulled[:8]:
        after = one.gone_at - one.knowable_at(alone)
        print(f"    {one.story.name}: its image went {after:.3f} s after it was {moment}")
