"""Fill a folder with what the image is made of: this project's wheel and its locked dependencies.

    python .ci/wheels.py dist/wheels

This step needs the network; the build of the image (Containerfile) then fetches nothing. The wheels
are for the Python of the image's base, whatever Python this is run with.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / ".ci/runtime.lock"
PYTHON = "3.11"  # of the base image, as the Containerfile names it
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "reconciler")


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True)


def wheels(folder: Path) -> None:
    """Build from a copy, so that nothing left over from an earlier build gets in."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as clean:
        for name in SOURCES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, Path(clean, name), ignore=_NOT_OURS)
            else:
                shutil.copy(source, clean)
        pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, clean)
    fixed = ["--require-hashes", "--only-binary=:all:", "--python-version", PYTHON]
    pip("download", "--quiet", *fixed, "-d", folder, "-r", LOCK)


_NOT_OURS = shutil.ignore_patterns("__pycache__")

if __name__ == "__main__":
    wheels(Path(sys.argv[1]))
