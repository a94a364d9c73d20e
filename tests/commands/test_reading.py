"""The commands that change nothing: plan, explain, check, diff."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import pytest_asyncio

from reconciler.cli import calls
from reconciler.commands import survey
from reconciler.commands.status import filesystem_line
from reconciler.cri.client import open_client
from reconciler.domain.absorb import absorb
from reconciler.domain.decision import decide
from reconciler.domain.facts import UsageSampled
from reconciler.domain.hold import BLANK_DOUBTED
from reconciler.domain.inventory import FilesystemUsage, InvisibleFilesystem, UsageSample
from reconciler.domain.state import State
from reconciler.fake_runtime.habits import CRIO
from reconciler.fake_runtime.node import Refused, layer
from reconciler.report import filesystems_json, unmeasured_json
from reconciler.settings import Settings, resolve
from reconciler.store.ledger import FILE
from tests.builders import MIB
from tests.engine.world import Clock
from tests.test_history import rubbish

from .desk import Desk, desk, fill

NAMES = ("used", "keep", *(f"app{number}" for number in range(5)))
TEXT, NUMBER, FLAG = str, int, bool
# The operator's contract, field by field; None among the types: it may be null.
IMAGE = {"id": TEXT, "names": list, "sizeBytes": NUMBER}
RULE = {"file": TEXT, "line": NUMBER, "column": NUMBER, "pattern": TEXT, "reason": (TEXT, None)}
PROTECTION = {"kind": TEXT, "holds": FLAG, "detail": TEXT, "rule": (dict, None)}
PLAN = {
    "apiVersion": TEXT,
    "kind": TEXT,
    "at": TEXT,
    "mode": TEXT,
    "hold": (dict, None),
    "filesystems": list,
    "candidates": list,
    "kept": list,
}
FILESYSTEM = {
    "mountpoint": TEXT,
    "capacityBytes": NUMBER,
    "usedBytes": NUMBER,
    "usedPercent": float,
    "highBytes": NUMBER,
    "lowBytes": NUMBER,
    "marginBytes": (NUMBER, None),
    "highFrom": TEXT,
    "inodesUsedPercent": (float, None),
    "pressure": TEXT,
}
ACCOUNT = {"why": TEXT, "account": TEXT}
CANDIDATE = (
    IMAGE
    | ACCOUNT
    | {
        "rank": NUMBER,
        "goes": FLAG,
        "cause": (TEXT, None),
        "firstSeen": TEXT,
        "lastUsed": (TEXT, None),
    }
)
KINDS = {
    "in-use",
    "awaited",
    "sandbox",
    "pinned",
    "system",
    "excluded",
    "young",
    "too-small",
    "unpullable",
    "refused",
    "came-back",
    "uncertain",
}


def follows(found: Any, shape: dict[str, Any]) -> bool:
    """Whether all fields of a shape are present, each of its type. Fields may be added."""
    for name, kinds in shape.items():
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        value = found[name]
        assert any(value is None if k is None else type(value) is k for k in allowed), name
    return True


def check_protections(protections: list[Any]) -> None:
    for one in protections:
        assert follows(one, PROTECTION)
        assert one["kind"] in KINDS
        assert one["rule"] is None or follows(one["rule"], RULE)


@pytest_asyncio.fixture
async def at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    async with desk(capsys, monkeypatch) as made:
        fill(made)
        yield made


async def test_plan_gives_every_image_in_exactly_one_list_in_the_contracts_shape(at: Desk) -> None:
    """Others build on these fields."""
    done = await at.run("plan", "-o", "json")
    assert done.code == 0
    plan = done.json
    assert follows(plan, PLAN)
    assert (plan["apiVersion"], plan["kind"]) == ("reconciler/v1", "Plan")
    assert (plan["mode"], plan["hold"]) == ("observe", None)
    assert dt.datetime.fromisoformat(plan["at"]).tzinfo is not None
    assert all(follows(fs, FILESYSTEM) for fs in plan["filesystems"])
    assert plan["filesystems"][0]["pressure"] == "reclaiming"
    for candidate in plan["candidates"]:
        assert follows(candidate, CANDIDATE)
        assert candidate["goes"] == (candidate["cause"] is not None)
        dt.datetime.fromisoformat(candidate["firstSeen"])
    for kept in plan["kept"]:
        assert follows(kept, IMAGE)
        assert kept["protections"]
        check_protections(kept["protections"])
        assert all(one["holds"] for one in kept["protections"])
    ids = [one["id"] for one in plan["candidates"] + plan["kept"]]
    assert sorted(ids) == sorted(f"sha256:{key}" for key in at.node.images)
    assert [one["rank"] for one in plan["candidates"]] == [1, 2, 3, 4, 5]
    assert plan["candidates"][0]["cause"] == "watermark"


async def test_plan_says_why_everything_else_stays(at: Desk) -> None:
    """In use, excluded with the rule's place, imported, pause: each with its reason."""
    plan = (await at.run("plan", "-o", "json")).json
    why = {one["names"][0]: one["protections"][0] for one in plan["kept"]}
    assert why["reg.example/used:v1"]["kind"] == "in-use"
    assert why["reg.example/imported:v1"]["kind"] == "unpullable"
    excluded = why["reg.example/keep:v1"]
    assert excluded["rule"]["line"] == 6
    assert excluded["rule"]["file"] == str(at.policy)
    assert excluded["rule"]["reason"] == "cold start budget"
    table = await at.run("plan")
    assert table.code == 0
    for text in ("88.", "reg.example/app0:v1", "cold start budget", "mode: observe"):
        assert text in table.out


async def test_a_score_is_a_clause_and_its_factors_are_shown_on_request(at: Desk) -> None:
    """A tired operator reads why an image goes; `-o wide` shows what the order is made of."""
    for command in (["plan"], ["explain", "reg.example/app0:v1"]):
        table, wide = await at.run(*command), await at.run(*command, "-o", "wide")
        assert "never used here, first seen" in table.out
        assert "keep=" not in table.out
        assert "keep=" in wide.out
        assert "uses/h" in wide.out


@pytest.mark.parametrize("back", [False, True], ids=["still none", "listed again"])
async def test_a_listing_without_containers_is_believed_as_the_daemon_does(
    at: Desk, back: bool
) -> None:
    """Sandboxes and no container, where every pod waits for a pull that needs the space: the
    daemon removes after some seconds, and plan said `listing-doubtful` each time.
    A container that was only away for a moment is found by the second listing."""
    stopped, at.node.containers = at.node.containers, {}
    clock = Clock()
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock.advance(seconds)
        at.node.containers = stopped if back else {}

    settings = Settings(str(at.socket), "", policy=at.policy, state_dir=at.folder, pods="off")
    async with open_client(str(at.socket), clock=clock) as client:
        seen = await survey.look(client, settings, sleep=sleep)
    made = decide(seen.state, seen.policy, seen.now)
    assert made.hold is None
    assert made.eviction is not None
    used = next(one for one in at.node.images.values() if "reg.example/used:v1" in one.tags)
    assert bool(seen.state.graph.users_of(used.hex_id)) == back
    assert waited == [BLANK_DOUBTED]


async def test_plan_with_the_minimum_age_given_once(at: Desk) -> None:
    """Longer than the policy's: every image is young, and nothing would go."""
    plan = (await at.run("plan", "-o", "json", "--minimum-age", "1h")).json
    assert plan["candidates"] == []


async def test_plan_on_a_bad_policy_is_a_hold_and_no_failure(at: Desk) -> None:
    """A plan with a hold is an answer: 0, and the place of the fault in it."""
    at.policy.write_text("apiVersion: reconciler/v1\nkind: ImagePolicy\nmodus: enforce\n")
    done = await at.run("plan", "-o", "json")
    assert done.code == 0
    assert done.json["hold"]["reason"] == "policy-unknown"
    assert f"{at.policy}:3:1" in done.json["hold"]["detail"]
    assert not [one for one in done.json["candidates"] if one["goes"]]


@pytest.mark.parametrize(
    "query", ["name", "short", "tag", "digest", "id", "prefix", "plain prefix"]
)
async def test_explain_finds_an_image_by_each_of_its_names(at: Desk, query: str) -> None:
    """Whatever an operator has at hand from crictl, kubectl or a log."""
    wanted = at.image("team/only:v2")
    asked = {
        "name": "reg.example/team/only",
        "short": "only:v2",
        "tag": "reg.example/team/only:v2",
        "digest": wanted.digests[0],
        "id": f"sha256:{wanted.hex_id}",
        "prefix": f"sha256:{wanted.hex_id[:12]}",
        "plain prefix": wanted.hex_id[:12],
    }[query]
    done = await at.run("explain", "-o", "json", asked)
    assert done.code == 0, done.err
    assert done.json["image"]["id"] == f"sha256:{wanted.hex_id}"
    assert done.json["query"] == asked


async def test_explain_gives_every_verdict_in_the_contracts_shape(at: Desk) -> None:
    """Also the kinds that do not hold."""
    done = await at.run("explain", "-o", "json", "reg.example/keep:v1")
    explained = done.json
    shape = {"apiVersion": TEXT, "kind": TEXT, "query": TEXT, "image": dict, "verdict": TEXT}
    assert follows(explained, shape | ACCOUNT | {"protections": list})
    assert follows(explained["image"], IMAGE)
    assert explained["kind"] == "Explanation"
    assert explained["verdict"] == "kept"
    check_protections(explained["protections"])
    assert {one["kind"] for one in explained["protections"]} == KINDS
    assert [one["kind"] for one in explained["protections"] if one["holds"]] == ["excluded"]
    verdicts = [
        (await at.run("explain", "-o", "json", f"app{number}:v1")).json["verdict"]
        for number in range(5)
    ]
    assert set(verdicts) == {"goes", "candidate"}
    table = await at.run("explain", "used:v1")
    assert "HOLDS" in table.out


async def test_explain_of_an_unknown_image_is_1_and_of_an_ambiguous_one_2(at: Desk) -> None:
    """Nothing is guessed: the ids to choose from are listed."""
    assert (await at.run("explain", "nowhere:v1")).code == 1
    for number in (1, 2):
        at.image(f"twin:v{number}")
    done = await at.run("explain", "reg.example/twin")
    assert done.code == 2
    assert "twin:v1" in done.err
    assert "twin:v2" in done.err
    assert done.out == ""


async def test_check_points_at_every_fault(at: Desk, tmp_path: Path) -> None:
    """file:line:column, what was expected and what was found; 1 on any error."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "apiVersion: reconciler/v1\nkind: ImagePolicy\n"
        "watermarks: {high: 70%, low: 75%}\nminimumAge: soon\n"
    )
    done = await at.run("check", str(at.policy), str(bad), node=False)
    assert done.code == 1
    assert f"{at.policy}: valid" in done.out
    assert f"{bad}:4:13: " in done.out
    assert f"{bad}:3:" in done.out
    assert (await at.run("check", str(at.policy), node=False)).code == 0
    assert (await at.run("check", str(tmp_path / "absent.yaml"), node=False)).code == 1


TYPOS = """\
importance:
  - {images: [reg.example/ap0], tier: high}
requiredImages: [reg.example/gone]
"""


@pytest.mark.parametrize("command", ["check", "plan", "diff"])
async def test_a_rule_that_matches_nothing_here_is_listed(
    at: Desk, tmp_path: Path, command: str
) -> None:
    """A typo protects nothing, and looks like a rule; rules that match are not listed."""
    at.image("keep:v1")
    at.image("app0:v1")
    edited = at.policy if command == "plan" else tmp_path / "edited.yaml"
    edited.write_text(at.policy.read_text() + TYPOS)
    typed = [command] if command == "plan" else [command, str(edited)]
    node = ("-r", str(at.socket)) if command == "check" else ()
    done = await at.run(*typed, *node, node=command != "check")
    assert done.code == 0, done.err
    unmatched = [line for line in done.out.splitlines() if "matches no image here" in line]
    assert unmatched == [
        f"{edited}:9:15: reg.example/ap0 matches no image here",
        f"{edited}:10:18: reg.example/gone matches no image here",
    ]
    if command != "check":
        done = await at.run(*typed, "-o", "json")
        assert done.json["unmatchedRules"] == [
            {"pattern": "reg.example/ap0", "place": f"{edited}:9:15"},
            {"pattern": "reg.example/gone", "place": f"{edited}:10:18"},
        ]


@pytest.mark.parametrize(
    "typed", [["plan"], ["images"], ["explain", "x"], ["prune"], ["status"], ["history"], ["check"]]
)
async def test_every_command_warns_of_a_missing_socket_that_crictls_file_names(
    at: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str]
) -> None:
    """Another runtime was set up since: whatever else a command says, the file is the cause."""
    file = tmp_path / "crictl.yaml"
    file.write_text(f"runtime-endpoint: unix://{tmp_path}/old.sock\n")
    monkeypatch.setattr(calls, "resolve", partial(resolve, environ={}, crictl=file))
    more = [str(at.policy)] if typed == ["check"] else ["--state-dir", str(tmp_path)]
    done = await at.run(*typed, *more, node=False)
    assert f"warning: {file} names unix://{tmp_path}/old.sock, and no such socket" in done.err
    file.write_text(f"runtime-endpoint:unix://{at.socket}\n")
    done = await at.run(*typed, *more, node=False)
    assert f"{file}:1:1: expected runtime-endpoint: unix:///PATH, with a space" in done.err
    assert done.code == (0 if typed == ["check"] else 2)


async def test_counts_of_one_are_singular(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` said "1 patterns excluded", and `prune` "removed 1 images"."""
    async with desk(capsys, monkeypatch) as node:
        node.image("app:v1")
        other = node.folder / "other.yaml"
        other.write_text("apiVersion: reconciler/v1\nkind: ImagePolicy\n")
        done = await node.run("check", str(node.policy), node=False)
        printed = done.out + done.err
        for typed in (["images"], ["plan"], ["diff", str(other)], ["prune", "--all-unused"]):
            done = await node.run(*typed)
            printed += done.out + done.err
        assert not node.left()
    assert "1 pattern excluded" in printed
    assert "1 rule" in printed
    assert "removed 1 image, freed" in printed
    assert not re.search(r"\b1 ([a-z]+ )?(image|pattern|candidate|reason|rule)s\b", printed), (
        printed
    )


async def test_check_without_a_runtime_says_so_and_succeeds(at: Desk, tmp_path: Path) -> None:
    """A policy can be checked without a node; a named runtime that is away causes a note."""
    done = await at.run("check", str(at.policy), "-r", str(tmp_path / "none.sock"), node=False)
    assert done.code == 0
    assert "valid, mode observe" in done.out
    assert "note: not compared with the images here: " in done.err


async def test_diff_shows_which_images_change_their_fate(at: Desk, tmp_path: Path) -> None:
    """What an edit would do here, before it is rolled out; 0 also with changes."""
    edited = tmp_path / "edited.yaml"
    edited.write_text(at.policy.read_text().replace("keep:*", "app0:*"))
    done = await at.run("diff", "-o", "json", str(edited))
    assert done.code == 0, done.err
    changes = {one["names"][0]: one for one in done.json["images"]}
    assert changes["reg.example/keep:v1"]["before"] == "kept"
    assert changes["reg.example/keep:v1"]["after"] != "kept"
    assert changes["reg.example/app0:v1"]["after"] == "kept"
    assert "reg.example/used:v1" not in changes
    assert (await at.run("diff", str(edited))).code == 0
    same = await at.run("diff", str(at.policy))
    assert (same.code, same.out) == (0, "nothing would change on this node\n")
    edited.write_text("nonsense: true\n")
    refused = await at.run("diff", str(edited))
    assert refused.code == 1
    assert f"{edited}:1:1" in refused.err


async def test_a_runtime_that_does_not_answer_is_3_with_an_error(at: Desk) -> None:
    """Not there, a plain file, or mute: the path and what happened, within ten seconds."""
    for command in (["plan"], ["explain", "x:1"], ["diff", str(at.policy)], ["prune"]):
        absent = await at.run(*command, "-r", "/run/nowhere.sock", node=False)
        assert absent.code in (1, 3) if command == ["prune"] else absent.code == 3, command
        assert "error:" in absent.err
    plain = at.folder / "plain"
    plain.write_text("no socket")
    done = await at.run("plan", "-r", str(plain), node=False)
    assert done.code == 3
    assert str(plain) in done.err


async def test_a_mute_runtime_is_given_up_after_the_patience(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts the call and never answers (ten seconds, here a fifth of one)."""
    monkeypatch.setattr(survey, "PATIENCE", 0.2)

    async def mute(request: Any) -> None:
        await anyio.sleep_forever()

    at.runtime.faults["ListContainers"] = mute
    done = await at.run("plan")
    assert done.code == 3
    assert "ListContainers" in done.err


async def test_a_runtime_that_refuses_is_3_with_its_message(at: Desk) -> None:
    """containerd still recovering, say."""

    async def refuses(request: Any) -> None:
        raise Refused("UNAVAILABLE", "server is not initialized yet")

    at.runtime.faults["Version"] = refuses
    done = await at.run("plan")
    assert done.code == 3
    assert "server is not initialized yet" in done.err


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["plna"],
        ["plan", "--no-such"],
        ["plan", "-o", "yaml"],
        ["plan", "--minimum-age", "soon"],
        ["prune", "--to", "120%"],
        ["prune", "--to", "60"],
        ["prune", "--to", "42949672960"],
        ["plan", "-r", "tcp://127.0.0.1:1"],
        ["run", "--listen", "nowhere"],
        ["demo", "--seconds", "-5"],
        ["demo", "--seconds", "nan"],
        ["demo", "--seconds", "inf"],
        ["demo", "--seconds", "1e999"],
        ["demo", "--seed", "1.5"],
        ["history", "--count", "0"],
        ["history", "--count", "-3"],
        ["history", "--count", "9" * 5000],
        ["top", "--count", "-3"],
        ["top", "--every", "0"],
        ["simulate", "--workload", "svc", "--disk", "0"],
        ["explain"],
        ["check"],
    ],
    ids=lambda typed: " ".join(typed)[:40],
)
async def test_what_was_typed_wrong_is_2_with_the_usage(at: Desk, typed: list[str]) -> None:
    """And nothing was asked of the runtime."""
    done = await at.run(*typed, node=False)
    assert done.code == 2
    assert "usage:" in done.err
    assert done.out == ""


async def test_untrusted_names_reach_the_terminal_as_text(at: Desk) -> None:
    """A tag may contain escape sequences."""
    evil = at.node.import_image("reg.example/evil:v1\x1b[2J\u202e", [layer("evil", MIB)])
    for done in (await at.run("plan"), await at.run("explain", evil.hex_id[:12])):
        assert done.code == 0
        assert "\x1b" not in done.out
        assert "\u202e" not in done.out
        assert "\\x1b[2J" in done.out


@pytest.mark.parametrize("damage", [rubbish, Path.mkdir], ids=["rubbish", "a directory"])
async def test_a_plan_without_the_past_says_so(at: Desk, damage: Callable[[Path], None]) -> None:
    """Each image is "first seen 0 s ago" where the ledger is damaged: a plan that does not say
    why misleads. `record` names the file too, in place of a past that nobody had."""
    ledger = at.folder / "state" / FILE
    ledger.parent.mkdir()
    damage(ledger)
    done = await at.run("plan")
    assert done.code == 0
    assert f"warning: {ledger} cannot be read: " in done.err
    assert "every image counts as seen just now" in done.err
    for command in (["record", "--out", str(at.folder / "out")], ["simulate"]):
        done = await at.run(*command)
        assert done.code == 1
        assert f"error: {ledger} cannot be read: " in done.err


async def test_plan_works_on_cri_o_as_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare ids, digests for references, refusals of what is in use: the same answers."""
    async with desk(capsys, monkeypatch, CRIO) as made:
        fill(made)
        plan = (await made.run("plan", "-o", "json")).json
    assert sorted(len(one["id"]) for one in plan["kept"]) == [64] * len(plan["kept"])
    names = [one["names"][0] for one in plan["kept"]]
    assert "reg.example/used:v1" in names


async def test_explain_ends_with_what_keeps_it_and_how_to_let_it_go(at: Desk) -> None:
    """A table of eleven verdicts does not help somebody who was woken up."""
    last = {name: (await at.run("explain", f"{name}:v1")).out.splitlines()[-1] for name in NAMES}
    assert last["used"].startswith("It stays because it is in use (container ")
    assert last["used"].endswith("To let it go: delete the pods or containers that use it.")
    assert "cold start budget" in last["keep"]
    assert last["keep"].endswith("To let it go: take the rule out of the policy.")
    ends = {last[f"app{number}"].split(".")[0] for number in range(5)}
    assert ends == {
        "It goes in the next reclaim",
        "Nothing protects it; it stays only while there is room",
    }


async def test_diff_says_what_it_results_in(at: Desk, tmp_path: Path) -> None:
    """How many images win or lose protection, and settings as one writes them."""
    edited = tmp_path / "edited.yaml"
    text = at.policy.read_text().replace("keep:*", "app0:*")
    edited.write_text(text + "comeBackFor: 90s\n")
    out = (await at.run("diff", str(edited))).out
    assert "1 image would be protected that nothing protects now" in out
    assert "1 image would lose all protection" in out
    assert "come_back_for  1h      1m" in out
    edited.write_text(at.policy.read_text() + "watermarks: {high: 99%, low: 98%}\n")
    out = (await at.run("diff", str(edited))).out
    assert "high auto, low auto, inodes auto/auto" in out
    assert "high 99%, low 98%, inodes auto/auto" in out
    edited.write_text(at.policy.read_text() + "kubelet: {evictionHard: {}}\n")
    out = (await at.run("diff", str(edited))).out
    assert "kubelet  none  imageGCHighThresholdPercent 85\n" in out
    assert "exclusions" not in out  # the same ones, in another file


async def test_what_df_says_is_shown_next_to_what_kubelet_counts(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small ext4 `plan` said 80.8 % and `df` 53 %: people compare, and doubt one of them. A
    filesystem that cannot be measured is named next to it."""
    small = FilesystemUsage("/images", 1, 1000 * MIB, 808 * MIB, reserved=592 * MIB)
    lost = InvisibleFilesystem("/layers", "reports no size")

    async def measured(*_: object) -> UsageSample:
        return UsageSample(time.time(), (small,), (lost,))

    monkeypatch.setattr(survey, "sample", measured)
    out = (await at.run("plan")).out
    both = "/images: 80.8% (df: 53%, which leaves root's reserve out) of 1000 MiB used"
    assert both in out
    assert "/layers: not measured, it reports no size" in out
    state = State(began_at=0.0)
    absorb(UsageSampled(await measured()), state)
    document = {"filesystems": filesystems_json(state), "unmeasured": unmeasured_json(state)}
    assert filesystem_line(document["filesystems"][0]).startswith(both)
    assert document["unmeasured"] == [{"mountpoint": "/layers", "why": "reports no size"}]
