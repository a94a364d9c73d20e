"""A filesystem that runs out of inodes long before it runs out of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from .containerd import SUITES, Containerd
from .daemon import Daemon
from .images import MEBIBYTE, Registry, layer

INODES = 6000
FILES = 400  # in each image


@pytest.mark.parametrize("major", list(SUITES))
def test_inodes_that_run_out_are_freed_down_to_their_low_mark(
    major: str, registry: Registry, tmp_path: Path
) -> None:
    """Many small files fill the inodes of a filesystem that has bytes to spare: images go until
    the inodes are at their low mark, and not further."""
    with Containerd(major, registry, 512 * MEBIBYTE, INODES) as node:
        work = node.workload
        names = [registry.push(f"many{n}:v1", [layer(small_files(n))]) for n in range(8)]
        ids = [work.pull(name) for name in names]
        used, total = node.inodes()
        high, low = 100 * used / total - 1, 100 * (used - 3 * FILES) / total
        daemon = Daemon(node.endpoint, tmp_path / "daemon")
        daemon.write_policy("95%", "94%", inodes=(f"{high:.2f}%", f"{low:.2f}%"))
        with daemon:
            daemon.wait_for("reached-low")
        left = [image_id for image_id in ids if work.has(image_id)]
        assert 100 * node.inodes()[0] / total <= low
        assert len(ids) - len(left) in (3, 4), daemon.tail()


def small_files(number: int) -> dict[str, bytes]:
    """As many files as an image of this story has, and no two images share one. (It is the
    shell's layer that makes the image large enough to be worth removing.)"""
    return {f"d/{number}-{n}": bytes([n % 251]) * 4 for n in range(FILES)}
