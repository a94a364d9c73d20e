"""`make bench`: takes all figures, or those named, and prints them with their targets."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from . import (
    deciding,
    greedy_clients,
    memory,
    on_containerd,
    on_prepared,
    one_event,
    over_the_mark,
)
from .figures import Figure, machine

BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "crossing": on_containerd.crossing_to_removal,
    "exclusion": on_prepared.exclusion_in_force,
    "reclaim": on_containerd.reclaim_of_a_hundred,
    "event": one_event.at_two_sizes,
    "decide": deciding.on_two_thousand_images,
    "start": on_prepared.start_to_ready,
    "create": on_containerd.create_container,
    "memory": memory.at_two_sizes,
    "million": memory.after_a_million_events,
    "drain": on_prepared.drain_while_planning,
    "greedy": greedy_clients.creations,
    "crowd": greedy_clients.memory,
    "crossings": over_the_mark.the_mark,
}


def main() -> int:
    """0 if every figure was taken and every target met."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also here; - for stdout alone")
    arguments = parser.parse_args()
    unknown = set(arguments.only) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {min(unknown)}; there are {', '.join(BENCHMARKS)}")
    on = sys.stderr if arguments.json == Path("-") else sys.stdout
    described = machine()
    print(", ".join(f"{name} {value}" for name, value in described.items()), file=on)
    figures: list[Figure] = []
    not_taken = []
    for name in arguments.only or BENCHMARKS:
        try:
            taken = BENCHMARKS[name]()
        except on_containerd.Unavailable as missing:
            print(f"none {name}: {missing}", file=on, flush=True)
            not_taken.append(name)
            continue
        for figure in taken:
            print(figure, file=on, flush=True)
        figures += taken
    report = {
        "machine": described,
        "figures": [figure.as_json() for figure in figures],
        "notTaken": not_taken,
    }
    if arguments.json == Path("-"):
        print(json.dumps(report, indent=2))
    elif arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2))
    return 0 if figures and all(figure.met for figure in figures) and not not_taken else 1


if __name__ == "__main__":
    sys.exit(main())
