"""Where the worlds of the model keep their files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ROOM = 1 << 30  # bytes


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where there is room: that the power fails is none of the model's moves, and whoever
    writes to a disk for safety waits for it."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    with tempfile.TemporaryDirectory(prefix="model-", dir=MEMORY if roomy else None) as folder:
        yield Path(folder)
