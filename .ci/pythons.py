"""Run `make unit` on every Python, with the lowest dependencies that pyproject.toml allows and
with the latest that pip's own configuration finds.

    python .ci/pythons.py [3.13] [lowest]

Interpreters or wheels that are missing here are listed at the end. A matrix of environments is all
that nox would add, and it knows neither the lowest versions nor what was left out.
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
NO_WHEEL = re.compile(r"No matching distribution found for (\S+)")


class Unavailable(Exception):
    """An interpreter or wheel that neither this machine nor pip's index has."""


def interpreter(version: str) -> str:
    """One on the path, or of pyenv. It is run, since a shim on the path may stand for nothing."""
    there = sorted(PYENV.glob(f"versions/{version}.*/bin/python"), reverse=True)
    for found in (shutil.which(f"python{version}"), *there):
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return str(found)
    raise Unavailable(f"no Python {version} here")


def install(python: Path, *arguments: str) -> None:
    done = subprocess.run([python, *PIP, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        missing = NO_WHEEL.search(done.stderr)
        if missing:
            raise Unavailable(f"no wheel of {missing[1]}")
        done.check_returncode()


def prepare(version: str, which: str) -> Path:
    """Make a virtual environment that the Makefile takes for its own."""
    venv = ROOT / ".cache/pythons" / f"{version}-{which}"
    subprocess.run([interpreter(version), "-m", "venv", "--clear", venv], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = [one.replace(">=", "==") for one in project["dependencies"] if which == "lowest"]
    install(venv / "bin/python", *lowest, "-e", ".[test]", "setuptools")
    # What generates our code, or is compared with it, is installed as locked.
    locked = re.findall(r"^\S+==[^ \\]+", (ROOT / ".ci/dev.lock").read_text(), re.MULTILINE)
    wire = [
        one for one in locked if one.partition("==")[0] in project["optional-dependencies"]["wire"]
    ]
    install(venv / "bin/python", "--no-deps", *wire)
    (venv / ".installed").touch()
    return venv


def run(version: str, which: str) -> str | None:
    """Why it failed or did not run; None: all passed."""
    try:
        venv = prepare(version, which)
    except Unavailable as missing:
        return f"not run: {missing}"
    except subprocess.CalledProcessError:
        return "failed: cannot be installed"
    done = subprocess.run(["make", "unit", f"VENV={venv.relative_to(ROOT)}"], cwd=ROOT)
    return "failed" if done.returncode else None


asked = set(sys.argv[1:])
chosen = [(version, which) for version in PYTHONS for which in SETS if asked <= {version, which}]
if not chosen:
    names = ", ".join((*PYTHONS, *SETS))
    sys.exit(
        f"{' '.join(sorted(asked))} chooses nothing: name one Python, one set, or both of {names}"
    )
problems = {pair: run(*pair) for pair in chosen}
for (version, which), problem in problems.items():
    print(f"Python {version}, {which} dependencies: {problem or 'passed'}")
passed = [problem for problem in problems.values() if problem is None]
failed = any(problem and problem.startswith("failed") for problem in problems.values())
sys.exit(not passed or failed)
