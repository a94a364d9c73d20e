"""The right to remove: taken from the kernel, and checked each time."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable
from pathlib import Path

from reconciler.host.lock import Lock
from reconciler.sources.claim import Claim, Exclusive
from tests.builders import T0


def claim_on(lock: Exclusive, *folders: Path, patience: float = 5.0) -> Claim:
    return Claim(lock, lambda: tuple(map(str, folders)), lambda: T0, patience)


async def test_the_right_is_had_by_one_and_given_back_when_it_is_not_wanted(tmp_path: Path) -> None:
    """One that only observes keeps nobody from removing, and nobody is reported to it."""
    with Lock() as one, Lock() as two:
        first, second = claim_on(one, tmp_path), claim_on(two, tmp_path)
        assert (await first.renew(wanted=True)).ours
        answer = await second.renew(wanted=True)
        assert not answer.ours
        assert answer.other is not None
        assert await second.renew(wanted=False) == await claim_on(two).renew(wanted=False)
        assert not (await first.renew(wanted=False)).ours
        assert (await second.renew(wanted=True)).ours


async def test_without_a_directory_nobody_has_the_right(tmp_path: Path) -> None:
    """None is named yet, or one is not there: neither is a right."""
    with Lock() as lock:
        unnamed = await claim_on(lock).renew(wanted=True)
        absent = await claim_on(lock, tmp_path / "none").renew(wanted=True)
    assert not unnamed.ours
    assert not absent.ours
    assert f"{tmp_path}/none can't be locked (No such file or directory)" in str(absent.trouble)


class Hanging:
    """A filesystem that hangs until it is woken, and then knows no locks."""

    def __init__(self) -> None:
        self.wakes, self.asked = threading.Event(), 0

    def take(self, directories: Iterable[str]) -> str | None:
        self.asked += 1
        self.wakes.wait(20)
        raise OSError(errno.ENOLCK, "No locks available")

    def release(self) -> None: ...


async def test_a_disk_that_hangs_does_not_stop_the_loop(tmp_path: Path) -> None:
    """It is a doubt after some patience, and one thread waits for it, not one each second."""
    deaf = Hanging()
    claim = claim_on(deaf, tmp_path, patience=0.05)
    for _ in range(3):
        answer = await claim.renew(wanted=True)
        assert not answer.ours
        assert "does not answer" in str(answer.trouble)
    deaf.wakes.set()
    claim = claim_on(deaf, tmp_path)
    assert "No locks available" in str((await claim.renew(wanted=True)).trouble)
    assert deaf.asked == 2
