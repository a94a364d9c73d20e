"""Seeded bugs around the core, each seen by one part of the model: several disks and inodes, two
sockets, `prune`, a second remover, the HTTP API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.cri import client
from reconciler.cri.rpc import Methods
from reconciler.domain import decision, hold, margin, removing, shortage, space, watermark
from reconciler.domain.context import Context
from reconciler.domain.disks import Disks
from reconciler.domain.facts import RemoverReported, Resumed
from reconciler.domain.policy import Policy
from reconciler.domain.protections import holding
from reconciler.domain.steps import Steps
from reconciler.http import api, documents
from reconciler.http.document_cache import Document
from reconciler.http.view import View
from reconciler.report import document, image_row_json
from reconciler.sources import usage_probe
from reconciler.sources.claim import Claim

from . import moves
from .disk_moves import with_a_late_disk

Patch = pytest.MonkeyPatch


# --- disks ----------------------------------------------------------------------------------------


def inodes_once_short_stay_short(patch: Patch) -> None:
    measured = watermark.measured

    def never_calm(
        usage: Any, bounds: Any, learned: Any, before: Any = None
    ) -> watermark.FilesystemState:
        found = measured(usage, bounds, learned, before)
        if before is None or before.by_inodes is watermark.Pressure.CALM:
            return found
        return replace(found, by_inodes=before.by_inodes)

    aim = shortage.aim

    def never_enough(used: int, most: float | None, low: int, lines: list[int]) -> int:
        return 0 if used <= low else aim(used, most, low, lines)

    patch.setattr(shortage, "aim", never_enough)
    patch.setattr("reconciler.domain.absorb.measured", never_calm)


def auto_marks_lie_far_below_kubelets_lines(patch: Patch) -> None:
    """A margin without a bound: a slow disk teaches that half of it must be free."""
    patch.setattr(margin.Overshoot, "margin", lambda self, capacity: capacity // 2)


def removals_that_help_nobody_go_on(patch: Patch) -> None:
    """As it was: a byte freed anywhere counts, also where nothing is short."""
    patch.setattr(removing, "weigh", lambda disks, now: disks.unhelpful.clear())


def what_others_owe_is_not_waited_for(patch: Patch) -> None:
    """As it was: a removal that may still help counted for nothing, so that more went."""
    patch.setattr(Disks, "waits_for_others", lambda *_: False)
    patch.setattr(moves, "with_disks", with_a_late_disk)


def room_is_taken_for_help(patch: Patch) -> None:
    """As it was: what showed late helped, also on a filesystem that was not short."""
    add_owed = space.DelayedSpace.add_owed

    def owe(self: space.DelayedSpace, removed: space.Removed, gain: space.Gain) -> None:
        add_owed(self, removed, replace(gain, short_of_bytes=True))

    patch.setattr(space.DelayedSpace, "add_owed", owe)
    patch.setattr(moves, "with_disks", with_a_late_disk)


def late_space_is_not_waited_for(patch: Patch) -> None:
    """As it was: what a disk does not show at once was not freed."""
    patch.setattr(space.DelayedSpace, "is_late", lambda *_: False)


def a_wrong_disk_report_is_believed(patch: Patch) -> None:
    """0 of 0 bytes used, or more than there are."""
    patch.setattr(usage_probe, "_check", lambda usage: None)


def a_disk_that_is_not_seen_holds_nothing(patch: Patch) -> None:
    patch.setattr(hold, "_filesystem_hold", lambda state: None)


# --- two sockets ----------------------------------------------------------------------------------


def one_socket_for_everything(patch: Patch) -> None:
    """The image endpoint is connected to, and the other one asked."""
    begin = client.CriClient.__init__

    def begins(self: client.CriClient, *rest: Any, **more: Any) -> None:
        begin(self, *rest, **more)
        self._images = Methods(self._channels[0], "ImageService")

    patch.setattr(client.CriClient, "__init__", begins)


# --- prune ----------------------------------------------------------------------------------------


def prune_takes_all_that_is_unused(patch: Patch) -> None:
    """What `crictl rmi --prune` does."""
    cause = decision._cause

    def all_unused(due: Any, missing: bool, command: Any) -> Any:
        return cause(due, missing or command is not None, command)

    patch.setattr(decision, "_cause", all_unused)


def nothing_is_too_little(patch: Patch) -> None:
    """Begins at a mark that is both the high and the low one."""

    def next_pressure(pressure: watermark.Pressure, used: int, high: int, low: int) -> Any:
        if pressure is watermark.Pressure.CALM and used >= high:
            return watermark.Pressure.RECLAIMING
        return watermark.Pressure.CALM if used <= low else pressure

    aim = shortage.aim

    def a_byte_more(used: int, most: float | None, low: int, lines: list[int]) -> int:
        return min(used - 1, aim(used, most, low, lines))

    patch.setattr(watermark, "next_pressure", next_pressure)
    patch.setattr(shortage, "aim", a_byte_more)


# --- a second remover -----------------------------------------------------------------------------


def the_lock_denies_nothing(patch: Patch) -> None:
    """This one removes too while another has it."""
    renew = Claim._renew

    def ours(self: Claim, directories: tuple[str, ...], wanted: bool) -> RemoverReported:
        return replace(renew(self, directories, wanted), ours=wanted, other=None)

    patch.setattr(Claim, "_renew", ours)


# --- the HTTP API --------------------------------------------------------------------------------


def pause_means_resume(patch: Patch) -> None:
    patch.setattr(api, "Paused", Resumed)


def the_list_shows_no_reason_to_keep(patch: Patch) -> None:
    patch.setattr(documents, "holding", lambda image, context: ())


def the_api_reads_while_the_state_changes(patch: Patch) -> None:
    """Iterates in slices without a copy."""

    def images(view: View) -> Steps[Document]:
        state, now = view.state, view.clock()
        context = Context(state, state.operator.policy or Policy(), now)
        rows = yield from documents.encoded(
            image_row_json(one, tuple(holding(one, context)), state, now)
            for one in state.graph.images.values()
        )
        return Document(document("ImageList", now), {"items": rows})

    patch.setattr(documents, "images", images)
