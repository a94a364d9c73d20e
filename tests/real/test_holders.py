"""Who holds the lock on a directory, on each kind of filesystem that images lie on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.test_lock import another_process, answer

from .disk import KINDS, mount_new
from .images import MEBIBYTE

SIZE = 320 * MEBIBYTE  # the smallest that mkfs.xfs makes is 300


@pytest.mark.parametrize("kind", KINDS)
def test_the_holder_is_named_on_each_kind_of_disk(kind: str, tmp_path: Path) -> None:
    """On btrfs `stat` reports another device than /proc/locks does, and the roots of all disks have
    the same few numbers."""
    places = tmp_path / "one", tmp_path / "two"
    try:
        for place in places:
            mount_new(kind, SIZE, place)
        one, two = places
        assert one.stat().st_ino == two.stat().st_ino
        with another_process(one) as first, another_process(two) as second:
            assert f"(pid {first}: " in str(answer(one))
            assert f"(pid {second}: " in str(answer(two))
    finally:
        for place in places:
            subprocess.run(["umount", str(place)], check=False, stderr=subprocess.DEVNULL)
