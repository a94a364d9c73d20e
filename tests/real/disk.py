"""Filesystems on loop devices: ext4 by the machine's own tools, XFS and btrfs by Debian's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .debs import unpacked

KINDS = ("ext4", "xfs", "btrfs")
SUITE = "bookworm"  # its programs run on any later libc
PACKAGES = {  # with the libraries that a small Debian may not have
    "xfs": ("xfsprogs", "libinih1", "liburcu8"),
    "btrfs": ("btrfs-progs", "liblzo2-2"),
}
MAKE: Mapping[str, tuple[str, ...]] = {
    "ext4": ("/sbin/mkfs.ext4", "-q", "-F", "-m", "0"),
    "xfs": ("sbin/mkfs.xfs", "-q", "-f"),
    "btrfs": ("sbin/mkfs.btrfs", "-q", "-f"),
}


def mount_new(kind: str, size: int, place: Path, inodes: int | None = None) -> None:
    """Makes a filesystem of `size` bytes in a file next to `place`, and mounts it there. The loop
    device goes with the mount. `inodes` (ext4 alone): how many it has."""
    image = place.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(size)
    program, *options = MAKE[kind]
    environment = dict(os.environ)
    if kind in PACKAGES:
        tools = unpacked(SUITE, *PACKAGES[kind])
        program = str(tools / program)
        environment["LD_LIBRARY_PATH"] = ":".join(map(str, _libraries(tools)))
    if inodes is not None:
        options += ["-N", str(inodes)]
    command = [program, *options, str(image)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)


def write_out(place: Path) -> None:
    """Writes all that was written to the filesystem of `place` so far to its device, so that it
    counts."""
    subprocess.run(["sync", "-f", str(place)], check=True)


def _libraries(tools: Path) -> set[Path]:
    return {found.parent for found in tools.rglob("*.so.*")}
