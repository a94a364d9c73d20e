"""The mounts of this process, as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.host.mounts import Mount, kind_of, mounts

MOUNTED = (
    "25 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
    "40 25 259:7 / /my\\040data rw - xfs /dev/nvme0n1p7 rw,attr2\n"
    "41 25 0:36 /@ /sub rw shared:2 master:1 - btrfs /dev/nvme0n1p8 rw,subvol=/@\n"
    "42 25 0:50 / /nothing rw - fuse.x  rw\n"  # without a source
)


def test_the_kind_of_a_filesystem_is_found_by_its_device(tmp_path: Path) -> None:
    """Which ones show late what was freed is known; of any other nothing is believed."""
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTED)
    assert kind_of(os.makedev(259, 7), file) == "xfs"
    assert kind_of(os.makedev(0, 52), file) == ""  # a subvolume's own device
    assert kind_of(os.makedev(259, 7), tmp_path / "none") == ""


def test_a_mount_is_read_whatever_its_names_hold(tmp_path: Path) -> None:
    """A field that slips to its neighbour's place would have a disk taken for another."""
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTED)
    assert mounts(file) == [
        Mount(25, os.makedev(259, 2), "/", "ext4"),
        Mount(40, os.makedev(259, 7), "/my\\040data", "xfs"),
        Mount(41, os.makedev(0, 36), "/sub", "btrfs"),
        Mount(42, os.makedev(0, 50), "/nothing", "fuse.x"),
    ]
