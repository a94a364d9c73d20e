"""Auto marks on a real containerd, pulls at full speed: kubelet never finds its line crossed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .crossings import crossings
from .images import MEBIBYTE, Registry

CROSSINGS = 20
SIZE = 24 * MEBIBYTE
PATIENCE = 150.0  # seconds


@pytest.mark.timeout(400)
def test_kubelet_never_acts_beside_auto_marks(registry: Registry, tmp_path: Path) -> None:
    """Above its line it deletes every unused image, and then evicts pods. `make bench
    ONLY=crossings` goes over the mark two hundred times; docs/eviction.md has what came of it."""
    came = crossings(registry, tmp_path, "ext4", SIZE, CROSSINGS, PATIENCE, pullers=1)
    assert len(came.margins) >= CROSSINGS
    assert came.kubelet.acted == 0, came.kubelet
    assert came.removed >= CROSSINGS
