"""Where the worlds of the model keep their files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
LEAST_FREE = 1 << 30  # bytes


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where there is space: power failures are not among the model's moves, and syncing
    to a disk takes long."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > LEAST_FREE
    with tempfile.TemporaryDirectory(prefix="model-", dir=MEMORY if roomy else None) as folder:
        yield Path(folder)
