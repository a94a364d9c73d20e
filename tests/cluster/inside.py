"""PID 1 of the sandbox: `python -m tests.cluster.inside HOME MODES SCENARIOS ENOUGH`,
started by `tests.cluster.sandbox.run_inside` and by nothing else."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.real.images import Registry, until

from .build import programs
from .control import Node
from .daemonset import DaemonSet
from .image import daemon_image
from .lab import Lab, namespace_ready
from .report import table
from .sandbox import as_first_process, furnish
from .scenarios import SCENARIOS


def main(home: Path, modes: list[str], chosen: list[str], enough: int) -> int:
    """Brings the cluster up, runs every scenario in every mode, and reports how it went."""
    began = time.monotonic()
    with Registry(home / "registry") as registry:
        image = registry.load(daemon_image(), "reconciler:test")
        node = Node(home, programs(), f"{registry.address}/pause:3.10")
        node.start()
        until(lambda: namespace_ready(node.api), 60, "no service account is made")
        print(f"the node is Ready after {time.monotonic() - began:.0f} s", flush=True)
        daemon = DaemonSet(node.api, node.certificates.kubeconfig("admin"), image)
        lab = Lab(node, registry, daemon, enough)
        for mode in modes:
            took = daemon.start(mode)
            print(f"--pods={mode}: the DaemonSet is Ready after {took:.0f} s", flush=True)
            lab.note("start", "DaemonSet Ready", f"{took:.0f} s", "<= 120 s", took <= 120)
            for name in chosen:
                run_one(lab, name)
            daemon.stop()
        print(table(lab.figures))
        return 1 if any(one.good is False for one in lab.figures) else 0


def run_one(lab: Lab, name: str) -> None:
    """One scenario; anything it raises is a missed target, and the next one is run."""
    print(f"{name}, --pods={lab.daemon.mode}", flush=True)
    began = time.monotonic()
    try:
        SCENARIOS[name](lab)
    except Exception as error:
        import traceback

        traceback.print_exc()
        lab.note(name, "ended", f"{type(error).__name__}: {error}"[:200], "whole", False)
    finally:
        lab.remove_pods()
        print(f"  {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    furnish(place)
    words = [argument.split(",") if argument else [] for argument in sys.argv[2:4]]
    sys.exit(as_first_process(lambda: main(place, words[0], words[1], int(sys.argv[4]))))
