"""Seeded bugs: our own safety code with one thing wrong each. The oracle must see every one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from reconciler import assembly
from reconciler.cri import client, translate
from reconciler.cri._pb import runtime_pb2 as pb
from reconciler.domain import decision, hold, protections, starting_pods, watermark
from reconciler.domain.awaited import Awaited
from reconciler.domain.context import Context
from reconciler.domain.exclusion import Exclusions
from reconciler.domain.facts import PolicyLoaded
from reconciler.domain.graph import ImageGraph
from reconciler.domain.inventory import ContainerState, Image, Listing, Template
from reconciler.domain.memory import Memory
from reconciler.domain.pattern import Scope
from reconciler.domain.plan import Cause
from reconciler.domain.policy import Exclusion, Expendable, Mark, Mode, Policy
from reconciler.domain.protections.protection import Kind
from reconciler.domain.ranking.importance import RankingRules
from reconciler.domain.starting_pods import StartingPods
from reconciler.domain.state import State
from reconciler.domain.templates import Templates
from reconciler.engine import reclaim, reconcile
from reconciler.engine.reconcile import Reconciler
from reconciler.policy import values
from reconciler.sources.policy_file import PolicySource

from . import container_moves, disk_moves, image_moves, moves, pod_moves, policy_moves
from . import mutants_around as around
from .early import make_expendable
from .twice import list_twice
from .wallclock import set_wall_clock

Patch = pytest.MonkeyPatch
expendable_rule = RankingRules.expendable_rule


@dataclass(frozen=True)
class Mutant:
    """A bug, and the promises of which it breaks one. `often`: moves without many of which it would
    take long to show."""

    name: str
    breaks: tuple[str, ...]
    plant: Callable[[Patch], None]
    often: tuple[moves.Move, ...] = ()


LEFT_OUT: set[Kind] = set()  # the protections that some mutant goes without


def _without(kind: Kind) -> Callable[[Patch], None]:
    """A protection that never holds."""
    LEFT_OUT.add(kind)
    others = tuple(
        replace(one, check=lambda image, context: None) if one.kind is kind else one
        for one in protections.PROTECTIONS
    )
    return lambda patch: patch.setattr(protections, "PROTECTIONS", others)


# --- S1 -------------------------------------------------------------------------------------------


def _exited_are_no_users(patch: Patch) -> None:
    listed = client.CriClient._list_containers

    async def running(self: client.CriClient) -> Any:
        found = await listed(self)
        return tuple(one for one in found if one.state is not ContainerState.EXITED)

    patch.setattr(client.CriClient, "_list_containers", running)


def _volumes_are_not_asked_for(patch: Patch) -> None:
    patch.setattr(State, "asks_volumes", property(lambda self: set()))
    patch.setattr(translate, "volumes", lambda message: ())


def _names_asked_for_do_not_count(patch: Patch) -> None:
    patch.setattr(ImageGraph, "asking_for", lambda self, image: frozenset())


def _events_change_nothing(patch: Patch) -> None:
    patch.setattr(ImageGraph, "apply", lambda self, event, at: None)


def _no_last_look(patch: Patch) -> None:
    patch.setattr(reconcile, "objection", lambda *_, **__: None)


# --- S4 -------------------------------------------------------------------------------------------


class _Blind:
    async def refresh(self) -> None:
        """Looks at nothing."""


def _policy_is_not_looked_at_again(patch: Patch) -> None:
    evict = Reconciler._evict

    async def blind(self: Reconciler, candidate: Any) -> bool:
        seeing, self.deps.policies = self.deps.policies, _Blind()
        try:
            return await evict(self, candidate)
        finally:
            self.deps.policies = seeing

    patch.setattr(Reconciler, "_evict", blind)


def _rules_end_a_day_early(patch: Patch) -> None:
    in_force = Exclusion.in_force
    patch.setattr(Exclusion, "in_force", lambda self, now: in_force(self, now + 86400))


def _rules_stay_in_one_repository(patch: Patch) -> None:
    matches = Scope.matches
    patch.setattr(Scope, "matches", lambda scope, name: matches(replace(scope, below=False), name))


def _the_first_rule_is_asked_alone(patch: Patch) -> None:
    """An ended exclusion that comes first hides those behind it."""

    def protecting(self: Exclusions, image: Image, now: float) -> Any:
        return next((pair for pair in self.matching(image)[:1] if pair[0].in_force(now)), None)

    patch.setattr(Exclusions, "protecting", protecting)


def _the_last_entry_of_an_id_counts(patch: Patch) -> None:
    patch.setattr(translate, "united", lambda images: images)


def _dates_are_by_the_clock_that_never_steps(patch: Patch) -> None:
    patch.setattr(State, "wall", lambda self, now: now)


# --- S5 -------------------------------------------------------------------------------------------


def _new_images_are_a_day_old(patch: Patch) -> None:
    """A listing stamped by a wall clock that was set back."""
    meet = Memory.meet
    patch.setattr(
        Memory, "meet", lambda self, listed, made, now: meet(self, listed, made, now - 86400)
    )


def _uses_are_not_remembered(patch: Patch) -> None:
    patch.setattr(Memory, "touch", lambda self, key, at: None)


def _wall_of(clock: Any) -> Callable[[], float]:
    """The wall clock of the world that a steady clock belongs to."""
    wall: Callable[[], float] = clock.__self__.wall
    return wall


def _ages_begin_by_the_wall_clock(patch: Patch) -> None:
    """A listing stamped by the clock that can be set."""
    list_all = client.CriClient.list_all

    async def stamped(self: client.CriClient) -> Listing:
        listing = await list_all(self)
        return replace(listing, ended_at=_wall_of(self.clock)())

    patch.setattr(client.CriClient, "list_all", stamped)


def _the_daemon_has_the_wall_clock_alone(patch: Patch) -> None:
    assemble = assembly.assemble

    def stepping(settings: Any, runtime: Any, clock: Any, *rest: Any, **more: Any) -> Any:
        runtime.clock = _wall_of(clock)
        return assemble(settings, runtime, runtime.clock, *rest, **more)

    patch.setattr(assembly, "assemble", stepping)


# --- S6 -------------------------------------------------------------------------------------------


def _bad_policy_means_defaults(patch: Patch) -> None:
    def defaults(self: PolicySource, invalid: Exception) -> PolicyLoaded:
        return PolicyLoaded(self._clock(), Policy(mode=Mode.ENFORCE, minimum_age=0.0))

    patch.setattr(PolicySource, "_reject", defaults)


def _unresolved_containers_hold_nothing(patch: Patch) -> None:
    patch.setattr(hold, "NARROW_AFTER", 0.0)


def _one_listing_for_all(patch: Patch) -> None:
    """The in-use set taken once for a whole run of removals, as other cleaners do."""
    listed = Reconciler._list

    async def believed(self: Reconciler) -> bool:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return await listed(self)
        self.state.removals.under_way, self.state.runtime.listing_stale = None, False
        self.state.graph.images.pop(attempt.removal.image.key, None)
        return True

    patch.setattr(Reconciler, "_list", believed)


# --- S7 -------------------------------------------------------------------------------------------


def _observe_is_enforce(patch: Patch) -> None:
    patch.setattr(Reconciler, "_enforcing", lambda self: self.state.operator.policy is not None)


def _once_too_full_always_too_full(patch: Patch) -> None:
    def never_calm(pressure: watermark.Pressure, used: int, high: int, low: int) -> Any:
        return watermark.Pressure.RECLAIMING if used >= high else pressure

    patch.setattr(watermark, "next_pressure", never_calm)


def _everything_is_due(patch: Patch) -> None:
    patch.setattr(decision, "_due", lambda image, record, context: Cause.UNUSED_AGE)


def _units_are_decimal(patch: Patch) -> None:
    for number, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1):
        patch.setitem(values._FACTORS, unit, 1000**number)


def _marks_are_bytes_that_are_free(patch: Patch) -> None:
    of = Mark.of

    def free(self: Mark, capacity: int) -> int:
        return of(self, capacity) if self.bytes is None else capacity - self.bytes

    patch.setattr(Mark, "of", free)


def _expendable(
    choose: Callable[[RankingRules, Image], Expendable | None],
) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(RankingRules, "expendable_rule", choose)


def _at_once(ranking: RankingRules, image: Image) -> Expendable | None:
    rule = expendable_rule(ranking, image)
    return replace(rule, unused_for=0.0) if rule else None


def _the_shortest_wait(ranking: RankingRules, image: Image) -> Expendable | None:
    rules = [rule for rule, _ in ranking.expendable.matching(image)]
    known = expendable_rule(ranking, image)
    return min(rules, key=lambda rule: rule.unused_for) if known else None


def _whatever_its_tier(ranking: RankingRules, image: Image) -> Expendable | None:
    rules = [rule for rule, _ in ranking.expendable.matching(image)]
    return max(rules, key=lambda rule: rule.unused_for, default=None)


# --- S8 -------------------------------------------------------------------------------------------


async def _send(self: client.CriClient, text: str, deadline: float = 600.0) -> None:
    request = pb.RemoveImageRequest(image=pb.ImageSpec(image=text))
    await self._ask_images("RemoveImage", request, deadline)


def _short_ids_are_sent(patch: Patch) -> None:
    patch.setattr(client.CriClient, "remove_image", lambda self, text: _send(self, text[:19]))


def _normalised_ids_are_sent(patch: Patch) -> None:
    def other(self: client.CriClient, text: str) -> Any:
        key = text.removeprefix("sha256:")
        return _send(self, key if key != text else f"sha256:{key}")

    patch.setattr(client.CriClient, "remove_image", other)


def _removals_are_not_waited_for(patch: Patch) -> None:
    send, running = reclaim.send, set[asyncio.Task[Any]]()

    async def at_once(runtime: Any, removal: Any, *more: Any) -> Any:
        running.add(asyncio.ensure_future(send(runtime, removal, *more)))
        return reclaim.Attempt(removal, None, False, 0.0)

    patch.setattr(reconcile, "send", at_once)


def _deadlines_are_crictls(patch: Patch) -> None:
    patch.setattr(client, "REMOVE_DEADLINE", 2.0)


def _removals_are_cut_off_at_the_end(patch: Patch) -> None:
    unshielded = SimpleNamespace(CancelScope=lambda shield: anyio.CancelScope())
    patch.setattr(reclaim, "anyio", unshielded)


# --- S10 ------------------------------------------------------------------------------------------


def _twins_are_not_remembered(patch: Patch) -> None:
    patch.setattr(Context, "used_by_twins", property(lambda self: {}))


def _starts_hold_nothing(patch: Patch) -> None:
    patch.setattr(StartingPods, "may_hold", lambda self, now: False)


def _starts_are_over_in_a_moment(patch: Patch) -> None:
    patch.setattr(starting_pods, "LONGEST_START", 0.5)


def _no_source_means_no_pods(patch: Patch) -> None:
    lose = Awaited.lose

    def forgetting(self: Awaited, reason: str, at: float) -> None:
        self.pods.clear()
        lose(self, reason, at)

    patch.setattr(Awaited, "lose", forgetting)


def _only_needs(wanted: Callable[[Any], bool]) -> Callable[[Patch], None]:
    needs = Awaited.needs

    def some(self: Awaited, now: float) -> Any:
        return ((pod, need) for pod, need in needs(self, now) if wanted(need))

    return lambda patch: patch.setattr(Awaited, "needs", some)


def _pods_need_what_is_named_in_full(patch: Patch) -> None:
    """A name as a person writes it is compared with names as a runtime lists them."""

    def keys_named(self: ImageGraph, text: str, *, anywhere: bool) -> frozenset[str]:
        return frozenset(key for key, image in self.images.items() if text in image.names)

    patch.setattr(ImageGraph, "keys_meant", keys_named)


def _pods_reported_later_replace_all(patch: Patch) -> None:
    def alone(self: Awaited, pod: Any) -> None:
        self.pods = {pod.uid: pod}

    patch.setattr(Awaited, "update", alone)


def _templates_are_forgotten_over_a_restart(patch: Patch) -> None:
    patch.setattr(Templates, "remember", lambda self, listed: None)


def _every_pod_is_of_its_own_kind(patch: Patch) -> None:
    patch.setattr(translate, "template_of", lambda space, pod, _: Template(f"{space}/{pod}", True))


def _the_first_of_a_template_tells(patch: Patch) -> None:
    note = Templates.note

    def first(
        self: Templates, template: Any, container: str, used: Any, now: float, *, whole: bool
    ) -> None:
        known = self.records.get(template.name)
        if known is None or container not in known.used:
            note(self, template, container, used, now, whole=whole)

    patch.setattr(Templates, "note", first)


def _one_container_stands_for_all(patch: Patch) -> None:
    note = Templates.note

    def one(
        self: Templates, template: Any, container: str, used: Any, now: float, *, whole: bool
    ) -> None:
        note(self, template, "", used, now, whole=whole)

    patch.setattr(Templates, "note", one)


MUTANTS = (
    Mutant(
        "images in use are free",
        ("S1",),
        _without(Kind.IN_USE),
        (container_moves.add_container, moves.fill),
    ),
    Mutant("exited containers are no users", ("S1", "S6"), _exited_are_no_users),
    Mutant(
        "image volumes are not asked for",
        ("S1", "S3", "S5", "S10"),
        _volumes_are_not_asked_for,
        (container_moves.add_container, container_moves.remove_container, moves.fill),
    ),
    Mutant("names asked for do not count", ("S1",), _names_asked_for_do_not_count),
    Mutant(
        "events change nothing",
        ("S1", "S3", "S5", "S10"),
        _events_change_nothing,
        (moves.ambush, moves.fill),
    ),
    Mutant(
        "no last look before the call", ("S1", "S3", "S4", "S5", "S6", "S7", "S10"), _no_last_look
    ),
    Mutant("pause images are not known", ("S1", "S3"), _without(Kind.SANDBOX)),
    Mutant("pins do not count", ("S2",), _without(Kind.PINNED)),
    Mutant("system images are any images", ("S3",), _without(Kind.SYSTEM)),
    Mutant("small images go", ("S3",), _without(Kind.TOO_SMALL)),
    Mutant("exclusions do not count", ("S4",), _without(Kind.EXCLUDED)),
    Mutant(
        "policy not looked at again", ("S3", "S4", "S5", "S6", "S7"), _policy_is_not_looked_at_again
    ),
    Mutant("rules end a day early", ("S4",), _rules_end_a_day_early),
    Mutant(
        "dates ignore the wall clock",
        ("S4",),
        _dates_are_by_the_clock_that_never_steps,
        (set_wall_clock, moves.ambush),
    ),
    Mutant("the first rule is asked alone", ("S4",), _the_first_rule_is_asked_alone),
    Mutant(
        "the last entry of an id counts",
        ("S1", "S2", "S3", "S4", "S10"),
        _the_last_entry_of_an_id_counts,
        (list_twice, moves.fill),
    ),
    Mutant(
        "a rule does not reach below its repository",
        ("S4",),
        _rules_stay_in_one_repository,
        (policy_moves.edit, image_moves.pull),
    ),
    Mutant("what cannot be pulled goes", ("S4",), _without(Kind.UNPULLABLE)),
    Mutant("doubt about an image is none", ("S1", "S6", "S10"), _without(Kind.UNCERTAIN)),
    Mutant("young images go", ("S5",), _without(Kind.YOUNG)),
    Mutant("new images are a day old", ("S3", "S5", "S7"), _new_images_are_a_day_old),
    Mutant(
        "ages begin by the wall clock",
        ("S3", "S5", "S7"),
        _ages_begin_by_the_wall_clock,
        (set_wall_clock, image_moves.pull, moves.fill),
    ),
    Mutant(
        "the daemon has the wall clock alone",
        ("S3", "S4", "S5", "S6", "S7", "S9", "S10", "http"),
        _the_daemon_has_the_wall_clock_alone,
        (set_wall_clock,),
    ),
    Mutant(
        "uses are not remembered",
        ("S5", "S3"),
        _uses_are_not_remembered,
        (container_moves.remove_container, moves.fill),
    ),
    Mutant(
        "a bad policy means defaults", ("S3", "S4", "S5", "S6", "S7"), _bad_policy_means_defaults
    ),
    Mutant("odd containers hold nothing", ("S6",), _unresolved_containers_hold_nothing),
    Mutant("one listing for all removals", ("S1", "S6", "S8", "S10", "http"), _one_listing_for_all),
    Mutant("observe is enforce", ("S7",), _observe_is_enforce),
    Mutant("once too full, always too full", ("S7",), _once_too_full_always_too_full),
    Mutant("everything is due", ("S7",), _everything_is_due),
    Mutant("units of bytes are decimal", ("S7",), _units_are_decimal),
    Mutant("marks are bytes that are free", ("S7",), _marks_are_bytes_that_are_free),
    Mutant("what is expendable goes at once", ("S7",), _expendable(_at_once)),
    Mutant("the rule that waits least wins", ("S7",), _expendable(_the_shortest_wait)),
    Mutant(
        "tier high is expendable",
        ("S7",),
        _expendable(_whatever_its_tier),
        (make_expendable, moves.wait_long, image_moves.pull),
    ),
    Mutant("short ids are sent", ("S8",), _short_ids_are_sent),
    Mutant("normalised ids are sent", ("S8",), _normalised_ids_are_sent),
    Mutant("removals are not waited for", ("S6", "S8"), _removals_are_not_waited_for),
    Mutant("deadlines are crictl's", ("S8",), _deadlines_are_crictls),
    Mutant("removals are cut off at the end", ("S8",), _removals_are_cut_off_at_the_end),
    Mutant("refusals are forgotten", ("S9",), _without(Kind.REFUSED)),
    Mutant("what comes back goes again", ("S9",), _without(Kind.CAME_BACK)),
    Mutant("what pods wait for goes", ("S10",), _without(Kind.AWAITED)),
    Mutant(
        "twins are not remembered",
        ("S10",),
        _twins_are_not_remembered,
        (pod_moves.rush, image_moves.pull),
    ),
    Mutant("starts hold nothing", ("S10",), _starts_hold_nothing),
    Mutant("starts are over in a moment", ("S10",), _starts_are_over_in_a_moment),
    Mutant(
        "no source means no pods",
        ("S10",),
        _no_source_means_no_pods,
        (pod_moves.source_fault, pod_moves.bind_pod, moves.fill, image_moves.pull),
    ),
    Mutant(
        "init containers need nothing",
        ("S10",),
        _only_needs(lambda need: not need.by.startswith("init ")),
    ),
    Mutant(
        "image volumes need nothing",
        ("S10",),
        _only_needs(lambda need: not need.by.startswith("image volume")),
    ),
    Mutant("pods need what is never pulled", ("S10",), _only_needs(lambda need: need.never_pulled)),
    Mutant("pods need what is named in full", ("S10",), _pods_need_what_is_named_in_full),
    Mutant(
        "pods told later replace all",
        ("S10",),
        _pods_reported_later_replace_all,
        (pod_moves.bind_pod, moves.fill),
    ),
    Mutant("templates forgotten over a restart", ("S10",), _templates_are_forgotten_over_a_restart),
    Mutant("every pod is of its own kind", ("S10",), _every_pod_is_of_its_own_kind),
    Mutant("the first of a template tells", ("S10",), _the_first_of_a_template_tells),
    Mutant("one container stands for all", ("S10",), _one_container_stands_for_all),
    Mutant(
        "inodes once short stay short",
        ("S7",),
        around.inodes_once_short_stay_short,
        (disk_moves.use_inodes,),
    ),
    Mutant("auto marks lie far below", ("S7",), around.auto_marks_lie_far_below_kubelets_lines),
    Mutant(
        "removals that help nobody go on",
        ("S7",),
        around.removals_that_help_nobody_go_on,
        (disk_moves.flood,),
    ),
    Mutant(
        "what others owe is not waited for",
        ("S7",),
        around.what_others_owe_is_not_waited_for,
        (disk_moves.flood, moves.wait_long),
    ),
    Mutant(
        "room is taken for help",
        ("S7",),
        around.room_is_taken_for_help,
        (disk_moves.flood, moves.wait_long),
    ),
    Mutant(
        "late space is not waited for",
        ("S7",),
        around.late_space_is_not_waited_for,
        (moves.fill, disk_moves.flood),
    ),
    Mutant(
        "a disk that lies is believed",
        ("S6", "S7"),
        around.a_wrong_disk_report_is_believed,
        (disk_moves.report_wrong_usage,),
    ),
    Mutant(
        "unseen disks hold nothing",
        ("S6",),
        around.a_disk_that_is_not_seen_holds_nothing,
        (disk_moves.hide_a_disk,),
    ),
    Mutant("one socket for everything", ("S8",), around.one_socket_for_everything),
    Mutant(
        "prune takes all that is unused",
        ("S7",),
        around.prune_takes_all_that_is_unused,
        (moves.prune,),
    ),
    Mutant("the same mark starts and stops", ("S7",), around.nothing_is_too_little, (moves.prune,)),
    Mutant("the lock denies nothing", ("S8",), around.the_lock_denies_nothing, (moves.rival,)),
    Mutant("pause means resume", ("S7",), around.pause_means_resume),
    Mutant(
        "the list shows no reason to keep",
        ("S1", "S2", "S3", "S4", "S5", "S9", "S10", "http"),
        around.the_list_shows_no_reason_to_keep,
    ),
    Mutant("the face reads what changes", ("http",), around.the_api_reads_while_the_state_changes),
)
