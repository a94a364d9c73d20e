"""Images whose tag has moved: on CRI-O nothing is listed of the names that they had. What is
remembered keeps what the operator wanted kept, and never takes a reason away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.inventory import Image
from reconciler.domain.ledger import Remembered
from reconciler.domain.pattern import parse_pattern
from reconciler.domain.plan import Cause
from reconciler.domain.policy import Importance, Place, Policy, Tier
from reconciler.domain.protections.protection import Kind
from reconciler.domain.runtime import RuntimeVersion
from reconciler.domain.state import State
from reconciler.fake_runtime.habits import CRIO
from reconciler.fake_runtime.images import Stored
from reconciler.fake_runtime.node import layer
from tests.builders import (
    DAY,
    GIB,
    MIB,
    T0,
    digest,
    exclusion,
    expendable,
    listed,
    policy,
    state_of,
)
from tests.commands.desk import LONG_AGO, POLICY, Desk, desk

APP = "localhost:5000/keep/app"
RUNTIME = RuntimeVersion("cri-o", "1.37.0", (1, 37, 0))
HEX = digest("manifest")
BEFORE = Image(digest("app"), (f"{APP}:v1",), (f"{APP}@sha256:{HEX}",), GIB)
MOVED = replace(BEFORE, tags=(), digests=(f"localhost@sha256:{HEX}",))


@pytest_asyncio.fixture
async def at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    async with desk(capsys, monkeypatch, CRIO) as made:
        yield made


def pulled(at: Desk, content: str) -> Stored:
    """Pushed and pulled, as a build does with its moving tag."""
    at.node.publish(f"{APP}:v1", [layer(content, 100 * MIB)])
    return at.node.pull(f"{APP}:v1", LONG_AGO)


async def moved(at: Desk) -> Stored:
    """An image that some command saw under its tag, before that moved on."""
    old = pulled(at, "old")
    assert (await at.run("prune", "--to", "99%")).code == 0
    pulled(at, "new")
    assert old.made_up == f"localhost@sha256:{old.manifest}"
    return old


def excluding(pattern: str) -> str:
    return POLICY.replace("reg.example/keep:*", pattern)


@pytest.mark.parametrize(
    ("pattern", "stays"),
    [
        (APP, True),
        ("localhost:5000/keep/*", True),
        ("localhost:5000/**", True),
        (f"{APP}@sha256:{{manifest}}", True),
        (f"{APP}:v1", False),
        (f"{APP}:v*", False),
        ("localhost:5000/keep", True),
        ("localhost:5000/kee", False),
    ],
)
async def test_an_exclusion_of_a_repository_outlives_the_move_of_its_tag(
    pattern: str, stays: bool, at: Desk
) -> None:
    """One of a tag does not: `nginx:latest` would keep every image that was ever the latest."""
    old = await moved(at)
    at.policy.write_text(excluding(pattern.format(manifest=old.manifest)))
    shown = await at.run("plan", "-o", "json")  # what a command that only looks makes of it
    done = await at.run("prune", "--all-unused")
    assert done.code == 0, done.err
    assert (old.hex_id in at.node.images) == stays
    assert any(one["id"] == old.hex_id for one in shown.json["kept"]) == stays


async def test_history_shows_the_name_that_brings_it_back(at: Desk) -> None:
    """`localhost@sha256:...` cannot be pulled by anybody."""
    old = await moved(at)
    await at.run("prune", "--all-unused")
    whole = f"{APP}@sha256:{old.manifest}"
    (shown,) = (await at.run("history", "--image", whole, "-o", "json")).json["items"]
    assert (shown["id"], shown["names"]) == (old.hex_id, [whole])
    assert "localhost@" not in (await at.run("history")).out


def remembering(*before: Image, now: Image = MOVED, in_force: Policy | None = None) -> State:
    """A daemon started on what another one saw, in this order, and what is listed now."""
    seen = State(began_at=T0 - 9 * DAY)
    for number, one in enumerate(before):
        absorb(listed([one], at=T0 - 9 * DAY + number, version=RUNTIME), seen)
    memory = seen.memory
    state = state_of(in_force=in_force or policy(minimum_age=0.0), version=RUNTIME)
    state.remember(Remembered(memory.images, memory.gone, {}, memory.arrivals, {}))
    absorb(listed([now], at=T0, version=RUNTIME), state)
    return state


def kept(state: State) -> Kind | None:
    """What keeps the one image that is listed."""
    plan = decide(state, state.operator.policy, T0 + 1)
    return plan.kept[0].protections[0].kind if plan.kept else None


def test_an_old_pause_image_stays_whose_tag_has_moved() -> None:
    """Its pin went with the tag; where a sandbox from before the move says no more, its name was
    all there was."""
    old = Image(digest("p"), ("reg:5000/pause:3.9",), (f"reg:5000/pause@sha256:{HEX}",), MIB)
    bare = replace(old, tags=(), digests=(f"reg@sha256:{HEX}",))
    in_force = policy(minimum_age=0.0, minimum_size=0)
    assert kept(remembering(old, now=bare, in_force=in_force)) is Kind.SANDBOX
    assert kept(remembering(now=bare, in_force=in_force)) is None


def test_a_repository_that_an_image_lost_is_remembered_while_it_has_others() -> None:
    """CRI-O's digest name of a repository goes with the last tag there."""
    other = "reg.example/mirror/app"
    both = replace(
        BEFORE,
        tags=(f"{APP}:v1", f"{other}:v1"),
        digests=(f"{APP}@sha256:{HEX}", f"{other}@sha256:{HEX}"),
    )
    one = replace(BEFORE, tags=(f"{other}:v1",), digests=(f"{other}@sha256:{HEX}",))
    in_force = policy(minimum_age=0.0, exclusions=(exclusion(APP),))
    assert kept(remembering(both, one, now=one, in_force=in_force)) is Kind.EXCLUDED
    assert kept(remembering(both, one, in_force=in_force)) is Kind.EXCLUDED
    assert kept(remembering(one, now=one, in_force=in_force)) is None


def test_what_is_remembered_makes_no_image_expendable() -> None:
    """The name may be another image's by now; what was said of that one is not said of this."""
    state = remembering(BEFORE, in_force=policy(minimum_age=0.0, expendable=(expendable(APP),)))
    (candidate,) = decide(state, state.operator.policy, T0 + 1).candidates
    assert candidate.cause is not Cause.EXPENDABLE


@pytest.mark.parametrize(("tier", "counts"), [(Tier.HIGH, True), (Tier.LOW, False)])
def test_what_is_remembered_raises_a_tier_and_lowers_none(tier: Tier, counts: bool) -> None:
    """A rule of high keeps an old version as long as the new one."""
    rule = Importance(parse_pattern(APP), Place("policy.yaml", 9, 5), tier)
    state = remembering(BEFORE, in_force=policy(minimum_age=0.0, importance=(rule,)))
    (candidate,) = decide(state, state.operator.policy, T0 + 1).candidates
    assert (candidate.score.tier is tier) == counts


def test_what_is_remembered_is_bounded() -> None:
    """An image that is tagged again for every build, in a repository of its own each time."""
    state = remembering()
    for number in range(40):
        name = f"localhost:5000/build-{number}/app"
        one = Image(MOVED.id, (f"{name}:v1",), (f"{name}@sha256:{HEX}",), GIB)
        absorb(listed([one], at=T0 + number, version=RUNTIME), state)
    assert len(state.memory.images[MOVED.key].names) <= 20
