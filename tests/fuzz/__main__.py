"""`make fuzz MINUTES=n`: each target for n minutes, with fresh seeds.

What breaks a target is made small, kept in tests/fuzz/corpus, and ends the run with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS, Target, inputs

ROUND = 1000  # inputs of one seed


@dataclass
class Done:
    """The result of a run; `found` is the file with the input that broke the target."""

    inputs: int = 0
    seeds: int = 0
    seconds: float = 0.0
    found: Path | None = None
    error: str = ""


def run(name: str, target: Target, seconds: float, seed: int, corpus: Path) -> Done:
    """Fuzzes one target for a time, one seed after the other."""
    done, began = Done(), time.monotonic()
    while not done.error and time.monotonic() - began < seconds:
        for data in itertools.islice(inputs(name, seed + done.seeds), ROUND):
            done.inputs += 1
            error = failure(target, data)
            if error is not None:
                small = shrunk(target, data)
                done.found = corpus / hashlib.sha256(small).hexdigest()[:16]
                done.found.write_bytes(small)
                done.error = f"{type(error).__name__}: {error}"[:300]
                break
        done.seeds += 1
    done.seconds = time.monotonic() - began
    return done


def failure(target: Target, data: bytes) -> Exception | None:
    """What a target raises on an input."""
    try:
        target(data)
    except Exception as error:
        return error
    return None


def shrunk(target: Target, data: bytes) -> bytes:
    """The input with every part left out that is not needed to break the target."""
    size = len(data)
    while size := size // 2:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if failure(target, shorter) is None:
                at += size
            else:
                data = shorter
    return data


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target")
    parser.add_argument("--seed", type=int, default=None, help="the first of the seeds")
    parser.add_argument("--target", choices=tuple(TARGETS), action="append")
    asked = parser.parse_args()
    first = int(time.time()) if asked.seed is None else asked.seed
    bad = False
    for name in asked.target or TARGETS:
        done = run(name, TARGETS[name], asked.minutes * 60, first, CORPUS / name)
        verdict = f"broke, see {done.found}: {done.error}" if done.found else "nothing found"
        summary = f"{done.inputs} inputs, seeds {first} to {first + done.seeds - 1}"
        print(f"{name}: {summary}, {done.seconds:.0f} s: {verdict}", flush=True)
        bad |= done.found is not None
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
