"""Which image goes next, if any: `decide(state, policy, now) -> Plan`, a pure function.

1. A hold stops everything (the ladder in `hold.py`): no valid policy, the operator's own
   pause, no complete listing since the last removal or since an event that raised doubt, a
   container whose image cannot be told, something not asked yet, a filesystem not measured, no
   sandbox image known.
2. An image with any protection is kept (`protections`).
3. What is left are candidates, in the order of `ranking.keepscore.removal_order`; what goes
   whatever the marks say comes before all others.
4. A candidate goes for a cause: an `expendable` rule; it was unused for longer than the maximum;
   a filesystem is above its mark and not yet back at the low one; the operator's own command.
5. A plan evicts at most one image. Then everything is asked and decided anew.
6. How much is missing, and when nothing goes though a filesystem is above its mark, is
   `shortage.py`: what was removed does not show yet, it helped nobody, or it could not.
"""

from __future__ import annotations

import enum
import operator
from dataclasses import dataclass
from typing import NamedTuple

from .context import Context
from .hold import Hold as Hold
from .hold import HoldReason as HoldReason
from .hold import hold_on
from .inventory import Image
from .ledger import ImageRecord
from .policy import Policy
from .protections import BY_KIND, first_holding, holding, verdicts
from .protections.protection import Verdict
from .ranking.account import Account
from .ranking.keepscore import Appraiser, Score, removal_order
from .shortage import Need, Reach, expected_bytes, greatest_bytes, missing, needs, pause
from .slices import SLICE, Slices, finished
from .state import State
from .watermark import Pressure
from .words import counted, size_text


class Cause(enum.Enum):
    """Why a candidate goes."""

    WATERMARK = "watermark"
    EXPENDABLE = "expendable"
    UNUSED_AGE = "unused-age"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Command:
    """The operator's own command: removes while usage is above the policy's low mark, or, with
    `all_unused`, everything that nothing protects."""

    all_unused: bool = False


class Candidate(NamedTuple):
    """An image with no protection, its place in the order, and whether it would go now."""

    image: Image
    record: ImageRecord
    score: Score
    rank: int  # from 1
    of: int  # candidates in all
    cause: Cause | None  # None: it stays, for now

    @property
    def goes(self) -> bool:
        return self.cause is not None


@dataclass(frozen=True, slots=True)
class Kept:
    """An image and what keeps it: the first reason found, or all of them in a thorough plan."""

    image: Image
    protections: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer: every image is in exactly one of the two lists."""

    hold: Hold | None
    candidates: tuple[Candidate, ...]
    kept: tuple[Kept, ...]
    pressure: Pressure
    bytes_over_low: int
    look_again_at: float | None = None  # when the first protection or hold that ends by itself does

    @property
    def eviction(self) -> Candidate | None:
        """The one image to remove now."""
        if self.hold is not None:
            return None
        return next((candidate for candidate in self.candidates if candidate.goes), None)

    def __str__(self) -> str:
        going = [candidate for candidate in self.candidates if candidate.goes]
        size = sum(candidate.image.size for candidate in going)
        total = len(self.candidates) + len(self.kept)
        text = f"remove {len(going)} of {counted(total, 'image')}, {size_text(size)} as listed"
        text += f"; {len(self.candidates) - len(going)} more could go, {len(self.kept)} kept"
        return text + (f"; on hold: {self.hold.detail}" if self.hold else "")


def decide(
    state: State,
    policy: Policy | None,
    now: float,
    *,
    command: Command | None = None,
    thorough: bool = False,
) -> Plan:
    """The rules at the head of this file. `thorough` gives every protection of every kept image,
    for people; the loop needs only one."""
    return finished(deciding(state, policy, now, command=command, thorough=thorough))


def deciding(
    state: State,
    policy: Policy | None,
    now: float,
    *,
    command: Command | None = None,
    thorough: bool = False,
) -> Slices[Plan]:
    """`decide` in slices, for a caller that has other things to do in between; the state must not
    change before the end."""
    context = Context(state, policy or Policy(), now)
    free: list[Image] = []
    kept: list[Kept] = []
    for number, image in enumerate(state.graph.images.values(), 1):
        first = first_holding(image, context)
        if first is None:
            free.append(image)
        else:
            kept.append(Kept(image, tuple(holding(image, context)) if thorough else (first,)))
        if number % SLICE == 0:
            yield
    ranked = yield from _ranked(free, context, command)
    reach = Reach(greatest_bytes(_size(free), state), len(free)) if command is None else None
    wanted = needs(state, reach)
    candidates = _with_causes(ranked, context, command, missing(wanted))
    yield
    hold = hold_on(state, policy, now)
    if hold is not None:
        candidates = tuple(candidate._replace(cause=None) for candidate in candidates)
    elif paused := _paused(state, wanted, now, free, command):
        candidates = tuple(_spared(candidate) for candidate in candidates)
        hold = None if any(candidate.goes for candidate in candidates) else paused
    over = sum(fs.bytes_over_low for fs in state.disks.filesystems.values())
    ends = [hold.until if hold else None, *(_ends_at(one, context) for one in kept)]
    again = min((end for end in ends if end is not None), default=None)
    return Plan(hold, candidates, tuple(kept), state.disks.pressure, over, again)


def explain(image: Image, state: State, policy: Policy, now: float) -> tuple[Verdict, ...]:
    """Every protection's verdict on one image."""
    return verdicts(image, Context(state, policy, now))


def objection(
    image: Image, state: State, policy: Policy | None, now: float, command: Command | None = None
) -> str | None:
    """Why one image may not be removed after all: the last look, right before the call is sent."""
    hold = hold_on(state, policy, now)
    if hold is not None or policy is None:
        return hold.detail if hold else "no policy"
    if image.key not in state.graph.images:
        return "it is not listed any more"
    context = Context(state, policy, now)
    found = next(holding(state.graph.images[image.key], context), None)
    if found is not None:
        return found.detail
    record = state.record(image.key, now)
    needed = _cause(_due(image, record, context), missing(needs(state)) > 0, command)
    return None if needed else "it need not go any more: the marks or the usage have changed"


def why(candidate: Candidate, now: float) -> str:
    """What speaks for its place in the order, in a clause: the same wherever it is told."""
    return str(Account(candidate.image, candidate.record, candidate.score, now))


def account(candidate: Candidate, state: State, now: float) -> str:
    """A candidate's place in the order, and every factor of its score, in one line."""
    over = sum(fs.bytes_over_low for fs in state.disks.filesystems.values())
    return Account(candidate.image, candidate.record, candidate.score, now).line(
        goes=candidate.goes,
        rank=candidate.rank,
        of=candidate.of,
        frees=expected_bytes(candidate.image.size, state),
        missing=over,
    )


def score_of(image: Image, state: State, policy: Policy, now: float) -> Score:
    """One image's score, also of one that is kept."""
    context = Context(state, policy, now)
    record = state.record(image.key, now)
    return _appraiser(context).score(image, record, context.tier_rule(image))


def _appraiser(context: Context) -> Appraiser:
    memory, version = context.state.memory, context.state.runtime.version
    unpacked = version is not None and version.sizes_are_unpacked
    return Appraiser(memory.arrivals, context.now, unpacked=unpacked)


Ranked = tuple[Image, ImageRecord, Score, Cause | None]


def _ranked(free: list[Image], context: Context, command: Command | None) -> Slices[list[Ranked]]:
    """The candidates in the order in which they go, each with the cause it has whatever the
    marks say."""
    appraiser, policy = _appraiser(context), context.policy
    dues = command is None and bool(policy.expendable or policy.maximum_unused_age)
    ranked = []
    for number, image in enumerate(free, 1):
        record = context.record(image.key)
        score = appraiser.score(image, record, context.tier_rule(image))
        due = _due(image, record, context) if dues else None
        order = (due is None, *removal_order(score, image, record))
        ranked.append((order, (image, record, score, due)))
        if number % SLICE == 0:
            yield
    ranked.sort(key=operator.itemgetter(0))
    return [one for _, one in ranked]


def _due(image: Image, record: ImageRecord, context: Context) -> Cause | None:
    """Why an image goes though there is room."""
    rule, longest = context.expendable_rule(image), context.policy.maximum_unused_age
    if rule is None and not longest:
        return None
    unused = context.now - record.unused_since
    if rule is not None and unused >= rule.unused_for:
        return Cause.EXPENDABLE
    return Cause.UNUSED_AGE if longest and unused >= longest else None


def _with_causes(
    ranked: list[Ranked], context: Context, command: Command | None, left: float
) -> tuple[Candidate, ...]:
    """Which candidates would go until `left` bytes are free, by an estimate: removal is measured
    after each, so the estimate decides only what is shown, never what is done."""
    candidates = []
    for rank, (image, record, score, due) in enumerate(ranked, 1):
        cause = _cause(due, left > 0, command)
        if cause is not None:
            left -= expected_bytes(image.size, context.state)
        candidates.append(Candidate(image, record, score, rank, len(ranked), cause))
    return tuple(candidates)


def _cause(due: Cause | None, short: bool, command: Command | None) -> Cause | None:
    if command is not None:
        return Cause.COMMAND if command.all_unused or short else None
    return due or (Cause.WATERMARK if short else None)


def _ends_at(kept: Kept, context: Context) -> float | None:
    """When the protection found ends by itself, where time alone ends it soon."""
    return BY_KIND[kept.protections[0].kind].ends_at(kept.image, context)


def _paused(
    state: State, wanted: list[Need], now: float, free: list[Image], command: Command | None
) -> Hold | None:
    """Why nothing goes by the marks now. The operator's own command goes on where they cannot be
    reached, and asks for none to remove all that is unused."""
    if not wanted or (command is not None and command.all_unused):
        return None
    found = pause(state, wanted, now, len(free), _size(free))
    return None if command and found and found.reason is HoldReason.EXHAUSTED else found


def _size(images: list[Image]) -> int:
    return sum(image.size for image in images)


def _spared(candidate: Candidate) -> Candidate:
    """The candidate without the marks as a cause: other causes stand."""
    by_marks = candidate.cause in (Cause.WATERMARK, Cause.COMMAND)
    return candidate._replace(cause=None) if by_marks else candidate
