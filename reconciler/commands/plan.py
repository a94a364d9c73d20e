"""`reconciler plan`: what would go now, in which order, and why everything else stays."""

from __future__ import annotations

from ..domain.decision import decide, explanation_line, why
from ..domain.humanize import counted, image_name, size_text
from ..domain.marks import explained, warnings
from ..domain.plan import Plan
from ..domain.policy import Mode
from ..domain.unmatched import all_unmatched, in_words
from ..report import plan_json, to_text, unmatched_json, used_text
from ..settings import Settings
from .survey import Survey, aged, connect, look
from .tables import Table, emit, heading, hold_text


async def plan(settings: Settings, output: str, minimum_age: float | None) -> int:
    """Prints the plan as a table, wide with every factor of the scores, or as JSON; 0 also with a
    hold. Raises RuntimeFailure."""
    async with connect(settings) as client:
        survey = await look(client, settings, aged(minimum_age))
    made = decide(survey.state, survey.policy, survey.now, thorough=True)
    policy = survey.policy
    unmatched = all_unmatched(policy, survey.state) if policy is not None else ()
    if output == "json":
        mode = survey.policy.mode if survey.policy else None
        made_json = plan_json(made, survey.state, mode, survey.now)
        print(to_text(made_json | unmatched_json(unmatched)))
    else:
        show(made, survey, wide=output == "wide")
        for rule in unmatched:
            heading(in_words(rule))
    return 0


def show(made: Plan, survey: Survey, *, wide: bool) -> None:
    """The plan for people: filesystems, the hold if there is one, who goes, who stays and why."""
    mode = survey.policy.mode if survey.policy else Mode.OBSERVE
    for fs in survey.state.disks.filesystems.values():
        text = f"{fs.usage.mountpoint}: {used_text(fs.used_percent, fs.usage.df_percent)} of "
        text += f"{size_text(fs.usage.capacity)} used, {fs.pressure.value}; "
        text += f"high {size_text(fs.high)}, low {size_text(fs.low)}"
        heading(text)
        heading(f"  high mark {explained(fs, survey.state)}")
    for warning in warnings(survey.state):
        heading(f"warning: {warning}")
    for lost in survey.state.disks.invisible:
        heading(f"{lost.mountpoint}: not measured, it {lost.error}")
    if made.hold is not None:
        heading(f"on hold, nothing is removed {hold_text(made.hold)}")
    if survey.remover is not None:
        heading(f"{survey.remover} removes images here")
    if mode is Mode.OBSERVE:
        heading("mode: observe; `run` only reports, it removes nothing")
    emit(_candidates(made, survey, wide))
    emit(_kept(made))
    heading(str(made))


def _candidates(made: Plan, survey: Survey, wide: bool) -> Table:
    rows = tuple(
        (
            str(one.rank),
            image_name(one.image.names, one.image.id),
            size_text(one.image.size),
            one.cause.value if one.cause else "stays for now",
            explanation_line(one, survey.state, survey.now) if wide else why(one, survey.now),
        )
        for one in made.candidates
    )
    columns = ("#", "candidate", "size", "goes", "why")
    return Table("Nothing protects these; the first goes first", columns, rows)


def _kept(made: Plan) -> Table:
    rows = []
    for kept in sorted(made.kept, key=lambda kept: kept.protections[0].kind.value):
        name = image_name(kept.image.names, kept.image.id)
        first, more = kept.protections[0], len(kept.protections) - 1
        why = first.detail + (f" (+{counted(more, 'more reason')})" if more else "")
        rows.append((name, size_text(kept.image.size), first.kind.value, why))
    columns = ("kept", "size", "because", "in words")
    return Table("These stay", columns, tuple(rows))
