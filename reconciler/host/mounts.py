"""The mounts that this process sees, by /proc/self/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")


class Mount(NamedTuple):
    """One mount."""

    number: int  # /proc/self/fdinfo has the same one for what is open (mnt_id)
    device: int  # as st_dev has it; of a subvolume of btrfs `stat` reports another
    mountpoint: str  # as seen from the process's root; a space is \\040
    kind: str  # "ext4", "overlay"


def mounts(file: Path = MOUNTS) -> list[Mount]:
    """All of them; of several at one mountpoint the last one covers the others. Empty where
    they can't be read."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return []
    return [_mount(line) for line in lines]


def _mount(line: str) -> Mount:
    """The fields before the dash are six and any number of optional ones."""
    before, _, after = line.partition(" - ")
    number, _, device, _, mountpoint, *_ = before.split(" ")
    major, _, minor = device.partition(":")
    return Mount(int(number), os.makedev(int(major), int(minor)), mountpoint, after.split(" ")[0])


@functools.lru_cache(maxsize=64)
def kind_of(device: int, file: Path = MOUNTS) -> str:
    """The kind of a mounted filesystem by its st_dev; empty for btrfs, whose subvolumes have
    devices of their own, and where it is unknown."""
    return next((one.kind for one in mounts(file) if one.device == device), "")


@functools.cache
def has_stacked_root(file: Path = MOUNTS) -> bool:
    """Whether / is an overlay of layers, as containers' roots are and nodes' hardly ever are."""
    roots = [one for one in mounts(file) if one.mountpoint == "/"]
    return bool(roots) and roots[-1].kind == "overlay"
