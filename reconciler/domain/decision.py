"""Which image goes next, if any: `decide(state, policy, now) -> Plan`, a pure function.

1. A hold stops everything (the ladder in `hold.py`): any unknown is a reason not to remove.
2. An image with any protection is kept (`protections`).
3. The others are candidates, in the order of `ranking.keepscore.removal_order`; those that are due
   whatever the marks say come first.
4. A candidate goes for a cause: an `expendable` rule; it was unused for longer than the maximum;
   a filesystem is above its mark and not yet back at the low one; the operator's own command.
5. A plan evicts at most one image. Then everything is listed and decided again.

Invariants:

- Every image is in exactly one list of the plan: a candidate, or kept for a reason.
- The state is only read, and must not change while a decision is made in steps.
- With a hold, or without a cause, nothing goes; the plan still shows the order.
- `objection` checks the same for one image, by what is known in the last moment before the call.

`shortage.py` says how much must be freed, and when nothing goes though a filesystem is above its
mark: freed space does not show yet, removals did not help, or they could not.
"""

from __future__ import annotations

import operator

from .context import Context
from .hold import Hold as Hold
from .hold import HoldReason as HoldReason
from .hold import hold_on
from .inventory import Image
from .ledger import ImageRecord
from .plan import Candidate, Cause, Command, Kept, Plan
from .policy import Policy
from .protections import BY_KIND, holding, verdicts
from .protections.protection import Verdict
from .ranking.explanation import Explanation
from .ranking.keepscore import Appraiser, Score, removal_order
from .shortage import Need, Reach, expected_bytes, greatest_bytes, missing, needs, shortage_hold
from .state import State
from .steps import STEP, Steps, run_to_completion


def decide(
    state: State,
    policy: Policy | None,
    now: float,
    *,
    command: Command | None = None,
    thorough: bool = False,
) -> Plan:
    """Returns a plan by the rules at the head of this file. `thorough` lists every protection of
    every kept image, for people; the loop needs only one."""
    return run_to_completion(decide_steps(state, policy, now, command=command, thorough=thorough))


def decide_steps(
    state: State,
    policy: Policy | None,
    now: float,
    *,
    command: Command | None = None,
    thorough: bool = False,
) -> Steps[Plan]:
    """`decide` in steps, for a caller that has other things to do in between; the state must not
    change before the end."""
    context = Context(state, policy or Policy(), now)
    free: list[Image] = []
    kept: list[Kept] = []
    for number, image in enumerate(state.graph.images.values(), 1):
        first = next(holding(image, context), None)
        if first is None:
            free.append(image)
        else:
            kept.append(Kept(image, tuple(holding(image, context)) if thorough else (first,)))
        if number % STEP == 0:
            yield
    ranked = yield from _ranked(free, context, command)
    reach = Reach(greatest_bytes(_size(free), state), len(free)) if command is None else None
    wanted = needs(state, reach)
    candidates = _with_causes(ranked, context, command, missing(wanted))
    yield
    hold = hold_on(state, policy, now)
    if hold is not None:
        candidates = tuple(candidate._replace(cause=None) for candidate in candidates)
    elif nothing_by_marks := _marks_hold(state, wanted, now, free, command):
        candidates = tuple(_spared(candidate) for candidate in candidates)
        hold = None if any(candidate.goes for candidate in candidates) else nothing_by_marks
    over = sum(fs.bytes_over_low for fs in state.disks.filesystems.values())
    ends = [hold.until if hold else None, *(_ends_at(one, context) for one in kept)]
    again = min((end for end in ends if end is not None), default=None)
    return Plan(hold, candidates, tuple(kept), state.disks.pressure, over, again)


def explain(image: Image, state: State, policy: Policy, now: float) -> tuple[Verdict, ...]:
    """Returns every protection's verdict on one image."""
    return verdicts(image, Context(state, policy, now))


def objection(
    image: Image, state: State, policy: Policy | None, now: float, command: Command | None = None
) -> str | None:
    """Returns why one image may not be removed after all: the last look, right before the call."""
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
    """Explains a candidate's place in the order, in a clause, the same wherever it is shown."""
    return str(Explanation(candidate.image, candidate.record, candidate.score, now))


def explanation_line(candidate: Candidate, state: State, now: float) -> str:
    """A candidate's place in the order, and every factor of its score, in one line."""
    over = sum(fs.bytes_over_low for fs in state.disks.filesystems.values())
    return Explanation(candidate.image, candidate.record, candidate.score, now).line(
        goes=candidate.goes,
        rank=candidate.rank,
        of=candidate.of,
        frees=expected_bytes(candidate.image.size, state),
        missing=over,
    )


def score_of(image: Image, state: State, policy: Policy, now: float) -> Score:
    """Returns one image's score, also that of a kept one."""
    context = Context(state, policy, now)
    record = state.record(image.key, now)
    return _appraiser(context).score(image, record, context.tier_rule(image))


def _appraiser(context: Context) -> Appraiser:
    memory, version = context.state.memory, context.state.runtime.version
    unpacked = version is not None and version.sizes_are_unpacked
    return Appraiser(memory.arrivals, context.now, unpacked=unpacked)


Ranked = tuple[Image, ImageRecord, Score, Cause | None]


def _ranked(free: list[Image], context: Context, command: Command | None) -> Steps[list[Ranked]]:
    """The candidates in the order in which they would go, each with the cause that it has whatever
    the marks say."""
    appraiser, policy = _appraiser(context), context.policy
    dues = command is None and bool(policy.expendable or policy.maximum_unused_age)
    ranked = []
    for number, image in enumerate(free, 1):
        record = context.record(image.key)
        score = appraiser.score(image, record, context.tier_rule(image))
        due = _due(image, record, context) if dues else None
        order = (due is None, *removal_order(score, image, record))
        ranked.append((order, (image, record, score, due)))
        if number % STEP == 0:
            yield
    ranked.sort(key=operator.itemgetter(0))
    return [one for _, one in ranked]


def _due(image: Image, record: ImageRecord, context: Context) -> Cause | None:
    """Why an image goes though no filesystem is short."""
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
    """The candidates, with a cause for those that would go until `left` bytes are free, by an
    estimate: usage is measured after each removal, so the estimate affects only what is shown."""
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
    """When the protection found ends by itself, if time alone ends it soon."""
    return BY_KIND[kept.protections[0].kind].ends_at(kept.image, context)


def _marks_hold(
    state: State, wanted: list[Need], now: float, free: list[Image], command: Command | None
) -> Hold | None:
    """Why nothing goes because of the marks now. The operator's own command goes on where they
    cannot be reached, and ignores them to remove all that is unused."""
    if not wanted or (command is not None and command.all_unused):
        return None
    found = shortage_hold(state, wanted, now, len(free), _size(free))
    return None if command and found and found.reason is HoldReason.EXHAUSTED else found


def _size(images: list[Image]) -> int:
    return sum(image.size for image in images)


def _spared(candidate: Candidate) -> Candidate:
    """Returns a candidate without the marks as a cause; other causes stay."""
    by_marks = candidate.cause in (Cause.WATERMARK, Cause.COMMAND)
    return candidate._replace(cause=None) if by_marks else candidate
