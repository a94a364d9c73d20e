"""The watch on the operator's policy: real files, the real watcher, every way an edit arrives.

`Watching` waits for facts, never for time: what is not reported within the bound fails the test."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
import watchfiles

from reconciler.aiokit import Mailbox
from reconciler.domain.facts import Fact, PolicyLoaded, PolicyRejected
from reconciler.domain.policy import Mode, Policy
from reconciler.sources import policy_file
from reconciler.sources.policy_file import PolicySource
from tests.builders import DAY, T0
from tests.policy.texts import HEAD

BOUND = 20.0  # seconds within which the watcher must report


class Watching:
    """A source, its mailbox, and a clock that stands still until it is moved."""

    def __init__(self, path: Path, named: bool = True) -> None:
        self.mailbox: Mailbox[Fact] = Mailbox()
        self.now = T0
        self.source = PolicySource(path, named, self.mailbox, lambda: self.now)

    async def look(self) -> list[Fact]:
        """Looks now; returns the facts that it reports."""
        await self.source.refresh()
        return self.mailbox.drain()

    async def next(self) -> Fact:
        """The next fact that the watcher reports by itself."""
        return (await self.mailbox.take(BOUND))[0]

    async def rules(self) -> list[str]:
        """The exclusions of the policy that is reported next; anything else fails."""
        return rules(await self.next())


def rules(fact: Fact) -> list[str]:
    assert isinstance(fact, PolicyLoaded), fact
    return [rule.pattern.text for rule in fact.policy.exclusions]


def body(*patterns: str) -> str:
    return HEAD + f"exclusions: [{{images: [{', '.join(patterns)}]}}]\n"


@contextlib.asynccontextmanager
async def watching(path: Path, named: bool = True) -> AsyncIterator[Watching]:
    """The watch runs; what it found at the start is in the mailbox or will be."""
    watch = Watching(path, named)
    async with anyio.create_task_group() as group:
        group.start_soon(watch.source.watch)
        yield watch
        watch.source.stop()
        group.cancel_scope.cancel()


def configmap(folder: Path, version: str, text: str) -> None:
    """What kubelet does to a mounted ConfigMap: a new directory, and `..data` renamed over."""
    (folder / version).mkdir(parents=True)
    (folder / version / "policy.yaml").write_text(text)
    (folder / "..new").symlink_to(version)
    (folder / "..new").rename(folder / "..data")
    if not (folder / "policy.yaml").is_symlink():
        (folder / "policy.yaml").symlink_to("..data/policy.yaml")


def rename_over(path: Path, text: str) -> None:
    """What editors do: write another file, and rename it over."""
    other = path.with_name(".policy.yaml.swp")
    other.write_text(text)
    other.rename(path)


def write_in_place(path: Path, text: str) -> None:
    path.write_text(text)


EDITS = [write_in_place, rename_over]


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_is_reported(tmp_path: Path, edit: Callable[[Path, str], None]) -> None:
    """However an editor saves, and time and again."""
    path = tmp_path / "policy.yaml"
    edit(path, body("a"))
    async with watching(path) as watch:
        assert await watch.rules() == ["a"]
        for patterns in (["b"], ["b", "c"], ["d"]):
            edit(path, body(*patterns))
            assert await watch.rules() == patterns


@pytest.mark.parametrize("named", ["policy.yaml", ""], ids=["file", "directory"])
async def test_a_configmap_swap_is_reported(tmp_path: Path, named: str) -> None:
    """kubelet swaps a link next to the file, whose own directory entry never changes."""
    configmap(tmp_path, "..v1", body("a"))
    async with watching(tmp_path / named) as watch:
        assert await watch.rules() == ["a"]
        configmap(tmp_path, "..v2", body("b"))
        shutil.rmtree(tmp_path / "..v1")
        assert await watch.rules() == ["b"]


@pytest.mark.parametrize("named", ["policy.yaml", ""], ids=["file", "directory"])
async def test_a_configmap_swap_is_in_force_for_the_very_next_removal(
    tmp_path: Path, named: str
) -> None:
    """`refresh` sees the swap without the watcher, also one of the same length."""
    configmap(tmp_path, "..v1", body("a"))
    watch = Watching(tmp_path / named)
    assert rules((await watch.look())[0]) == ["a"]
    for number, pattern in enumerate("bcdef", 2):
        configmap(tmp_path, f"..v{number}", body(pattern))
        assert rules((await watch.look())[0]) == [pattern]


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_in_the_same_instant_is_seen(
    tmp_path: Path, edit: Callable[[Path, str], None]
) -> None:
    """Same length, same inode, same times: a filesystem's clock ticks a few hundred times a
    second, and an edit right after a look must not be missed."""
    path = tmp_path / "policy.yaml"
    watch = Watching(path)
    for pattern in "abcdefghijklmnopqrstuvwxyz" * 4:
        edit(path, body(pattern))
        assert rules((await watch.look())[0]) == [pattern]


async def test_an_edit_that_hides_its_time_is_seen(tmp_path: Path) -> None:
    """A file restored with its old times (cp -p, rsync -t) has another inode or ctime."""
    path = tmp_path / "policy.yaml"
    path.write_text(body("a"))
    os.utime(path, (T0, T0))
    watch = Watching(path)
    await watch.look()
    path.write_text(body("b"))
    os.utime(path, (T0, T0))
    assert rules((await watch.look())[0]) == ["b"]


async def test_nothing_is_reported_twice(tmp_path: Path) -> None:
    """A touched file is no edit, and a broken one is reported once."""
    path = tmp_path / "policy.yaml"
    path.write_text(body("a"))
    watch = Watching(path)
    assert len(await watch.look()) == 1
    os.utime(path)
    assert await watch.look() == []
    path.write_text("mode: x")
    assert len(await watch.look()) == 1
    os.utime(path)
    assert await watch.look() == []
    path.unlink()
    assert len(await watch.look()) == 1
    (tmp_path / "other").touch()
    assert await watch.look() == []


async def test_a_broken_edit_is_reported_with_its_place(tmp_path: Path) -> None:
    """What was good before stays in force; the fixed file is reported again."""
    path = tmp_path / "policy.yaml"
    path.write_text(body("a"))
    async with watching(path) as watch:
        assert await watch.rules() == ["a"]
        path.write_text(HEAD + "mode: enforced\n")
        rejected = await watch.next()
        assert isinstance(rejected, PolicyRejected)
        assert rejected.problems == (
            f"{path}:3:7: mode: expected observe or enforce, found 'enforced'",
        )
        path.write_text(body("a"))
        assert await watch.rules() == ["a"]


async def test_a_good_policy_is_not_lost_to_a_bad_one_that_follows_at_once(tmp_path: Path) -> None:
    """Both are in the mailbox: the good one comes into force, the bad one is reported."""
    path = tmp_path / "policy.yaml"
    watch = Watching(path)
    path.write_text(body("a"))
    await watch.source.refresh()
    path.write_text("")
    await watch.source.refresh()
    loaded, rejected = watch.mailbox.drain()
    assert rules(loaded) == ["a"]
    assert isinstance(rejected, PolicyRejected)


async def test_a_file_is_not_read_while_it_is_written(tmp_path: Path) -> None:
    """Two writes: what the first one leaves is a valid policy without the second one's rules."""
    path = tmp_path / "policy.yaml"
    path.write_text(body("a", "b"))
    watch = Watching(path)
    await watch.look()
    with path.open("w") as half:
        half.write(HEAD + "exclusions:\n- images: [a]\n")
        half.flush()
        assert await watch.look() == []
        half.write("- images: [b, c]\n")
    assert rules((await watch.look())[0]) == ["a", "b", "c"]


async def test_a_writer_that_never_closes_is_reported(tmp_path: Path) -> None:
    """The last good policy stays in force, and it is reported why the edit does not count."""
    path = tmp_path / "policy.yaml"
    path.write_text(body("a"))
    watch = Watching(path)
    await watch.look()
    with path.open("w") as half:
        half.write(body("a", "b"))
        half.flush()
        assert await watch.look() == []
        watch.now += policy_file.PATIENCE
        (rejected,) = await watch.look()
        assert isinstance(rejected, PolicyRejected)
        assert "is open for writing elsewhere" in rejected.problems[0]
        assert await watch.look() == []
    assert rules((await watch.look())[0]) == ["a", "b"]


async def test_a_policy_that_goes_and_comes_back(tmp_path: Path) -> None:
    """Deleted is a fault, though nobody named the file: it was there. It is reported when it
    returns, also with the same text."""
    path = tmp_path / "policy.yaml"
    path.write_text(body("a"))
    async with watching(path, named=False) as watch:
        assert await watch.rules() == ["a"]
        path.unlink()
        rejected = await watch.next()
        assert isinstance(rejected, PolicyRejected)
        assert rejected.problems == (f"{path}:1:1: cannot be read: No such file or directory",)
        path.write_text(body("a"))
        assert await watch.rules() == ["a"]


async def test_a_directory_that_goes_and_comes_back(tmp_path: Path) -> None:
    """The watch follows to the new directory, time and again."""
    folder = tmp_path / "policies"
    async with watching(folder) as watch:
        assert isinstance(await watch.next(), PolicyRejected)
        for pattern in "abc":
            folder.mkdir()
            (folder / "policy.yaml").write_text(body(pattern))
            assert await watch.rules() == [pattern]
            shutil.rmtree(folder)
            assert isinstance(await watch.next(), PolicyRejected)


async def test_a_file_that_becomes_a_directory_and_a_fifo(tmp_path: Path) -> None:
    """No matter what is put at the path, the watch survives and never blocks."""
    path = tmp_path / "policy.yaml"
    path.write_text(body("a"))
    async with watching(path) as watch:
        assert await watch.rules() == ["a"]
        path.unlink()
        assert isinstance(await watch.next(), PolicyRejected)
        os.mkfifo(path)
        rejected = await watch.next()
        assert isinstance(rejected, PolicyRejected)
        assert rejected.problems[0].endswith("expected a regular file, found a FIFO")
        path.unlink()
        assert isinstance(await watch.next(), PolicyRejected)
        path.mkdir()
        (path / "a.yaml").write_text(body("b"))
        fact = await watch.next()
        while isinstance(fact, PolicyRejected):  # the directory before its file
            fact = await watch.next()
        assert rules(fact) == ["b"]


async def test_a_directory_counts_as_a_whole(tmp_path: Path) -> None:
    """A file added, edited or broken refuses or changes all of it."""
    (tmp_path / "a.yaml").write_text(body("a"))
    watch = Watching(tmp_path)
    assert rules((await watch.look())[0]) == ["a"]
    (tmp_path / "b.yaml").write_text(body("b"))
    assert rules((await watch.look())[0]) == ["a", "b"]
    (tmp_path / "b.yaml").write_text("broken")
    (rejected,) = await watch.look()
    assert isinstance(rejected, PolicyRejected)
    (tmp_path / "b.yaml").unlink()
    assert rules((await watch.look())[0]) == ["a"]


async def test_a_file_that_goes_from_a_directory_is_missed_for_a_while(tmp_path: Path) -> None:
    """Removed and written again, as some editors do: its rules still hold, and what is added next
    to it counts at once. What stays away is given up in the end, and reported once."""
    (tmp_path / "a.yaml").write_text(body("a"))
    (tmp_path / "b.yaml").write_text(body("b"))
    watch = Watching(tmp_path)
    assert rules((await watch.look())[0]) == ["a", "b"]
    (tmp_path / "b.yaml").unlink()
    assert await watch.look() == []
    (tmp_path / "a.yaml").write_text(body("a", "c"))
    assert rules((await watch.look())[0]) == ["a", "c", "b"]
    (tmp_path / "b.yaml").write_text(body("b", "d"))
    assert rules((await watch.look())[0]) == ["a", "c", "b", "d"]
    (tmp_path / "b.yaml").unlink()
    assert await watch.look() == []
    watch.now += policy_file.PATIENCE
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert rules(fact) == ["a", "c"]
    assert fact.warnings == (
        f"{tmp_path}/b.yaml:1:1: is gone from the directory, and its rules with it",
    )
    assert await watch.look() == []
    (tmp_path / "b.yaml").write_text(body("b"))
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert (rules(fact), fact.warnings) == (["a", "c", "b"], ())


async def test_a_file_of_a_directory_that_is_renamed_is_not_missed(tmp_path: Path) -> None:
    """Its rules are there, under another name; renamed and edited at once it is waited for, since
    what both say of one key is unknown."""
    (tmp_path / "a.yaml").write_text(HEAD + "mode: enforce\n")
    (tmp_path / "z.yaml").write_text(body("z"))
    watch = Watching(tmp_path)
    await watch.look()
    (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert (fact.policy.mode, fact.warnings) == (Mode.ENFORCE, ())
    (tmp_path / "b.yaml").unlink()
    (tmp_path / "c.yaml").write_text(HEAD + "mode: observe\n")
    assert await watch.look() == []
    watch.now += policy_file.PATIENCE
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert fact.policy.mode is Mode.OBSERVE


async def test_a_policy_file_without_an_ending_is_seen(tmp_path: Path) -> None:
    """A ConfigMap's key, also one that is edited; what is left out is reported."""
    (tmp_path / "policy").write_text(body("a"))
    watch = Watching(tmp_path)
    assert rules((await watch.look())[0]) == ["a"]
    (tmp_path / "more.yml").write_text(body("b"))
    assert rules((await watch.look())[0]) == ["b", "a"]
    (tmp_path / "policy").write_text(body("c"))
    assert rules((await watch.look())[0]) == ["b", "c"]
    (tmp_path / "policy.bak").write_text(body("d"))
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert "policy.bak:1:1: is not read: expected a name that ends in .yaml" in fact.warnings[0]


async def test_a_file_that_was_replaced_behind_its_mount_is_reported(tmp_path: Path) -> None:
    """The daemon would use the old policy forever: the last good one stays, and a fact says so."""
    path = tmp_path / "policy.yaml"
    path.write_text(body("a"))
    with path.open() as mounted:
        watch = Watching(Path(f"/proc/self/fd/{mounted.fileno()}"))
        assert rules((await watch.look())[0]) == ["a"]
        rename_over(path, body("b"))
        (rejected,) = await watch.look()
        assert isinstance(rejected, PolicyRejected)
        assert "cannot be read: stale: the file that is mounted here was" in rejected.problems[0]
        assert await watch.look() == []


async def test_no_file_means_the_defaults_only_where_nobody_named_one(tmp_path: Path) -> None:
    """A typing error in --policy must not mean "no exclusions"."""
    path = tmp_path / "policy.yaml"
    (fact,) = await Watching(path, named=False).look()
    assert isinstance(fact, PolicyLoaded)
    assert fact.policy == Policy()
    assert fact.policy.mode is Mode.OBSERVE
    (fact,) = await Watching(path, named=True).look()
    assert isinstance(fact, PolicyRejected)
    path.symlink_to(tmp_path / "nowhere")
    (fact,) = await Watching(path, named=False).look()
    assert isinstance(fact, PolicyRejected)


@pytest.mark.parametrize("where", ["policy.yaml", "no-such-folder/policy.yaml"])
async def test_the_defaults_are_no_fault_however_often_they_are_looked_at(
    tmp_path: Path, where: str
) -> None:
    """A second look took the file that never was for one that went, and the alert fired for ever.
    A file that appears is taken; a bad one is refused, and its end brings the defaults back."""
    path = tmp_path / where
    watch = Watching(path, named=False)
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert [await watch.look() for _ in range(3)] == [[], [], []]
    path.parent.mkdir(exist_ok=True)
    path.write_text("mode: x")
    assert isinstance((await watch.look())[0], PolicyRejected)
    path.unlink()
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert fact.policy == Policy()
    path.write_text(body("a"))
    assert rules((await watch.look())[0]) == ["a"]
    assert await watch.look() == []
    path.unlink()
    assert isinstance((await watch.look())[0], PolicyRejected)


async def test_a_rule_that_nears_its_end_is_warned_of_when_the_day_comes(tmp_path: Path) -> None:
    """The daemon runs for months: the warning is not only for those who edit in the last week."""
    path = tmp_path / "policy.yaml"
    path.write_text(HEAD + "exclusions: [{images: [a], until: 2027-01-31}]\n")
    watch = Watching(path)  # T0 is the 15th of January 2027
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert fact.warnings == ()
    watch.now += 8 * DAY
    assert await watch.look() == []
    watch.now += DAY
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert "protects until the end of 2027-01-31 (UTC) only" in fact.warnings[0]
    assert await watch.look() == []
    watch.now += 8 * DAY
    (fact,) = await watch.look()
    assert isinstance(fact, PolicyLoaded)
    assert "protects nothing any more" in fact.warnings[0]


async def test_an_edit_while_no_file_can_be_opened_is_not_missed(tmp_path: Path) -> None:
    """Out of file descriptors: the last good policy stays, and the edit counts when there are."""
    path = tmp_path / "policy.yaml"
    path.write_text(body("a"))
    watch = Watching(path)
    await watch.look()
    path.write_text(body("b"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        (rejected,) = await watch.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(rejected, PolicyRejected)
    assert rejected.problems[0].endswith("cannot be read: Too many open files")
    assert rules((await watch.look())[0]) == ["b"]


async def test_without_watches_looking_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that has no inotify watches left: an edit takes a second, and is reported."""

    def none_left(*_: object, **__: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watchfiles, "awatch", none_left)
    path = tmp_path / "policy.yaml"
    path.write_text(body("a"))
    async with watching(path) as watch:
        assert await watch.rules() == ["a"]
        path.write_text(body("b"))
        assert await watch.rules() == ["b"]
