"""The judge: every RemoveImage, at the instant it is sent and again when it arrives.

It is slow and obvious on purpose, and shares nothing with the product's own judgement: who uses
what comes from the node's truth, what the daemon could know from `knowledge`, what the operator
wants from `policies`.

What the daemon could have known:
- what the last complete listing said (images, containers, sandboxes), and every answer before it;
- every event that its reader received before the call was sent;
- the policy file as it was on disk when the call was sent (it looks right before), or else the last
  good one that it looked at.
What is known only to the node (a container made after the listing's answer, whose event was not
delivered yet) no client can know: such removals are counted apart, as `unknowable`.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from reconciler.domain.inventory import UsageSample
from reconciler.fake_runtime.disks import Disks
from reconciler.fake_runtime.node import Node, Stored

from .disks import Shortage
from .knowledge import Knowledge
from .marks import SHARE
from .meaning import means
from .policies import Book, Version
from .records import ListedImage, Look

EPSILON = 1e-6  # seconds
NARROWS = 600.0  # seconds that one container of unknown image holds everything
SHORTEST_DEADLINE = 120.0  # seconds


@dataclass(frozen=True)
class Command:
    """`reconciler prune`, as the operator means it: down to the low mark, or to `to`, in any
    mode; or all that nothing keeps."""

    to: int | None = None  # percent
    all_unused: bool = False
    minimum_age: int | None = None

    def over(self, policy: Version) -> Version:
        """The policy for this one pass."""
        low = policy.low if self.to is None else self.to
        age = policy.minimum_age if self.minimum_age is None else self.minimum_age
        return replace(
            policy,
            enforce=True,
            high=low,
            low=low,
            inodes_high=policy.inodes_low,
            minimum_age=age,
            maximum_unused_age=0,
            early=(),
            unit=policy.unit if self.to is None else SHARE,
        )


@dataclass(frozen=True)
class Violation:
    """A removal that must not have been sent: which promise it broke, and how."""

    invariant: str
    text: str
    at: float

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.3f}: {self.text}"


class History:
    """The last things that happened, shown when something is wrong."""

    def __init__(self, clock: Callable[[], float], kept: int = 400) -> None:
        self._clock, self._lines = clock, deque[tuple[float, str, object]](maxlen=kept)

    def note(self, text: str, more: object = "") -> None:
        self._lines.append((self._clock(), text, more))

    def __str__(self) -> str:
        return "\n".join(f"{at:12.3f}  {text} {more}" for at, text, more in self._lines)


class Oracle:
    """Judges; `violations` must stay empty, `unknowable` counts what no client could know."""

    def __init__(
        self,
        node: Node,
        book: Book,
        clock: Callable[[], float],
        needed: Callable[[Stored], str | None],
    ) -> None:
        self.node, self.book, self.clock = node, book, clock
        self._needed = needed  # by a pod that is bound: the ground truth
        self.knows = Knowledge(node)
        self.history = History(clock)
        self.violations: list[Violation] = []
        self.unknowable: Counter[str] = Counter()
        self.removals = 0
        self.dates = clock  # the clock that the dates of exclusions are by
        self.saved_at: float | None = None  # when the last save that worked began
        self.paused = False  # by the operator
        self._in_flight = 0
        self._ended = -1  # order of the last removal's answer, among listings and events
        self.shortage = Shortage()
        self.disks: Disks | None = None  # None: one that shows at once what was freed
        self.command: Command | None = None  # what the operator asks of this one process
        self.rival_holds = False  # the lock: another remover has it
        self._blamed = False
        self._last = "", 0.0  # the removal answered last, and when
        self._gone: bool | None = False  # by the first listing after it

    def process_begins(self, ledger: bool, clock_set: float = 0.0) -> None:
        """A new process of the daemon; what the operator asked of the old one is forgotten.
        `clock_set`: seconds by which the wall clock was set forward by now, in all."""
        self.knows.begin(self.clock(), ledger, clock_set)
        self.book.read, self.shortage = None, Shortage()
        self._last, self._gone = ("", 0.0), False
        self.command = None
        self._in_flight, self._ended, self.paused = 0, -1, False

    # --- usage ---------------------------------------------------------------------------------

    def measured(self, sample: UsageSample) -> None:
        """The daemon's loop got a measurement of the filesystems."""
        self.shortage.measured(sample)
        self._look_for_the_last()

    def _look_for_the_last(self) -> None:
        """The first listing after a removal shows whether it is gone: it may be pulled again."""
        look = self.knows.look
        if self._gone is None and look is not None and look.order > self._ended:
            self._gone = self._last[0] not in (look.images or {})

    def wanted(self, policy: Version | None) -> None:
        """The operator wants space back, down to the low mark."""
        if policy is not None:
            self.shortage.wanted(self._meant(policy))

    def weigh(self, policy: Version | None) -> None:
        """Updates what is short by the last measurement and a policy's marks."""
        if policy is not None:
            self.shortage.weigh(self._meant(policy))

    def policy(self) -> Version | None:
        """The policy in force for a removal sent now."""
        policy = self.book.on_disk or self.book.read
        return self._meant(policy) if policy is not None else None

    def _meant(self, policy: Version) -> Version:
        return self.command.over(policy) if self.command is not None else policy

    # --- removals ------------------------------------------------------------------------------

    def sent(self, text: str, deadline: float | None) -> None:
        """RemoveImage leaves the daemon: everything that it could know counts."""
        now = self.clock()
        key = text.removeprefix("sha256:")
        self.removals += 1
        self.history.note("RemoveImage", text)
        count = len(self.violations)
        self._judge_call(text, deadline)
        if self.rival_holds:
            self._blame("S8", "another remover holds the lock")
        look, policy = self.knows.look, self.policy()
        if look is None or self.knows.failed:
            self._blame("S6", "no complete listing, or the last one failed")
        elif policy is None:
            self._blame("S6", "no valid policy was ever read")
        else:
            if look.order < self._ended:
                self._blame("S6", "the listing is older than the removal before")
            if self.shortage.unseen:
                self._blame("S6", "no filesystem was measured")
            self._look_for_the_last()
            late = self.disks.late() if self.disks is not None else ()
            self.shortage.ended(bool(self._gone), self._last[1], late)
            listed = (look.images or {}).get(key)
            if listed is None or listed.text != text:
                self._blame("S8", f"{text} is no id as listed")
            else:
                self._judge(key, listed, look, policy, now)
        self._blamed = len(self.violations) > count
        self._in_flight += 1
        self.shortage.sent()
        self.knows.removal_sent(key, now, self.saved_at)

    def arrived(self, text: str) -> None:
        """It reaches the runtime: judged by the node's own truth, which may not be reported yet."""
        image = self.node.images.get(text.removeprefix("sha256:"))
        if image is None or self._blamed:
            return
        if next(self.node.users_of(image), None) is not None:
            self.unknowable["in use, unknown to any client"] += 1
            self.history.note("  in use by then, and nobody could know")
        elif (pod := self._needed(image)) is not None:
            self.unknowable["awaited, unknown to any client"] += 1
            self.history.note("  needed, and nobody could know, by pod", pod)

    def answered(self, text: str, lost: bool) -> None:
        """The call is over; lost: the runtime went away under it, which refuses nothing."""
        self.knows.removal_answered(text.removeprefix("sha256:"), lost)
        self._in_flight -= 1
        self._last, self._gone = (text.removeprefix("sha256:"), self.clock()), None
        self._ended = self.knows.next_order()

    def wrong_socket(self, call: str) -> None:
        """A call about images at the socket for containers, though images have their own."""
        self._blame("S8", f"{call} was asked of the endpoint for containers")

    def cut_off(self) -> None:
        """The daemon gave up a removal in flight, and lives on."""
        self._blame("S8", "a removal in flight was cancelled")

    # --- the promises, one by one --------------------------------------------------------------

    def _blame(self, invariant: str, text: str) -> None:
        self.violations.append(Violation(invariant, text, self.clock()))
        self.history.note(f"  VIOLATION of {invariant}:", text)

    def _judge_call(self, text: str, deadline: float | None) -> None:
        if re.fullmatch(r"(sha256:)?[0-9a-f]{64}", text) is None:
            self._blame("S8", f"{text!r} is no full id")
        if self._in_flight:
            self._blame("S8", "two removals at once")
        if deadline is not None and deadline < SHORTEST_DEADLINE:
            self._blame("S8", f"a deadline of {deadline} s")

    def _judge(
        self, key: str, listed: ListedImage, look: Look, policy: Version, now: float
    ) -> None:
        self._judge_image(key, listed, look, policy, now)
        self._judge_events(key, look)
        self._judge_starts(now)
        if self.paused:
            self._blame("S7", "the operator's pause is not over")
        if not policy.enforce:
            self._blame("S7", "the mode is observe")
        self._judge_need(key, listed, policy, now)

    def _judge_image(
        self, key: str, listed: ListedImage, look: Look, policy: Version, now: float
    ) -> None:
        """All that protects one image, apart from what holds all of them now."""
        self._judge_use(key, listed, look)
        self._judge_pods(key, listed, now)
        self._judge_names(key, listed, policy)
        if policy.system:
            self._judge_system(key, listed, look, policy, now)
        self._judge_ages(key, policy, now)

    def objections(self, key: str) -> list[Violation]:
        """What would speak against the removal of one image, if nothing held all of them, by the
        policy that the daemon read last."""
        look, policy, found = self.knows.look, self.book.read, list[Violation]()
        listed = (look.images or {}).get(key) if look is not None else None
        if look is None or policy is None or listed is None:
            return found
        kept, self.violations = self.violations, found
        history, self.history = self.history, History(self.clock, 0)
        self._judge_image(key, listed, look, policy, self.clock())
        self.violations, self.history = kept, history
        return [one for one in found if one.invariant != "S6"]  # a doubt that holds all of them

    def _judge_use(self, key: str, listed: ListedImage, look: Look) -> None:
        """S1: by containers, their volumes, the names they asked for, sandboxes, late events."""
        knows = self.knows
        for one, asked in (look.containers or {}).items():
            image, volumes = knows.users.get(one, ("", frozenset[str]()))
            if one in knows.unresolved:
                self._judge_unresolved(one, asked, image == key, listed, look)
            elif image == key:
                self._blame("S1", f"container {one[:8]} was made from it")
            if key in volumes and one in knows.mounts_known:
                self._blame("S1", f"container {one[:8]} mounts it")
            elif key in volumes:
                self._blame("S6", f"container {one[:8]} mounts it, and was not asked yet")
            if one not in knows.deleted and (asked in listed.names or asked == listed.text):
                self._blame("S1", f"container {one[:8]} asked for {asked}, which it is called")
        for box in look.sandboxes or ():
            image, name = knows.pauses.get(box, ("", ""))
            if image == key and (name in listed.tags or box in knows.pauses_known):
                self._blame("S1", f"sandbox {box[:8]} runs on it")

    def _judge_events(self, key: str, look: Look) -> None:
        """S1, by what came in since the listing."""
        if any(one == key and order > look.order for one, order, _, _ in self.knows.named):
            self._blame("S1", "an event named it after the listing began")

    def _judge_pods(self, key: str, listed: ListedImage, now: float) -> None:
        """S10: what pods bound here will need, reported by a source or known by their twins."""
        pods, anywhere = self.knows.pods, self.node.habits.crio
        for pod, text in pods.waiting(now):
            if means(text, key, listed, anywhere):
                self._blame("S10", f"pod {pod} was reported, and needs {text}")
        for twin in pods.twins_of(key):
            self._blame("S10", twin)

    def _judge_starts(self, now: float) -> None:
        """S10: pods that are about to start, and whose needs are unknown."""
        for start in self.knows.pods.starts(now):
            self._blame("S10", start)

    def _judge_unresolved(
        self, one: str, asked: str, uses: bool, listed: ListedImage, look: Look
    ) -> None:
        """S6: an unresolved container holds everything; later only what it could mean."""
        since = self.knows.unresolved[one]
        if look.began - since < NARROWS and self.clock() - since < NARROWS - EPSILON:
            self._blame("S6", f"the image of container {one[:8]} is unknown")
        elif uses and any(_path(asked) == _path(name) for name in listed.names):
            self._blame("S6", f"container {one[:8]} of unknown image asked for {asked}")

    def _judge_names(self, key: str, listed: ListedImage, policy: Version) -> None:
        if listed.pinned:
            self._blame("S2", "the listing said that it is pinned")
        if any(_path(name).rpartition("/")[2] == "pause" for name in listed.names):
            self._blame("S3", f"a pause image by its name: {listed.names}")
        habits = self.node.habits
        if habits.reports_configured_pause and self.node.pause_name in listed.names:
            self._blame("S3", "the runtime's configuration names it as pause image")
        if listed.size < policy.minimum_size:
            self._blame("S3", f"{listed.size} bytes are under the minimum size")
        for rule in policy.rules:
            if rule.protects(key, listed.names, self.dates()):
                self._blame("S4", f"{rule.text} protects {listed.names}")
        if policy.protect_unpullable and listed.tags and not listed.digests:
            self._blame("S4", "it has no digest, so that it cannot be pulled again")

    def _judge_system(
        self, key: str, listed: ListedImage, look: Look, policy: Version, now: float
    ) -> None:
        """S3: the current version of a system image. Only clear cases are judged: there is no other
        version, or it was used and the others never were."""
        for path in {_path(name) for name in listed.names if _is_system(name)}:
            if self.knows.ages.unused_for(key, now) < policy.keep_for - EPSILON:
                self._blame("S3", f"system image {path} is younger than keepFor")
            others = [
                other
                for other, one in (look.images or {}).items()
                if other != key and path in map(_path, one.names)
            ]
            if not others:
                self._blame("S3", f"the only version of system image {path}")
            elif key in self.knows.ages.used and not self._ever_used(others):
                self._blame("S3", f"the only version of system image {path} ever used")

    def _ever_used(self, keys: list[str]) -> bool:
        used = {image for image, _ in self.knows.users.values()}
        used |= {image for image, _ in self.knows.pauses.values()}
        used = used.union(*(volumes for _, volumes in self.knows.users.values()))
        return any(key in used or key in self.knows.ages.used for key in keys)

    def _judge_ages(self, key: str, policy: Version, now: float) -> None:
        ages = self.knows.ages
        unused = ages.unused_for(key, now)
        if unused < policy.minimum_age - EPSILON:
            self._blame("S5", f"listed and unused for {unused:.3f} s only")
        until, times = ages.refused.get(key, (0.0, 0))
        if now < until - EPSILON:
            self._blame("S9", f"refused {times} times, to be left alone {until - now:.1f} s more")
        back, gap = ages.back.get(key, (0.0, 0.0))
        keep = policy.come_back_for
        if keep and gap <= keep - EPSILON and now - back < keep - EPSILON:
            self._blame("S9", f"came back {gap:.1f} s after its removal, {now - back:.1f} s ago")

    def _judge_need(self, key: str, listed: ListedImage, policy: Version, now: float) -> None:
        """S7: above the mark and not yet back at the low one, unused for too long, expendable."""
        self.weigh(policy)
        if self.command is not None and self.command.all_unused:
            return
        unused = self.knows.ages.unused_for(key, now)
        if policy.maximum_unused_age and unused >= policy.maximum_unused_age - EPSILON:
            return
        if policy.goes_early(key, listed.names, unused + EPSILON):
            return
        if not self.shortage.short:
            self._blame("S7", f"{self.shortage} are not too many, unused {unused:.3f} s")
        elif self.shortage.rests(now) and self.command is None and not policy.is_auto:
            self._blame("S7", "removals in a row freed nothing of what is short")
        elif self.disks is not None:
            self.shortage.weigh_unshown(policy, self.disks)
            if self.shortage.superfluous > 1:
                self._blame("S7", "what the removals before freed is enough, and shows late")


SYSTEM = ("registry.k8s.io/kube-proxy", "registry.k8s.io/coredns/coredns")


def _is_system(name: str) -> bool:
    return _path(name) in SYSTEM


def _path(name: str) -> str:
    """The name without its tag or digest."""
    path = name.partition("@")[0]
    head, colon, tail = path.rpartition(":")
    return head if colon and "/" not in tail else path
