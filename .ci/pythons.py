"""Runs `make unit` on every Python, with the lowest dependencies that pyproject.toml allows and
with the latest that pip's own configuration finds.

    python .ci/pythons.py [3.13] [lowest]

What can't be had here, an interpreter or a wheel, is told at the end. A matrix of environments is
all that nox would add, and it knows neither the lowest versions nor what was left out.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SETS = ("lowest", "latest")
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:")
NOT_HAD = re.compile(r"No matching distribution found for (\S+)")


class NotHere(Exception):
    """What this machine, or where its pip looks, does not have."""


def interpreter(version: str) -> str:
    """One on the path, or of pyenv. A shim on the path may stand for nothing: it is run."""
    there = sorted(PYENV.glob(f"versions/{version}.*/bin/python"), reverse=True)
    for found in (shutil.which(f"python{version}"), *there):
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return str(found)
    raise NotHere(f"no Python {version} here")


def install(python: Path, *arguments: str) -> None:
    done = subprocess.run([python, *PIP, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        missing = NOT_HAD.search(done.stderr)
        if missing:
            raise NotHere(f"no wheel of {missing[1]}")
        done.check_returncode()


def prepare(version: str, which: str) -> Path:
    """A virtual environment that the Makefile takes for its own."""
    venv = ROOT / ".cache/pythons" / f"{version}-{which}"
    subprocess.run([interpreter(version), "-m", "venv", "--clear", venv], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = [one.replace(">=", "==") for one in project["dependencies"] if which == "lowest"]
    install(venv / "bin/python", *lowest, "-e", ".[test]", "setuptools")
    # What generates our code, or is compared with it, is as locked, whatever it asks for itself.
    locked = re.findall(r"^\S+==[^ \\]+", (ROOT / ".ci/dev.lock").read_text(), re.MULTILINE)
    wire = [
        one for one in locked if one.partition("==")[0] in project["optional-dependencies"]["wire"]
    ]
    install(venv / "bin/python", "--no-deps", *wire)
    (venv / ".installed").touch()
    return venv


def run(version: str, which: str) -> str | None:
    """What there is to tell; None: all passed."""
    try:
        venv = prepare(version, which)
    except NotHere as missing:
        return f"not run: {missing}"
    except subprocess.CalledProcessError:
        return "failed: cannot be installed"
    done = subprocess.run(["make", "unit", f"VENV={venv.relative_to(ROOT)}"], cwd=ROOT)
    return "failed" if done.returncode else None


asked = set(sys.argv[1:])
chosen = [(version, which) for version in PYTHONS for which in SETS if asked <= {version, which}]
told = {pair: run(*pair) for pair in chosen}
for (version, which), what in told.items():
    print(f"Python {version}, {which} dependencies: {what or 'passed'}")
passed = [what for what in told.values() if what is None]
sys.exit(not passed or any(what and what.startswith("failed") for what in told.values()))
