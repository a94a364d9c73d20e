"""What tells this machine, and this start of it, from others."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.host import clock
from reconciler.host.clock import Reading, clocks_of_this_machine

UUID = "4c4c4544-0042-3510-8052-b4c04f564433"


def machine(told: bytes | None, folder: Path, patch: pytest.MonkeyPatch) -> str:
    """What a reading says of a machine whose firmware tells this; None: nothing."""
    path = folder / "product_uuid"
    if told is not None:
        path.write_bytes(told)
    patch.setattr(clock, "MACHINE_ID", path)
    reading = clocks_of_this_machine(lambda: 0.0)
    assert reading is not None
    return reading.machine


def test_a_machine_is_told_by_its_firmware_and_not_by_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written to the state directory is no serial number, which is for root's eyes."""
    (tmp_path / "again").mkdir()
    told = machine(f"{UUID}\n".encode(), tmp_path, monkeypatch)
    assert told == machine(f"{UUID}\n".encode(), tmp_path / "again", monkeypatch)
    assert told
    assert UUID[:8] not in told


@pytest.mark.parametrize("told", [None, b"", b"\n", b"\xff\xfe"])
def test_firmware_that_tells_nothing_makes_no_other_machine(
    told: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards without a serial number: ages go on from start to start."""
    here = Reading(0.0, "a", 0.0, machine(told, tmp_path, monkeypatch))
    assert not here.elsewhere(Reading(0.0, "b", 0.0, "known"))
    assert not Reading(0.0, "b", 0.0, "known").elsewhere(here)
