"""`reconciler prune`: what goes, what stays whatever the options, and how it ends."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from reconciler.commands import survey
from reconciler.domain import hold
from reconciler.engine import reconcile
from reconciler.fake_runtime.habits import CONTAINERD_1_6, CRIO
from reconciler.fake_runtime.node import Refused, layer
from reconciler.host.lock import Lock
from tests.builders import MIB

from .desk import LONG_AGO, POLICY, Desk, desk, fill

STAYS = ["imported:v1", "keep:v1", "used:v1"]
APPS = [f"app{number}:v1" for number in range(5)]


@pytest_asyncio.fixture
async def at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    async with desk(capsys, monkeypatch) as made:
        fill(made)
        yield made


def harmless(at: Desk) -> bool:
    """Whether, as the runtime saw it, nothing in use or pinned was to be removed."""
    return not [one for one in at.runtime.calls.removals if one.users or one.pinned]


async def test_prune_stops_at_the_low_mark_whatever_the_mode(at: Desk) -> None:
    """The policy says observe; the operator's own command removes all the same, and no more."""
    done = await at.run("prune")
    assert done.code == 0, done.err
    gone = set(APPS) - set(at.left())
    assert 2 <= len(gone) <= 4
    assert at.node.used() <= 0.78 * at.node.capacity
    assert "removed reg.example/app" in done.out
    assert harmless(at)
    again = await at.run("prune")
    assert (again.code, at.left()) == (0, sorted([*set(APPS) - gone, *STAYS]))


async def test_prune_all_unused_ignores_the_marks_and_no_protection(at: Desk) -> None:
    """What `crictl rmi --prune` should have been."""
    done = await at.run("prune", "--all-unused")
    assert done.code == 0, done.err
    assert at.left() == STAYS
    assert harmless(at)


async def test_prune_to_a_mark_of_the_operators_own(at: Desk) -> None:
    """Instead of the low mark, in percent or bytes."""
    done = await at.run("prune", "--to", "85%")
    assert done.code == 0
    assert len(set(APPS) & set(at.left())) == 4
    await at.run("prune", "--to", "8Gi")
    assert at.node.used() <= 8 << 30


async def test_prune_that_cannot_reach_the_mark_is_1_and_says_so(at: Desk) -> None:
    """Everything that may go went; all others are in use."""
    done = await at.run("prune", "--to", "10%")
    assert done.code == 1
    assert at.left() == STAYS
    assert "over the mark" in done.err


async def test_a_dry_run_removes_nothing_and_writes_nothing(at: Desk) -> None:
    """It shows the plan, with or without a running daemon."""
    (at.folder / "state").mkdir()
    with Lock() as lock:
        assert lock.take([at.folder / "images", at.folder / "state"]) is None
        before = sorted(path.name for path in (at.folder / "state").iterdir())
        done = await at.run("prune", "--dry-run", "--all-unused")
        assert sorted(path.name for path in (at.folder / "state").iterdir()) == before
    assert done.code == 0
    assert "command" in done.out
    assert not at.runtime.calls.removals


async def test_young_images_stay_unless_the_operator_says_otherwise(at: Desk) -> None:
    """Without a ledger every image counts as seen just now; --minimum-age 0s overrides that, once,
    and nothing else."""
    at.policy.write_text(at.policy.read_text().replace("minimumAge: 0s", "minimumAge: 2m"))
    done = await at.run("prune", "--all-unused")
    assert done.code == 0
    assert at.left() == sorted(APPS + STAYS)
    done = await at.run("prune", "--all-unused", "--minimum-age", "0s")
    assert done.code == 0
    assert at.left() == STAYS


async def test_only_one_may_remove_and_the_other_says_who(at: Desk) -> None:
    """A daemon removes here, with whatever state directory: 1, and its pid, in one line."""
    with Lock() as lock:
        assert lock.take([at.folder / "images"]) is None
        done = await at.run("prune", "--all-unused")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert f"(pid {os.getpid()}: " in done.err
    assert "removes images here" in done.err
    assert not at.runtime.calls.removals
    assert (await at.run("prune", "--all-unused")).code == 0


async def test_prune_next_to_a_daemon_that_observes_removes(at: Desk) -> None:
    """An observer holds the ledger and removes nothing: it does not disturb, and keeps the
    ledger."""
    (at.folder / "state").mkdir()
    with Lock() as lock:
        assert lock.take([at.folder / "state"]) is None
        done = await at.run("prune", "--all-unused")
    assert done.code == 0, done.err
    assert at.left() == STAYS
    assert not (at.folder / "state" / "ledger.db").exists()
    assert "removed" in (await at.run("history", "-o", "json", node=True)).out


async def test_prune_removes_nothing_where_the_remover_is_unknown(at: Desk) -> None:
    """The image filesystem's directory can't be opened from here."""
    (at.folder / "images").rmdir()
    done = await at.run("prune", "--all-unused")
    assert done.code == 1
    assert "remover-unknown" in done.err
    assert f"{at.folder}/images" in done.err
    assert not at.runtime.calls.removals


async def test_a_bad_policy_removes_nothing(at: Desk) -> None:
    """What the operator wants to keep is unknown."""
    for text in ("nonsense", "", "apiVersion: reconciler/v1\nkind: ImagePolicy\nlow: 1\n"):
        at.policy.write_text(text)
        done = await at.run("prune", "--all-unused")
        assert done.code == 1
        assert str(at.policy) in done.err
    at.policy.unlink()
    assert (await at.run("prune", "--all-unused")).code == 1
    assert not at.runtime.calls.removals


async def test_a_runtime_that_goes_away_in_the_middle_is_3_with_what_was_done(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image was removed, then nothing answers: reported so, and not as a success."""
    monkeypatch.setattr(survey, "PATIENCE", 0.5)

    async def dies(request: Any) -> None:
        if at.runtime.calls.removals:
            raise Refused("UNAVAILABLE", "connection refused")

    at.runtime.faults["ListImages"] = dies
    done = await at.run("prune", "--all-unused")
    assert done.code == 3
    assert "connection refused" in done.err
    assert len(at.runtime.calls.removals) == 1


async def test_a_refusal_is_printed_and_the_next_one_goes(at: Desk) -> None:
    """CRI-O's podman keeps one image: the others go, and the end is 1."""
    kept = next(one for one in at.node.images.values() if "reg.example/app0:v1" in one.tags)

    async def refuses(request: Any) -> None:
        if kept.hex_id in request.image.image:
            raise Refused("UNKNOWN", "image is in use by a container")

    at.runtime.faults["RemoveImage"] = refuses
    done = await at.run("prune", "--all-unused")
    assert done.code == 1
    assert "image is in use by a container" in done.err
    assert at.left() == sorted(["app0:v1", *STAYS])


async def test_pods_without_any_container_make_prune_list_again(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing with sandboxes and no container may be incomplete: it is believed once later ones
    agree, and then prune removes."""
    monkeypatch.setattr(hold, "BLANK_DOUBTED", 0.2)
    monkeypatch.setattr(reconcile, "CALM_SPACING", 0.1)
    for container in list(at.node.containers):
        at.node.remove(container, LONG_AGO)
    done = await at.run("prune", "--all-unused")
    assert done.code == 0, done.err
    assert at.left() == ["imported:v1", "keep:v1"]


@pytest.mark.parametrize(
    ("habits", "stays"),
    [(CONTAINERD_1_6, STAYS), (CRIO, ["keep:v1", "used:v1"])],
    ids=["containerd-1.6", "cri-o"],
)
async def test_prune_on_other_runtimes(
    habits: Any,
    stays: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No pins on 1.6, bare ids on CRI-O: the pause image stays all the same. On CRI-O an imported
    image is listed by a digest as all are, so that protectUnpullable does not see it."""
    async with desk(capsys, monkeypatch, habits) as made:
        fill(made)
        done = await made.run("prune", "--all-unused")
        assert done.code == 0, done.err
        assert made.left() == stays
        assert any("pause" in tag for one in made.node.images.values() for tag in one.tags)
        assert harmless(made)


IMPORTED = "docker.io/library/import-2026-11-28"  # as `ctr images import --digests` names it


async def test_an_image_that_ctr_imported_with_digests_stays(at: Desk) -> None:
    """kind, k3s and air-gapped nodes import so: the name by digest is not a registry's, and a
    removal would take the tag that pods ask for and leave the image on the disk."""
    at.node.import_image("reg.example/tool:v1", [layer("tool", 100 * MIB)], IMPORTED)
    done = await at.run("prune", "--all-unused")
    assert done.code == 0, done.err
    assert "tool:v1" in at.left()
    kept = (await at.run("explain", "reg.example/tool:v1", "-o", "json")).json["protections"]
    assert [one["kind"] for one in kept if one["holds"]] == ["unpullable"]


async def test_a_removal_that_took_names_and_left_the_image_is_untagged(at: Desk) -> None:
    """If the operator allows it all the same: it is not removed, and was not refused either."""
    at.policy.write_text(POLICY + "protectUnpullable: false\n")
    at.node.import_image("reg.example/tool:v1", [layer("tool", 100 * MIB)], IMPORTED)
    done = await at.run("prune", "--all-unused")
    assert done.code == 1
    assert "untagged, not removed: reg.example/tool:v1: the runtime took names from it" in done.err
    assert f"listed as {IMPORTED}@sha256:" in done.err
    items = (await at.run("history", "--image", "tool", "-o", "json")).json["items"]
    assert [one["outcome"] for one in items] == ["untagged"]
    assert "left the image" in items[0]["error"]
    assert items[0]["names"] == ["reg.example/tool:v1"]  # its other name can pull nothing
    assert "untagged, NOT removed" in (await at.run("history", "--image", "tool")).out


@pytest.mark.parametrize("command", ["prune", "plan"])
async def test_a_doubt_that_no_command_can_wait_for_says_who_can(at: Desk, command: str) -> None:
    """It said that the doubt narrows in ten minutes, and said so again ten minutes later."""

    async def refuses(request: Any) -> None:
        raise Refused("UNKNOWN", "its task is lost")

    at.runtime.faults["ContainerStatus"] = refuses
    before = at.left()
    done = await at.run(command)
    assert at.left() == before
    assert "in a daemon that runs until then" in done.out + done.err
