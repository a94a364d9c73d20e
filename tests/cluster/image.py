"""The daemon's container image as a folder, built once for each state of the checkout."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from tests.real.debs import ROOT
from tests.real.image import Builder

from .build import CACHE

PARTS = ("reconciler", "Containerfile", "pyproject.toml", "config/policy.yaml", ".ci")


def daemon_image() -> Path:
    """An OCI layout with the one image that the Containerfile makes of what is checked out."""
    target = CACHE / f"image-{_state()}"
    if not target.exists():
        for old in CACHE.glob("image-*"):
            shutil.rmtree(old)
        fresh = CACHE / "image.part"
        shutil.rmtree(fresh, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder, Builder(Path(folder) / "buildah") as builder:
            builder.build()
            builder.buildah("push", "localhost/reconciler", f"oci:{fresh}:latest")
        fresh.rename(target)
    return target


def _state() -> str:
    """A digest of all that the image is made of."""
    found = hashlib.sha256()
    for part in PARTS:
        place = ROOT / part
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return found.hexdigest()[:16]
